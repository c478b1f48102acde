//! Account management: users manage their own account, admins all accounts. Each change is recorded
//! together with it.

use std::time::Instant;

use model::{
    Fault, FaultKind, NoteKind, Origin, Role, Scope,
    user::{check_name, check_scope},
};
use rusqlite::Connection;

use super::{
    Asking, Auth, CODE_WITHIN, LINK_FOR, Peer, Shown, attempts::Suspect, factor, hash, new_token, new_user, secret,
};
use crate::{
    journal::{
        Note,
        accounts::{self, Factor, Session},
    },
    tasks::now,
};

/// How long after a link a password can be set without the old one, in milliseconds.
const NEW_PASSWORD_WITHIN: u64 = 15 * 60_000;

/// A second factor waiting for its first code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MadeFactor {
    /// The URL of the QR code.
    pub(crate) address: String,
    /// The secret to type.
    pub(crate) letters: String,
}

fn nobody(name: &str) -> Fault {
    Fault::new(FaultKind::NotFound, format!("Account {} does not exist", name.escape_debug()))
        .with_next("Check the list of accounts")
}

fn taken(name: &str) -> Fault {
    Fault::new(FaultKind::Conflict, format!("An account or token named {name} already exists"))
        .with_next("Choose another name")
}

fn has_factor(name: &str) -> Fault {
    Fault::denied(format!("{name} already has a second factor")).with_next("Turn it off first with a code")
}

fn last_admin(name: &str) -> Fault {
    Fault::denied(format!("{name} is the only admin")).with_next("Give another account the role admin first")
}

/// Whether a session may set a new password without the old one: it was started by a link a moment
/// ago.
pub(super) fn may_choose_password(session: &Session, now: u64) -> bool {
    session.by_link && session.created + NEW_PASSWORD_WITHIN > now
}

/// Whether a name, role and scope are valid for an account or token.
fn check(name: &str, (role, scope): &(Role, Scope)) -> Result<(), Fault> {
    check_name(name).map_err(|why| Fault::invalid("name", &why))?;
    check_scope(*role, scope).map_err(|why| Fault::invalid("scope", &why))
}

/// A name with its role and scope, for records.
pub(crate) fn may_words(name: &str, (role, scope): &(Role, Scope)) -> String {
    let role = role.name();
    if scope.is_everything() { format!("{name}, {role}") } else { format!("{name}, {role}, {}", scope.words()) }
}

impl Auth {
    /// Whether a real host may be added: not to a server that is open because it has none.
    ///
    /// # Errors
    /// `Denied`.
    pub(crate) async fn may_add_hosts(&self) -> Result<(), Fault> {
        if self.asking == Asking::Never || self.is_required().await? {
            return Ok(());
        }
        let fault = Fault::denied("This server is open to everyone, so no host can be added");
        Err(fault.with_next("Create an account first: belvedere user add NAME --role admin"))
    }

