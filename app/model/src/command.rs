//! Every mutation as data, and the predicate that decides whether it is possible now and, if not,
//! why.
//!
//! The browser disables a button with `check`, the server refuses a request with it. libvirt still
//! has the final decision; its error becomes a `Fault` like any other. There is one enum per kind
//! of object; `Command` is any of them. Each command is a separate file below (`verb`).

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
use crate::{Fault, FaultKind, HostId, HostInventory, ObjectKind, ObjectRef, Permission, RequestId};

/// The code of a fault: the object is not the version that the command was meant for.
pub const CHANGED: &str = "version-changed";

/// A command for an object of a host. On the wire, `kind` determines the object's type.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Command {
    /// For a machine.
    Domain(DomainCommand),
    /// For a storage pool or a volume in it.
    Pool(PoolCommand),
    /// For a network.
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
        // Each enum reports the invalid field.
        let read = match Self::object_of(&kind) {
            ObjectKind::Pool => serde_json::from_value(value).map(Self::Pool),
            ObjectKind::Network => serde_json::from_value(value).map(Self::Network),
            ObjectKind::Domain | ObjectKind::Host => serde_json::from_value(value).map(Self::Domain),
        };
        read.map_err(D::Error::custom)
    }
}

impl Command {
    /// Descriptions of all commands: machines, pools and networks, each in menu order.
    pub fn all() -> impl Iterator<Item = &'static About> {
        DomainCommand::ALL.iter().chain(PoolCommand::ALL).chain(NetworkCommand::ALL).copied()
    }

    /// The description of a kind; none if the kind is unknown.
    pub fn about_kind(kind: &str) -> Option<&'static About> {
        Self::all().find(|about| about.kind == kind)
    }

    /// What a command of a kind is about; a machine if the kind is unknown.
    pub fn object_of(kind: &str) -> ObjectKind {
        if PoolCommand::about_kind(kind).is_some() {
            ObjectKind::Pool
        } else if NetworkCommand::about_kind(kind).is_some() {
            ObjectKind::Network
        } else {
            ObjectKind::Domain
        }
    }

    /// The description of this command.
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

    /// The button label. Two different losses never look alike.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Domain(command) => command.label(),
            Self::Pool(command) => command.label(),
            Self::Network(command) => command.label(),
        }
    }

    /// The label of a kind, for a command without its arguments; the kind itself if it is unknown.
    pub fn label_of(kind: &str) -> String {
        Self::about_kind(kind).map_or(kind, |about| about.label).to_owned()
    }

    /// The required permission.
    pub fn permission(&self) -> Permission {
        match self {
            Self::Domain(command) => command.permission(),
            Self::Pool(command) => command.permission(),
            Self::Network(command) => command.permission(),
        }
    }

    /// The result, to follow the object's name: "web-01 …".
    pub fn done(&self) -> &'static str {
        match self {
            Self::Domain(command) => command.done(),
            Self::Pool(command) => command.done(),
            Self::Network(command) => command.done(),
        }
    }

    /// What is lost, for the confirmation; none if nothing is lost.
    pub fn loses(&self) -> Option<&'static str> {
        match self {
            Self::Domain(command) => command.loses(),
            Self::Pool(command) => command.loses(),
            Self::Network(command) => command.loses(),
        }
    }

    /// The confirmation text for this command on `targets` objects; none if no confirmation is
    /// needed.
    pub fn asks(&self, targets: usize) -> Option<&'static str> {
        match self {
            Self::Domain(command) => command.asks(targets),
            _ => self.loses(),
        }
    }

    /// The text to type as confirmation: the number of machines for many machines, or the pool's
    /// name if its volumes are deleted as well. None if a click is enough.
    pub fn typed(&self, name: &str, targets: usize) -> Option<String> {
        match self {
            Self::Domain(_) if targets > domain::MANY => Some(targets.to_string()),
            Self::Domain(command) => command.typed(name),
            Self::Pool(command) => command.typed(name),
            Self::Network(command) => command.typed(name),
        }
    }

    /// The kind of its object.
    pub fn object(&self) -> ObjectKind {
        match self {
            Self::Domain(_) => ObjectKind::Domain,
            Self::Pool(_) => ObjectKind::Pool,
            Self::Network(_) => ObjectKind::Network,
        }
    }

    /// The name of the target: the object, the new object or the volume. None if the object does
    /// not exist.
    pub fn target_name(&self, host: &HostInventory, target: Uuid) -> Option<String> {
        match self {
            Self::Domain(command) => command.subject(host.domains.get(&target).map(|domain| &**domain)),
            Self::Pool(command) => command.subject(host.pools.get(&target).map(|pool| &**pool)),
            Self::Network(command) => command.subject(host.networks.get(&target).map(|network| &**network)),
        }
    }

    /// Whether it is possible now. The error is the tooltip text.
    ///
    /// # Errors
    /// `NotFound`, `Conflict` if the object has another version, `Denied` with the reason, or
    /// `Invalid` with the argument.
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
            let reason = format!("{name} has changed since this page was loaded");
            let changed = Fault::new(FaultKind::Conflict, reason).with_code(CHANGED, [("name", name)]);
            return Err(changed.with_next("Reload it, check the change and repeat the command"));
        }
        let missing = |what: &str| {
            Fault::new(FaultKind::NotFound, format!("{id} has no {what} with the UUID {target}"))
                .with_code("object-not-found", [("host", id.as_str()), ("uuid", &target.to_string())])
                .with_next("It may have been deleted; reload the list")
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

    /// Whether the effect is visible on the host, for a command whose end was not observed: yes,
    /// no, or none if the state is the same with and without it.
    pub fn evidence(&self, host: &HostInventory, target: Uuid) -> Option<bool> {
        match self {
            Self::Domain(command) => command.evidence(host.domains.get(&target).map(|domain| &**domain)),
            Self::Pool(command) => command.evidence(host.pools.get(&target).map(|pool| &**pool)),
            Self::Network(command) => command.evidence(host.networks.get(&target).map(|network| &**network)),
        }
    }
}

