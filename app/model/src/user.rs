//! Who uses Belvedere, and the one table of who may do what.

use serde::{Deserialize, Serialize};

use crate::{Fault, FaultKind, Task};

/// What an account may do; each may do what those before may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Sees machines, hosts and tasks, and changes nothing.
    #[default]
    Viewer,
    /// Carries out commands.
    Operator,
    /// Everything, accounts and records included.
    Admin,
}

/// What a request needs to be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// To see machines, hosts, tasks and what happened.
    View,
    /// To carry out commands and to end tasks of one's own.
    Operate,
    /// To end tasks of others.
    EndTasksOfOthers,
    /// To read who did what.
    ReadAudit,
    /// To look after one's own password, second factor and sessions.
    OwnAccount,
    /// To make and take away accounts and tokens, and to end sessions of others.
    ManageAccounts,
}

impl Permission {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::View, Self::Operate, Self::EndTasksOfOthers, Self::ReadAudit, Self::OwnAccount, Self::ManageAccounts];
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// Its name in commands and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// The role of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Whether it holds a permission; the only place that decides it.
    ///
    /// # Errors
    /// Why not, with the next step.
    pub fn may(self, permission: Permission) -> Result<(), Fault> {
        let (least, what) = match permission {
            Permission::View => (Self::Viewer, "see this"),
            Permission::Operate => (Self::Operator, "change anything"),
            Permission::EndTasksOfOthers => (Self::Admin, "end tasks of others"),
            Permission::ReadAudit => (Self::Admin, "read who did what"),
            Permission::OwnAccount => (Self::Viewer, "change an account of its own"),
            Permission::ManageAccounts => (Self::Admin, "look after accounts"),
        };
        if self >= least {
            return Ok(());
        }
        let reason = format!("Your role is {}, which may not {what}", self.name());
        Err(Fault::new(FaultKind::NotAllowed, reason).with_next(format!("Ask an admin for the role {}", least.name())))
    }
}

/// Who looks at a page or sends a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Viewer {
    /// The account's or the token's name; none while there are no accounts, when whoever
    /// reaches the server may do everything.
    pub name: Option<String>,
    /// What it may do.
    pub role: Role,
}

impl Viewer {
    /// Whether a task is one's own, or one may end those of others; it is shown and refused
    /// by this.
    ///
    /// # Errors
    /// Why not, with the next step.
    pub fn may_end(&self, task: &Task) -> Result<(), Fault> {
        self.role.may(Permission::Operate)?;
        if task.who == self.name { Ok(()) } else { self.role.may(Permission::EndTasksOfOthers) }
    }

    /// Whoever reaches a server without accounts.
    pub fn anybody() -> Self {
        Self { name: None, role: Role::Admin }
    }
}

/// Whether a text may name an account or a token: letters, digits and `._@-`, at most 64.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "._@-".contains(c);
    if name.is_empty() || name.len() > 64 || !name.chars().all(fine) || name.starts_with('-') {
        return Err(format!(
            "\"{}\" is no name of an account; it has up to 64 letters, digits, dots, dashes and @",
            name.escape_debug()
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
        let (viewer, operator) = ([true, false, false, false, true, false], [true, true, false, false, true, false]);
        assert_eq!(table, [viewer, operator, [true; 6]]);
        let fault = Role::Viewer.may(Operate).expect_err("not allowed");
        assert_eq!(
            fault.sentence(),
            "Your role is viewer, which may not change anything. Ask an admin for the role operator."
        );
        assert_eq!(fault.kind.status(), 403);
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