    /// Changes accounts and records it, both or neither; drops the cache.
    async fn change(
        &self,
        origin: &Origin,
        (kind, name): (NoteKind, &str),
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

    /// Whether a session may set a new password without the old one.
    async fn needs_no_password(&self, shown: &Shown, name: &str) -> Result<bool, Fault> {
        let session = self.own_session(shown, name).await?;
        Ok(session.is_some_and(|session| may_choose_password(&session, now())))
    }

    /// Changes the own password and ends the other sessions.
    ///
    /// # Errors
    /// If the old password is wrong, or the new one invalid.
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
                let fault = Fault::invalid("old", "wrong password");
                return Err(self.failed(name.to_owned(), &peer, fault).await);
            }
            self.attempts.succeeded(std::slice::from_ref(&suspect));
        }
        let hashed = self.hash(self.place().await?, new).await?;
        let (owner, own) = (name.to_owned(), shown.hash());
        self.change(origin, (NoteKind::PasswordChanged, name), move |connection| {
            accounts::set_password(connection, &owner, &hashed)?;
            accounts::end_sessions(connection, &owner, Some(&own))?;
            Ok(Ok(()))
        })
        .await
    }

    /// Creates the secret of a second factor; it takes effect with a code in the same session, so
    /// that no other session can confirm it.
    ///
    /// # Errors
    /// If one exists, or it cannot be displayed.
    pub(crate) async fn new_factor(&self, shown: &Shown, name: &str) -> Result<MadeFactor, Fault> {
        let owner = name.to_owned();
        if self.backend.journal.accounts.read(move |connection| accounts::factor(connection, &owner)).await?.is_some() {
            return Err(has_factor(name));
        }
        let mut unconfirmed = self.unconfirmed.lock();
        unconfirmed.retain(|_, (_, since)| since.elapsed() < CODE_WITHIN * 2);
        // A repeated request returns the same secret.
        let (secret, _) = unconfirmed.entry(shown.hash()).or_insert_with(|| (factor::new_secret(), Instant::now()));
        let (address, letters) = factor::shown(secret, name)
            .ok_or_else(|| Fault::new(FaultKind::Internal, "The secret cannot be displayed"))?;
        Ok(MadeFactor { address, letters })
    }

    /// Turns on the second factor; returns the recovery codes, which are shown only once.
    ///
    /// # Errors
    /// If the code is wrong, it is too late, or one exists.
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
            let unconfirmed = self.unconfirmed.lock();
            let known = unconfirmed.get(&shown.hash()).filter(|(_, since)| since.elapsed() < CODE_WITHIN * 2);
            known.map(|(secret, _)| secret.clone())
        };
        let secret = secret.ok_or_else(|| {
            Fault::new(FaultKind::Conflict, "The set-up timed out").with_next("Turn on the second factor again")
        })?;
        let step = factor::step(&secret, code, now())
            .ok_or_else(|| Fault::invalid("code", "wrong code; check the clocks of the server and of your device"))?;
        self.attempts.succeeded(std::slice::from_ref(&suspect));
        let (codes, hashes) = factor::recovery_codes();
        let (owner, made, own) = (name.to_owned(), Factor { secret, step }, shown.hash());
        self.change(origin, (NoteKind::SecondFactorOn, name), move |connection| {
            if accounts::factor(connection, &owner)?.is_some() {
                return Ok(Err(has_factor(&owner)));
            }
            accounts::set_factor(connection, &owner, &made, &hashes)?;
            // Sessions started with the password alone end.
            accounts::end_sessions(connection, &owner, Some(&own))?;
            Ok(Ok(()))
        })
        .await?;
        self.unconfirmed.lock().remove(&shown.hash());
        Ok(codes)
    }

    /// Turns off the own second factor with a code.
    ///
    /// # Errors
    /// If the code is wrong.
    pub(crate) async fn drop_factor(&self, name: &str, code: &str, origin: &Origin) -> Result<(), Fault> {
        let suspect = Suspect::Code(name.to_owned());
        self.attempts.count(std::slice::from_ref(&suspect))?;
        if self.take_code(name, code).await?.is_none() {
            let peer = Peer { origin: origin.clone(), agent: String::new() };
            let fault = Fault::invalid("code", "wrong or already used; wait for the next code");
            return Err(self.failed(name.to_owned(), &peer, fault).await);
        }
        self.attempts.succeeded(std::slice::from_ref(&suspect));
        self.reset_factor(name, origin).await
    }

    /// Turns off the second factor of any account, for example if its device was lost.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) async fn reset_factor(&self, name: &str, origin: &Origin) -> Result<(), Fault> {
        let owner = name.to_owned();
        self.change(origin, (NoteKind::SecondFactorOff, name), move |connection| {
            let had = accounts::unset_factor(connection, &owner)?;
            Ok(had.then_some(()).ok_or_else(|| Fault::denied(format!("{owner} has no second factor"))))
        })
        .await
    }

    /// Ends a session by ID; with an owner only one of theirs.
    ///
    /// # Errors
    /// If it does not exist.
    pub(crate) async fn end_session(&self, id: i64, of: Option<&str>, origin: &Origin) -> Result<(), Fault> {
        let (of, at) = (of.map(str::to_owned), now());
        let all =
            self.backend.journal.accounts.read(move |connection| accounts::sessions(connection, of.as_deref(), at));
        let found = all.await?.into_iter().find(|session| session.id == id);
        // A session that has already ended is not an error.
        let Some(session) = found else { return Ok(()) };
        self.change(origin, (NoteKind::SessionEnded, &session.user), move |connection| {
            accounts::end_session(connection, &session.hash)?;
            Ok(Ok(()))
        })
        .await
    }

    /// Ends all own sessions except the current one.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) async fn end_others(&self, shown: &Shown, name: &str, origin: &Origin) -> Result<(), Fault> {
        let (owner, own) = (name.to_owned(), shown.hash());
        self.change(origin, (NoteKind::SessionEnded, name), move |connection| {
            accounts::end_sessions(connection, &owner, Some(&own))?;
            Ok(Ok(()))
        })
        .await
    }

    /// Creates an account without a password, and the secret of a sign-in link.
    ///
    /// # Errors
    /// If the name is invalid or taken.
    pub(crate) async fn add_user(&self, name: &str, may: (Role, Scope), origin: &Origin) -> Result<String, Fault> {
        let what = may_words(name, &may);
        check(name, &may)?;
        let user = new_user(name, may, None).map_err(|why| Fault::invalid("name", &why))?;
        self.change(origin, (NoteKind::UserAdded, &what), move |connection| {
            let added = accounts::add_user(connection, &user, now())?;
            Ok(added.then_some(()).ok_or_else(|| taken(&user.name)))
        })
        .await?;
        self.make_link(name, origin).await
    }

    /// Removes an account, except the last admin.
    ///
    /// # Errors
    /// If it does not exist, or is the last admin.
    pub(crate) async fn remove_user(&self, name: &str, origin: &Origin) -> Result<(), Fault> {
        let owner = name.to_owned();
        self.change(origin, (NoteKind::UserRemoved, name), move |connection| {
            let Some(user) = accounts::user(connection, &owner)? else { return Ok(Err(nobody(&owner))) };
            if user.role == Role::Admin && !accounts::other_admin(connection, &owner)? {
                return Ok(Err(last_admin(&owner)));
            }
            accounts::remove_user(connection, &owner)?;
            Ok(Ok(()))
        })
        .await
    }

    /// Sets role and scope of an account, but never removes the last admin.
    ///
    /// # Errors
    /// If it does not exist, is the last admin, or an admin would get a scope.
    pub(crate) async fn set_role(&self, name: &str, may: (Role, Scope), origin: &Origin) -> Result<(), Fault> {
        check(name, &may)?;
        let (owner, what, (role, scope)) = (name.to_owned(), may_words(name, &may), may);
        self.change(origin, (NoteKind::RoleChanged, &what), move |connection| {
            let Some(user) = accounts::user(connection, &owner)? else { return Ok(Err(nobody(&owner))) };
            if user.role == Role::Admin && role != Role::Admin && !accounts::other_admin(connection, &owner)? {
                return Ok(Err(last_admin(&owner)));
            }
            accounts::set_role(connection, &owner, (role, &scope))?;
            Ok(Ok(()))
        })
        .await
    }

    /// Creates the secret of a sign-in link.
    ///
    /// # Errors
    /// If the account does not exist.
    pub(crate) async fn make_link(&self, name: &str, origin: &Origin) -> Result<String, Fault> {
        let (secret, owner) = (secret(), name.to_owned());
        let hash = hash(&secret);
        self.change(origin, (NoteKind::LoginLinkMade, name), move |connection| {
            let added = accounts::add_link(connection, &hash, &owner, now() + LINK_FOR)?;
            Ok(added.then_some(()).ok_or_else(|| nobody(&owner)))
        })
        .await?;
        Ok(secret)
    }

    /// Creates a token; returns its secret, which is shown only once.
    ///
    /// # Errors
    /// If the name is invalid or taken.
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
        self.change(origin, (NoteKind::TokenCreated, &what), move |connection| {
            let added = accounts::add_token(connection, &hash, &token)?;
            Ok(added.then_some(()).ok_or_else(|| taken(&token.name)))
        })
        .await?;
        Ok(secret)
    }

    /// Revokes a token.
    ///
    /// # Errors
    /// If it does not exist.
    pub(crate) async fn revoke_token(&self, name: &str, origin: &Origin) -> Result<(), Fault> {
        let owner = name.to_owned();
        self.change(origin, (NoteKind::TokenRevoked, name), move |connection| {
            let had = accounts::remove_token(connection, &owner)?;
            let none = || Fault::new(FaultKind::NotFound, format!("Token {} does not exist", owner.escape_debug()));
            Ok(had.then_some(()).ok_or_else(none))
        })
        .await
    }
}
