//! Who somebody is: passwords, sessions, tokens, and how often it may be tried.
//!
//! It knows nothing of HTTP. What a role may do is decided in `model::user`.

use std::{
    collections::HashMap,
    fmt::Write as _,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use argon2::{Argon2, PasswordHash, PasswordHasher, PasswordVerifier};
use model::{Fault, FaultKind, Role, Viewer};
use sha2::{Digest, Sha256};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::timeout,
};

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
/// The longest wait of an address.
const LONGEST_WAIT: Duration = Duration::from_secs(900);
/// The longest wait of an account: whoever knows a name must not lock its owner out.
const LONGEST_WAIT_OF_NAME: Duration = Duration::from_secs(60);
/// Failures are forgotten after this.
const FORGET_AFTER: Duration = Duration::from_secs(1_800);
/// How long an attempt waits for its turn.
const TURN: Duration = Duration::from_secs(5);
/// How long a link to log in works, in milliseconds.
pub(crate) const LINK_FOR: u64 = 15 * 60_000;

/// What a request says of the one who sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// Somebody is there.
    Person,
    /// An open page asks by itself, however long nobody looks at it.
    Page,
}

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
    fn wait(&self, most: Duration) -> Duration {
        let Some(beyond) = self.count.checked_sub(FREE_FAILURES) else { return Duration::ZERO };
        let wait = FIRST_WAIT.saturating_mul(1 << beyond.min(16)).min(most);
        wait.saturating_sub(self.last.elapsed())
    }
}

/// What failures are counted for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Suspect {
    /// An account; the empty name stands for all that cannot be one.
    Name(String),
    /// A network address, of IPv6 its network.
    Address(IpAddr),
}

impl Suspect {
    /// What an attempt counts for. Everybody on this machine has the same address, and so
    /// have all who come through a proxy that does not say whom it brings.
    fn of(name: &str, address: &str) -> Vec<Self> {
        let name = if model::user::check_name(name).is_ok() { name } else { "" };
        let address =
            address.parse::<IpAddr>().ok().filter(|address| !address.is_loopback()).map(|address| match address {
                IpAddr::V6(address) => {
                    let network = u128::from(address) >> 64 << 64;
                    IpAddr::from(network.to_be_bytes())
                }
                other => other,
            });
        [Self::Name(name.to_owned())].into_iter().chain(address.map(Self::Address)).collect()
    }

    fn longest_wait(&self) -> Duration {
        match self {
            Self::Name(_) => LONGEST_WAIT_OF_NAME,
            Self::Address(_) => LONGEST_WAIT,
        }
    }
}

/// What is known of who is who.
pub(crate) struct Auth {
    backend: Arc<Backend>,
    /// Whether there are accounts, and who showed which secret, as of a moment ago.
    required: Mutex<Option<(Instant, bool)>>,
    known: Mutex<HashMap<Hash, (Instant, Option<Viewer>)>>,
    failures: Mutex<HashMap<Suspect, Failures>>,
    /// Passwords that are checked at the same time; each takes 19 MiB.
    checks: Arc<Semaphore>,
}

impl Auth {
    pub(crate) fn new(backend: Arc<Backend>) -> Self {
        let (required, known, failures) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { backend, required, known, failures, checks: Arc::new(Semaphore::new(2)) }
    }

    /// Whether everybody has to say who they are: as soon as there is an account.
    ///
    /// # Errors
    /// When the accounts cannot be read; then nobody gets in.
    async fn is_required(&self) -> Result<bool, Fault> {
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
    pub(crate) async fn viewer(&self, shown: Option<&Shown>, by: By) -> Result<Option<Viewer>, Fault> {
        if !self.is_required().await? {
            return Ok(Some(Viewer::anybody()));
        }
        let Some(shown) = shown else { return Ok(None) };
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&shown.hash()).cloned();
        if let Some((_, viewer)) = known.filter(|(at, _)| at.elapsed() < KNOWN_FOR) {
            return Ok(viewer);
        }
        let viewer = self.look_up(shown.clone(), by).await?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(shown.hash(), (Instant::now(), viewer.clone()));
        Ok(viewer)
    }

