//! All pages with their addresses, parsed and written in one place, and the permission they need.
//!
//! Their content and data are in `pages`, their views in `router`.

use model::{DomainRef, HostId, ObjectKind, ObjectRef, Permission, RequestId};

use super::{
    ABOUT, ACCOUNT, API, AUDIT, CONFIRM, ERRORS, HISTORY, HOSTS, MANAGED_HOSTS, NETWORKS, NEW_NETWORK, NEW_POOL,
    OVERVIEW, REPLAY, SESSIONS, STORAGE, TASKS, TOKENS, USERS, VMS, at, inner,
};

/// A page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Page {
    /// The overview.
    Overview,
    /// All virtual machines.
    Vms,
    /// A tab of one machine.
    Vm(DomainRef, Tab),
    /// All hosts.
    Hosts,
    /// One host.
    Host(HostId),
    /// All storage pools.
    Storage,
    /// The form for a new pool.
    NewPool,
    /// One pool.
    Pool(ObjectRef),
    /// All networks.
    Networks,
    /// The form for a new network.
    NewNetwork,
    /// One network.
    Network(ObjectRef),
    /// All tasks.
    Tasks,
    /// One task.
    Task(RequestId),
    /// Audit records.
    Audit,
    /// Events.
    History,
    /// Errors.
    Errors,
    /// The replay of events.
    Replay,
    /// The confirmation page, for browsers without JavaScript.
    Confirm,
    /// The viewer's own account.
    Account,
    /// All accounts.
    Users,
    /// All tokens.
    Tokens,
    /// All sessions.
    Sessions,
    /// The hosts that can be changed here.
    ManageHosts,
    /// About this server.
    About,
    /// The reference of the interface for programs.
    Api,
}

/// A tab of a machine's page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tab {
    /// Charts and properties.
    #[default]
    Overview,
    /// Devices.
    Devices,
    /// Consoles.
    Console,
    /// Guest details and guest agent.
    Guest,
    /// Commands and events.
    History,
    /// The definition in XML.
    Definition,
}

impl Tab {
    /// All tabs in order: tab, last path segment, label.
    pub const ALL: [(Self, &str, &str); 6] = [
        (Self::Overview, "", "Overview"),
        (Self::Devices, "devices", "Devices"),
        (Self::Console, "console", "Console"),
        (Self::Guest, "guest", "Guest"),
        (Self::History, "history", "History"),
        (Self::Definition, "xml", "XML"),
    ];

