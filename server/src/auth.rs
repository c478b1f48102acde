//! Who somebody is: passwords, sessions, tokens, and how often it may be tried.
//!
//! It knows nothing of HTTP. What a role may do is decided in `model::user`.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::{Duration, Instant},
};

use argon2::{Argon2, PasswordHash, PasswordHasher, PasswordVerifier};
use model::{Fault, FaultKind, Role, Viewer};
use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, oneshot};

use crate::{
    Backend,
    journal::accounts::{self, Hash, User},
    tasks::now,
};

/// The shortest password.
const SHORTEST: usize = 12;
/// The longest password; more is no password but an attack on the hash.
const LONGEST: usize = 256;
/// What is known of a secret is looked up again after this.
const KNOWN_FOR: Duration = Duration::from_secs(1);
/// Secrets that are remembered for that long.
const MAX_KNOWN: usize = 10_000;
/// A session notes that it is used at most this often, in milliseconds.
const TOUCH_EVERY: u64 = 60_000;
/// Failures after which the next attempt has to wait.
const FREE_FAILURES: u32 = 5;
/// The first wait; each further failure doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(900);
/// How long a link to log in works, in milliseconds.
pub(crate) const LINK_FOR: u64 = 15 * 60_000;

/// What somebody shows to say who they are.
#[derive(Clone, Debug)]
pub(crate) enum Shown {
    /// The secret of a browser's session.
    Session(Hash),
    /// A program's token.
    Token(Hash),
}

impl Shown {
    fn hash(&self) -> Hash {
        match self {
            Self::Session(hash) | Self::Token(hash) => *hash,
        }
    }
}

/// Failures in a row, and when the last one was.
struct Failures {
    count: u32,
    last: Instant,
}

impl Failures {
    /// How long the next attempt has to wait from now on.
    fn wait(&self) -> Duration {
        let Some(beyond) = self.count.checked_sub(FREE_FAILURES) else { return Duration::ZERO };
        let wait = FIRST_WAIT.saturating_mul(1 << beyond.min(16)).min(LONGEST_WAIT);
        wait.saturating_sub(self.last.elapsed())
    }
}

/// What is known of who is who.
pub(crate) struct Auth {
    backend: Arc<Backend>,
    /// Whether there are accounts, and who showed which secret, as of a moment ago.
    required: Mutex<Option<(Instant, bool)>>,
    known: Mutex<HashMap<Hash, (Instant, Option<Viewer>)>>,
    /// By account and by address.
    failures: Mutex<HashMap<String, Failures>>,
    /// Passwords that are checked at the same time; each takes 19 MiB.
    checks: Semaphore,
}

impl Auth {
    pub(crate) fn new(backend: Arc<Backend>) -> Self {
        LazyLock::force(&NOBODYS);
        let (required, known, failures) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { backend, required, known, failures, checks: Semaphore::new(2) }
    }

