//! Roles, scopes and permissions; the one table of what a role may do.

use std::{collections::BTreeSet, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{DomainRef, Fault, FaultKind, HostId, Task, inventory::Snapshot};

/// The role of an account; each includes the permissions of the previous ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Sees machines, hosts and tasks.
    #[default]
    Viewer,
    /// Runs commands.
    Operator,
    /// Everything, including accounts and the audit log.
    Admin,
}

/// A permission required by a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// See machines, hosts, tasks and history.
    View,
    /// Run commands and cancel own tasks.
    Operate,
    /// Define which directories and devices of a host are storage, and delete their content as a
    /// whole: this reaches all files of the host.
    ShapeStorage,
    /// Cancel tasks of others.
    EndTasksOfOthers,
    /// Read the audit log.
    ReadAudit,
    /// Manage the own password, second factor and sessions.
    OwnAccount,
    /// Manage accounts and tokens, and end sessions of others.
    ManageAccounts,
    /// Read the passwords in machine definitions.
    ReadSecrets,
    /// Add, change and remove hosts.
    ManageHosts,
}

impl Permission {
    /// All permissions.
    pub const ALL: [Self; 9] = [
        Self::View,
        Self::Operate,
        Self::ShapeStorage,
        Self::EndTasksOfOthers,
        Self::ReadAudit,
        Self::OwnAccount,
        Self::ManageAccounts,
        Self::ReadSecrets,
        Self::ManageHosts,
    ];
}

impl Role {
    /// All roles, the lowest first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// Its name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// The role with a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Whether it has a permission; decided only here.
    ///
    /// # Errors
    /// `NotAllowed`, with the next step.
    pub fn may(self, permission: Permission) -> Result<(), Fault> {
        let (least, what) = match permission {
            Permission::View => (Self::Viewer, "see this"),
            Permission::Operate => (Self::Operator, "change anything"),
            Permission::ShapeStorage => (Self::Admin, "define storage on a host"),
            Permission::EndTasksOfOthers => (Self::Admin, "end tasks of others"),
            Permission::ReadAudit => (Self::Admin, "read the audit log"),
            Permission::OwnAccount => (Self::Viewer, "change its own account"),
            Permission::ManageAccounts => (Self::Admin, "manage accounts"),
            Permission::ReadSecrets => (Self::Admin, "read passwords of machines"),
            Permission::ManageHosts => (Self::Admin, "add or change hosts"),
        };
        if self >= least {
            return Ok(());
        }
        let reason = format!("Your role is {}, which may not {what}", self.name());
        Err(Fault::new(FaultKind::NotAllowed, reason).with_next(format!("Ask an admin for the role {}", least.name())))
    }
}

/// The account of a page or request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Viewer {
    /// The name of the account or token; none without accounts, when every client has all
    /// permissions.
    pub name: Option<String>,
    /// Its role.
    pub role: Role,
    /// Its scope.
    #[serde(default, skip_serializing_if = "Scope::is_everything")]
    pub scope: Scope,
    /// Whether the server runs without sign-in, so that every client has these rights.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
}

/// The machines visible to an account: those on one of these hosts with one of these tags. No hosts
/// mean every host, no tags every machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Scope {
    /// The hosts.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub hosts: BTreeSet<HostId>,
    /// The tags.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<String>,
}

impl Scope {
    /// Whether it is unlimited.
    pub fn is_everything(&self) -> bool {
        self.hosts.is_empty() && self.tags.is_empty()
    }

    /// Whether a host is visible, even if none of its machines is.
    pub fn sees_host(&self, host: &HostId) -> bool {
        self.hosts.is_empty() || self.hosts.contains(host)
    }

    /// Whether all of a host is visible, including storage and networks, which reveal machines.
    pub fn sees_all_of(&self, host: &HostId) -> bool {
        self.sees_host(host) && self.tags.is_empty()
    }

    /// Whether a machine with these tags is visible.
    pub fn sees(&self, host: &HostId, tags: &[String]) -> bool {
        self.sees_host(host) && (self.tags.is_empty() || tags.iter().any(|tag| self.tags.contains(tag)))
    }

    /// A salt for stream positions (FNV-1a): a position of another scope is not valid, because
    /// other machines were visible there.
    pub fn salt(&self) -> u64 {
        if self.is_everything() {
            return 0;
        }
        let words = self.words();
        words.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }

    /// As text: hosts, then tags with `#`.
    pub fn words(&self) -> String {
        let tags = self.tags.iter().map(|tag| format!("#{tag}"));
        self.hosts.iter().map(HostId::to_string).chain(tags).collect::<Vec<_>>().join(" ")
    }

    /// Parses the text of `words`.
    ///
    /// # Errors
    /// The invalid word.
    pub fn from_words(text: &str) -> Result<Self, String> {
        let mut scope = Self::default();
        for word in text.split([' ', ',']).filter(|word| !word.is_empty()) {
            match word.strip_prefix('#') {
                Some("") => return Err("a tag name must follow #".into()),
                Some(tag) => drop(scope.tags.insert(tag.to_owned())),
                None => drop(scope.hosts.insert(word.parse()?)),
            }
        }
        Ok(scope)
    }
}

