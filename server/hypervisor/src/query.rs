//! Answers questions: each is a file of its own below, which says how libvirt is asked and which
//! calls it waits behind. Who may ask, and whether there is anything to ask, others have decided.

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
    keeper,
    link::{Lane, Session},
    watcher::Shared,
};

/// Whom a question is asked.
struct Asked<'a> {
    session: Arc<Session>,
    shared: &'a Arc<Shared>,
    /// What is known of the host.
    known: &'a HostInventory,
    /// The object that it is about.
    id: Uuid,
}

impl Asked<'_> {
    /// Asks on a lane.
    async fn on<T: Send + 'static>(
        &self,
        lane: Lane,
        question: impl FnOnce(&Connect, Uuid) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let id = self.id;
        self.session.call(lane, move |connect| question(connect, id)).await
    }

    /// Asks what a machine's own process answers: one that hangs delays no other.
    async fn machine<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connect, Uuid) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let id = self.id;
        self.session.ask(id, move |connect| question(connect, id)).await
    }
}

/// A question that libvirt answers.
trait Ask: Query {
    /// Asks it.
    ///
    /// # Errors
    /// What libvirt refused, or a reason of our own.
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
    /// How often what questions about the host are answered with has changed since the start: an
    /// answer from before a change is out of date.
    pub fn generation(&self) -> u64 {
        self.shared.devices.load(Ordering::Relaxed)
    }

    /// Answers a question about an object; `known` is what is known of this host.
    ///
    /// # Errors
    /// What libvirt refused, in words; `Unreachable` while the link is down.
    pub async fn ask(&self, known: &HostInventory, on: &ObjectRef, question: Question) -> Result<Answer, Fault> {
        let session = self.shared.session().ok_or_else(|| self.not_connected())?;
        let asked = Asked { session, shared: &self.shared, known, id: on.id };
        let name = known.name_of(on.kind, on.id).unwrap_or_default();
        ask(question, &asked).await.map_err(|error| match on.kind {
            ObjectKind::Pool | ObjectKind::Network => keeper::refused(&error, name, &self.config.id),
            ObjectKind::Domain | ObjectKind::Host => error.of_command(name, self.config.id.as_str()),
        })
    }

    /// Answers a question of one kind.
    ///
    /// # Errors
    /// What libvirt refused, in words; `Unreachable` while the link is down.
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
