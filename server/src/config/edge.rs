//! How others reach the server: who has to log in, how TLS is spoken, and who else knows
//! people. What they can reach never opens because a setting is missing.

use std::{fs, net::SocketAddr, path::PathBuf};

use model::Role;

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
}

impl std::fmt::Debug for Oidc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the secret.
        f.debug_struct("Oidc").field("issuer", &self.issuer).field("client", &self.client).finish_non_exhaustive()
    }
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

/// Who has to log in. What others can reach never opens because an account is missing.
pub(super) fn asking(word: Option<&str>, listen: SocketAddr, behind_proxy: bool) -> Result<Asking, String> {
    let alone = listen.ip().is_loopback();
    match word.unwrap_or("auto") {
        "auto" if alone && !behind_proxy => Ok(Asking::FromTheFirstAccount),
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
    roles: Vec<String>,
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
    let role = |text: &String| {
        let known = text.split_once('=').and_then(|(role, value)| Some((Role::from_name(role)?, value.to_owned())));
        known.ok_or_else(|| format!("\"{}\" gives no role; it looks like admin=vm-admins", text.escape_debug()))
    };
    let roles = roles.iter().filter(|text| !text.is_empty()).map(role).collect::<Result<Vec<_>, _>>()?;
    if roles.is_empty() {
        return Err("say with --oidc-role which claim gives which role, such as admin=vm-admins".into());
    }
    let claim = claim.unwrap_or_else(|| "groups".into());
    Ok(Some(Oidc { issuer, client, secret: text.trim().to_owned(), claim, roles }))
}
