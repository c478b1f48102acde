//! Access to the server: sign-in, TLS, and external accounts. A missing setting never opens access.

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
    /// Its issuer URL.
    pub issuer: String,
    /// The client ID.
    pub client: String,
    /// The client secret.
    pub secret: String,
    /// The claim with the roles.
    pub claim: String,
    /// Roles and the claim values that grant them.
    pub roles: Vec<(Role, String)>,
    /// Claim values and their scopes.
    pub scopes: Vec<(String, Scope)>,
}

impl std::fmt::Debug for Oidc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the secret.
        f.debug_struct("Oidc").field("issuer", &self.issuer).field("client", &self.client).finish_non_exhaustive()
    }
}

/// The PAM configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pam {
    /// The service: a file in `/etc/pam.d`.
    pub service: String,
    /// Roles and their groups.
    pub roles: Vec<(Role, String)>,
    /// Groups and their scopes.
    pub scopes: Vec<(String, Scope)>,
}

/// The TLS mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// No TLS.
    Off,
    /// A self-signed certificate, created at the first start.
    SelfSigned,
    /// Certificates and key from PEM files.
    Files {
        /// The certificate chain.
        certificate: PathBuf,
        /// The private key.
        key: PathBuf,
    },
}

/// A network or a single address.
///
/// # Errors
/// A sentence.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let one = || text.parse::<IpAddr>().ok().map(IpNet::from);
    let wrong =
        || format!("\"{}\" is not a network for --fetch-from; expected one such as 10.1.0.0/16", text.escape_debug());
    text.parse().ok().or_else(one).ok_or_else(wrong)
}

/// Checks a directory for storage pools.
pub(super) fn storage_root(path: PathBuf) -> Result<PathBuf, String> {
    let own = path.is_absolute() && !path.components().any(|part| matches!(part, std::path::Component::ParentDir));
    let wrong = || {
        format!("\"{}\" is not an absolute path for --storage-root; expected one such as /data/images", path.display())
    };
    if own && path != std::path::Path::new("/") { Ok(path) } else { Err(wrong()) }
}

/// Checks the base path; returns it without a trailing slash.
pub(super) fn base_path(text: &str) -> Result<String, String> {
    let path = text.trim_end_matches('/');
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.~".contains(c);
    let fine = |segment: &str| !segment.is_empty() && !segment.starts_with('.') && segment.chars().all(plain);
    match path.strip_prefix('/') {
        None if path.is_empty() => Ok(String::new()),
        // With a proxy that strips the path, requests would be ambiguous.
        Some(rest) if is_own(rest.split('/').next().unwrap_or_default()) => {
            Err(format!("{path} is used by Belvedere itself; choose another --base-path"))
        }
        Some(rest) if rest.split('/').all(fine) => Ok(path.to_owned()),
        _ => Err(format!("\"{}\" is not a path for --base-path; expected one such as /belvedere", text.escape_debug())),
    }
}

/// When sign-in is required. Beyond loopback it never depends on existing accounts.
pub(super) fn asking(word: Option<&str>, listen: SocketAddr, behind_proxy: bool) -> Result<Asking, String> {
    let alone = listen.ip().is_loopback();
    match word.unwrap_or("auto") {
        "auto" if alone && !behind_proxy => Ok(Asking::Auto),
        "auto" | "on" => Ok(Asking::Always),
        "off" if alone => Ok(Asking::Never),
        "off" => Err(format!(
            "--auth off on {listen} would give everyone on the network full control; listen on 127.0.0.1 \
             or remove --auth off"
        )),
        other => Err(format!("--auth must be auto, on or off, not \"{}\"", other.escape_debug())),
    }
}

/// The TLS mode: on by default beyond loopback, unless a proxy terminates it.
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
            "listening on {listen} without TLS would expose all traffic; remove --tls=false, \
             or use --behind-proxy if a proxy terminates TLS"
        )),
        ((Some(_), Some(_)), Some(false)) => Err("--tls=false cannot be combined with --tls-cert".into()),
        _ => Err("--tls-cert and --tls-key must be used together".into()),
    }
}

/// The provider, if configured.
pub(super) fn oidc(
    (issuer, client): (Option<String>, Option<String>),
    secret: Option<PathBuf>,
    claim: Option<String>,
    (roles, scopes): (Vec<String>, Vec<String>),
) -> Result<Option<Oidc>, String> {
    let (issuer, client, secret) = match (issuer, client, secret) {
        (None, None, None) => return Ok(None),
        (Some(issuer), Some(client), Some(secret)) => (issuer, client, secret),
        _ => return Err("--oidc-issuer, --oidc-client and --oidc-secret-file must be used together".into()),
    };
    if cfg!(not(feature = "oidc")) {
        return Err("this Belvedere was built without OpenID Connect; build it with the feature oidc".into());
    }
    let local = ["http://127.0.0.1", "http://localhost", "http://[::1]"].iter().any(|local| issuer.starts_with(local));
    if !issuer.starts_with("https://") && !local {
        return Err(format!("\"{}\" is not an issuer URL; it must start with https://", issuer.escape_debug()));
    }
    let text = fs::read_to_string(&secret).map_err(|error| format!("cannot read {}: {error}", secret.display()))?;
    let roles = given_roles(&roles)?;
    if roles.is_empty() {
        return Err("--oidc-role is missing; map a role to a claim value, such as admin=vm-admins".into());
    }
    let claim = claim.unwrap_or_else(|| "groups".into());
    let scopes = given_scopes(&scopes)?;
    Ok(Some(Oidc { issuer, client, secret: text.trim().to_owned(), claim, roles, scopes }))
}

/// Role mappings.
fn given_roles(words: &[String]) -> Result<Vec<(Role, String)>, String> {
    let role = |text: &String| {
        let known = text.split_once('=').and_then(|(role, value)| Some((Role::from_name(role)?, value.to_owned())));
        known.ok_or_else(|| {
            format!("\"{}\" is not a role mapping; expected one such as admin=vm-admins", text.escape_debug())
        })
    };
    words.iter().filter(|text| !text.is_empty()).map(role).collect()
}

/// Group scopes: `GROUP=HOST` or `GROUP=#TAG`, may be repeated.
fn given_scopes(words: &[String]) -> Result<Vec<(String, Scope)>, String> {
    let scope = |text: &String| {
        let known =
            text.split_once('=').and_then(|(group, word)| Some((group.to_owned(), Scope::from_words(word).ok()?)));
        let wrong =
            || format!("\"{}\" is not a scope; expected one such as staff=atlas or staff=#web", text.escape_debug());
        known.filter(|(group, scope)| !group.is_empty() && !scope.is_everything()).ok_or_else(wrong)
    };
    words.iter().filter(|text| !text.is_empty()).map(scope).collect()
}

/// The PAM configuration, if a group has a role.
pub(super) fn pam(roles: &[String], scopes: &[String], service: Option<String>) -> Result<Option<Pam>, String> {
    let (roles, scopes) = (given_roles(roles)?, given_scopes(scopes)?);
    let service = service.unwrap_or_else(|| "belvedere".into());
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if service.is_empty() || !service.chars().all(plain) {
        return Err(format!(
            "\"{}\" is not a PAM service name; expected the name of a file in /etc/pam.d",
            service.escape_debug()
        ));
    }
    if roles.is_empty() {
        return Ok(None);
    }
    if cfg!(not(feature = "pam")) {
        return Err("this Belvedere was built without PAM; build it with the feature pam".into());
    }
    Ok(Some(Pam { service, roles, scopes }))
}
