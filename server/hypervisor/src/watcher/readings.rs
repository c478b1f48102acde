//! Reads machines: brief data from the daemon first, then each definition in parallel, so that a
//! hung machine delays only itself.
//!
//! The meaning of a reading is decided by the watcher.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use model::{Domain, DomainState};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{
    domain::{self, Brief, Definition},
    error::Error,
    events::Depth,
    link::{Lane, Session, blocking},
    uses::read::Named,
};

/// The machines as known before.
type Domains = BTreeMap<Uuid, Arc<Domain>>;

/// How long others wait for one definition; a healthy machine needs a millisecond.
const PATIENCE: Duration = Duration::from_millis(250);

/// A machine as read, with its host objects; none if they could not be read.
pub(super) type Reading = (Domain, Option<Named>);

/// Reads some machines to the given depth; none for a missing one. A starting machine is skipped:
/// libvirt reports it as paused until it runs, and then sends an event.
pub(super) async fn some(
    session: &Arc<Session>,
    wanted: &[(Uuid, Depth)],
    known: &Domains,
) -> Result<HashMap<Uuid, Option<Reading>>, Error> {
    let questions: Vec<_> = wanted.iter().map(|(id, depth)| (*id, *depth, known.get(id).cloned())).collect();
    let look = move |connect: &_| {
        let (mut read, mut briefs) = (HashMap::new(), Vec::new());
        for (id, depth, known) in questions {
            match (depth, known) {
                (Depth::State, Some(known)) if known.state.is_active() => {
                    let state = domain::read_state(connect, &known)?;
                    read.insert(id, state.map(|domain| (domain, None)));
                }
                (_, known) => match domain::brief(connect, id)? {
                    Some(brief) if brief.is_starting() && known.is_none_or(|known| !known.state.is_active()) => {}
                    Some(brief) => briefs.push(brief),
                    None => drop(read.insert(id, None)),
                },
            }
        }
        Ok((read, briefs))
    };
    let (mut read, briefs) = session.call(Lane::Read, look).await?;
    read.extend(complete(session, briefs, HashMap::new(), known).await?);
    Ok(read)
}

/// Reads every machine of the host; those removed meanwhile are skipped.
pub(super) async fn all(session: &Arc<Session>, known: &Domains) -> Result<HashMap<Uuid, Reading>, Error> {
    let briefs = session.call(Lane::Read, domain::list).await?;
    // One call instead of one per machine; without it each is looked up.
    let handles = session.ask(Uuid::nil(), domain::handles).await.unwrap_or_default();
    let read = complete(session, briefs, handles, known).await?;
    Ok(read.into_iter().filter_map(|(id, read)| Some((id, read?))).collect())
}

/// Start times of the QEMU processes of running machines, in Unix milliseconds, on a local host:
/// QEMU writes its pid file once at start.
pub(super) async fn begun(session: &Arc<Session>, machines: &[(Uuid, DomainState, String)]) -> HashMap<Uuid, u64> {
    let Some(root) = session.root.clone().filter(|_| !session.is_of_user()) else { return HashMap::new() };
    let running = machines.iter().filter(|(_, state, _)| *state == DomainState::Running);
    let named: Vec<(Uuid, String)> = running.map(|(id, _, name)| (*id, name.clone())).collect();
    let look = move || {
        let begun = named.into_iter().filter_map(|(id, name)| {
            let written = std::fs::metadata(root.join("run/libvirt/qemu").join(format!("{name}.pid"))).ok()?.modified();
            let since = written.ok()?.duration_since(UNIX_EPOCH).ok()?;
            Some((id, since.as_millis() as u64))
        });
        begun.collect()
    };
    blocking(look).await.unwrap_or_default()
}

/// Reads the definitions of briefly read machines.
async fn complete(
    session: &Arc<Session>,
    briefs: Vec<Brief>,
    mut handles: HashMap<Uuid, virt::domain::Domain>,
    known: &Domains,
) -> Result<HashMap<Uuid, Option<Reading>>, Error> {
    let mut reading = JoinSet::new();
    for brief in briefs {
        let (session, known, handle) = (session.clone(), known.get(&brief.id).cloned(), handles.remove(&brief.id));
        reading.spawn(async move {
            let id = brief.id;
            let define = move |connect: &virt::connect::Connect| match handle {
                Some(handle) => domain::define(&handle),
                None => domain::lookup_and_define(connect, id),
            };
            match session.ask_within(id, PATIENCE, define).await {
                Ok(Some(Definition { domain, named })) => Ok((id, Some((brief.with(Some(domain), None), Some(named))))),
                Ok(None) => Ok((id, None)),
                // Others do not wait for it; known data is kept until it has responded.
                Err(Error::Later) => {
                    let unresponsive = known.as_ref().is_some_and(|known| known.unresponsive);
                    let domain = Domain { unresponsive, ..brief.with(None, known.as_deref()) };
                    Ok((id, Some((domain, None))))
                }
                Err(error) if error.is_link() => Err(error),
                Err(error) => {
                    tracing::warn!(domain.id = %id, ?error, "cannot read a definition");
                    Ok((id, Some((brief.with(None, known.as_deref()), None))))
                }
            }
        });
    }
    let mut read = HashMap::new();
    while let Some(done) = reading.join_next().await {
        let (id, one) = done.unwrap_or(Err(Error::Panicked))?;
        read.insert(id, one);
    }
    Ok(read)
}
