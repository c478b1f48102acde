//! `diff` and `apply` are inverse of each other, and applying is idempotent.

use std::{collections::BTreeMap, sync::Arc};

use model::{
    Domain, DomainState, Event, Host, HostId, HostInventory, Inventory, Link, Network, Pool,
    domain::{Agent, Graphics, Guest},
    event::Change,
    inventory::Stamp,
    storage::PoolState,
};
use proptest::{collection::btree_map, prelude::*};
use uuid::Uuid;

fn state() -> impl Strategy<Value = DomainState> {
    prop::sample::select(DomainState::ALL.to_vec())
}

prop_compose! {
    fn domain()(
        name in "[a-c<\"\\n😀]{1,3}",
        state in state(),
        flags in any::<[bool; 3]>(),
        tags in prop::collection::vec("[a-c]{1}", 0..3),
        memory_mb in 0_u64..3,
        agent in prop::sample::select(vec![Agent::Absent, Agent::Disconnected, Agent::Connected]),
        guest in prop::option::of(("[a-b]{0,1}", "[1-2]{0,1}")),
        addresses in prop::collection::vec("10\\.0\\.0\\.[1-3]", 0..3),
        since in prop::option::of(0_u64..3),
    ) -> Domain {
        Domain {
            name, state, persistent: flags[0], autostart: flags[1], has_managed_save: flags[2], tags, memory_mb, agent,
            guest: guest.map(|(hostname, agent_version)| Guest { hostname, agent_version, ..Guest::default() }),
            graphics: vec![Graphics { port: since.map(|since| since as u16), ..Graphics::default() }],
            addresses, since,
            ..Domain::default()
        }
    }
}

prop_compose! {
    fn pool()(
        name in "[a-c<\"\\n]{1,3}",
        active in any::<bool>(),
        autostart in any::<bool>(),
        available_bytes in 0_u64..3,
    ) -> Pool {
        let state = if active { PoolState::Running } else { PoolState::Inactive };
        Pool { name, state, autostart, available_bytes, ..Pool::default() }
    }
}

prop_compose! {
    fn network()(name in "[a-c]{1,2}", active in any::<bool>(), bridge in "[a-b]{1}") -> Network {
        Network { name, active, bridge, ..Network::default() }
    }
}

prop_compose! {
    fn host(id: &'static str, version: u64)(
        domains in btree_map(0_u128..6, domain(), 0..6),
        pools in btree_map(0_u128..3, pool(), 0..3),
        networks in btree_map(0_u128..3, network(), 0..3),
        connected in any::<bool>(),
        demo in any::<bool>(),
    ) -> HostInventory {
        let id: HostId = id.parse().expect("a name");
        let connection = Link { connected, ..Link::default() };
        let domains = domains.into_iter().map(|(n, domain)| {
            let id = Uuid::from_u128(n);
            (id, Arc::new(Domain { id, version, ..domain }))
        });
        let pools = pools.into_iter().map(|(n, pool)| {
            let id = Uuid::from_u128(n);
            (id, Arc::new(Pool { id, version, ..pool }))
        });
        let networks = networks.into_iter().map(|(n, network)| {
            let id = Uuid::from_u128(n);
            (id, Arc::new(Network { id, version, ..network }))
        });
        HostInventory {
            domains: domains.collect(),
            pools: pools.collect(),
            networks: networks.collect(),
            host: Host { id, connection, info: None, demo, managed: false },
        }
    }
}

/// Versions increase with time: a later inventory is newer.
fn inventory(version: u64) -> impl Strategy<Value = Inventory> {
    (host("atlas", version), host("borea", version)).prop_map(|(a, b)| {
        let hosts = [a, b].map(|host| (host.host.id.clone(), Arc::new(host)));
        Inventory { hosts: BTreeMap::from(hosts) }
    })
}

const STAMP: Stamp = Stamp { timestamp: 7, version: 2, cause: None, resync: false };

/// An event as received by a browser.
fn over_the_wire(event: &Event) -> Event {
    let data = event.data();
    assert!(!data.contains('\n'), "a line break would split the frame: {data}");
    Event::parse(event.kind(), &data).expect("valid JSON").expect("a known kind")
}

