//! The devices of a machine's definition, one file per kind, and the registry that generates one
//! enum of all kinds. Unknown kinds are kept as XML.
//!
//! Devices are read on demand (`query::Hardware`) and are not part of lists and events. The
//! conversion from and to XML is in `hypervisor`.

mod disk;
mod graphics;
mod interface;
mod video;
mod watchdog;

use serde::{Deserialize, Serialize};

pub use disk::{Disk, DiskBus, DiskCache, DiskDevice, DiskType};
pub use graphics::{Graphics, GraphicsType};
pub use interface::{Interface, InterfaceType};
pub use video::Video;
pub use watchdog::{Watchdog, WatchdogAction, WatchdogModel};

/// An enum of libvirt's values for an attribute; unknown values are kept.
macro_rules! words {
    ($(#[$meta:meta])* $Name:ident { $($(#[$doc:meta])* $Variant:ident = $word:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $Name {
            $($(#[$doc])* $Variant,)*
            /// A value that this version does not know.
            Other(String),
        }

        impl $Name {
            /// The known values.
            pub const WORDS: &[&str] = &[$($word),*];

            /// The value.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$Variant => $word,)*
                    Self::Other(word) => word,
                }
            }
        }

        /// If the attribute is missing.
        impl Default for $Name {
            fn default() -> Self {
                Self::Other(String::new())
            }
        }

        impl From<&str> for $Name {
            fn from(word: &str) -> Self {
                match word {
                    $($word => Self::$Variant,)*
                    other => Self::Other(other.to_owned()),
                }
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $Name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($Name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                // Later versions of libvirt may have more words.
                schemars::json_schema!({ "anyOf": [{ "type": "string", "enum": Self::WORDS }, { "type": "string" }] })
            }
        }

        impl serde::Serialize for $Name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $Name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Ok(Self::from(&*String::deserialize(deserializer)?))
            }
        }
    };
}

use words;

/// A kind of device.
pub trait Kind {
    /// The label of the kind.
    const LABEL: &'static str;
    /// Fields that libvirt fills in at start, so they do not count as differences between the live
    /// and the stored definition.
    const FILLED_IN: &'static [&'static str] = &[];

    /// Its identity among devices of its kind, if the definition always contains one.
    fn identity(&self) -> Option<&str> {
        None
    }

    /// A short summary.
    fn summary(&self) -> String;
}

/// Generates the enum of all devices.
macro_rules! devices {
    ($($Name:ident),* $(,)?) => {
        /// A device of any kind.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(tag = "kind", rename_all = "camelCase")]
        pub enum Device {
            $(#[doc = concat!("See `", stringify!($Name), "`.")] $Name($Name),)*
            /// A kind that this version does not know.
            Other(Other),
        }

        $(impl From<$Name> for Device {
            fn from(device: $Name) -> Self {
                Self::$Name(device)
            }
        })*

        impl Device {
            /// The label of its kind.
            pub fn label(&self) -> &str {
                match self {
                    $(Self::$Name(_) => $Name::LABEL,)*
                    Self::Other(other) => &other.element,
                }
            }

            /// A short summary.
            pub fn summary(&self) -> String {
                match self {
                    $(Self::$Name(device) => device.summary(),)*
                    Self::Other(_) => String::new(),
                }
            }

            /// Its identity among devices of its kind, if the definition always contains one.
            pub fn identity(&self) -> Option<&str> {
                match self {
                    $(Self::$Name(device) => device.identity(),)*
                    Self::Other(_) => None,
                }
            }

            /// The fields that libvirt fills in at start.
            pub fn filled_in(&self) -> &'static [&'static str] {
                match self {
                    $(Self::$Name(_) => $Name::FILLED_IN,)*
                    // The XML contains aliases, addresses and more.
                    Self::Other(_) => &["xml"],
                }
            }
        }
    };
}

devices! {
    Disk,
    Graphics,
    Interface,
    Video,
    Watchdog,
}

/// A device of a kind that this version does not know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Other {
    /// The name of its element, such as `tpm`.
    pub element: String,
    /// Its complete XML from libvirt.
    pub xml: String,
}

/// A device of a definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Its key in the live and the stored definition: a user-defined alias (`ua-…`), else its kind
    /// with its identity, else with a number.
    pub key: String,
    /// The device.
    #[serde(flatten)]
    pub device: Device,
}

/// Whether a default value is omitted from JSON.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
