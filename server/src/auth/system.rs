//! Sign-in of system users: PAM checks the password, and groups determine the role.
//!
//! PAM modules run in this process and may wait for a network, so they are called on a separate
//! thread. PAM sessions are not opened.

use std::{
    ffi::{CString, OsStr, OsString},
    sync::Arc,
    time::Duration,
};

use model::{Fault, FaultKind};
use nix::unistd::{Group, User, getgrouplist};
use nonstick::{AuthnFlags, ConversationAdapter, ErrorCode, Transaction, TransactionBuilder};

use tokio::{sync::Semaphore, time::timeout};

use super::{ExternalAccount, TURN, beside, external::scope_of};
use crate::config::Pam;

/// Minimum response time for a wrong password of any account: PAM modules delay failures, and local
/// accounts would otherwise be distinguishable.
pub(super) const FAILURE_TAKES: Duration = Duration::from_secs(3);
/// Maximum concurrent PAM checks; a wrong password takes seconds.
const PLACES: usize = 8;

/// The PAM configuration and its limits.
pub(super) struct System {
    config: Arc<Pam>,
    places: Arc<Semaphore>,
}

impl System {
    pub(super) fn new(config: Pam) -> Self {
        Self { config: Arc::new(config), places: Arc::new(Semaphore::new(PLACES)) }
    }

    /// Whether PAM decides about a name: without an account here, or with a PAM account.
    pub(super) fn decides(&self, name: &str, account: Option<Option<&str>>) -> bool {
        account.is_none_or(|known_as| known_as == Some(subject(name).as_str()))
    }

    /// The user of a password; none if it is wrong.
    ///
    /// # Errors
    /// `NotAllowed` if no group has a role, `Unreachable` if PAM is unavailable, `Busy` with too
    /// many checks.
    pub(super) async fn check(&self, name: &str, password: &str) -> Result<Option<ExternalAccount>, Fault> {
        let busy = || Fault::new(FaultKind::Busy, "Too many concurrent sign-ins").with_next("Try again in a moment");
        let place = timeout(TURN, self.places.clone().acquire_owned()).await;
        let place = place.ok().and_then(Result::ok).ok_or_else(busy)?;
        let (config, name, password) = (self.config.clone(), name.to_owned(), password.to_owned());
        beside(place, move || check(&config, &name, &password)).await.unwrap_or_else(|| Err(busy()))
    }
}

/// Answers password prompts of modules, and nothing else.
struct Password<'a>(&'a str);

impl ConversationAdapter for Password<'_> {
    fn prompt(&self, _: impl AsRef<OsStr>) -> nonstick::Result<OsString> {
        // A visible prompt is not for a password, and no user can answer it.
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

/// The identity of a PAM user's account.
fn subject(name: &str) -> String {
    format!("pam#{name}")
}

/// The account of a PAM user; none if the password is wrong.
fn check(config: &Pam, name: &str, password: &str) -> Result<Option<ExternalAccount>, Fault> {
    // PAM texts end at NUL, which would truncate a password.
    if model::user::check_name(name).is_err() || password.is_empty() || password.contains('\0') {
        return Ok(None);
    }
    // A directory may accept several spellings of a name; each would be a separate account.
    if User::from_name(name).ok().flatten().is_none_or(|user| user.name != name) {
        return Ok(None);
    }
    let asked = || {
        let conversation = Password(password).into_conversation();
        let mut pam = TransactionBuilder::new_with_service(&config.service).username(name).build(conversation)?;
        pam.authenticate(AuthnFlags::empty())?;
        // Locked and expired accounts are reported only here.
        pam.account_management(AuthnFlags::empty())
    };
    match asked() {
        Ok(()) => known(config, name).map(Some),
        Err(
            ErrorCode::SystemError | ErrorCode::ServiceError | ErrorCode::OpenError | ErrorCode::AuthInfoUnavailable,
        ) => {
            tracing::warn!(service = config.service, "PAM is unavailable");
            Err(Fault::new(FaultKind::Unreachable, "PAM authentication is unavailable")
                .with_next("Ask the administrator of this server to check its log"))
        }
        Err(error) => {
            tracing::info!(%error, "PAM authentication failed");
            Ok(None)
        }
    }
}

/// Role and scope of a user's groups.
fn known(config: &Pam, name: &str) -> Result<ExternalAccount, Fault> {
    let user = User::from_name(name).ok().flatten();
    let named = CString::new(name).ok();
    let groups = user.zip(named).and_then(|(user, name)| getgrouplist(&name, user.gid).ok()).unwrap_or_default();
    let groups: Vec<String> = groups.into_iter().filter_map(|group| Some(Group::from_gid(group).ok()??.name)).collect();
    let roles = config.roles.iter().filter(|(_, group)| groups.contains(group));
    let role = roles.map(|(role, _)| *role).max().ok_or_else(|| {
        Fault::new(FaultKind::NotAllowed, format!("{name} is not in a group with a role"))
            .with_next("Ask the administrator of this server")
    })?;
    let scope = scope_of((name, role), &config.scopes, |group| groups.iter().any(|own| own == group))?;
    Ok(ExternalAccount { subject: subject(name), name: name.to_owned(), role, scope })
}
