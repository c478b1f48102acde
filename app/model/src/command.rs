//! Every mutation as data, and the one predicate that says whether it is
//! possible now and, if not, why.
//!
//! The browser disables a button with `check`, the server refuses with it. libvirt
//! stays the last judge; its refusal becomes a `Fault` like any other. There is one
//! enum for each kind of object, and `Command` is any of them. Each command is a file of
//! its own below (`verb`).

mod domain;
pub mod form;
mod network;
mod pool;
mod secret;
mod verb;

use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

pub use self::{
    domain::*,
    network::*,
    pool::*,
    secret::{Address, Secret},
    verb::{About, Field, Hindrance, Input, Lane, Verb},
};
use crate::{DomainRef, Fault, FaultKind, HostId, HostInventory, ObjectKind, Permission, RequestId};

/// The code of a fault: the object is not the version that the command was meant for.
pub const CHANGED: &str = "version-changed";

/// What can be asked of an object of a host; on the wire its kind says of which.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Command {
    /// Of a machine.
    Domain(DomainCommand),
    /// Of a storage pool, or of a volume in it.
    Pool(PoolCommand),
    /// Of a network.
    Network(NetworkCommand),
}

impl From<DomainCommand> for Command {
    fn from(command: DomainCommand) -> Self {
        Self::Domain(command)
    }
}

impl From<PoolCommand> for Command {
    fn from(command: PoolCommand) -> Self {
        Self::Pool(command)
    }
}

impl From<NetworkCommand> for Command {
    fn from(command: NetworkCommand) -> Self {
        Self::Network(command)
    }
}

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let value = serde_json::Value::deserialize(deserializer)?;
        let kind = value.get("kind").and_then(|kind| kind.as_str()).unwrap_or_default().to_owned();
        // Each enum then says which field is wrong.
        let read = if PoolCommand::about_kind(&kind).is_some() {
            serde_json::from_value(value).map(Self::Pool)
        } else if NetworkCommand::about_kind(&kind).is_some() {
            serde_json::from_value(value).map(Self::Network)
        } else {
            serde_json::from_value(value).map(Self::Domain)
        };
        read.map_err(D::Error::custom)
    }
}

