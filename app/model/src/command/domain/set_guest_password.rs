//! Sets the password of a guest user.

use super::{About, Domain, Fault, Field, Host, Input, Verb, check_user, needs_agent, verb};
use crate::command::Secret;

verb! {
    /// Set the password of a guest user, through the guest agent (`virDomainSetUserPassword`).
    pub struct SetGuestPassword {
        /// The guest user.
        pub user: String,
        /// The new password.
        pub password: Secret,
    }
}

impl Verb for SetGuestPassword {
    type On = Domain;

    const ABOUT: About = About {
        kind: "setGuestPassword",
        label: "Set guest password",
        done: "has a new guest password",
        ..About::DEFAULT
    };

    const FIELDS: &'static [Field] = &[
        Field::new("user", "Guest user", Input::Line(64)).required(),
        Field::new("password", "New password", Input::Secret).required(),
    ];

    fn check(&self, on: &Domain, _: &Host) -> Result<(), Fault> {
        check_user(&self.user)?;
        let password = &self.password.0;
        let fits = (1..=256).contains(&password.len()) && !password.contains(['\0', '\n']);
        // A password read from a record is masked and cannot be set.
        if !fits || self.password.is_starred() {
            return Err(Fault::invalid("password", "must be 1 to 256 characters on one line"));
        }
        needs_agent(on)
    }
}
