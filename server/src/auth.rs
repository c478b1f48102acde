//! Authentication: passwords, second factors, sessions, tokens, and throttling.
//!
//! It is independent of HTTP. Permissions of roles are in `model::user`; account management is in
//! `manage`.

mod account_lists;
mod attempts;
mod external;
mod factor;
mod manage;
#[cfg(feature = "oidc")]
pub(crate) mod oidc;
mod secrets;
#[cfg(feature = "pam")]
mod system;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use model::{Fault, FaultKind, NoteKind, Origin, Role, Scope, Viewer};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::timeout,
};

use self::attempts::{Attempts, Suspect};
#[cfg(any(feature = "oidc", feature = "pam"))]
pub(crate) use self::external::ExternalAccount;
pub(crate) use self::{
    account_lists::listed,
    manage::may_words,
    secrets::{hash, hash_password, secret},
};
use crate::{
    Backend,
    config::Config,
    journal::{
        Note,
        accounts::{self, Hash, NewSession, Session, Token, User},
    },
    tasks::now,
};

/// How long the identity of a secret is cached.
const KNOWN_FOR: Duration = Duration::from_secs(1);
/// Maximum cached secrets.
const MAX_KNOWN: usize = 10_000;
/// Minimum interval between updates of a session's last use, in milliseconds.
const TOUCH_EVERY: u64 = 60_000;
/// How long an attempt waits for its turn.
const TURN: Duration = Duration::from_secs(5);
/// Validity of a sign-in link in milliseconds.
pub(crate) const LINK_FOR: u64 = 15 * 60_000;
/// Time limit for the code after the password.
const CODE_WITHIN: Duration = Duration::from_secs(300);
/// An hour.
const HOUR: Duration = Duration::from_secs(3_600);
/// Maximum failures recorded per hour; the log contains all.
const MAX_RECORDED: u32 = 1_000;
/// Maximum browsers between password and code.
const MAX_BETWEEN: usize = 1_000;
/// Maximum per account.
const MAX_BETWEEN_OF_ONE: usize = 10;

/// When sign-in is required.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Asking {
    /// Always, except for the demonstration by itself: there once an account exists.
    #[default]
    Auto,
    /// Always; without an account only the link printed at start works.
    Always,
    /// Never, even with accounts.
    Never,
}

/// The origin of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// A user action.
    Person,
    /// An automatic request of an open page.
    Page,
}

/// The credentials of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// The session secret of a browser.
    Session(Hash),
    /// An API token.
    Token(Hash),
}

impl Shown {
    fn hash(&self) -> Hash {
        match self {
            Self::Session(hash) | Self::Token(hash) => *hash,
        }
    }
}

/// The client of a sign-in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peer {
    /// The origin, as far as known.
    pub(crate) origin: Origin,
    /// The browser's user agent.
    pub(crate) agent: String,
}

impl Peer {
    fn address(&self) -> &str {
        self.origin.address.as_deref().unwrap_or_default()
    }
}

/// The state of a sign-in with the right password.
pub(crate) enum LoggedIn {
    /// The secret of the new session.
    Whole(String),
    /// The secret that must accompany the code.
    NeedsCode(String),
}

/// A sign-in between password and code.
#[derive(Clone)]
struct Between {
    name: String,
    /// The hash that the password matched.
    password: Option<String>,
    since: Instant,
}

/// How a session starts.
struct Beginning {
    /// The record kind.
    kind: NoteKind,
    /// Whether by a link.
    by_link: bool,
    /// The hash that the password matched; a password change invalidates it.
    password: Option<String>,
}

impl Default for Beginning {
    fn default() -> Self {
        Self { kind: NoteKind::LoggedIn, password: None, by_link: false }
    }
}

/// Authentication state.
pub(crate) struct Auth {
    backend: Arc<Backend>,
    asking: Asking,
    /// PAM, if configured.
    #[cfg(feature = "pam")]
    system: Option<system::System>,
    /// Cached: whether there are accounts, and the identities of secrets.
    required: Mutex<Option<(Instant, bool)>>,
    known: Mutex<HashMap<Hash, (Instant, Option<Viewer>)>>,
    attempts: Attempts,
    /// Start of the period in which failures are counted for records, and their number.
    recorded: Mutex<Option<(Instant, u32)>>,
    between: Mutex<HashMap<Hash, Between>>,
    /// Second factor secrets not confirmed by a code, by session.
    unconfirmed: Mutex<HashMap<Hash, (Vec<u8>, Instant)>>,
    /// The hashes of the setup link and its session, while there is no account.
    set_up: Option<[Hash; 2]>,
    /// Limits concurrent password checks; each takes 19 MiB.
    checks: Arc<Semaphore>,
}

