//! Queries that libvirt is asked on demand: one file each, and the registry from which the API
//! routes, the API document and the dispatch are generated.
//!
//! State that is always known and changes by events is in the inventory. The libvirt calls are in
//! `hypervisor`.

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

/// Properties of a query that do not depend on its fields.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// The kind of its object.
    pub on: ObjectKind,
    /// The last segment of its path.
    pub name: &'static str,
    /// The required permission.
    pub permission: Permission,
    /// Its description in the API document.
    pub summary: &'static str,
    /// Whether an answer is reused for some seconds by other clients.
    pub kept: bool,
    /// Whether the answer is text instead of JSON.
    pub text: bool,
}

impl About {
    /// The defaults of most queries.
    const DEFAULT: Self =
        Self { on: ObjectKind::Domain, name: "", permission: Permission::View, summary: "", kept: false, text: false };

    /// Its path in the API, with placeholders in braces.
    pub fn path(&self) -> String {
        let of = self.on.plural();
        match self.on {
            ObjectKind::Host => format!("/api/v1/{of}/{{host}}/{}", self.name),
            _ => format!("/api/v1/{of}/{{host}}/{{uuid}}/{}", self.name),
        }
    }
}

/// A query; its fields are the URL's query parameters.
pub trait Query: Clone + Debug + Eq + Hash + DeserializeOwned + 'static {
    /// Its answer.
    type Answer: Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static;

    /// Its constants.
    const ABOUT: About;

    /// Whether it is possible now. The object exists.
    ///
    /// # Errors
    /// `Denied`, with the reason.
    fn check(&self, host: &HostInventory, id: Uuid) -> Result<(), Fault> {
        let _ = (host, id);
        Ok(())
    }

    /// The answer, if it follows from known state.
    fn known(&self, host: &HostInventory, id: Uuid) -> Option<Self::Answer> {
        let _ = (host, id);
        None
    }

    /// Removes data about machines outside of the scope.
    fn narrow(answer: &mut Self::Answer, sees: &dyn Fn(Uuid) -> bool) {
        let _ = (answer, sees);
    }
}

/// A query in the registry.
pub trait Listed: Query {
    /// As the enum of all queries.
    fn question(self) -> Question;

    /// From the enum of all answers; none for the answer to another query.
    fn answer(answer: Answer) -> Option<Self::Answer>;
}

/// Generates the enums of all queries and answers.
macro_rules! queries {
    ($($Name:ident),* $(,)?) => {
        /// Any query.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum Question { $(
            #[doc = concat!("See `", stringify!($Name), "`.")]
            $Name($Name)
        ),* }

        /// The answer to any query.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Answer { $(
            #[doc = concat!("To `", stringify!($Name), "`.")]
            $Name(<$Name as Query>::Answer)
        ),* }

        /// All queries.
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
            /// The query with that name for that kind of object, with the URL's parameters; none if
            /// it does not exist.
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

            /// Whether it is possible now.
            ///
            /// # Errors
            /// `Denied`, with the reason.
            pub fn check(&self, host: &HostInventory, id: Uuid) -> Result<(), Fault> {
                match self { $(Self::$Name(question) => question.check(host, id)),* }
            }

            /// The answer, if it follows from known state.
            pub fn known(&self, host: &HostInventory, id: Uuid) -> Option<Answer> {
                match self { $(Self::$Name(question) => question.known(host, id).map(Answer::$Name)),* }
            }
        }

        impl Answer {
            /// Removes data about machines outside of the scope.
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
