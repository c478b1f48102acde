//! What people do with accounts: everybody with their own, admins with all. Each thing
//! that is done is recorded together with it.

use std::{sync::PoisonError, time::Instant};

use model::{
    Fault, FaultKind, Origin, Role, Scope,
    user::{check_name, check_scope},
};
use rusqlite::Connection;

use super::{Auth, CODE_WITHIN, LINK_FOR, Peer, Shown, attempts::Suspect, factor, hash, new_token, new_user, secret};
use crate::{
    journal::{
        Note,
        accounts::{self, Factor, Session},
    },
    tasks::now,
};

/// After a link somebody may choose a password without the old one for so long, in
/// milliseconds.
const NEW_PASSWORD_WITHIN: u64 = 15 * 60_000;

/// A second factor that waits for its first code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MadeFactor {
    /// What a picture for apps holds.
    pub(crate) address: String,
    /// The secret to type.
    pub(crate) letters: String,
}

fn nobody(name: &str) -> Fault {
    Fault::new(FaultKind::NotFound, format!("There is no account {}", name.escape_debug()))
        .with_next("Look at the list of accounts")
}

fn taken(name: &str) -> Fault {
    Fault::new(FaultKind::Conflict, format!("There is an account or token named {name} already"))
        .with_next("Take another name")
}

fn has_factor(name: &str) -> Fault {
    Fault::denied(format!("{name} has a second factor already")).with_next("Turn it off first, with one of its codes")
}

fn last_admin(name: &str) -> Fault {
    Fault::denied(format!("{name} is the only admin")).with_next("Make somebody else an admin first")
}

/// Whether a session may choose a new password without the old one: a link has begun it a
/// moment ago, as for who has forgotten theirs.
pub(super) fn may_choose_password(session: &Session, now: u64) -> bool {
    session.by_link && session.created + NEW_PASSWORD_WITHIN > now
}

/// Whether an account or a token may have this name, role and scope.
fn check(name: &str, (role, scope): &(Role, Scope)) -> Result<(), Fault> {
    check_name(name).map_err(|why| Fault::invalid("name", &why))?;
    check_scope(*role, scope).map_err(|why| Fault::invalid("scope", &why))
}

/// A name with what it may do and sees, as records tell it.
pub(crate) fn may_words(name: &str, (role, scope): &(Role, Scope)) -> String {
    let role = role.name();
    if scope.is_everything() { format!("{name}, {role}") } else { format!("{name}, {role}, {}", scope.words()) }
}

impl Auth {
    /// Changes accounts and records it, both or neither; what was known is asked anew.
    async fn change(
        &self,
        origin: &Origin,
        (kind, name): (&str, &str),
        change: impl Fn(&Connection) -> rusqlite::Result<Result<(), Fault>> + Send + 'static,
    ) -> Result<(), Fault> {
        let note = Note::of(kind, name, origin.clone());
        let changed = self.backend.journal.accounts.write(move |connection| {
            let changed = change(connection)?;
            if changed.is_ok() {
                accounts::note(connection, &note)?;
            }
            Ok(changed)
        });
        changed.await??;
        self.forget_known();
        Ok(())
    }

    /// Whether a session may choose a new password without the old one.
    async fn needs_no_password(&self, shown: &Shown, name: &str) -> Result<bool, Fault> {
        let session = self.own_session(shown, name).await?;
        Ok(session.is_some_and(|session| may_choose_password(&session, now())))
    }

    /// Gives one's own account another password and ends its other sessions.
    ///
    /// # Errors
    /// When the old one is wrong, or the new one is none.
    pub(crate) async fn change_password(
        &self,
        shown: &Shown,
        name: &str,
        (old, new): (&str, &str),
        origin: &Origin,
    ) -> Result<(), Fault> {
        if !self.needs_no_password(shown, name).await? {
            let suspect = Suspect::Name(name.to_owned());
            let place = self.place().await?;
            self.attempts.count(std::slice::from_ref(&suspect))?;
            let wanted = name.to_owned();
            let user =
                self.backend.journal.accounts.read(move |connection| accounts::user(connection, &wanted)).await?;
            if !self.verify(place, old, user.and_then(|user| user.password)).await {
                let peer = Peer { origin: origin.clone(), agent: String::new() };
                let fault = Fault::invalid("old", "it is not this one");
                return Err(self.failed(name.to_owned(), &peer, fault).await);
            }
            self.attempts.succeeded(std::slice::from_ref(&suspect));
        }
        let hashed = self.hash(self.place().await?, new).await?;
        let (owner, own) = (name.to_owned(), shown.hash());
        self.change(origin, ("passwordChanged", name), move |connection| {
            accounts::set_password(connection, &owner, &hashed)?;
            accounts::end_sessions(connection, &owner, Some(&own))?;
            Ok(Ok(()))
        })
        .await
    }

