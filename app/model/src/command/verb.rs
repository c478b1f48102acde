//! What each command says of itself, and the registry that makes one enum of all commands of a kind
//! of object.
//!
//! A command is one file below `command/`: its arguments, an `About` with all that is fixed, and the
//! decisions that depend on its arguments. Menus, forms, confirmations, records, the API's schema and
//! the dispatch to libvirt read the registry. What libvirt does with it, `hypervisor` knows.

use crate::{Fault, Host, Permission, storage::User};

/// What is true of a command whatever its arguments are.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Its name in JSON, forms and records.
    pub kind: &'static str,
    /// The verb on its button.
    pub label: &'static str,
    /// What it did, to follow the object's name: "web-01 …".
    pub done: &'static str,
    /// What it is doing meanwhile, to stand beside the object; empty for a command that is over at once.
    pub doing: &'static str,
    /// The name of its picture, if it has one.
    pub icon: Option<&'static str>,
    /// The permission that it needs.
    pub permission: Permission,
    /// Which calls to libvirt it waits behind.
    pub lane: Lane,
    /// How long what happens to its object counts as its effect, in seconds.
    pub window: u32,
    /// What is lost by it, for a confirmation; none when nothing is.
    pub loses: Option<&'static str>,
    /// What is said before it is done to several objects at once; none when nothing is.
    pub several: Option<&'static str>,
    /// Whether it stands in the menu of its object, which is for commands without arguments.
    pub menu: bool,
    /// Whether it may be sent later than it was wanted, and once more: it loses nothing and leads to
    /// a state that it leaves as it is.
    pub harmless: bool,
    /// Whether at most other volumes of the pool come or go, and those that stay are as they were.
    pub others_stay: bool,
    /// Whether it makes a new object, which has the target's UUID then.
    pub makes: bool,
}

impl About {
    /// What most commands share.
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

/// Which calls to libvirt a command waits behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Those that libvirt answers by itself.
    Quick,
    /// Those that wait for a disk, a file server or a guest.
    Slow,
    /// Thawing a guest's file systems, which must not wait for other calls.
    Thaw,
}

/// An argument of a command.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name in JSON and forms; one within another has both (`volume.name`).
    pub name: &'static str,
    /// What people call it.
    pub label: &'static str,
    /// What it is.
    pub input: Input,
    /// Whether a form must fill it in.
    pub required: bool,
    /// What stands in a form at first.
    pub preset: &'static str,
}

/// What an argument is, and how a form asks for it.
#[derive(Clone, Copy, Debug)]
pub enum Input {
    /// One line with at most so many characters; 0 means any number. Blanks around it do not count.
    Line(u16),
    /// One line as it is, with the blanks around it.
    Exact,
    /// Several lines.
    Lines,
    /// A number between two.
    Number(u32, u32),
    /// A size in bytes; forms ask for a number and a unit.
    Bytes,
    /// Yes or no.
    Flag,
    /// Words between blanks or commas.
    Words,
    /// An IP address.
    Ip,
    /// What must not be shown or written down.
    Secret,
    /// One of several.
    Choice,
}

impl Field {
    /// A field that may stay empty.
    pub const fn new(name: &'static str, label: &'static str, input: Input) -> Self {
        Self { name, label, input, required: false, preset: "" }
    }

    /// One that must not.
    pub const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    /// One that holds something at first.
    pub const fn preset(self, preset: &'static str) -> Self {
        Self { preset, ..self }
    }
}

/// What commands are about.
pub trait Object {
    /// What there is around it that decides what is possible.
    type Around;

    /// Its name.
    fn name(&self) -> &str;

    /// The host that has it.
    fn host(around: &Self::Around) -> &Host;
}

/// Whether anything is known of what an object does now.
///
/// # Errors
/// `Denied` while its host is away.
pub(super) fn connected<On: Object>(around: &On::Around, name: &str) -> Result<(), Fault> {
    let host = On::host(around);
    if host.connection.connected {
        return Ok(());
    }
    let reason = format!("{} is not connected, so what {name} does now is not known", host.id);
    Err(Fault::denied(reason).with_code("host-not-connected", [("host", host.id.as_str()), ("name", name)]))
}

/// What stands in the way of a command: those who use what it is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Hindrance {
    /// The users; an empty list hinders nothing.
    pub users: Vec<User>,
    /// What cannot be done for that reason, to follow "is in use by …, so".
    pub so: &'static str,
    /// The next step.
    pub next: &'static str,
}

/// The command without arguments, of one that has none.
pub trait Plain: Sized {
    /// It; none of a command with arguments.
    fn plain() -> Option<Self>;
}

/// A command: its arguments, and what depends on them.
pub trait Verb: Plain {
    /// What it is done with.
    type On: Object;

    /// What is fixed.
    const ABOUT: About;

    /// Its arguments, all of them. Forms, records and programs name them so. They stand beside the
    /// rest so that the browser, which draws no forms, does not carry them.
    const FIELDS: &'static [Field] = &[];

    /// What is meant by a form that was filled in so: without what it holds for another choice, with
    /// what follows from the rest.
    fn filled(self) -> Self {
        self
    }

