//! Runs queries: each is a separate file below with its libvirt calls and its lane. Permissions and
//! preconditions are checked elsewhere.

mod boot_order;
mod definition;
mod domain_hardware;
mod guest;
mod hardware;
mod leases;
mod network_definition;
mod ssh_keys;
mod volumes;

use std::sync::{Arc, atomic::Ordering};

use model::{
    Fault, HostInventory, ObjectKind, ObjectRef,
    query::{Answer, Listed, Query, Question},
};
use uuid::Uuid;
use virt::connect::Connect;

use crate::{
    Hypervisor,
    error::Error,
    link::{Lane, Session},
    pools_and_networks,
    watcher::Shared,
};

/// The target of a query.
struct Asked<'a> {
    session: Arc<Session>,
    shared: &'a Arc<Shared>,
    /// The known state of the host.
    known: &'a HostInventory,
    /// The object.
    id: Uuid,
}

impl Asked<'_> {
    /// Runs a call on a lane.
    async fn on<T: Send + 'static>(
        &self,
        lane: Lane,
        question: impl FnOnce(&Connect, Uuid) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let id = self.id;
        self.session.call(lane, move |connect| question(connect, id)).await
    }

    /// Runs a call that queries a machine's process, without delaying others if it hangs.
    async fn machine<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connect, Uuid) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let id = self.id;
        self.session.ask(id, move |connect| question(connect, id)).await
    }
}

/// A query that libvirt answers.
trait Ask: Query {
    /// Runs it.
    ///
    /// # Errors
    /// libvirt's error, or a fault of our own.
    async fn ask(self, asked: &Asked<'_>) -> Result<Self::Answer, Error>;
}

macro_rules! asks {
    ($($Name:ident),* $(,)?) => {
        async fn ask(question: Question, asked: &Asked<'_>) -> Result<Answer, Error> {
            Ok(match question { $(Question::$Name(question) => Answer::$Name(question.ask(asked).await?)),* })
        }
    };
}

asks! {
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

impl Hypervisor {
    /// A counter of changes that affect queries about the host: an answer from before a change is
    /// outdated.
    pub fn generation(&self) -> u64 {
        self.shared.devices.load(Ordering::Relaxed)
    }

    /// Answers a query about an object; `known` is the known state of this host.
    ///
    /// # Errors
    /// libvirt's error as a fault; `Unreachable` while disconnected.
    pub async fn ask(&self, known: &HostInventory, on: &ObjectRef, question: Question) -> Result<Answer, Fault> {
        let session = self.shared.session().ok_or_else(|| self.not_connected())?;
        let asked = Asked { session, shared: &self.shared, known, id: on.id };
        let name = known.name_of(on.kind, on.id).unwrap_or_default();
        ask(question, &asked).await.map_err(|error| match on.kind {
            ObjectKind::Pool | ObjectKind::Network => pools_and_networks::refused(&error, name, &self.config.id),
            ObjectKind::Domain | ObjectKind::Host => error.of_command(name, self.config.id.as_str()),
        })
    }

    /// Answers a query of one kind.
    ///
    /// # Errors
    /// libvirt's error as a fault; `Unreachable` while disconnected.
    pub async fn answer<Q: Listed>(
        &self,
        known: &HostInventory,
        on: &ObjectRef,
        question: Q,
    ) -> Result<Q::Answer, Fault> {
        let answer = self.ask(known, on, question.question()).await?;
        Q::answer(answer).ok_or_else(|| Error::Panicked.of_command("", self.config.id.as_str()))
    }
}
