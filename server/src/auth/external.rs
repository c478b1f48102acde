//! External accounts: OpenID Connect or PAM. Each has an account here that follows the external
//! data, and never takes the name of a local account.

use std::time::Instant;

use model::{Fault, FaultKind, NoteKind, Role, Scope};

use super::{Auth, Beginning, LoggedIn, Peer};
use crate::{journal::accounts, tasks::now};

/// An external account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExternalAccount {
    /// Its immutable identity: source and subject.
    pub(crate) subject: String,
    /// Its name here.
    pub(crate) name: String,
    /// Its role.
    pub(crate) role: Role,
    /// Its scope; none if not configured, so that an admin decides it here.
    pub(crate) scope: Option<Scope>,
}

/// The scope of an account by its groups: their union if one scope can express it, otherwise the
/// scope of the first group, because merging hosts and tags separately would grant more than the
/// groups do. A group without a scope adds nothing. None if no scopes are configured.
///
/// # Errors
/// `NotAllowed` if scopes are configured and none matches these groups, because an empty scope
/// would be unlimited.
#[cfg(any(feature = "oidc", feature = "pam"))]
pub(super) fn scope_of(
    (name, role): (&str, Role),
    scopes: &[(String, Scope)],
    is_in: impl Fn(&str) -> bool,
) -> Result<Option<Scope>, Fault> {
    if scopes.is_empty() {
        return Ok(None);
    }
    if role == Role::Admin {
        return Ok(Some(Scope::default()));
    }
    let mut groups: Vec<(&str, Scope)> = Vec::new();
    for (group, scope) in scopes.iter().filter(|(group, _)| is_in(group)) {
        let known = groups.iter().position(|(known, _)| known == group);
        let at = known.unwrap_or_else(|| {
            groups.push((group, Scope::default()));
            groups.len() - 1
        });
        groups[at].1.hosts.extend(scope.hosts.iter().cloned());
        groups[at].1.tags.extend(scope.tags.iter().cloned());
    }
    let same_hosts = groups.windows(2).all(|pair| pair[0].1.hosts == pair[1].1.hosts);
    let same_tags = groups.windows(2).all(|pair| pair[0].1.tags == pair[1].1.tags);
    let counted = if same_hosts || same_tags { groups.len() } else { 1 };
    let mut all = Scope::default();
    if groups.is_empty() {
        let fault = Fault::new(FaultKind::NotAllowed, format!("{name} is not in a group with a scope"));
        return Err(fault.with_next("Ask the administrator of this server"));
    }
    for (_, scope) in groups.into_iter().take(counted) {
        all.hosts.extend(scope.hosts);
        all.tags.extend(scope.tags);
    }
    Ok(Some(all))
}

impl Auth {
    /// Starts a session for an external account; returns its secret.
    ///
    /// # Errors
    /// If the name belongs to a local account.
    #[cfg(feature = "oidc")]
    pub(crate) async fn log_in_by_provider(&self, known: &ExternalAccount, from: &Peer) -> Result<String, Fault> {
        let name = self.put_known(known).await?;
        self.begin(&name, from, Beginning { kind: NoteKind::LoggedInByProvider, ..Beginning::default() }).await
    }

    /// Creates or updates an external account; returns its name.
    async fn put_known(&self, known: &ExternalAccount) -> Result<String, Fault> {
        let put = known.clone();
        let user = self.backend.journal.accounts.write(move |connection| {
            accounts::put_known(connection, (&put.subject, &put.name, put.role, put.scope.as_ref()), now())
        });
        let user = user.await?.ok_or_else(|| {
            Fault::new(FaultKind::NotAllowed, format!("The name {} is used by another account", known.name))
                .with_next("Ask an admin to remove that account or to rename yours")
        })?;
        self.forget_known();
        Ok(user.name)
    }

    /// Whether PAM decides about a name: not for local accounts. `account` is the external source
    /// of the account of that name, if any.
    pub(super) fn is_the_systems(&self, name: &str, account: Option<Option<&str>>) -> bool {
        #[cfg(feature = "pam")]
        return self.system.as_ref().is_some_and(|system| system.decides(name, account));
        #[cfg(not(feature = "pam"))]
        {
            let _ = (name, account);
            false
        }
    }

    /// Checks a password with PAM; none if it is wrong.
    ///
    /// # Errors
    /// If PAM is unavailable, or grants no role.
    pub(super) async fn ask_system(&self, name: &str, password: &str) -> Result<Option<ExternalAccount>, Fault> {
        #[cfg(feature = "pam")]
        if let Some(system) = &self.system {
            return system.check(name, password).await;
        }
        let _ = (name, password);
        Ok(None)
    }

    /// Delays a wrong password as long as PAM does.
    pub(super) async fn wait_like_the_system(&self, began: Instant) {
        #[cfg(feature = "pam")]
        if self.system.is_some() {
            tokio::time::sleep(super::system::FAILURE_TAKES.saturating_sub(began.elapsed())).await;
        }
        let _ = began;
    }

    /// Continues the sign-in of a PAM user.
    pub(super) async fn enter_by_system(
        &self,
        known: &ExternalAccount,
        has_factor: bool,
        from: &Peer,
    ) -> Result<LoggedIn, Fault> {
        let name = self.put_known(known).await?;
        if has_factor {
            return Ok(LoggedIn::NeedsCode(self.between(name, None)));
        }
        let how = Beginning { kind: NoteKind::LoggedInBySystem, ..Beginning::default() };
        self.begin(&name, from, how).await.map(LoggedIn::Whole)
    }
}

#[cfg(all(test, any(feature = "oidc", feature = "pam")))]
mod tests {
    use super::*;

    #[test]
    fn several_groups_open_what_they_open_and_nothing_beyond() {
        let scopes = |all: &[(&str, &str)]| -> Vec<(String, Scope)> {
            let scope = |words: &str| Scope::from_words(words).expect("a scope");
            all.iter().map(|(group, words)| ((*group).to_owned(), scope(words))).collect()
        };
        let seen = |all: &[(&str, &str)], role| scope_of(("jane", role), &scopes(all), |group| group != "other");
        let words = |all| seen(all, Role::Viewer).expect("let in").expect("somebody says it").words();
        assert_eq!(seen(&[], Role::Viewer), Ok(None), "nobody says it");
        assert_eq!(seen(&[("a", "atlas")], Role::Admin), Ok(Some(Scope::default())));
        let none = seen(&[("other", "atlas")], Role::Viewer).expect_err("nothing is not everything");
        assert!(none.kind == FaultKind::NotAllowed && none.reason.contains("jane"), "{none:?}");
        assert_eq!(words(&[("a", "atlas"), ("a", "#web")]), "atlas #web", "both of one group");
        assert_eq!(words(&[("a", "atlas"), ("b", "hermes"), ("other", "zeus")]), "atlas hermes");
        assert_eq!(words(&[("a", "#web"), ("b", "#db")]), "#db #web");
        // Merged, these would open #db on atlas and #web on hermes.
        assert_eq!(words(&[("a", "atlas"), ("a", "#web"), ("b", "hermes"), ("b", "#db")]), "atlas #web");
    }
}