impl Command {
    /// What all commands say of themselves: those of machines, pools and networks, each in the order
    /// of menus.
    pub fn all() -> impl Iterator<Item = &'static About> {
        DomainCommand::ALL.iter().chain(PoolCommand::ALL).chain(NetworkCommand::ALL).copied()
    }

    /// What a kind of command says of itself; none of one that is not known.
    pub fn about_kind(kind: &str) -> Option<&'static About> {
        Self::all().find(|about| about.kind == kind)
    }

    /// What this one says of itself.
    pub fn about(&self) -> &'static About {
        match self {
            Self::Domain(command) => command.about(),
            Self::Pool(command) => command.about(),
            Self::Network(command) => command.about(),
        }
    }

    /// The name in JSON and forms.
    pub fn kind(&self) -> &'static str {
        self.about().kind
    }

    /// The verb on its button. Two losses of one kind never look alike.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Domain(command) => command.label(),
            Self::Pool(command) => command.label(),
            Self::Network(command) => command.label(),
        }
    }

    /// The verb of a kind, for a command whose arguments are not at hand; the kind itself of
    /// one that is not known.
    pub fn label_of(kind: &str) -> String {
        Self::about_kind(kind).map_or(kind, |about| about.label).to_owned()
    }

    /// The permission that it needs.
    pub fn permission(&self) -> Permission {
        match self {
            Self::Domain(command) => command.permission(),
            Self::Pool(command) => command.permission(),
            Self::Network(command) => command.permission(),
        }
    }

    /// What it did, for "web-01 …".
    pub fn done(&self) -> &'static str {
        match self {
            Self::Domain(command) => command.done(),
            Self::Pool(command) => command.done(),
            Self::Network(command) => command.done(),
        }
    }

    /// What is lost by it, for a confirmation; none when nothing is.
    pub fn loses(&self) -> Option<&'static str> {
        match self {
            Self::Domain(command) => command.loses(),
            Self::Pool(command) => command.loses(),
            Self::Network(command) => command.loses(),
        }
    }

    /// The confirmation text for this command on so many objects; none when it needs no confirmation.
    pub fn asks(&self, targets: usize) -> Option<&'static str> {
        match self {
            Self::Domain(command) => command.asks(targets),
            _ => self.loses(),
        }
    }

    /// The text to type to confirm this command: the number of machines when there are many, or the
    /// pool's name when its volumes are deleted with it. None where a click is enough.
    pub fn typed(&self, name: &str, targets: usize) -> Option<String> {
        match self {
            Self::Domain(_) if targets > domain::MANY => Some(targets.to_string()),
            Self::Domain(command) => command.typed(name),
            Self::Pool(command) => command.typed(name),
            Self::Network(command) => command.typed(name),
        }
    }

    /// What kind of object it is about.
    pub fn object(&self) -> ObjectKind {
        match self {
            Self::Domain(_) => ObjectKind::Domain,
            Self::Pool(_) => ObjectKind::Pool,
            Self::Network(_) => ObjectKind::Network,
        }
    }

    /// The name of what it is about: the object's own, or that of the new one or the volume.
    /// None when there is no such object.
    pub fn target_name(&self, host: &HostInventory, target: Uuid) -> Option<String> {
        match self {
            Self::Domain(command) => command.subject(host.domains.get(&target).map(|domain| &**domain)),
            Self::Pool(command) => command.subject(host.pools.get(&target).map(|pool| &**pool)),
            Self::Network(command) => command.subject(host.networks.get(&target).map(|network| &**network)),
        }
    }

    /// Whether this is possible now; the error is the sentence for the tooltip.
    ///
    /// # Errors
    /// `NotFound`, `Conflict` when the object is not the expected version, `Denied` with
    /// the reason, or `Invalid` when an argument is at fault.
    pub fn check(&self, host: &HostInventory, target: Uuid, expected_version: Option<u64>) -> Result<(), Fault> {
        let id = &host.host.id;
        let version = match self {
            Self::Domain(_) => host.domains.get(&target).map(|domain| (&domain.name, domain.version)),
            Self::Pool(_) => host.pools.get(&target).map(|pool| (&pool.name, pool.version)),
            Self::Network(_) => host.networks.get(&target).map(|network| (&network.name, network.version)),
        };
        if let (Some(expected), Some((name, version))) = (expected_version, version)
            && expected != version
        {
            let reason = format!("{name} has changed since you looked at it");
            let changed = Fault::new(FaultKind::Conflict, reason).with_code(CHANGED, [("name", name)]);
            return Err(changed.with_next("Look at it again, then decide"));
        }
        let missing = |what: &str| {
            Fault::new(FaultKind::NotFound, format!("{id} has no {what} with the UUID {target}"))
                .with_code("object-not-found", [("host", id.as_str()), ("uuid", &target.to_string())])
                .with_next("It may have been deleted; look at the list")
        };
        match self {
            Self::Domain(command) => {
                command.check(host.domains.get(&target).map(|domain| &**domain), &host.host, || missing("machine"))
            }
            Self::Pool(command) => {
                command.check(host.pools.get(&target).map(|pool| &**pool), host, || missing("storage pool"))
            }
            Self::Network(command) => {
                command.check(host.networks.get(&target).map(|network| &**network), host, || missing("network"))
            }
        }
    }

    /// Whether the host shows that this was done, for a command whose end nobody saw: yes,
    /// no, or none when it looks the same with and without it.
    pub fn evidence(&self, host: &HostInventory, target: Uuid) -> Option<bool> {
        match self {
            Self::Domain(command) => command.evidence(host.domains.get(&target).map(|domain| &**domain)),
            Self::Pool(command) => command.evidence(host.pools.get(&target).map(|pool| &**pool)),
            Self::Network(command) => command.evidence(host.networks.get(&target).map(|network| &**network)),
        }
    }
}