    /// Makes the secret of a second factor; it counts once a code was given for it in the same
    /// session, so that nobody confirms what somebody else has made.
    ///
    /// # Errors
    /// When there is one already, or it cannot be shown.
    pub(crate) async fn new_factor(&self, shown: &Shown, name: &str) -> Result<MadeFactor, Fault> {
        let owner = name.to_owned();
        if self.backend.journal.accounts.read(move |connection| accounts::factor(connection, &owner)).await?.is_some() {
            return Err(has_factor(name));
        }
        let mut unconfirmed = self.unconfirmed.lock().unwrap_or_else(PoisonError::into_inner);
        unconfirmed.retain(|_, (_, since)| since.elapsed() < CODE_WITHIN * 2);
        // One that was asked for twice, as by going back, stays the same.
        let (secret, _) = unconfirmed.entry(shown.hash()).or_insert_with(|| (factor::new_secret(), Instant::now()));
        let (address, letters) =
            factor::shown(secret, name).ok_or_else(|| Fault::new(FaultKind::Internal, "The secret cannot be shown"))?;
        Ok(MadeFactor { address, letters })
    }

    /// Turns a second factor on; gives the recovery codes, which are shown only now.
    ///
    /// # Errors
    /// When the code is wrong, that took too long, or there is one already.
    pub(crate) async fn confirm_factor(
        &self,
        shown: &Shown,
        name: &str,
        code: &str,
        origin: &Origin,
    ) -> Result<Vec<String>, Fault> {
        let suspect = Suspect::Code(name.to_owned());
        self.attempts.count(std::slice::from_ref(&suspect))?;
        let secret = {
            let unconfirmed = self.unconfirmed.lock().unwrap_or_else(PoisonError::into_inner);
            let known = unconfirmed.get(&shown.hash()).filter(|(_, since)| since.elapsed() < CODE_WITHIN * 2);
            known.map(|(secret, _)| secret.clone())
        };
        let secret = secret.ok_or_else(|| {
            Fault::new(FaultKind::Conflict, "That took too long").with_next("Turn the second factor on once more")
        })?;
        let step = factor::step(&secret, code, now())
            .ok_or_else(|| Fault::invalid("code", "it is not the one of this moment; look at the clocks of both"))?;
        self.attempts.succeeded(std::slice::from_ref(&suspect));
        let (codes, hashes) = factor::recovery_codes();
        let (owner, made, own) = (name.to_owned(), Factor { secret, step }, shown.hash());
        self.change(origin, ("secondFactorOn", name), move |connection| {
            if accounts::factor(connection, &owner)?.is_some() {
                return Ok(Err(has_factor(&owner)));
            }
            accounts::set_factor(connection, &owner, &made, &hashes)?;
            // Whoever is in by the password alone begins anew.
            accounts::end_sessions(connection, &owner, Some(&own))?;
            Ok(Ok(()))
        })
        .await?;
        self.unconfirmed.lock().unwrap_or_else(PoisonError::into_inner).remove(&shown.hash());
        Ok(codes)
    }

    /// Turns one's own second factor off with one of its codes.
    ///
    /// # Errors
    /// When the code is wrong.
    pub(crate) async fn drop_factor(&self, name: &str, code: &str, origin: &Origin) -> Result<(), Fault> {
        let suspect = Suspect::Code(name.to_owned());
        self.attempts.count(std::slice::from_ref(&suspect))?;
        if self.take_code(name, code).await?.is_none() {
            let peer = Peer { origin: origin.clone(), agent: String::new() };
            let fault = Fault::invalid("code", "it is wrong, or was used before; wait for the next one");
            return Err(self.failed(name.to_owned(), &peer, fault).await);
        }
        self.attempts.succeeded(std::slice::from_ref(&suspect));
        self.reset_factor(name, origin).await
    }