impl Auth {
    /// `asking` is decided by the available hosts; `set_up` is the secret of the setup link.
    pub(crate) fn new(backend: Arc<Backend>, config: &Config, asking: Asking, set_up: Option<&str>) -> Self {
        #[cfg(not(feature = "pam"))]
        let _ = config;
        Self {
            backend,
            asking,
            #[cfg(feature = "pam")]
            system: config.pam.clone().map(system::System::new),
            required: Mutex::default(),
            known: Mutex::default(),
            attempts: Attempts::default(),
            recorded: Mutex::default(),
            between: Mutex::default(),
            unconfirmed: Mutex::default(),
            set_up: set_up.map(|link| [hash(link), hash(&set_up_session(link))]),
            checks: Arc::new(Semaphore::new(2)),
        }
    }

    /// The backend of these accounts.
    pub(crate) fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }

    /// Whether sign-in is required.
    ///
    /// # Errors
    /// If the accounts cannot be read; then no access is granted.
    async fn is_required(&self) -> Result<bool, Fault> {
        match self.asking {
            Asking::Always => return Ok(true),
            Asking::Never => return Ok(false),
            Asking::Auto => {}
        }
        let known = *self.required.lock();
        if let Some((_, required)) = known.filter(|(at, _)| at.elapsed() < KNOWN_FOR) {
            return Ok(required);
        }
        let required = self.backend.journal.accounts.read(accounts::any).await?;
        *self.required.lock() = Some((Instant::now(), required));
        Ok(required)
    }

    /// The viewer of credentials; none for unknown ones.
    ///
    /// # Errors
    /// If the accounts cannot be read; then no access is granted.
    pub(crate) async fn viewer(&self, shown: Option<&Shown>, by: By) -> Result<Option<Viewer>, Fault> {
        if !self.is_required().await? {
            return Ok(Some(Viewer { open: true, ..Viewer::anybody() }));
        }
        let Some(shown) = shown else { return Ok(None) };
        let known = self.known.lock().get(&shown.hash()).cloned();
        if let Some((_, viewer)) = known.filter(|(at, _)| at.elapsed() < KNOWN_FOR) {
            return Ok(viewer);
        }
        let viewer = self.look_up(shown.clone(), by).await?;
        let mut known = self.known.lock();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(shown.hash(), (Instant::now(), viewer.clone()));
        Ok(viewer)
    }

    async fn look_up(&self, shown: Shown, by: By) -> Result<Option<Viewer>, Fault> {
        let (accounts, now) = (&self.backend.journal.accounts, now());
        match shown {
            // A session of the setup link has all permissions until there is an account.
            Shown::Session(hash) if self.set_up.is_some_and(|[_, session]| session == hash) => {
                Ok((!accounts.read(accounts::any).await?).then(Viewer::anybody))
            }
            Shown::Token(hash) => {
                let found = accounts.read(move |connection| accounts::token(connection, &hash, now)).await?;
                Ok(found.map(|token| Viewer {
                    name: Some(token.name),
                    role: token.role,
                    scope: token.scope,
                    open: false,
                }))
            }
            Shown::Session(hash) => {
                let found = accounts.read(move |connection| accounts::session(connection, &hash, now)).await?;
                let Some((user, seen)) = found else { return Ok(None) };
                if by == By::Person && seen + TOUCH_EVERY < now {
                    // A full disk does not end an active session.
                    accounts.write(move |connection| accounts::touch_session(connection, &hash, now)).await.ok();
                }
                Ok(Some(Viewer { name: Some(user.name), role: user.role, scope: user.scope, open: false }))
            }
        }
    }

    /// Drops the cache.
    fn forget_known(&self) {
        self.known.lock().clear();
        *self.required.lock() = None;
    }

    /// Checks a name and password; starts a session, unless a code is needed.
    ///
    /// # Errors
    /// `SignedOut` if they do not match, `TooMany` after many failures. Neither the error nor the
    /// time reveals whether the account exists.
    pub(crate) async fn log_in(&self, name: &str, password: &str, from: &Peer) -> Result<LoggedIn, Fault> {
        let suspects = Suspect::of(name, from.address());
        let place = self.place().await?;
        self.attempts.count(&suspects)?;
        let wanted = name.to_owned();
        let found = self.backend.journal.accounts.read(move |connection| {
            let (user, subject) = (accounts::user(connection, &wanted)?, accounts::subject(connection, &wanted)?);
            Ok((user, subject, accounts::factor(connection, &wanted)?.is_some()))
        });
        let (user, subject, has_factor) = found.await?;
        let began = Instant::now();
        let account = user.as_ref().map(|_| subject.as_deref());
        if self.is_the_systems(name, account) {
            // PAM may wait for a network and must not block others.
            drop(place);
            let Some(known) = self.ask_system(name, password).await? else {
                return Err(self.wrong_password(user, began, from).await);
            };
            self.attempts.succeeded(&suspects);
            return self.enter_by_system(&known, has_factor, from).await;
        }
        let kept = user.as_ref().and_then(|user| user.password.clone());
        if !self.verify(place, password, kept.clone()).await {
            return Err(self.wrong_password(user, began, from).await);
        }
        let name = user.map(|user| user.name).unwrap_or_default();
        self.attempts.succeeded(&suspects);
        if has_factor {
            return Ok(LoggedIn::NeedsCode(self.between(name, kept)));
        }
        let how = Beginning { kind: NoteKind::LoggedIn, password: kept, ..Beginning::default() };
        self.begin(&name, from, how).await.map(LoggedIn::Whole)
    }

    /// Records a wrong password and returns the error.
    async fn wrong_password(&self, user: Option<User>, began: Instant, from: &Peer) -> Fault {
        self.wait_like_the_system(began).await;
        // An unknown name may be a password in the wrong field, so it is not stored.
        let known = user.map(|user| user.name).unwrap_or_default();
        let fault = Fault::new(FaultKind::SignedOut, "Wrong user name or password")
            .with_next("Try again, or ask an admin for a sign-in link");
        self.failed(known, from, fault).await
    }

    /// Stores a sign-in after the password; returns the secret for the code.
    fn between(&self, name: String, password: Option<String>) -> String {
        let secret = secret();
        let mut between = self.between.lock();
        between.retain(|_, known| known.since.elapsed() < CODE_WITHIN);
        // A client that starts repeatedly replaces its own attempts.
        let of_one = between.values().filter(|known| known.name == name).count();
        let crowded = of_one >= MAX_BETWEEN_OF_ONE || between.len() >= MAX_BETWEEN;
        let own = |known: &Between| of_one == 0 || known.name == name;
        let oldest = between.iter().filter(|(_, known)| own(known)).min_by_key(|(_, known)| known.since);
        if let Some(hash) = oldest.map(|(hash, _)| *hash).filter(|_| crowded) {
            between.remove(&hash);
        }
        between.insert(hash(&secret), Between { name, password, since: Instant::now() });
        secret
    }

    /// Checks the code after the password, or a recovery code.
    ///
    /// # Errors
    /// `SignedOut` if it is wrong or late, `TooMany` after many failures.
    pub(crate) async fn log_in_by_code(&self, secret: &str, code: &str, from: &Peer) -> Result<String, Fault> {
        let Between { name, password, .. } = self
            .who_is_between(secret)
            .ok_or_else(|| Fault::new(FaultKind::SignedOut, "The sign-in timed out").with_next("Sign in again"))?;
        let suspect = Suspect::Code(name.clone());
        self.attempts.count(std::slice::from_ref(&suspect))?;
        let kind = match self.take_code(&name, code).await? {
            Some(kind) => kind,
            None => {
                let fault = Fault::new(FaultKind::SignedOut, "Wrong or already used code")
                    .with_next("Wait for the next code, or use a recovery code");
                return Err(self.failed(name, from, fault).await);
            }
        };
        self.attempts.succeeded(std::slice::from_ref(&suspect));
        self.between.lock().remove(&hash(secret));
        self.begin(&name, from, Beginning { kind, password, ..Beginning::default() }).await
    }

    /// The sign-in of a secret, if in time.
    fn who_is_between(&self, secret: &str) -> Option<Between> {
        let between = self.between.lock();
        let known = between.get(&hash(secret)).filter(|known| known.since.elapsed() < CODE_WITHIN)?;
        Some(known.clone())
    }

    /// Uses a code; returns the record kind of the sign-in, none if the code is wrong.
    async fn take_code(&self, name: &str, code: &str) -> Result<Option<NoteKind>, Fault> {
        let accounts = &self.backend.journal.accounts;
        let (user, recovery) = (name.to_owned(), factor::recovery_hash(code));
        let kept = accounts.read({
            let user = user.clone();
            move |connection| accounts::factor(connection, &user)
        });
        let step = kept.await?.and_then(|kept| factor::step(&kept.secret, code, now()));
        accounts
            .write(move |connection| match step {
                Some(step) => Ok(accounts::take_step(connection, &user, step)?.then_some(NoteKind::LoggedIn)),
                None => {
                    Ok(accounts::recover(connection, &user, &recovery)?.then_some(NoteKind::LoggedInByRecoveryCode))
                }
            })
            .await
    }

    /// Whether another failure may be recorded: attempts must not fill the disk.
    fn may_record(&self) -> bool {
        let mut recorded = self.recorded.lock();
        let (since, count) = recorded.filter(|(since, _)| since.elapsed() < HOUR).unwrap_or((Instant::now(), 0));
        *recorded = Some((since, count.saturating_add(1)));
        count < MAX_RECORDED
    }

    /// Records a failure and returns it.
    async fn failed(&self, name: String, from: &Peer, fault: Fault) -> Fault {
        tracing::warn!(address = from.address(), why = fault.sentence(), "sign-in failed");
        let why = Some(Fault { next: None, ..fault.clone() });
        let note = Note { fault: why, ..Note::of(NoteKind::LogInFailed, &name, from.origin.clone()) };
        if !self.may_record() {
            return fault;
        }
        // A full disk is only logged, not reported to the client.
        self.backend.journal.accounts.write(move |connection| accounts::note(connection, &note)).await.ok();
        fault
    }

    /// The account of a link; none if used or expired.
    ///
    /// # Errors
    /// If the accounts cannot be read.
    pub(crate) async fn link(&self, secret: &str) -> Result<Option<String>, Fault> {
        let (hash, now) = (hash(secret), now());
        self.backend.journal.accounts.read(move |connection| accounts::link(connection, &hash, now)).await
    }

    /// Uses a link and starts a session; returns its secret. A link needs no code, because it is
    /// the recovery for a lost second factor.
    ///
    /// # Errors
    /// If it was used or has expired.
    pub(crate) async fn log_in_by_link(&self, secret: &str, from: &Peer) -> Result<String, Fault> {
        let (hash, now) = (hash(secret), now());
        let taken = move |connection: &rusqlite::Connection| accounts::take_link(connection, &hash, now);
        let name = self.backend.journal.accounts.write(taken).await?.ok_or_else(|| {
            Fault::new(FaultKind::SignedOut, "This sign-in link has been used or has expired")
                .with_next("Create a new one with belvedere login-link")
        })?;
        self.begin(&name, from, Beginning { kind: NoteKind::LoggedInByLink, by_link: true, password: None }).await
    }

    /// Starts and records a session; returns its secret.
    async fn begin(&self, name: &str, from: &Peer, how: Beginning) -> Result<String, Fault> {
        let (secret, now) = (secret(), now());
        let (hash, owner) = (hash(&secret), name.to_owned());
        let (address, agent) = (from.address().to_owned(), from.agent.clone());
        let new = NewSession { user: name.to_owned(), address, agent, by_link: how.by_link };
        let note = note_of(how.kind, name, &from.origin);
        let begun = self.backend.journal.accounts.write(move |connection| {
            // The account or its password may have changed during the check.
            let user = accounts::user(connection, &owner)?;
            if user.is_none_or(|user| how.password.is_some() && user.password != how.password) {
                return Ok(false);
            }
            accounts::add_session(connection, &hash, &new, now)?;
            accounts::note(connection, &note).map(|()| true)
        });
        if !begun.await? {
            let fault = Fault::new(FaultKind::SignedOut, "This account was changed during the sign-in");
            return Err(fault.with_next("Sign in again"));
        }
        tracing::info!(name, address = from.address(), "signed in");
        Ok(secret)
    }

    /// Ends a session immediately.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) async fn log_out(&self, shown: &Shown, name: &str, origin: &Origin) -> Result<(), Fault> {
        let hash = shown.hash();
        let note = note_of(NoteKind::LoggedOut, name, origin);
        let ended = self.backend.journal.accounts.write(move |connection| {
            if accounts::end_session(connection, &hash)? {
                accounts::note(connection, &note)?;
            }
            Ok(())
        });
        ended.await?;
        self.forget_known();
        Ok(())
    }

    /// Whether the setup link can create the first account.
    ///
    /// # Errors
    /// If the accounts cannot be read.
    pub(crate) async fn may_set_up(&self, secret: &str) -> Result<bool, Fault> {
        if self.set_up.is_none_or(|[link, _]| link != hash(secret)) {
            return Ok(false);
        }
        self.backend.journal.accounts.read(accounts::any).await.map(|any| !any)
    }

    /// Creates the first account, an admin, and starts its session; returns its secret.
    ///
    /// # Errors
    /// If an account exists, or the name or password is invalid.
    pub(crate) async fn set_up(&self, secret: &str, name: &str, password: &str, from: &Peer) -> Result<String, Fault> {
        let used = || Fault::new(FaultKind::SignedOut, "An account already exists").with_next("Sign in with it");
        if !self.may_set_up(secret).await? {
            return Err(used());
        }
        model::user::check_name(name).map_err(|why| Fault::invalid("name", &why))?;
        let place = self.place().await?;
        let hashed = self.hash(place, password).await?;
        let user = User { name: name.to_owned(), role: Role::Admin, password: Some(hashed), scope: Scope::default() };
        let note = note_of(NoteKind::UserAdded, name, &from.origin);
        let added = self.backend.journal.accounts.write(move |connection| {
            // Only one of two concurrent requests creates the first account.
            let added = !accounts::any(connection)? && accounts::add_user(connection, &user, now())?;
            if added {
                accounts::note(connection, &note)?;
            }
            Ok(added)
        });
        if !added.await? {
            return Err(used());
        }
        self.forget_known();
        self.begin(name, from, Beginning { kind: NoteKind::LoggedIn, ..Beginning::default() }).await
    }

    /// The session of credentials; none for a token.
    async fn own_session(&self, shown: &Shown, name: &str) -> Result<Option<Session>, Fault> {
        let (Shown::Session(hash), name, now) = (shown.clone(), name.to_owned(), now()) else { return Ok(None) };
        let own =
            self.backend.journal.accounts.read(move |connection| accounts::sessions(connection, Some(&name), now));
        Ok(own.await?.into_iter().find(|known| known.hash == hash))
    }

    /// A slot for a password check.
    async fn place(&self) -> Result<OwnedSemaphorePermit, Fault> {
        let place = self.checks.clone().acquire_owned();
        timeout(TURN, place).await.ok().and_then(Result::ok).ok_or_else(|| {
            Fault::new(FaultKind::Busy, "Too many concurrent sign-ins").with_next("Try again in a moment")
        })
    }

    /// Whether a password matches a hash. Without a hash it takes as long.
    async fn verify(&self, place: OwnedSemaphorePermit, password: &str, kept: Option<String>) -> bool {
        if password.len() > secrets::LONGEST {
            return false;
        }
        let password = password.to_owned();
        beside(place, move || secrets::verify(&password, kept.as_deref())).await.unwrap_or(false)
    }

    /// Hashes a new password.
    async fn hash(&self, place: OwnedSemaphorePermit, password: &str) -> Result<String, Fault> {
        let password = password.to_owned();
        let hashed = beside(place, move || hash_password(&password)).await;
        hashed.unwrap_or_else(|| Err("hashing failed".into())).map_err(|why| Fault::invalid("password", &why))
    }
}