/// A command on its way: who made which wish about what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CommandRequest<C = Command> {
    /// Made by the client; the same id never has a second effect.
    pub request_id: RequestId,
    /// The host that has the target.
    pub host: HostId,
    /// The UUID of the machine, the pool or the network; of a new one the UUID that it
    /// shall have.
    pub target: Uuid,
    /// The wish.
    pub command: C,
    /// The version of the object that the wish was made for; another one is a conflict.
    #[serde(default = "none::<u64>", skip_serializing_if = "Option::is_none")]
    pub expected_version: Option<u64>,
    /// The browser's session, as it names itself.
    #[serde(default = "none::<String>", skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The tab, as it names itself.
    #[serde(default = "none::<String>", skip_serializing_if = "Option::is_none")]
    pub tab: Option<String>,
}

/// Nothing; a default that asks nothing of the other fields' types.
fn none<T>() -> Option<T> {
    None
}

/// One command for several machines of a host: a task with one task for each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BatchRequest {
    /// Made by the client; the same id never has a second effect.
    pub request_id: RequestId,
    /// The host that has the targets.
    pub host: HostId,
    /// The UUIDs of the machines.
    pub targets: Vec<Uuid>,
    /// The wish.
    pub command: DomainCommand,
    /// The browser's session, as it names itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The tab, as it names itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tab: Option<String>,
}

impl<C> CommandRequest<C> {
    /// A wish without anything optional.
    pub fn new(request_id: RequestId, target: &DomainRef, command: impl Into<C>) -> Self {
        let (host, target) = (target.host.clone(), target.id);
        Self { request_id, host, target, command: command.into(), expected_version: None, session: None, tab: None }
    }

    /// What is meant.
    pub fn object(&self) -> DomainRef {
        DomainRef { host: self.host.clone(), id: self.target }
    }
}

/// The answer to an accepted command. How it ended comes as an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// The id the client made.
    pub request_id: RequestId,
    /// The task that tells how far it is; it has the request's id.
    pub task_id: RequestId,
}

impl Receipt {
    /// The receipt for a request.
    pub fn of(request_id: RequestId) -> Self {
        Self { request_id, task_id: request_id }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_read_by_its_kind_and_says_what_is_wrong_with_it() {
        for json in [
            r#"{"kind":"start"}"#,
            r#"{"kind":"startPool"}"#,
            r#"{"kind":"resizeVolume","name":"a","capacityBytes":5}"#,
            r#"{"kind":"setNetworkAutostart","enabled":true}"#,
        ] {
            let command: Command = serde_json::from_str(json).expect("right");
            assert_eq!(serde_json::to_string(&command).expect("written"), json);
            assert!(!command.label().is_empty());
        }
        for (json, why) in [
            (r#"{"kind":"explode"}"#, "explode"),
            (r#"{"kind":"startPool","force":true}"#, "force"),
            (r#"{"kind":"resizeVolume","name":"a"}"#, "capacityBytes"),
            (r#"{}"#, "kind"),
        ] {
            let error = serde_json::from_str::<Command>(json).expect_err("wrong").to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn every_kind_is_one_of_a_kind_and_says_what_it_is() {
        let all: Vec<&About> = Command::all().collect();
        let kinds: std::collections::BTreeSet<&str> = all.iter().map(|about| about.kind).collect();
        assert_eq!(kinds.len(), all.len());
        for about in all {
            assert!(!about.label.is_empty() && !about.done.is_empty(), "{}", about.kind);
            // The name in JSON is the enum's own, so that a wrong one is found here.
            let error = serde_json::from_str::<Command>(&format!(r#"{{"kind":"{}","no":1}}"#, about.kind));
            let error = error.expect_err("an argument that there is not").to_string();
            assert!(error.contains("unknown field `no`"), "{}: {error}", about.kind);
            let plain = form::fields_of(about.kind).expect("known").is_empty();
            assert!(!about.menu || plain, "{} needs arguments", about.kind);
        }
        assert_eq!(Command::label_of("explode"), "explode");
    }
}
