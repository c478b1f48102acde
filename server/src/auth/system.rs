//! Logging in as somebody whom the system knows: PAM says whether a password is theirs, and
//! groups say what they may do here.
//!
//! Modules of PAM run in this process and may wait for a network, so it is asked on a thread
//! of its own. Opening sessions of the system is not its business.

use std::{
    ffi::{CString, OsStr, OsString},
    sync::Arc,
    time::Duration,
};

use model::{Fault, FaultKind};
use nix::unistd::{Group, User, getgrouplist};
use nonstick::{AuthnFlags, ConversationAdapter, ErrorCode, Transaction, TransactionBuilder};

use tokio::{sync::Semaphore, time::timeout};

use super::{Known, TURN, beside, known::scope_of};
use crate::config::Pam;

/// A wrong password is answered after at least so long, whoever it is of: modules of PAM make
/// people wait, and accounts of Belvedere would be told apart by not doing so.
pub(super) const FAILURE_TAKES: Duration = Duration::from_secs(3);
/// People whom PAM looks at at the same time; a wrong password takes it seconds.
const PLACES: usize = 8;

/// The system as it is asked.
pub(super) struct System {
    config: Arc<Pam>,
    places: Arc<Semaphore>,
}

impl System {
    pub(super) fn new(config: Pam) -> Self {
        Self { config: Arc::new(config), places: Arc::new(Semaphore::new(PLACES)) }
    }

    /// Whether it decides about a name: one that has no account here, or one of its own.
    pub(super) fn decides(&self, name: &str, account: Option<Option<&str>>) -> bool {
        account.is_none_or(|known_as| known_as == Some(subject(name).as_str()))
    }

    /// Who shows this password; none when it is wrong.
    ///
    /// # Errors
    /// `NotAllowed` when none of their groups has a role, `Unreachable` when PAM cannot be
    /// asked, `Busy` when many ask.
    pub(super) async fn check(&self, name: &str, password: &str) -> Result<Option<Known>, Fault> {
        let busy = || {
            Fault::new(FaultKind::Busy, "Too many people log in at the same time").with_next("Try again in a moment")
        };
        let place = timeout(TURN, self.places.clone().acquire_owned()).await;
        let place = place.ok().and_then(Result::ok).ok_or_else(busy)?;
        let (config, name, password) = (self.config.clone(), name.to_owned(), password.to_owned());
        beside(place, move || check(&config, &name, &password)).await.unwrap_or_else(|| Err(busy()))
    }
}

/// Answers what modules ask: the password, and nothing else.
struct Password<'a>(&'a str);

impl ConversationAdapter for Password<'_> {
    fn prompt(&self, _: impl AsRef<OsStr>) -> nonstick::Result<OsString> {
        // What is asked in the open is no password, and there is nobody to ask.
        Err(ErrorCode::ConversationError)
    }

    fn masked_prompt(&self, _: impl AsRef<OsStr>) -> nonstick::Result<OsString> {
        Ok(self.0.into())
    }

    fn error_msg(&self, message: impl AsRef<OsStr>) {
        tracing::info!(message = %message.as_ref().to_string_lossy(), "PAM");
    }

    fn info_msg(&self, message: impl AsRef<OsStr>) {
        tracing::debug!(message = %message.as_ref().to_string_lossy(), "PAM");
    }
}

/// What an account is known by that belongs to somebody of the system.
fn subject(name: &str) -> String {
    format!("pam#{name}")
}

/// Who somebody of the system is here; none when the password is not theirs.
fn check(config: &Pam, name: &str, password: &str) -> Result<Option<Known>, Fault> {
    // Texts end at NUL for PAM, which would make one password of two.
    if model::user::check_name(name).is_err() || password.is_empty() || password.contains('\0') {
        return Ok(None);
    }
    // A directory may know somebody by several spellings; each would be an account of its own.
    if User::from_name(name).ok().flatten().is_none_or(|user| user.name != name) {
        return Ok(None);
    }
    let asked = || {
        let conversation = Password(password).into_conversation();
        let mut pam = TransactionBuilder::new_with_service(&config.service).username(name).build(conversation)?;
        pam.authenticate(AuthnFlags::empty())?;
        // Accounts that are locked or too old say so only here.
        pam.account_management(AuthnFlags::empty())
    };
    match asked() {
        Ok(()) => known(config, name).map(Some),
        Err(
            ErrorCode::SystemError | ErrorCode::ServiceError | ErrorCode::OpenError | ErrorCode::AuthInfoUnavailable,
        ) => {
            tracing::warn!(service = config.service, "PAM cannot be asked");
            Err(Fault::new(FaultKind::Unreachable, "The system cannot say who you are")
                .with_next("Ask whoever looks after this server to read its log"))
        }
        Err(error) => {
            tracing::info!(%error, "PAM does not let somebody in");
            Ok(None)
        }
    }
}

/// What the groups of somebody make of them.
fn known(config: &Pam, name: &str) -> Result<Known, Fault> {
    let user = User::from_name(name).ok().flatten();
    let named = CString::new(name).ok();
    let groups = user.zip(named).and_then(|(user, name)| getgrouplist(&name, user.gid).ok()).unwrap_or_default();
    let groups: Vec<String> = groups.into_iter().filter_map(|group| Some(Group::from_gid(group).ok()??.name)).collect();
    let roles = config.roles.iter().filter(|(_, group)| groups.contains(group));
    let role = roles.map(|(role, _)| *role).max().ok_or_else(|| {
        Fault::new(FaultKind::NotAllowed, format!("{name} is in no group that may do anything here"))
            .with_next("Ask whoever looks after this server")
    })?;
    let scope = scope_of((name, role), &config.scopes, |group| groups.iter().any(|own| own == group))?;
    Ok(Known { subject: subject(name), name: name.to_owned(), role, scope })
}
