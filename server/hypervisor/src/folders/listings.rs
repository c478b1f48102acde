//! Compares listings of all objects with the previous ones, for remote hosts whose files cannot be
//! watched. It leaves hints.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use model::Network;
use uuid::Uuid;

use crate::{
    domain::{self, Flags},
    error::Error,
    events::{Around, Depth},
    link::{Lane, Session},
    network,
    storage::{self, Listed},
};

/// The previous listings.
#[derive(Default)]
pub(super) struct Listings {
    machines: Option<HashMap<Uuid, Flags>>,
    networks: Option<HashMap<Uuid, Network>>,
    pools: Option<HashMap<Uuid, Listed>>,
    /// Whether listing pools timed out. They are not listed again in this session, because each
    /// hung call occupies a slot of its lane.
    pools_hang: bool,
    /// Number of comparisons, because each one checks the sizes of only some volumes.
    turn: usize,
}

impl Listings {
    /// Whether nothing was listed yet.
    pub(super) fn are_new(&self) -> bool {
        self.turn == 0
    }

    /// Lists again and leaves a hint for every difference; the first time for everything, which may
    /// have changed since it was read. Failed listings are left to the periodic readings.
    ///
    /// `changed` names objects that were read with a difference since the last listing; none means
    /// unknown. They are read again, because a second change may have restored the listed state.
    pub(super) async fn compare(&mut self, session: &Arc<Session>, changed: Option<&HashSet<Uuid>>) {
        let nothing = HashSet::new();
        if changed.is_none() {
            (self.machines, self.networks, self.pools) = (None, None, None);
        }
        let changed = changed.unwrap_or(&nothing);
        if let Ok(machines) = session.call(Lane::Read, domain::flags).await {
            match &self.machines {
                Some(had) => {
                    let differs = machines
                        .iter()
                        .filter(|(id, flags)| changed.contains(id) || had.get(id).is_some_and(|had| had != *flags));
                    differs.for_each(|(id, _)| session.hints.domain(*id, Depth::Whole));
                }
                None => session.hints.all_machines(),
            }
            self.machines = Some(machines);
        }
        let around = &session.hints.around;
        if let Ok(networks) = session.call(Lane::Read, network::networks).await {
            let networks: HashMap<Uuid, Network> = networks.into_iter().map(|one| (one.id, one)).collect();
            match &self.networks {
                Some(had) => {
                    let again = changed.iter().copied().filter(|id| networks.contains_key(id));
                    differing(had, &networks).chain(again).for_each(|id| around.network(id));
                }
                None => around.all_networks(),
            }
            self.networks = Some(networks);
        }
        let turn = self.turn;
        self.turn += 1;
        if self.pools_hang {
            return;
        }
        match session.call(Lane::Around, move |connect| storage::listed(connect, turn)).await {
            Ok(mut pools) => {
                match &self.pools {
                    Some(had) => {
                        compare_pools(had, &mut pools, around);
                        changed.iter().filter(|id| pools.contains_key(id)).for_each(|id| around.pool(*id, false));
                    }
                    None => around.all_pools(),
                }
                self.pools = Some(pools);
            }
            Err(Error::TimedOut { .. }) => self.pools_hang = true,
            Err(_) => {}
        }
    }
}

/// Keys in only one of two maps, or with different values.
fn differing<T: PartialEq>(had: &HashMap<Uuid, T>, now: &HashMap<Uuid, T>) -> impl Iterator<Item = Uuid> {
    let ids: HashSet<Uuid> = had.keys().chain(now.keys()).copied().collect();
    ids.into_iter().filter(|id| had.get(id) != now.get(id))
}

/// Leaves hints for pools that differ; sizes not checked this time are kept.
fn compare_pools(had: &HashMap<Uuid, Listed>, now: &mut HashMap<Uuid, Listed>, hints: &Around) {
    for (id, pool) in now.iter_mut() {
        let Some(had) = had.get(id) else { continue };
        let resized = pool.sizes.iter().any(|(name, size)| had.sizes.get(name).is_some_and(|had| had != size));
        if resized || (had.autostart, &had.names) != (pool.autostart, &pool.names) {
            hints.pool(*id, resized);
        }
        for (name, size) in had.sizes.iter().filter(|(name, _)| pool.names.contains(*name)) {
            pool.sizes.entry(name.clone()).or_insert(*size);
        }
    }
}
