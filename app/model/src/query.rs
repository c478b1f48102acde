//! Questions that libvirt is asked when somebody wants to know the answer, and not before: one file
//! each, and the registry from which the API's routes, its document and the dispatch are made.
//!
//! What is always known, and changes by events, is in the inventory. How libvirt is asked,
//! `hypervisor` knows.

mod boot_order;
mod definition;
mod domain_hardware;
mod guest;
mod hardware;
mod leases;
mod network_definition;
mod ssh_keys;
mod volumes;

use std::{fmt::Debug, hash::Hash};

use serde::{Deserializer, Serialize, Serializer, de::DeserializeOwned};
use uuid::Uuid;

use crate::{Fault, HostInventory, ObjectKind, Permission};

pub use boot_order::{Boot, BootDevice, BootOrder};
pub use definition::Definition;
pub use domain_hardware::DomainHardware;
pub use guest::Guest;
pub use hardware::HostHardware;
pub use leases::{LeaseList, Leases};
pub use network_definition::NetworkDefinition;
pub use ssh_keys::{SshKeyList, SshKeys};
pub use volumes::{VolumeList, Volumes};

/// What is true of a question whatever it asks for.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// What kind of object it is about.
    pub on: ObjectKind,
    /// The last segment of its address.
    pub name: &'static str,
    /// The permission that it needs.
    pub permission: Permission,
    /// What it tells, for the document of the API.
    pub summary: &'static str,
    /// Whether an answer serves for some seconds all who ask the same.
    pub kept: bool,
    /// Whether its answer is text instead of JSON.
    pub text: bool,
}

impl About {
    /// What most questions share.
    const DEFAULT: Self =
        Self { on: ObjectKind::Domain, name: "", permission: Permission::View, summary: "", kept: false, text: false };

    /// Its address in the API, with names in braces for what differs.
    pub fn path(&self) -> String {
        let of = self.on.plural();
        match self.on {
            ObjectKind::Host => format!("/api/v1/{of}/{{host}}/{}", self.name),
            _ => format!("/api/v1/{of}/{{host}}/{{uuid}}/{}", self.name),
        }
    }
}

/// A question: its fields are what the query of its address may hold.
pub trait Query: Clone + Debug + Eq + Hash + DeserializeOwned + 'static {
    /// What it is answered with.
    type Answer: Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static;

    /// What is fixed.
    const ABOUT: About;

    /// Whether it can be asked now. The object is there.
    ///
    /// # Errors
    /// `Denied`, with the reason.
    fn check(&self, host: &HostInventory, id: Uuid) -> Result<(), Fault> {
        let _ = (host, id);
        Ok(())
    }

    /// The answer, where it follows from what is known already.
    fn known(&self, host: &HostInventory, id: Uuid) -> Option<Self::Answer> {
        let _ = (host, id);
        None
    }

    /// Takes out of an answer what is about machines that are out of sight.
    fn narrow(answer: &mut Self::Answer, sees: &dyn Fn(Uuid) -> bool) {
        let _ = (answer, sees);
    }
}

/// A question as one of all.
pub trait Listed: Query {
    /// It among all questions.
    fn question(self) -> Question;

    /// Its answer among all answers; none of the answer to another question.
    fn answer(answer: Answer) -> Option<Self::Answer>;
}

/// Makes the enums of all questions and answers; each question is named once.
macro_rules! queries {
    ($($Name:ident),* $(,)?) => {
        /// Any question.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum Question { $(
            #[doc = concat!("See `", stringify!($Name), "`.")]
            $Name($Name)
        ),* }

        /// The answer to any question.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Answer { $(
            #[doc = concat!("To `", stringify!($Name), "`.")]
            $Name(<$Name as Query>::Answer)
        ),* }

        /// All questions.
        pub const ALL: &[About] = &[$($Name::ABOUT),*];

        $(impl Listed for $Name {
            fn question(self) -> Question {
                Question::$Name(self)
            }

            fn answer(answer: Answer) -> Option<Self::Answer> {
                match answer {
                    Answer::$Name(answer) => Some(answer),
                    _ => None,
                }
            }
        })*

        impl Question {
            /// The question of that name about that kind of object, with what an address holds; none
            /// when there is no such question.
            pub fn read<'de, D: Deserializer<'de>>(about: &About, fields: D) -> Option<Result<Self, D::Error>> {
                $(if about.name == $Name::ABOUT.name && about.on == $Name::ABOUT.on {
                    return Some(serde::Deserialize::deserialize(fields).map(Self::$Name));
                })*
                None
            }

            /// The schemas of a question's fields and of its answer.
            #[cfg(feature = "schema")]
            pub fn schemas(
                about: &About,
                generator: &mut schemars::SchemaGenerator,
            ) -> Option<(schemars::Schema, schemars::Schema)> {
                $(if about.name == $Name::ABOUT.name && about.on == $Name::ABOUT.on {
                    let fields = schemars::generate::SchemaSettings::draft2020_12().for_deserialize().into_generator();
                    let fields = fields.into_root_schema_for::<$Name>();
                    return Some((fields, generator.subschema_for::<<$Name as Query>::Answer>()));
                })*
                None
            }

            /// What is fixed of it.
            pub fn about(&self) -> &'static About {
                match self { $(Self::$Name(_) => &$Name::ABOUT),* }
            }

            /// Whether it can be asked now.
            ///
            /// # Errors
            /// `Denied`, with the reason.
            pub fn check(&self, host: &HostInventory, id: Uuid) -> Result<(), Fault> {
                match self { $(Self::$Name(question) => question.check(host, id)),* }
            }

            /// The answer, where it follows from what is known already.
            pub fn known(&self, host: &HostInventory, id: Uuid) -> Option<Answer> {
                match self { $(Self::$Name(question) => question.known(host, id).map(Answer::$Name)),* }
            }
        }

        impl Answer {
            /// Takes out what is about machines that are out of sight.
            pub fn narrow(&mut self, sees: &dyn Fn(Uuid) -> bool) {
                match self { $(Self::$Name(answer) => $Name::narrow(answer, sees)),* }
            }
        }

        impl Serialize for Answer {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self { $(Self::$Name(answer) => answer.serialize(serializer)),* }
            }
        }
    };
}

queries! {
    BootOrder,
    Definition,
    DomainHardware,
    Guest,
    HostHardware,
    Leases,
    NetworkDefinition,
    SshKeys,
    Volumes,
}