proptest! {
    #[test]
    fn what_a_page_brings_is_what_was_put_into_it(a in inventory(1)) {
        for domain in a.hosts.values().flat_map(|host| host.domains.values()) {
            let text = model::write::sparse(domain).expect("names are the only keys");
            prop_assert_eq!(&model::read::read::<Domain>(&text).expect("it is read"), &**domain);
        }
    }

    #[test]
    fn applying_the_difference_of_two_inventories_to_the_first_gives_the_second(a in inventory(1), b in inventory(2)) {
        let events = a.diff(&b, STAMP);
        let mut got = a.clone();
        for event in &events {
            got.apply(&over_the_wire(event));
        }
        prop_assert_eq!(&got, &b);
        prop_assert!(got.diff(&b, STAMP).is_empty());
    }

    #[test]
    fn applying_everything_twice_changes_nothing(a in inventory(1), b in inventory(2)) {
        let events = a.diff(&b, STAMP);
        let mut got = a.clone();
        for event in events.iter().chain(&events) {
            got.apply(event);
        }
        prop_assert_eq!(got, b);
    }

    #[test]
    fn nothing_happens_where_nothing_changed(a in inventory(1)) {
        prop_assert!(a.diff(&a.clone(), STAMP).is_empty());
    }

    #[test]
    fn a_reading_that_is_older_never_overwrites_a_newer_one(a in inventory(1), b in inventory(2), c in inventory(3)) {
        let (early, late) = (a.diff(&b, STAMP), b.diff(&c, Stamp { version: 3, ..STAMP }));
        let mut got = a.clone();
        early.iter().chain(&late).for_each(|event| got.apply(event));
        // Late duplicates of old machine states must not restore removed machines.
        for event in early.iter().filter(|event| matches!(event, Event::VmStateChanged(_) | Event::VmUpdated(_))) {
            let known = match event.change() {
                Change::Set(host, domain) => got.hosts[&host].domains.contains_key(&domain.id),
                _ => false,
            };
            if known {
                got.apply(event);
            }
        }
        prop_assert_eq!(got, c);
    }

    #[test]
    fn a_mirror_reads_of_an_event_what_the_event_does(a in inventory(1), b in inventory(2)) {
        for event in a.diff(&b, STAMP) {
            // Browsers do not mirror pools and networks; they only learn that those changed.
            let expected = match event.change() {
                Change::Pool(..) | Change::Network(..) => Change::Stale,
                change => change,
            };
            prop_assert_eq!(Change::read(event.kind(), &event.data()).expect("valid"), expected);
        }
    }

    #[test]
    fn an_inventory_reads_back_what_browsers_mirror_of_it(mut a in inventory(1)) {
        let json = serde_json::to_string(&a).expect("json");
        for host in a.hosts.values_mut().map(Arc::make_mut) {
            host.pools.clear();
            host.networks.clear();
        }
        prop_assert_eq!(serde_json::from_str::<Inventory>(&json).expect("valid"), a);
    }
}

#[test]
fn a_state_change_is_told_once_with_old_and_new_state() {
    let id = Uuid::from_u128(1);
    let host: HostId = "atlas".parse().expect("a name");
    let with = |state, version| {
        let domain = Domain { id, name: "web".into(), state, version, since: Some(version), ..Domain::default() };
        Arc::new(domain)
    };
    let (old, new) = (with(DomainState::Running, 1), with(DomainState::Paused, 2));
    let events = model::inventory::diff_domain(&host, Some(&old), Some(&new), STAMP);
    let [Event::VmStateChanged(event)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((event.old_state, event.new_state), (DomainState::Running, DomainState::Paused));
    let json: serde_json::Value = serde_json::from_str(&events[0].data()).expect("json");
    for key in ["hostId", "vmId", "vmName", "oldState", "newState", "timestamp", "version", "vm"] {
        assert!(json.get(key).is_some(), "{key} is part of the schema");
    }
}

#[test]
fn errors_and_fields_of_later_versions_are_read_and_kinds_of_later_versions_change_nothing() {
    let error = Event::Error(model::event::Error::of_journal(Some(&model::Fault::denied("full")), 7));
    assert_eq!(Change::read("error", &error.data()).expect("valid"), error.change());
    let later = r#"{"hostId":"atlas","vm":{"name":"web"},"surprise":1}"#;
    assert!(matches!(Change::read("vm-updated", later), Ok(Change::Set(_, domain)) if domain.name == "web"));
    assert!(matches!(Change::read("of-a-later-version", later), Ok(Change::Nothing)));
    assert!(Change::read("vm-updated", "no json").is_err());
}

#[test]
fn an_agent_is_told_when_it_comes_once_more_with_its_version_and_when_it_goes() {
    let id: HostId = "atlas".parse().expect("a name");
    let host = |agent, version: &str| {
        let guest = (agent == Agent::Connected).then(|| Guest { agent_version: version.into(), ..Guest::default() });
        let domain = Arc::new(Domain { agent, guest, ..Domain::default() });
        let host = Host { id: id.clone(), connection: Link::default(), info: None, demo: false, managed: false };
        let (pools, networks) = (BTreeMap::new(), BTreeMap::new());
        let host = HostInventory { domains: [(domain.id, domain)].into(), pools, networks, host };
        Inventory { hosts: [(id.clone(), Arc::new(host))].into() }
    };
    let told = |before: &Inventory, after: &Inventory| -> Vec<_> {
        let events = before.diff(after, STAMP).into_iter().filter_map(|event| match event {
            Event::GuestAgentConnected(event) => Some((event.connected, event.agent_version)),
            _ => None,
        });
        events.collect()
    };
    let (away, there, known) =
        (host(Agent::Disconnected, ""), host(Agent::Connected, ""), host(Agent::Connected, "10.0.8"));
    assert_eq!(told(&away, &there), [(true, None)]);
    assert_eq!(told(&there, &known), [(true, Some("10.0.8".into()))]);
    assert_eq!(told(&known, &known), []);
    assert_eq!(told(&known, &away), [(false, None)]);
}