    /// Whether everybody has to say who they are: as soon as there is an account.
    ///
    /// # Errors
    /// When the accounts cannot be read; then nobody gets in.
    pub(crate) async fn is_required(&self) -> Result<bool, Fault> {
        let known = *self.required.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, required)) = known.filter(|(at, _)| at.elapsed() < KNOWN_FOR) {
            return Ok(required);
        }
        let required = self.backend.journal.accounts.read(accounts::any).await?;
        *self.required.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), required));
        Ok(required)
    }

    /// Who shows this; none for a stranger.
    ///
    /// # Errors
    /// When the accounts cannot be read; then nobody gets in.
    pub(crate) async fn viewer(&self, shown: Option<&Shown>) -> Result<Option<Viewer>, Fault> {
        if !self.is_required().await? {
            return Ok(Some(Viewer::anybody()));
        }
        let Some(shown) = shown else { return Ok(None) };
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&shown.hash()).cloned();
        if let Some((_, viewer)) = known.filter(|(at, _)| at.elapsed() < KNOWN_FOR) {
            return Ok(viewer);
        }
        let viewer = self.look_up(shown.clone()).await?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(shown.hash(), (Instant::now(), viewer.clone()));
        Ok(viewer)
    }

    async fn look_up(&self, shown: Shown) -> Result<Option<Viewer>, Fault> {
        let (accounts, now) = (&self.backend.journal.accounts, now());
        match shown {
            Shown::Token(hash) => {
                let found = accounts.read(move |connection| accounts::token(connection, &hash, now)).await?;
                Ok(found.map(|(name, role)| Viewer { name: Some(name), role }))
            }
            Shown::Session(hash) => {
                let found = accounts.read(move |connection| accounts::session(connection, &hash, now)).await?;
                let Some((user, seen)) = found else { return Ok(None) };
                if seen + TOUCH_EVERY < now {
                    // A disk that is full ends no session that is in use.
                    accounts.write(move |connection| accounts::touch_session(connection, &hash, now)).await.ok();
                }
                Ok(Some(Viewer { name: Some(user.name), role: user.role }))
            }
        }
    }

    /// Begins a session for a name and its password; gives its secret.
    ///
    /// # Errors
    /// `SignedOut` when they do not belong together, `TooMany` after many failures. Neither
    /// says whether there is such an account, nor does the time it takes.
    pub(crate) async fn log_in(&self, name: &str, password: &str, address: &str) -> Result<String, Fault> {
        let keys = [format!("name {name}"), format!("address {address}")];
        self.may_try(&keys)?;
        let wanted = name.to_owned();
        let user = self.backend.journal.accounts.read(move |connection| accounts::user(connection, &wanted)).await?;
        let kept = user.as_ref().and_then(|user| user.password.clone());
        let right = password.len() <= LONGEST && self.verify(password.to_owned(), kept).await;
        match user.filter(|_| right) {
            Some(user) => {
                self.succeeded(&keys);
                self.begin(&user.name).await
            }
            None => {
                self.failed(&keys);
                Err(Fault::new(FaultKind::SignedOut, "This name and this password do not belong together")
                    .with_next("Try again, or ask an admin for a link to log in"))
            }
        }
    }

    /// Whom a link would log in; none when it was used or is too old.
    ///
    /// # Errors
    /// When the accounts cannot be read.
    pub(crate) async fn link(&self, secret: &str) -> Result<Option<String>, Fault> {
        let (hash, now) = (hash(secret), now());
        self.backend.journal.accounts.read(move |connection| accounts::link(connection, &hash, now)).await
    }

    /// Uses a link up and begins a session.
    ///
    /// # Errors
    /// When it was used, or is too old.
    pub(crate) async fn log_in_by_link(&self, secret: &str) -> Result<String, Fault> {
        let (hash, now) = (hash(secret), now());
        let taken = move |connection: &rusqlite::Connection| accounts::take_link(connection, &hash, now);
        let name = self.backend.journal.accounts.write(taken).await?.ok_or_else(|| {
            Fault::new(FaultKind::SignedOut, "This link was used before or is too old")
                .with_next("Make a new one with belvedere login-link")
        })?;
        self.begin(&name).await
    }

    async fn begin(&self, name: &str) -> Result<String, Fault> {
        let (secret, name, now) = (secret(), name.to_owned(), now());
        let hash = hash(&secret);
        let add = move |connection: &rusqlite::Connection| accounts::add_session(connection, &hash, &name, now);
        self.backend.journal.accounts.write(add).await?;
        Ok(secret)
    }

    /// Ends a session at once.
    ///
    /// # Errors
    /// When that cannot be written.
    pub(crate) async fn log_out(&self, shown: &Shown) -> Result<(), Fault> {
        let hash = shown.hash();
        self.backend.journal.accounts.write(move |connection| accounts::end_session(connection, &hash)).await?;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&hash);
        Ok(())
    }

    fn may_try(&self, keys: &[String]) -> Result<(), Fault> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = keys.iter().filter_map(|key| failures.get(key)).map(Failures::wait).max().unwrap_or_default();
        if wait.is_zero() {
            return Ok(());
        }
        let fault = Fault::new(FaultKind::TooMany, "Too many attempts have failed");
        Err(fault.with_next(format!("Try again in {} seconds", wait.as_secs() + 1)))
    }

    fn succeeded(&self, keys: &[String]) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.retain(|key, _| !keys.contains(key));
    }

    fn failed(&self, keys: &[String]) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= MAX_KNOWN {
            failures.retain(|_, failures| !failures.wait().is_zero());
        }
        for key in keys {
            let entry = failures.entry(key.clone()).or_insert(Failures { count: 0, last: Instant::now() });
            // Who rests for long begins anew.
            if entry.last.elapsed() > LONGEST_WAIT {
                entry.count = 0;
            }
            *entry = Failures { count: entry.count.saturating_add(1), last: Instant::now() };
        }
    }

    /// Whether a password is the one that was hashed. Without a hash it takes as long.
    async fn verify(&self, password: String, kept: Option<String>) -> bool {
        let Ok(_place) = self.checks.acquire().await else { return false };
        let (reply, answer) = oneshot::channel();
        let check = move || {
            let hash = kept.as_deref().unwrap_or(&NOBODYS);
            let right = PasswordHash::new(hash)
                .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok());
            reply.send(kept.is_some() && right).ok();
        };
        // A thread of its own: hashing takes a tenth of a second of a processor.
        let started = std::thread::Builder::new().name("password".into()).spawn(check);
        started.is_ok() && answer.await.unwrap_or(false)
    }
}

/// What is checked where there is no account, so that it takes as long.
static NOBODYS: LazyLock<String> = LazyLock::new(|| hash_password(&secret()).unwrap_or_default());

/// A new secret of 256 bits, as hexadecimal digits.
pub(crate) fn secret() -> String {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the system gives random numbers");
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes it");
        text
    })
}

/// What a secret is known by.
pub(crate) fn hash(secret: &str) -> Hash {
    Sha256::digest(secret.as_bytes()).into()
}

/// Hashes a new password.
///
/// # Errors
/// Why it cannot be a password.
pub(crate) fn hash_password(password: &str) -> Result<String, String> {
    if password.chars().count() < SHORTEST || password.len() > LONGEST {
        return Err(format!("a password has {SHORTEST} to {LONGEST} characters"));
    }
    let hashed = Argon2::default().hash_password(password.as_bytes());
    hashed.map(|hash| hash.to_string()).map_err(|error| format!("the password cannot be hashed: {error}"))
}

/// A new account.
pub(crate) fn new_user(name: &str, role: Role, password: Option<&str>) -> Result<User, String> {
    model::user::check_name(name)?;
    Ok(User { name: name.to_owned(), role, password: password.map(hash_password).transpose()? })
}
