//! The devices of a machine as its definition says them, one file for each kind, and the registry
//! that makes one enum of all of them. What no kind here knows is kept as its XML.
//!
//! They are read on demand (`query::Hardware`): lists and events carry none of this. How XML becomes
//! a device, and a device XML again, `hypervisor` knows.

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

/// An enum of the words that libvirt uses in one place; a word of later versions stays as it is.
macro_rules! words {
    ($(#[$meta:meta])* $Name:ident { $($(#[$doc:meta])* $Variant:ident = $word:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $Name {
            $($(#[$doc])* $Variant,)*
            /// A word that this version does not know.
            Other(String),
        }

        impl $Name {
            /// The words that are known.
            pub const WORDS: &[&str] = &[$($word),*];

            /// The word.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$Variant => $word,)*
                    Self::Other(word) => word,
                }
            }
        }

        /// Where nothing is said.
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
    /// What people call it.
    const LABEL: &'static str;
    /// What libvirt fills in when the machine starts, so that it makes no difference between what
    /// runs and what is stored.
    const FILLED_IN: &'static [&'static str] = &[];

    /// What tells it from others of its kind, if the definition always says it.
    fn identity(&self) -> Option<&str> {
        None
    }

    /// What it is, in a few words.
    fn summary(&self) -> String;
}

/// Makes the enum of all devices; each kind is named once.
macro_rules! devices {
    ($($Name:ident),* $(,)?) => {
        /// A device of any kind.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(tag = "kind", rename_all = "camelCase")]
        pub enum Device {
            $(#[doc = concat!("See `", stringify!($Name), "`.")] $Name($Name),)*
            /// One that this version does not know.
            Other(Other),
        }

        $(impl From<$Name> for Device {
            fn from(device: $Name) -> Self {
                Self::$Name(device)
            }
        })*

        impl Device {
            /// What people call its kind.
            pub fn label(&self) -> &str {
                match self {
                    $(Self::$Name(_) => $Name::LABEL,)*
                    Self::Other(other) => &other.element,
                }
            }

            /// What it is, in a few words.
            pub fn summary(&self) -> String {
                match self {
                    $(Self::$Name(device) => device.summary(),)*
                    Self::Other(_) => String::new(),
                }
            }

            /// What tells it from others of its kind, if the definition always says it.
            pub fn identity(&self) -> Option<&str> {
                match self {
                    $(Self::$Name(device) => device.identity(),)*
                    Self::Other(_) => None,
                }
            }

            /// The fields that libvirt fills in when the machine starts.
            pub fn filled_in(&self) -> &'static [&'static str] {
                match self {
                    $(Self::$Name(_) => $Name::FILLED_IN,)*
                    // Its XML has aliases, addresses and more.
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
    /// All of it, as libvirt writes it.
    pub xml: String,
}

/// A device of a definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// What it is known by, in the running machine and in the stored definition alike: its alias if
    /// people chose it (`ua-…`), else its kind with what tells it apart, else with its number.
    pub key: String,
    /// The device.
    #[serde(flatten)]
    pub device: Device,
}

/// Whether a default is left out of the JSON of a device.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
