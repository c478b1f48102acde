//! People whom somebody else knows: an OpenID Connect provider, or the system. Each has an
//! account here that follows what they say, and never takes a name that was given here.

use std::time::Instant;

use model::{Fault, FaultKind, Role, Scope};

use super::{Auth, Beginning, LoggedIn, Peer};
use crate::{journal::accounts, tasks::now};

/// Whom somebody else knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// What never changes: who knows them, and what as.
    pub(crate) subject: String,
    /// The name here.
    pub(crate) name: String,
    /// What they may do.
    pub(crate) role: Role,
    /// What they see.
    pub(crate) scope: Scope,
}

/// What somebody sees whose groups have scopes: all of these together. A group without one opens
/// nothing beyond them.
#[cfg(any(feature = "oidc", feature = "pam"))]
pub(super) fn scope_of(scopes: &[(String, Scope)], role: Role, is_in: impl Fn(&str) -> bool) -> Scope {
    let mut all = Scope::default();
    if role != Role::Admin {
        for (_, scope) in scopes.iter().filter(|(group, _)| is_in(group)) {
            all.hosts.extend(scope.hosts.iter().cloned());
            all.tags.extend(scope.tags.iter().cloned());
        }
    }
    all
}

impl Auth {
    /// Begins a session for whom the provider knows; gives its secret.
    ///
    /// # Errors
    /// When the name belongs to an account that was made here.
    #[cfg(feature = "oidc")]
    pub(crate) async fn log_in_by_provider(&self, known: &Known, from: &Peer) -> Result<String, Fault> {
        let name = self.put_known(known).await?;
        self.begin(&name, from, Beginning { kind: "loggedInByProvider", ..Beginning::default() }).await
    }

    /// Makes or changes the account of somebody; gives its name.
    async fn put_known(&self, known: &Known) -> Result<String, Fault> {
        let put = known.clone();
        let user = self.backend.journal.accounts.write(move |connection| {
            accounts::put_known(connection, (&put.subject, &put.name, put.role, &put.scope), now())
        });
        let user = user.await?.ok_or_else(|| {
            Fault::new(FaultKind::NotAllowed, format!("The name {} belongs to another account here", known.name))
                .with_next("Ask an admin to remove that one, or to rename you")
        })?;
        self.forget_known();
        Ok(user.name)
    }

    /// Whether the system decides about a name: not about accounts that were made here.
    /// `account` is who else knows the account of that name, if there is one.
    pub(super) fn is_the_systems(&self, name: &str, account: Option<Option<&str>>) -> bool {
        #[cfg(feature = "pam")]
        return self.system.as_ref().is_some_and(|system| system.decides(name, account));
        #[cfg(not(feature = "pam"))]
        {
            let _ = (name, account);
            false
        }
    }

    /// What the system says of a password: who shows it, or none when it is wrong.
    ///
    /// # Errors
    /// When the system cannot say it, or gives no role.
    pub(super) async fn ask_system(&self, name: &str, password: &str) -> Result<Option<Known>, Fault> {
        #[cfg(feature = "pam")]
        if let Some(system) = &self.system {
            return system.check(name, password).await;
        }
        let _ = (name, password);
        Ok(None)
    }

    /// Waits until a wrong password has taken as long as one that the system looked at.
    pub(super) async fn wait_like_the_system(&self, began: Instant) {
        #[cfg(feature = "pam")]
        if self.system.is_some() {
            tokio::time::sleep(super::system::FAILURE_TAKES.saturating_sub(began.elapsed())).await;
        }
        let _ = began;
    }

    /// What follows for somebody whose password the system knows.
    pub(super) async fn enter_by_system(
        &self,
        known: &Known,
        has_factor: bool,
        from: &Peer,
    ) -> Result<LoggedIn, Fault> {
        let name = self.put_known(known).await?;
        if has_factor {
            return Ok(LoggedIn::NeedsCode(self.between(name, None)));
        }
        let how = Beginning { kind: "loggedInBySystem", ..Beginning::default() };
        self.begin(&name, from, how).await.map(LoggedIn::Whole)
    }
}
