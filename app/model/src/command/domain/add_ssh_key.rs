//! Adds an SSH key of a guest user.

use super::{About, Domain, Fault, Field, Host, Input, Verb, needs_agent, verb};
use super::{check_public_key, check_user};

verb! {
    /// Add a public key to a guest user's `authorized_keys`, through the guest agent
    /// (`virDomainAuthorizedSSHKeysSet`).
    pub struct AddSshKey {
        /// The guest user.
        pub user: String,
        /// The public key, as a line of `authorized_keys`.
        pub key: String,
    }
}

impl Verb for AddSshKey {
    type On = Domain;

    const ABOUT: About = About { kind: "addSshKey", label: "Add SSH key", done: "has a new SSH key", ..About::DEFAULT };

    const FIELDS: &'static [Field] = &[
        Field::new("user", "User", Input::Line(64)).required(),
        Field::new("key", "Public key", Input::Lines).required(),
    ];

    fn check(&self, on: &Domain, _: &Host) -> Result<(), Fault> {
        check_user(&self.user)?;
        if self.key.contains("PRIVATE KEY") {
            let why = "this is a private key; use the public key (file name ends in .pub)";
            return Err(Fault::invalid("key", why));
        }
        check_public_key(&self.key)?;
        needs_agent(on)
    }
}