    /// The last path segment.
    fn segment(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

/// Pages with a fixed path.
const FIXED: [(&str, Page); 20] = [
    (OVERVIEW, Page::Overview),
    (VMS, Page::Vms),
    (HOSTS, Page::Hosts),
    (STORAGE, Page::Storage),
    (NEW_POOL, Page::NewPool),
    (NETWORKS, Page::Networks),
    (NEW_NETWORK, Page::NewNetwork),
    (TASKS, Page::Tasks),
    (AUDIT, Page::Audit),
    (HISTORY, Page::History),
    (ERRORS, Page::Errors),
    (REPLAY, Page::Replay),
    (CONFIRM, Page::Confirm),
    (ACCOUNT, Page::Account),
    (USERS, Page::Users),
    (TOKENS, Page::Tokens),
    (SESSIONS, Page::Sessions),
    (MANAGED_HOSTS, Page::ManageHosts),
    (ABOUT, Page::About),
    (API, Page::Api),
];

impl Page {
    /// The page at an address, ignoring its query; `None` if there is none.
    pub fn parse(address: &str) -> Option<Self> {
        let path = inner(address).split(['?', '#']).next()?.trim_end_matches('/');
        let path = if path.is_empty() { OVERVIEW } else { path };
        if let Some((_, page)) = FIXED.into_iter().find(|(fixed, _)| *fixed == path) {
            return Some(page);
        }
        let below = |page: &str| path.strip_prefix(page)?.strip_prefix('/');
        if let Some(rest) = below(VMS) {
            let (id, tab) =
                rest.match_indices('/').nth(1).map_or((rest, ""), |(cut, _)| (&rest[..cut], &rest[cut + 1..]));
            let (tab, ..) = Tab::ALL.into_iter().find(|(_, segment, _)| *segment == tab)?;
            return Some(Self::Vm(id.parse().ok()?, tab));
        }
        if let Some(id) = below(HOSTS) {
            return id.parse().ok().map(Self::Host);
        }
        if let Some(id) = below(STORAGE) {
            return ObjectRef::parse(ObjectKind::Pool, id).ok().map(Self::Pool);
        }
        if let Some(id) = below(NETWORKS) {
            return ObjectRef::parse(ObjectKind::Network, id).ok().map(Self::Network);
        }
        below(TASKS)?.parse().ok().map(Self::Task)
    }

    /// Its path within this server.
    pub fn path(&self) -> String {
        match self {
            Self::Vm(id, Tab::Overview) => format!("{VMS}/{id}"),
            Self::Vm(id, tab) => format!("{VMS}/{id}/{}", tab.segment()),
            Self::Host(id) => format!("{HOSTS}/{id}"),
            Self::Pool(id) => format!("{STORAGE}/{id}"),
            Self::Network(id) => format!("{NETWORKS}/{id}"),
            Self::Task(id) => format!("{TASKS}/{id}"),
            fixed => FIXED.into_iter().find(|(_, page)| page == fixed).map_or(OVERVIEW, |(path, _)| path).to_owned(),
        }
    }

    /// Its address.
    pub fn href(&self) -> String {
        at(&self.path())
    }

    /// The permission it needs.
    pub fn permission(&self) -> Permission {
        match self {
            Self::Audit => Permission::ReadAudit,
            Self::Account => Permission::OwnAccount,
            Self::ManageHosts => Permission::ManageHosts,
            Self::Users | Self::Tokens | Self::Sessions => Permission::ManageAccounts,
            _ => Permission::View,
        }
    }
}

/// Whether the path of a page starts with this segment.
#[cfg(feature = "ssr")]
pub(super) fn is_first_segment(segment: &str) -> bool {
    FIXED.iter().any(|(path, _)| path.split('/').nth(1) == Some(segment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_is_found_at_its_address() {
        let id: DomainRef = "atlas/9d5815f3-0942-43f7-bd25-8c0cb4800b49".parse().expect("an object");
        let mut pages: Vec<Page> = FIXED.into_iter().map(|(_, page)| page).collect();
        pages.extend(Tab::ALL.map(|(tab, ..)| Page::Vm(id.clone(), tab)));
        pages.extend([
            Page::Pool(ObjectRef::pool(&id.host, id.id)),
            Page::Network(ObjectRef::network(&id.host, id.id)),
            Page::Host(id.host.clone()),
        ]);
        pages.push(Page::Task(RequestId(id.id)));
        for page in pages {
            let href = page.href();
            for address in [href.clone(), format!("{href}/"), format!("{href}?range=1h&q=/vms"), format!("{href}#x")] {
                assert_eq!(Page::parse(&address), Some(page.clone()), "{address}");
            }
        }
    }

    #[test]
    fn tabs_are_in_the_order_of_their_enum() {
        for (n, (tab, ..)) in Tab::ALL.into_iter().enumerate() {
            assert_eq!(tab as usize, n);
        }
    }

    #[test]
    fn unknown_addresses_have_no_page() {
        for path in [
            "/vm",
            "/vmsx",
            "/vms/atlas",
            "/vms/atlas/nonsense/xml",
            "/vms/atlas/9d5815f3-0942-43f7-bd25-8c0cb4800b49/nonsense",
            "/vms/atlas/9d5815f3-0942-43f7-bd25-8c0cb4800b49/xml/more",
            "/hosts/-a",
            "/storage/atlas",
            "/tasks/1",
            "/account/x/y",
            "/history/x",
        ] {
            assert_eq!(Page::parse(path), None, "{path}");
        }
    }
}
