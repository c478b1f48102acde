//! The description of each command, and the registry that generates one enum per kind of object.
//!
//! A command is one file below `command/`: its arguments, an `About` with its constants, and
//! decisions that depend on its arguments. Menus, forms, confirmations, records, the API schema and
//! the dispatch to libvirt use the registry. The libvirt calls are in `hypervisor`.

use crate::{Fault, Host, Permission, storage::VolumeUse};

/// Properties of a command that do not depend on its arguments.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Its name in JSON, forms and records.
    pub kind: &'static str,
    /// The button label.
    pub label: &'static str,
    /// The result, to follow the object's name: "web-01 …".
    pub done: &'static str,
    /// Shown next to the object while the command runs; empty for short commands.
    pub doing: &'static str,
    /// The name of its icon, if any.
    pub icon: Option<&'static str>,
    /// The required permission.
    pub permission: Permission,
    /// The lane of its libvirt calls.
    pub lane: Lane,
    /// How long changes of its object count as its effect, in seconds.
    pub window: u32,
    /// What is lost, for the confirmation; none if nothing is lost.
    pub loses: Option<&'static str>,
    /// The confirmation text for several objects at once; none if not needed.
    pub several: Option<&'static str>,
    /// Whether it is in the object's menu, which is for commands without arguments.
    pub menu: bool,
    /// Whether it may be sent later, or again: it loses nothing and is idempotent.
    pub harmless: bool,
    /// Whether at most other volumes of the pool are added or removed, and the rest are unchanged.
    pub others_stay: bool,
    /// Whether it creates an object, which gets the target's UUID.
    pub makes: bool,
}

impl About {
    /// The defaults of most commands.
    pub(super) const DEFAULT: Self = Self {
        kind: "",
        label: "",
        done: "",
        doing: "",
        icon: None,
        permission: Permission::Operate,
        lane: Lane::Quick,
        window: 120,
        loses: None,
        several: None,
        menu: false,
        harmless: false,
        others_stay: false,
        makes: false,
    };
}

/// The lane of a command's libvirt calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Calls that libvirt answers by itself.
    Quick,
    /// Calls that wait for a disk, a file server or a guest.
    Slow,
    /// Thawing of file systems, which must not wait for other calls.
    Thaw,
}

/// An argument of a command.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name in JSON and forms; nested with a dot (`volume.name`).
    pub name: &'static str,
    /// The field label.
    pub label: &'static str,
    /// Its type.
    pub input: Input,
    /// Whether a form requires it.
    pub required: bool,
    /// The initial value in a form.
    pub preset: &'static str,
}

/// The type of an argument, and its form control.
#[derive(Clone, Copy, Debug)]
pub enum Input {
    /// One line with at most so many characters; 0 means unlimited. Surrounding blanks are ignored.
    Line(u16),
    /// One line, including surrounding blanks.
    Exact,
    /// Several lines.
    Lines,
    /// A number in a range.
    Number(u32, u32),
    /// A size in bytes; forms ask for a number and a unit.
    Bytes,
    /// Yes or no.
    Flag,
    /// Words separated by blanks or commas.
    Words,
    /// An IP address.
    Ip,
    /// A secret that is never shown or stored.
    Secret,
    /// One of several values.
    Choice,
}

impl Field {
    /// An optional field.
    pub const fn new(name: &'static str, label: &'static str, input: Input) -> Self {
        Self { name, label, input, required: false, preset: "" }
    }

    /// A required field.
    pub const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    /// A field with an initial value.
    pub const fn preset(self, preset: &'static str) -> Self {
        Self { preset, ..self }
    }
}

/// The object of a command.
pub trait Object {
    /// The context that decides what is possible.
    type Around;

    /// Its name.
    fn name(&self) -> &str;

    /// The host that has it.
    fn host(around: &Self::Around) -> &Host;
}

/// Whether the current state of an object is known.
///
/// # Errors
/// `Denied` if its host is not connected.
pub(super) fn connected<On: Object>(around: &On::Around, name: &str) -> Result<(), Fault> {
    let host = On::host(around);
    if host.connection.connected {
        return Ok(());
    }
    let reason = format!("{} is not connected, so the state of {name} is unknown", host.id);
    Err(Fault::denied(reason).with_code("host-not-connected", [("host", host.id.as_str()), ("name", name)]))
}

/// The users that block a command.
#[derive(Clone, Debug, PartialEq)]
pub struct Hindrance {
    /// The users; an empty list blocks nothing.
    pub users: Vec<VolumeUse>,
    /// The consequence, to follow "is in use by …, so".
    pub so: &'static str,
    /// The next step.
    pub next: &'static str,
}

