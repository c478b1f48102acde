//! Carries out commands: each is a file of its own below, which asks libvirt for it. Every function
//! here blocks; `link` decides where it runs and for how long, `model` whether it is possible.

pub(crate) mod domain;
pub(crate) mod network;
pub(crate) mod pool;

use crate::error::Error;

/// A command that libvirt carries out with what it is about. It returns when libvirt has answered.
pub(crate) trait Run<On> {
    /// # Errors
    /// What libvirt refused, or a reason of our own.
    fn run(&self, on: On) -> Result<(), Error>;
}

/// Carries out any command of an enum; each is named once.
macro_rules! runs {
    ($Enum:ident on $On:ty { $($Name:ident),* $(,)? }) => {
        pub(crate) fn run(command: &model::$Enum, on: $On) -> Result<(), $crate::error::Error> {
            match command { $(model::$Enum::$Name(verb) => $crate::run::Run::run(verb, on)),* }
        }
    };
}

use runs;