    async fn look_up(&self, shown: Shown, by: By) -> Result<Option<Viewer>, Fault> {
        let (accounts, now) = (&self.backend.journal.accounts, now());
        match shown {
            Shown::Token(hash) => {
                let found = accounts.read(move |connection| accounts::token(connection, &hash, now)).await?;
                Ok(found.map(|(name, role)| Viewer { name: Some(name), role }))
            }
            Shown::Session(hash) => {
                let found = accounts.read(move |connection| accounts::session(connection, &hash, now)).await?;
                let Some((user, seen)) = found else { return Ok(None) };
                if by == By::Person && seen + TOUCH_EVERY < now {
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
        let suspects = Suspect::of(name, address);
        let place = self.checks.clone().acquire_owned();
        let place = timeout(TURN, place).await.ok().and_then(Result::ok).ok_or_else(|| {
            Fault::new(FaultKind::Busy, "Too many people log in at the same time").with_next("Try again in a moment")
        })?;
        // It counts as failed until it has succeeded, so that none beside it is for nothing.
        self.attempt(&suspects)?;
        let wanted = name.to_owned();
        let user = self.backend.journal.accounts.read(move |connection| accounts::user(connection, &wanted)).await?;
        let kept = user.as_ref().and_then(|user| user.password.clone());
        let right = password.len() <= LONGEST && self.verify(place, password.to_owned(), kept).await;
        match user.filter(|_| right) {
            Some(user) => {
                self.succeeded(&suspects[0]);
                self.begin(&user.name).await
            }
            None => Err(Fault::new(FaultKind::SignedOut, "This name and this password do not belong together")
                .with_next("Try again, or ask an admin for a link to log in")),
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

    /// Uses a link up and begins a session; gives whose, and its secret.
    ///
    /// # Errors
    /// When it was used, or is too old.
    pub(crate) async fn log_in_by_link(&self, secret: &str) -> Result<(String, String), Fault> {
        let (hash, now) = (hash(secret), now());
        let taken = move |connection: &rusqlite::Connection| accounts::take_link(connection, &hash, now);
        let name = self.backend.journal.accounts.write(taken).await?.ok_or_else(|| {
            Fault::new(FaultKind::SignedOut, "This link was used before or is too old")
                .with_next("Make a new one with belvedere login-link")
        })?;
        let session = self.begin(&name).await?;
        Ok((name, session))
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

    /// Counts an attempt, unless too many have failed.
    fn attempt(&self, suspects: &[Suspect]) -> Result<(), Fault> {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = |suspect: &Suspect| Some(failures.get(suspect)?.wait(suspect.longest_wait()));
        let wait = suspects.iter().filter_map(wait).max().unwrap_or_default();
        if !wait.is_zero() {
            let fault = Fault::new(FaultKind::TooMany, "Too many attempts have failed");
            return Err(fault.with_next(format!("Try again in {} seconds", wait.as_secs() + 1)));
        }
        if failures.len() >= MAX_KNOWN {
            failures.retain(|_, failures| failures.last.elapsed() < FORGET_AFTER);
        }
        for suspect in suspects {
            let had = failures.get(suspect).filter(|failures| failures.last.elapsed() < FORGET_AFTER);
            let count = had.map_or(0, |failures| failures.count).saturating_add(1);
            failures.insert(suspect.clone(), Failures { count, last: Instant::now() });
        }
        Ok(())
    }

    /// Forgets the failures of an account; its address may try others.
    fn succeeded(&self, name: &Suspect) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Whether a password is the one that was hashed. Without a hash it takes as long.
    async fn verify(&self, place: OwnedSemaphorePermit, password: String, kept: Option<String>) -> bool {
        let (reply, answer) = oneshot::channel();
        let check = move || {
            let hash = kept.as_deref().unwrap_or(NOBODYS);
            let right = PasswordHash::new(hash)
                .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok());
            // Whoever went away keeps the place until the work is done.
            drop(place);
            reply.send(kept.is_some() && right).ok();
        };
        // A thread of its own: hashing takes a tenth of a second of a processor.
        let started = std::thread::Builder::new().name("password".into()).spawn(check);
        started.is_ok() && answer.await.unwrap_or(false)
    }
}

/// What is checked where there is no account: a hash of no known password, with the cost of
/// all others, so that it takes as long.
const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checking_a_password_of_nobody_costs_as_much_as_any_other() {
        let kept = hash_password("correct horse battery").expect("hashed");
        let cost = |hash: &str| hash.split('$').take(4).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(cost(NOBODYS), cost(&kept));
        let lengths = |hash: &str| hash.split('$').skip(4).map(str::len).collect::<Vec<_>>();
        assert_eq!(lengths(NOBODYS), lengths(&kept));
        assert!(PasswordHash::new(NOBODYS).is_ok(), "it is not refused before the work begins");
    }

    #[test]
    fn an_attempt_counts_for_its_name_and_for_its_network_unless_that_is_everybodys() {
        let name = |name: &str| Suspect::Name(name.to_owned());
        assert_eq!(Suspect::of("root", "127.0.0.1"), [name("root")]);
        assert_eq!(Suspect::of("<no name>", ""), [name("")]);
        let [one, other] = ["2001:db8::1", "2001:db8::2"].map(|address| Suspect::of("root", address));
        assert_eq!((one.len(), &one), (2, &other));
        assert_ne!(one, Suspect::of("root", "2001:db8:0:1::1"));
    }
}
