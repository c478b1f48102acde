//! How others reach the server: who has to log in, how TLS is spoken, and who else knows
//! people. What they can reach never opens because a setting is missing.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use ipnet::IpNet;
use model::{Role, Scope};

use app::routes::is_own;

use crate::auth::Asking;

/// An OpenID Connect provider.
#[derive(Clone, PartialEq, Eq)]
pub struct Oidc {
    /// Its address, as it calls itself.
    pub issuer: String,
    /// What it calls this server.
    pub client: String,
    /// What it knows this server by.
    pub secret: String,
    /// The claim that roles are read from.
    pub claim: String,
    /// Roles, and the value of the claim that gives each.
    pub roles: Vec<(Role, String)>,
    /// Values of the claim, and what who has them sees.
    pub scopes: Vec<(String, Scope)>,
}

impl std::fmt::Debug for Oidc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the secret.
        f.debug_struct("Oidc").field("issuer", &self.issuer).field("client", &self.client).finish_non_exhaustive()
    }
}

/// How people of the system log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pam {
    /// The service whose rules apply: a file in `/etc/pam.d`.
    pub service: String,
    /// Roles, and the group whose members have each.
    pub roles: Vec<(Role, String)>,
    /// Groups, and what their members see.
    pub scopes: Vec<(String, Scope)>,
}

/// How the server speaks TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Not at all.
    Off,
    /// With a certificate that it makes itself at the first start.
    SelfSigned,
    /// With the certificates and the key of these PEM files.
    Files {
        /// The certificate and those up to its root.
        certificate: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
}

/// A network, or one address of it.
///
/// # Errors
/// A sentence.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let one = || text.parse::<IpAddr>().ok().map(IpNet::from);
    let wrong = || format!("\"{}\" is no network to fetch from; it looks like 10.1.0.0/16", text.escape_debug());
    text.parse().ok().or_else(one).ok_or_else(wrong)
}

/// Checks a folder in which storage pools may lie.
pub(super) fn storage_root(path: PathBuf) -> Result<PathBuf, String> {
    let own = path.is_absolute() && !path.components().any(|part| matches!(part, std::path::Component::ParentDir));
    let wrong =
        || format!("\"{}\" is not an absolute path; --storage-root takes one such as /data/images", path.display());
    if own && path != std::path::Path::new("/") { Ok(path) } else { Err(wrong()) }
}

/// Checks the path below which a proxy shows the server; gives it without a slash at its end.
pub(super) fn base_path(text: &str) -> Result<String, String> {
    let path = text.trim_end_matches('/');
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.~".contains(c);
    let fine = |segment: &str| !segment.is_empty() && !segment.starts_with('.') && segment.chars().all(plain);
    match path.strip_prefix('/') {
        None if path.is_empty() => Ok(String::new()),
        // A proxy that takes the path away would be misunderstood.
        Some(rest) if is_own(rest.split('/').next().unwrap_or_default()) => {
            Err(format!("{path} is a page of Belvedere itself; choose another --base-path"))
        }
        Some(rest) if rest.split('/').all(fine) => Ok(path.to_owned()),
        _ => Err(format!("\"{}\" is no path for --base-path; it looks like /belvedere", text.escape_debug())),
    }
}

/// Who has to log in. What others can reach never opens because an account is missing.
pub(super) fn asking(word: Option<&str>, listen: SocketAddr, behind_proxy: bool) -> Result<Asking, String> {
    let alone = listen.ip().is_loopback();
    match word.unwrap_or("auto") {
        "auto" if alone && !behind_proxy => Ok(Asking::Auto),
        "auto" | "on" => Ok(Asking::Always),
        "off" if alone => Ok(Asking::Never),
        "off" => Err(format!(
            "--auth off on {listen} would let everybody on the network run your machines; listen on 127.0.0.1, \
             or leave it out and log in"
        )),
        other => Err(format!("--auth is auto, on or off, not \"{}\"", other.escape_debug())),
    }
}

