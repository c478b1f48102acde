//! Runs commands: each is a separate file below with its libvirt calls. Every function here blocks;
//! `link` decides where it runs and for how long, `model` whether it is possible.

pub(crate) mod domain;
pub(crate) mod network;
pub(crate) mod pool;

use crate::error::Error;

/// A command that libvirt runs on its object. It returns when libvirt has returned.
pub(crate) trait Run<On> {
    /// # Errors
    /// libvirt's error, or a fault of our own.
    fn run(&self, on: On) -> Result<(), Error>;
}

/// Dispatches any command of an enum; each is named once.
macro_rules! runs {
    ($Enum:ident on $On:ty { $($Name:ident),* $(,)? }) => {
        pub(crate) fn run(command: &model::$Enum, on: $On) -> Result<(), $crate::error::Error> {
            match command { $(model::$Enum::$Name(verb) => $crate::run::Run::run(verb, on)),* }
        }
    };
}

use runs;