    /// The verb on its button, where the arguments make a difference.
    fn label(&self) -> &'static str {
        Self::ABOUT.label
    }

    /// What it did, to follow the object's name.
    fn done(&self) -> &'static str {
        Self::ABOUT.done
    }

    /// The permission that it needs.
    fn permission(&self) -> Permission {
        Self::ABOUT.permission
    }

    /// What is lost by it, for a confirmation.
    fn loses(&self) -> Option<&'static str> {
        Self::ABOUT.loses
    }

    /// The text to type to confirm it on the object of that name; none where a click is enough.
    fn typed(&self, _name: &str) -> Option<String> {
        None
    }

    /// The name of what it is about, such as a volume in its pool.
    fn subject(&self, on: Option<&Self::On>) -> Option<String> {
        on.map(|on| on.name().to_owned())
    }

    /// The volume that is there already and would be changed, copied or built upon.
    fn volume(&self) -> Option<&str> {
        None
    }

    /// The volume that it makes.
    fn new_volume(&self) -> Option<&str> {
        None
    }

    /// Whether it depends on who uses what it is about.
    fn depends_on_use(&self) -> bool {
        self.volume().is_some()
    }

    /// Whether content is lost by it, so that a use that is not known hinders it, too.
    fn loses_content(&self) -> bool {
        false
    }

    /// Which of those who use what it is about are in its way.
    fn hindrance(&self, _users: &[User]) -> Option<Hindrance> {
        None
    }

    /// Whether it is possible now.
    ///
    /// # Errors
    /// `Denied` with the reason, or `Invalid` with the argument at fault.
    fn check(&self, _on: &Self::On, _around: &<Self::On as Object>::Around) -> Result<(), Fault> {
        Ok(())
    }

    /// Whether what it makes can be made now.
    ///
    /// # Errors
    /// `Conflict` when it is there, `Denied`, `Invalid`.
    fn check_new(&self, _there: bool, _around: &<Self::On as Object>::Around) -> Result<(), Fault> {
        Ok(())
    }

    /// Whether the object shows that this was done: yes, no, or none when it looks the same with and
    /// without it. `on` is none when the object does not exist (any more).
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

/// Makes one enum of all commands that are done with a kind of object, in the order of menus.
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
            /// What all of them say of themselves, in the order of menus.
            pub const ALL: &'static [&'static About] = &[$(&$Name::ABOUT),*];

            /// The arguments of each, in the same order.
            pub const FIELDS: &'static [&'static [Field]] = &[$($Name::FIELDS),*];

            /// Its arguments.
            pub fn fields(&self) -> &'static [Field] {
                match self { $(Self::$Name(_) => $Name::FIELDS),* }
            }

            /// What this one says of itself.
            pub fn about(&self) -> &'static About {
                match self { $(Self::$Name(_) => &$Name::ABOUT),* }
            }

            pub(super) fn filled(self) -> Self {
                match self { $(Self::$Name(verb) => Self::$Name(verb.filled())),* }
            }

            /// The verb on its button.
            pub fn label(&self) -> &'static str {
                match self { $(Self::$Name(verb) => verb.label()),* }
            }

            /// What it did, to follow the object's name.
            pub fn done(&self) -> &'static str {
                match self { $(Self::$Name(verb) => verb.done()),* }
            }

            /// The permission that it needs.
            pub fn permission(&self) -> crate::Permission {
                match self { $(Self::$Name(verb) => verb.permission()),* }
            }

            /// What is lost by it, for a confirmation; none when nothing is.
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
            /// `missing` when the object is not there, `Denied` with the reason, `Invalid` with the
            /// argument, `Conflict` when what it makes is there.
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

            /// Whether this is possible now with an object that is there.
            ///
            /// # Errors
            /// `Denied` with the reason, `Invalid` with the argument.
            pub fn check_on(&self, on: &$On, around: &<$On as Object>::Around) -> Result<(), Fault> {
                $crate::command::verb::connected::<$On>(around, on.name())?;
                match self { $(Self::$Name(verb) => verb.check(on, around)),* }
            }

            /// Whether the object shows that this was done, for a command whose end nobody saw: yes, no,
            /// or none when it looks the same with and without it.
            pub fn evidence(&self, on: Option<&$On>) -> Option<bool> {
                match self { $(Self::$Name(verb) => verb.evidence(on)),* }
            }

            /// Those of the object's menu, which need nothing but a target.
            pub fn menu() -> Vec<Self> {
                let all = [$($Name::plain().filter(|_| $Name::ABOUT.menu).map(Self::$Name)),*];
                all.into_iter().flatten().collect()
            }

            /// What a kind of command says of itself; none when none of these is of that kind.
            pub fn about_kind(kind: &str) -> Option<&'static About> {
                Self::ALL.iter().copied().find(|about| about.kind == kind)
            }

            /// The volume that is there already and would be changed, copied or built upon; none of a
            /// command about something else.
            pub fn volume(&self) -> Option<&str> {
                match self { $(Self::$Name(verb) => verb.volume()),* }
            }

            /// The volume that it makes; none of a command that makes none.
            pub fn new_volume(&self) -> Option<&str> {
                match self { $(Self::$Name(verb) => verb.new_volume()),* }
            }

            /// Whether it depends on who uses what it is about.
            pub fn depends_on_use(&self) -> bool {
                match self { $(Self::$Name(verb) => verb.depends_on_use()),* }
            }

            /// Whether content is lost by it, so that a use that is not known hinders it, too.
            pub fn loses_content(&self) -> bool {
                match self { $(Self::$Name(verb) => verb.loses_content()),* }
            }

            /// Which of those who use what it is about are in its way.
            pub fn hindrance(&self, users: &[crate::storage::User]) -> Option<$crate::command::verb::Hindrance> {
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