/// A command without arguments.
pub trait Plain: Sized {
    /// The command; none if it has arguments.
    fn plain() -> Option<Self>;
}

/// A command: its arguments, and what depends on them.
pub trait Verb: Plain {
    /// The object it acts on.
    type On: Object;

    /// Its constants.
    const ABOUT: About;

    /// All its arguments, as named in forms, records and JSON. They are separate so that the
    /// browser module, which renders no forms, does not contain them.
    const FIELDS: &'static [Field] = &[];

    /// Normalises a filled-in form: drops values of other choices and derives defaults.
    fn filled(self) -> Self {
        self
    }

    /// The button label, if it depends on the arguments.
    fn label(&self) -> &'static str {
        Self::ABOUT.label
    }

    /// The result, to follow the object's name.
    fn done(&self) -> &'static str {
        Self::ABOUT.done
    }

    /// The required permission.
    fn permission(&self) -> Permission {
        Self::ABOUT.permission
    }

    /// What is lost, for the confirmation.
    fn loses(&self) -> Option<&'static str> {
        Self::ABOUT.loses
    }

    /// The text to type as confirmation for the object of that name; none if a click is enough.
    fn typed(&self, _name: &str) -> Option<String> {
        None
    }

    /// The name of its target, such as a volume in its pool.
    fn subject(&self, on: Option<&Self::On>) -> Option<String> {
        on.map(|on| on.name().to_owned())
    }

    /// The existing volume that is changed, copied or used as a backing volume.
    fn volume(&self) -> Option<&str> {
        None
    }

    /// The volume that it creates.
    fn new_volume(&self) -> Option<&str> {
        None
    }

    /// Whether it depends on the users of its object.
    fn depends_on_use(&self) -> bool {
        self.volume().is_some()
    }

    /// Whether content is lost, so that unknown uses block it as well.
    fn loses_content(&self) -> bool {
        false
    }

    /// The users of its object that block it.
    fn hindrance(&self, _users: &[VolumeUse]) -> Option<Hindrance> {
        None
    }

    /// Whether it is possible now.
    ///
    /// # Errors
    /// `Denied` with the reason, or `Invalid` with the argument at fault.
    fn check(&self, _on: &Self::On, _around: &<Self::On as Object>::Around) -> Result<(), Fault> {
        Ok(())
    }

    /// Whether the object can be created now.
    ///
    /// # Errors
    /// `Conflict` if it exists, `Denied`, `Invalid`.
    fn check_new(&self, _there: bool, _around: &<Self::On as Object>::Around) -> Result<(), Fault> {
        Ok(())
    }

    /// Whether the effect is visible on the object: yes, no, or none if the state is the same with
    /// and without it. `on` is none if the object does not exist.
    fn evidence(&self, _on: Option<&Self::On>) -> Option<bool> {
        None
    }
}

/// Refuses with a reason that follows the object's name.
///
/// # Errors
/// `Denied`, when there is a reason.
pub(super) fn unless(on: &impl Object, why: Option<impl std::fmt::Display>) -> Result<(), Fault> {
    why.map_or(Ok(()), |why| Err(Fault::denied(format!("{} {why}", on.name()))))
}