    /// Turns the second factor of any account off, as when what makes its codes is lost.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) async fn reset_factor(&self, name: &str, origin: &Origin) -> Result<(), Fault> {
        let owner = name.to_owned();
        self.change(origin, ("secondFactorOff", name), move |connection| {
            let had = accounts::unset_factor(connection, &owner)?;
            Ok(had.then_some(()).ok_or_else(|| Fault::denied(format!("{owner} has no second factor"))))
        })
        .await
    }

    /// Ends a session by its number; with an owner only one of theirs.
    ///
    /// # Errors
    /// When there is none of that number.
    pub(crate) async fn end_session(&self, id: i64, of: Option<&str>, origin: &Origin) -> Result<(), Fault> {
        let (of, at) = (of.map(str::to_owned), now());
        let all =
            self.backend.journal.accounts.read(move |connection| accounts::sessions(connection, of.as_deref(), at));
        let found = all.await?.into_iter().find(|session| session.id == id);
        // One that has ended meanwhile is as good as ended.
        let Some(session) = found else { return Ok(()) };
        self.change(origin, ("sessionEnded", &session.user), move |connection| {
            accounts::end_session(connection, &session.hash)?;
            Ok(Ok(()))
        })
        .await
    }

    /// Ends all of one's own sessions but the one that is shown.
    ///
    /// # Errors
    /// When that cannot be written.
    pub(crate) async fn end_others(&self, shown: &Shown, name: &str, origin: &Origin) -> Result<(), Fault> {
        let (owner, own) = (name.to_owned(), shown.hash());
        self.change(origin, ("sessionEnded", name), move |connection| {
            accounts::end_sessions(connection, &owner, Some(&own))?;
            Ok(Ok(()))
        })
        .await
    }

    /// Makes an account without a password, and the secret of a link that logs it in once.
    ///
    /// # Errors
    /// When the name is none, or taken.
    pub(crate) async fn add_user(&self, name: &str, may: (Role, Scope), origin: &Origin) -> Result<String, Fault> {
        let what = may_words(name, &may);
        check(name, &may)?;
        let user = new_user(name, may, None).map_err(|why| Fault::invalid("name", &why))?;
        self.change(origin, ("userAdded", &what), move |connection| {
            let added = accounts::add_user(connection, &user, now())?;
            Ok(added.then_some(()).ok_or_else(|| taken(&user.name)))
        })
        .await?;
        self.make_link(name, origin).await
    }

    /// Takes an account away, but not the last admin.
    ///
    /// # Errors
    /// When there is none of that name, or it is the last admin.
    pub(crate) async fn remove_user(&self, name: &str, origin: &Origin) -> Result<(), Fault> {
        let owner = name.to_owned();
        self.change(origin, ("userRemoved", name), move |connection| {
            let Some(user) = accounts::user(connection, &owner)? else { return Ok(Err(nobody(&owner))) };
            if user.role == Role::Admin && !accounts::other_admin(connection, &owner)? {
                return Ok(Err(last_admin(&owner)));
            }
            accounts::remove_user(connection, &owner)?;
            Ok(Ok(()))
        })
        .await
    }

    /// Gives an account another role and scope, but never takes the last admin away.
    ///
    /// # Errors
    /// When there is none of that name, it is the last admin, or an admin would see less.
    pub(crate) async fn set_role(&self, name: &str, may: (Role, Scope), origin: &Origin) -> Result<(), Fault> {
        check(name, &may)?;
        let (owner, what, (role, scope)) = (name.to_owned(), may_words(name, &may), may);
        self.change(origin, ("roleChanged", &what), move |connection| {
            let Some(user) = accounts::user(connection, &owner)? else { return Ok(Err(nobody(&owner))) };
            if user.role == Role::Admin && role != Role::Admin && !accounts::other_admin(connection, &owner)? {
                return Ok(Err(last_admin(&owner)));
            }
            accounts::set_role(connection, &owner, (role, &scope))?;
            Ok(Ok(()))
        })
        .await
    }

    /// Makes the secret of a link that logs somebody in once.
    ///
    /// # Errors
    /// When there is nobody of that name.
    pub(crate) async fn make_link(&self, name: &str, origin: &Origin) -> Result<String, Fault> {
        let (secret, owner) = (secret(), name.to_owned());
        let hash = hash(&secret);
        self.change(origin, ("loginLinkMade", name), move |connection| {
            let added = accounts::add_link(connection, &hash, &owner, now() + LINK_FOR)?;
            Ok(added.then_some(()).ok_or_else(|| nobody(&owner)))
        })
        .await?;
        Ok(secret)
    }

    /// Makes a token; gives its secret, which is shown only now.
    ///
    /// # Errors
    /// When the name is none, or taken.
    pub(crate) async fn add_token(
        &self,
        name: &str,
        may: (Role, Scope),
        days: Option<u32>,
        origin: &Origin,
    ) -> Result<String, Fault> {
        let what = may_words(name, &may);
        check(name, &may)?;
        let token = new_token(name, may, days).map_err(|why| Fault::invalid("name", &why))?;
        let secret = secret();
        let hash = hash(&secret);
        self.change(origin, ("tokenCreated", &what), move |connection| {
            let added = accounts::add_token(connection, &hash, &token)?;
            Ok(added.then_some(()).ok_or_else(|| taken(&token.name)))
        })
        .await?;
        Ok(secret)
    }

    /// Takes a token away.
    ///
    /// # Errors
    /// When there is none of that name.
    pub(crate) async fn revoke_token(&self, name: &str, origin: &Origin) -> Result<(), Fault> {
        let owner = name.to_owned();
        self.change(origin, ("tokenRevoked", name), move |connection| {
            let had = accounts::remove_token(connection, &owner)?;
            let none = || Fault::new(FaultKind::NotFound, format!("There is no token {}", owner.escape_debug()));
            Ok(had.then_some(()).ok_or_else(none))
        })
        .await
    }
}