/// How TLS is spoken: by default wherever others can read along and no proxy does it.
pub(super) fn tls(
    files: (Option<PathBuf>, Option<PathBuf>),
    wanted: Option<bool>,
    listen: SocketAddr,
    behind_proxy: bool,
) -> Result<Tls, String> {
    match (files, wanted) {
        ((Some(certificate), Some(key)), None | Some(true)) => Ok(Tls::Files { certificate, key }),
        ((None, None), Some(true)) => Ok(Tls::SelfSigned),
        ((None, None), None) if !listen.ip().is_loopback() && !behind_proxy => Ok(Tls::SelfSigned),
        ((None, None), None) => Ok(Tls::Off),
        ((None, None), Some(false)) if listen.ip().is_loopback() || behind_proxy => Ok(Tls::Off),
        ((None, None), Some(false)) => Err(format!(
            "listening on {listen} without TLS would let everybody on the way read along; leave --tls=false out, \
             or say --behind-proxy when a proxy in front does TLS"
        )),
        ((Some(_), Some(_)), Some(false)) => Err("--tls=false and --tls-cert do not go together".into()),
        _ => Err("--tls-cert and --tls-key go together".into()),
    }
}

/// The provider, when one is named.
pub(super) fn oidc(
    (issuer, client): (Option<String>, Option<String>),
    secret: Option<PathBuf>,
    claim: Option<String>,
    (roles, scopes): (Vec<String>, Vec<String>),
) -> Result<Option<Oidc>, String> {
    let (issuer, client, secret) = match (issuer, client, secret) {
        (None, None, None) => return Ok(None),
        (Some(issuer), Some(client), Some(secret)) => (issuer, client, secret),
        _ => return Err("--oidc-issuer, --oidc-client and --oidc-secret-file go together".into()),
    };
    if cfg!(not(feature = "oidc")) {
        return Err("this Belvedere was built without OpenID Connect; build it with the feature oidc".into());
    }
    let local = ["http://127.0.0.1", "http://localhost", "http://[::1]"].iter().any(|local| issuer.starts_with(local));
    if !issuer.starts_with("https://") && !local {
        return Err(format!("\"{}\" is no address of a provider; it begins with https://", issuer.escape_debug()));
    }
    let text = fs::read_to_string(&secret).map_err(|error| format!("cannot read {}: {error}", secret.display()))?;
    let roles = given_roles(&roles)?;
    if roles.is_empty() {
        return Err("say with --oidc-role which claim gives which role, such as admin=vm-admins".into());
    }
    let claim = claim.unwrap_or_else(|| "groups".into());
    let scopes = given_scopes(&scopes)?;
    Ok(Some(Oidc { issuer, client, secret: text.trim().to_owned(), claim, roles, scopes }))
}

/// Roles with what gives each.
fn given_roles(words: &[String]) -> Result<Vec<(Role, String)>, String> {
    let role = |text: &String| {
        let known = text.split_once('=').and_then(|(role, value)| Some((Role::from_name(role)?, value.to_owned())));
        known.ok_or_else(|| format!("\"{}\" gives no role; it looks like admin=vm-admins", text.escape_debug()))
    };
    words.iter().filter(|text| !text.is_empty()).map(role).collect()
}

/// What members of groups see: `GROUP=HOST` or `GROUP=#TAG`, each as often as it takes.
fn given_scopes(words: &[String]) -> Result<Vec<(String, Scope)>, String> {
    let scope = |text: &String| {
        let known =
            text.split_once('=').and_then(|(group, word)| Some((group.to_owned(), Scope::from_words(word).ok()?)));
        let wrong = || format!("\"{}\" is not a scope; expected staff=atlas or staff=#web", text.escape_debug());
        known.filter(|(group, scope)| !group.is_empty() && !scope.is_everything()).ok_or_else(wrong)
    };
    words.iter().filter(|text| !text.is_empty()).map(scope).collect()
}

/// How the system is asked for people, when a group of it has a role.
pub(super) fn pam(roles: &[String], scopes: &[String], service: Option<String>) -> Result<Option<Pam>, String> {
    let (roles, scopes) = (given_roles(roles)?, given_scopes(scopes)?);
    let service = service.unwrap_or_else(|| "belvedere".into());
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if service.is_empty() || !service.chars().all(plain) {
        return Err(format!("\"{}\" is no service of PAM; it is a name in /etc/pam.d", service.escape_debug()));
    }
    if roles.is_empty() {
        return Ok(None);
    }
    if cfg!(not(feature = "pam")) {
        return Err("this Belvedere was built without PAM; build it with the feature pam".into());
    }
    Ok(Some(Pam { service, roles, scopes }))
}