/// Declares the arguments of a command.
macro_rules! verb {
    ($(#[$about:meta])* pub struct $Name:ident {}) => {
        $crate::command::verb::verb!(@data $(#[$about])* $Name {});

        impl $crate::command::verb::Plain for $Name {
            fn plain() -> Option<Self> {
                Some(Self {})
            }
        }
    };
    ($(#[$about:meta])* pub struct $Name:ident { $($fields:tt)* }) => {
        $crate::command::verb::verb!(@data $(#[$about])* $Name { $($fields)* });

        impl $crate::command::verb::Plain for $Name {
            fn plain() -> Option<Self> {
                None
            }
        }
    };
    (@data $(#[$about:meta])* $Name:ident { $($(#[$doc:meta])* pub $field:ident: $Type:ty),* $(,)? }) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct $Name { $($(#[$doc])* pub $field: $Type),* }
    };
}

/// Generates one enum of all commands of a kind of object, in menu order.
macro_rules! commands {
    ($(#[$about:meta])* $Enum:ident on $On:ty { $($module:ident::$Name:ident),* $(,)? }) => {
        $(pub use $module::$Name;)*

        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(tag = "kind", rename_all = "camelCase")]
        pub enum $Enum {
            $(#[doc = concat!("`", stringify!($Name), "`")] $Name($Name)),*
        }

        $(impl From<$Name> for $Enum {
            fn from(verb: $Name) -> Self {
                Self::$Name(verb)
            }
        }

        impl From<$Name> for crate::Command {
            fn from(verb: $Name) -> Self {
                $Enum::$Name(verb).into()
            }
        })*

        impl $Enum {
            /// The descriptions of all commands, in menu order.
            pub const ALL: &'static [&'static About] = &[$(&$Name::ABOUT),*];

            /// The arguments of each command, in that order.
            pub const FIELDS: &'static [&'static [Field]] = &[$($Name::FIELDS),*];

            /// Its arguments.
            pub fn fields(&self) -> &'static [Field] {
                match self { $(Self::$Name(_) => $Name::FIELDS),* }
            }

            /// The description of this command.
            pub fn about(&self) -> &'static About {
                match self { $(Self::$Name(_) => &$Name::ABOUT),* }
            }

            pub(super) fn filled(self) -> Self {
                match self { $(Self::$Name(verb) => Self::$Name(verb.filled())),* }
            }

            /// The button label.
            pub fn label(&self) -> &'static str {
                match self { $(Self::$Name(verb) => verb.label()),* }
            }

            /// The result, to follow the object's name.
            pub fn done(&self) -> &'static str {
                match self { $(Self::$Name(verb) => verb.done()),* }
            }

            /// The required permission.
            pub fn permission(&self) -> crate::Permission {
                match self { $(Self::$Name(verb) => verb.permission()),* }
            }

            /// What is lost, for the confirmation; none if nothing is lost.
            pub fn loses(&self) -> Option<&'static str> {
                match self { $(Self::$Name(verb) => verb.loses()),* }
            }

            pub(super) fn typed(&self, name: &str) -> Option<String> {
                match self { $(Self::$Name(verb) => verb.typed(name)),* }
            }

            pub(super) fn subject(&self, on: Option<&$On>) -> Option<String> {
                match self { $(Self::$Name(verb) => verb.subject(on)),* }
            }

            /// Whether this is possible now.
            ///
            /// # Errors
            /// `missing` if the object does not exist, `Denied` with the reason, `Invalid` with the
            /// argument, `Conflict` if the new object exists.
            pub fn check(
                &self,
                on: Option<&$On>,
                around: &<$On as Object>::Around,
                missing: impl Fn() -> Fault,
            ) -> Result<(), Fault> {
                if self.about().makes {
                    return match self { $(Self::$Name(verb) => verb.check_new(on.is_some(), around)),* };
                }
                self.check_on(on.ok_or_else(missing)?, around)
            }

            /// Whether this is possible now with an existing object.
            ///
            /// # Errors
            /// `Denied` with the reason, `Invalid` with the argument.
            pub fn check_on(&self, on: &$On, around: &<$On as Object>::Around) -> Result<(), Fault> {
                $crate::command::verb::connected::<$On>(around, on.name())?;
                match self { $(Self::$Name(verb) => verb.check(on, around)),* }
            }

            /// Whether the effect is visible on the object, for a command whose end was not
            /// observed: yes, no, or none if the state is the same with and without it.
            pub fn evidence(&self, on: Option<&$On>) -> Option<bool> {
                match self { $(Self::$Name(verb) => verb.evidence(on)),* }
            }

            /// The menu commands, which have no arguments.
            pub fn menu() -> Vec<Self> {
                let all = [$($Name::plain().filter(|_| $Name::ABOUT.menu).map(Self::$Name)),*];
                all.into_iter().flatten().collect()
            }

            /// The description of a kind; none if it is not in this enum.
            pub fn about_kind(kind: &str) -> Option<&'static About> {
                Self::ALL.iter().copied().find(|about| about.kind == kind)
            }

            /// The existing volume that is changed, copied or used as a backing volume; none
            /// otherwise.
            pub fn volume(&self) -> Option<&str> {
                match self { $(Self::$Name(verb) => verb.volume()),* }
            }

            /// The volume that it creates; none otherwise.
            pub fn new_volume(&self) -> Option<&str> {
                match self { $(Self::$Name(verb) => verb.new_volume()),* }
            }

            /// Whether it depends on the users of its object.
            pub fn depends_on_use(&self) -> bool {
                match self { $(Self::$Name(verb) => verb.depends_on_use()),* }
            }

            /// Whether content is lost, so that unknown uses block it as well.
            pub fn loses_content(&self) -> bool {
                match self { $(Self::$Name(verb) => verb.loses_content()),* }
            }

            /// The users of its object that block it.
            pub fn hindrance(&self, users: &[crate::storage::VolumeUse]) -> Option<$crate::command::verb::Hindrance> {
                match self { $(Self::$Name(verb) => verb.hindrance(users)),* }
            }

            /// The name in JSON and forms.
            pub fn kind(&self) -> &'static str {
                self.about().kind
            }
        }
    };
}

pub(super) use {commands, verb};