impl Viewer {
    /// Removes invisible objects from a snapshot.
    pub fn narrow(&self, snapshot: &mut Snapshot) {
        if self.scope.is_everything() {
            return;
        }
        let hosts = Arc::make_mut(&mut snapshot.hosts);
        hosts.hosts.retain(|id, _| self.scope.sees_host(id));
        for host in hosts.hosts.values_mut().filter(|host| !self.scope.sees_all_of(&host.host.id)).map(Arc::make_mut) {
            host.domains.retain(|_, domain| self.scope.sees(&host.host.id, &domain.tags));
            host.pools.clear();
            host.networks.clear();
        }
        snapshot.cursor.epoch ^= self.scope.salt();
        let hosts = snapshot.hosts.clone();
        snapshot.tasks.retain(|task| self.sees_task(task, |id| hosts.domain(id).is_some()));
    }

    /// Whether a task is visible; `sees` returns whether a machine exists and is visible.
    pub fn sees_task(&self, task: &Task, sees: impl Fn(&DomainRef) -> bool) -> bool {
        if !self.scope.sees_host(&task.host_id) {
            return false;
        }
        match task.target {
            _ if self.scope.tags.is_empty() => true,
            // Own tasks stay visible, even if they move the machine out of the scope.
            _ if task.who.is_some() && task.who == self.name => true,
            Some(id) => sees(&DomainRef { host: task.host_id.clone(), id }),
            // A batch may contain machines of others.
            None => false,
        }
    }

    /// Whether a task may be cancelled: own tasks, or those of others with the permission. Used for
    /// display and enforcement.
    ///
    /// # Errors
    /// Why not, with the next step.
    pub fn may_end(&self, task: &Task) -> Result<(), Fault> {
        self.role.may(Permission::Operate)?;
        if task.who == self.name { Ok(()) } else { self.role.may(Permission::EndTasksOfOthers) }
    }

    /// A client of a server without accounts.
    pub fn anybody() -> Self {
        Self { name: None, role: Role::Admin, scope: Scope::default(), open: false }
    }
}

/// Whether a role may have a scope; an admin sees everything.
///
/// # Errors
/// Why not.
pub fn check_scope(role: Role, scope: &Scope) -> Result<(), String> {
    if role == Role::Admin && !scope.is_everything() {
        return Err("an admin sees everything and cannot have a scope".into());
    }
    Ok(())
}

/// Whether a text is a valid name of an account or token: letters, digits and `._@-`, at most 64.
///
/// # Errors
/// What is invalid.
pub fn check_name(name: &str) -> Result<(), String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "._@-".contains(c);
    if name.is_empty() || name.len() > 64 || !name.chars().all(fine) || name.starts_with('-') {
        return Err(format!(
            "{name:?} is not a valid account name: use at most 64 letters, digits, '.', '_', '-' or '@'"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_what_those_before_may_and_says_what_it_lacks() {
        let may = |role: Role, permission| role.may(permission).is_ok();
        use Permission::Operate;
        let table = Role::ALL.map(|role| Permission::ALL.map(|wish| may(role, wish)));
        let (viewer, operator) = (
            [true, false, false, false, false, true, false, false, false],
            [true, true, false, false, false, true, false, false, false],
        );
        assert_eq!(table, [viewer, operator, [true; 9]]);
        let fault = Role::Viewer.may(Operate).expect_err("not allowed");
        assert_eq!(
            fault.sentence(),
            "Your role is viewer, which may not change anything. Ask an admin for the role operator."
        );
        assert_eq!(fault.kind.status(), 403);
    }

    #[test]
    fn a_scope_is_read_as_it_is_written_and_narrows_by_host_and_by_tag() {
        let scope = Scope::from_words("atlas, #web  #db").expect("right");
        assert_eq!(scope.words(), "atlas #db #web");
        assert_eq!(Scope::from_words(&scope.words()), Ok(scope.clone()));
        let (atlas, other) = ("atlas".parse().expect("a host"), "other".parse().expect("a host"));
        let tags = |tag: &str| vec![tag.to_owned()];
        assert!(scope.sees(&atlas, &tags("web")) && !scope.sees(&atlas, &tags("mail")) && !scope.sees(&atlas, &[]));
        assert!(!scope.sees(&other, &tags("web")) && scope.sees_host(&atlas));
        assert!(Scope::default().sees(&other, &[]) && Scope::from_words(" ").expect("right").is_everything());
        assert!(Scope::from_words("#").is_err() && Scope::from_words("a/b").is_err());
    }

    #[test]
    fn names_are_plain() {
        for good in ["root", "jane.doe@example.org", "ci_1"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "-x", "a b", "<b>", "ä", &"x".repeat(65)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