/// A command request: the command, its target and its sender.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CommandRequest<C = Command> {
    /// Chosen by the client. The same id never has a second effect.
    pub request_id: RequestId,
    /// The host that has the target.
    pub host: HostId,
    /// The UUID of the machine, pool or network; for a new object the UUID it gets.
    pub target: Uuid,
    /// The command.
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

/// None, without requirements on the type of the field.
fn none<T>() -> Option<T> {
    None
}

/// One command for several machines of a host: one task with a subtask per machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BatchRequest {
    /// Chosen by the client. The same id never has a second effect.
    pub request_id: RequestId,
    /// The host that has the targets.
    pub host: HostId,
    /// The UUIDs of the machines.
    pub targets: Vec<Uuid>,
    /// The command.
    pub command: DomainCommand,
    /// The browser session id, chosen by the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The tab id, chosen by the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tab: Option<String>,
}

impl<C> CommandRequest<C> {
    /// A request without optional fields.
    pub fn new(request_id: RequestId, on: &ObjectRef, command: impl Into<C>) -> Self {
        let (host, target) = (on.host.clone(), on.id);
        Self { request_id, host, target, command: command.into(), expected_version: None, session: None, tab: None }
    }
}

impl CommandRequest<Command> {
    /// The target.
    pub fn object(&self) -> ObjectRef {
        ObjectRef::new(self.command.object(), &self.host, self.target)
    }
}

/// The response to an accepted command. The result arrives as an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// The request id.
    pub request_id: RequestId,
    /// The id of the task, which equals the request id.
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
            // The name in JSON comes from the enum, so a mismatch is found here.
            let error = serde_json::from_str::<Command>(&format!(r#"{{"kind":"{}","no":1}}"#, about.kind));
            let error = error.expect_err("an argument that there is not").to_string();
            assert!(error.contains("unknown field `no`"), "{}: {error}", about.kind);
            let plain = form::fields_of(about.kind).expect("known").is_empty();
            assert!(!about.menu || plain, "{} needs arguments", about.kind);
        }
        assert_eq!(Command::label_of("explode"), "explode");
    }
}
