//! Removes an SSH key of a guest user.

use super::{About, Domain, Fault, Field, Host, Input, Verb, needs_agent, verb};
use super::{check_public_key, check_user};

verb! {
    /// Remove a public key from a guest user's `authorized_keys`, through the guest agent
    /// (`virDomainAuthorizedSSHKeysSet`).
    pub struct RemoveSshKey {
        /// The guest user.
        pub user: String,
        /// The public key, exactly as in the file.
        pub key: String,
    }
}

impl Verb for RemoveSshKey {
    type On = Domain;

    const ABOUT: About =
        About { kind: "removeSshKey", label: "Remove SSH key", done: "had an SSH key removed", ..About::DEFAULT };

    const FIELDS: &'static [Field] = &[
        Field::new("user", "User", Input::Line(64)).required(),
        Field::new("key", "Public key", Input::Exact).required(),
    ];

    fn check(&self, on: &Domain, _: &Host) -> Result<(), Fault> {
        check_user(&self.user)?;
        check_public_key(&self.key)?;
        needs_agent(on)
    }
}