/// The secret of the session of the setup link. It is in no URL, and opening the link twice creates
/// no second session.
pub(crate) fn set_up_session(link: &str) -> String {
    hex::encode(hash(&format!("session of {link}")))
}

/// Runs work of a tenth of a CPU second on a separate thread. If the client leaves, the slot stays
/// occupied until the work is done.
async fn beside<T: Send + 'static>(
    place: OwnedSemaphorePermit,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (reply, answer) = oneshot::channel();
    let run = move || {
        let done = work();
        drop(place);
        reply.send(done).ok();
    };
    std::thread::Builder::new().name("password".into()).spawn(run).ok()?;
    answer.await.ok()
}

/// The record of an action on the own account.
fn note_of(kind: NoteKind, name: &str, origin: &Origin) -> Note {
    Note::of(kind, name, Origin { who: Some(name.to_owned()), ..origin.clone() })
}

/// A day in milliseconds.
const DAY: u64 = 24 * 3_600_000;

/// A new token, with days until it expires.
pub(crate) fn new_token(name: &str, (role, scope): (Role, Scope), days: Option<u32>) -> Result<Token, String> {
    model::user::check_name(name)?;
    model::user::check_scope(role, &scope)?;
    let created = now();
    Ok(Token { name: name.to_owned(), role, created, expires: days.map(|days| created + u64::from(days) * DAY), scope })
}

/// A new account.
pub(crate) fn new_user(name: &str, (role, scope): (Role, Scope), password: Option<&str>) -> Result<User, String> {
    model::user::check_name(name)?;
    model::user::check_scope(role, &scope)?;
    Ok(User { name: name.to_owned(), role, password: password.map(hash_password).transpose()?, scope })
}
