//! What can be set: by flag, by environment variable `BELVEDERE_…`, by key of a
//! TOML file, in this order of precedence.
//!
//! It checks everything before anything starts; a mistake is one clear sentence.

mod edge;

use std::{
    ffi::OsString,
    fs, io,
    net::{IpAddr, SocketAddr},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
};

use clap::{Parser, Subcommand, error::ErrorKind};
use hypervisor::{HostConfig, StorageRoots, demo_host};
use ipnet::IpNet;
use model::HostId;
use serde::Deserialize;

pub use self::edge::{Oidc, Pam, Tls};
use self::edge::{asking, base_path, network, oidc, pam, storage_root, tls};
use crate::{
    auth::Asking,
    journal,
    verbs::{self, Folder, TokenVerb, UserVerb},
};

/// The checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Hosts to watch; empty means the local one or the demonstration.
    pub connect: Vec<(HostId, String)>,
    /// Whether to show the demonstration host.
    pub demo: bool,
    /// The folder for what must survive.
    pub data: Option<PathBuf>,
    /// Further names under which browsers may reach this server.
    pub allow_host: Vec<String>,
    /// Whether a proxy in front does TLS.
    pub behind_proxy: bool,
    /// The path below which a proxy shows the server, such as `/belvedere`; empty at the root.
    pub base_path: String,
    /// Proxies whose word is taken for where a request comes from, beside those on this machine.
    pub trusted_proxies: Vec<IpAddr>,
    /// When everybody has to say who they are.
    pub auth: Asking,
    /// How the server speaks TLS.
    pub tls: Tls,
    /// The provider that knows people, if there is one.
    pub oidc: Option<Oidc>,
    /// How the system is asked for people, if it is.
    pub pam: Option<Pam>,
    /// Networks that are not public and may be fetched from all the same.
    pub fetch_from: Vec<IpNet>,
    /// Folders in which new storage pools may lie, beside the usual ones.
    pub storage_roots: Vec<PathBuf>,
    /// Whether guests' agents are asked for their version.
    pub agent_version: bool,
    /// The folder of scripts, styles and images.
    pub site: PathBuf,
}

/// Why there is no configuration.
#[derive(Debug)]
pub enum Stop {
    /// Help or version was asked for; this is it.
    Said(String),
    /// Something is wrong with what was asked; one sentence.
    Wrong(String),
    /// What was asked was done and did not turn out well; one sentence.
    Failed(String),
}

#[derive(Parser)]
#[command(name = "belvedere", version, about = "Every virtual machine of your libvirt hosts, live in the browser")]
struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    serve: Flags,
}

#[derive(Subcommand)]
enum Verb {
    /// Serve the page (the default)
    Serve(Box<Flags>),
    /// Look after the records of who did what
    Audit {
        #[command(subcommand)]
        verb: AuditVerb,
    },
    /// Look after accounts; works while the server runs
    User {
        #[command(subcommand)]
        verb: UserVerb,
    },
    /// Look after tokens for programs; works while the server runs
    Token {
        #[command(subcommand)]
        verb: TokenVerb,
    },
    /// Print a link that logs a browser in once, within a quarter of an hour
    LoginLink {
        /// The account
        name: String,
        #[command(flatten)]
        folder: Folder,
    },
}

#[derive(Subcommand)]
enum AuditVerb {
    /// Check that no record was changed, moved or taken out; works while the server runs
    Verify {
        /// Folder of the records
        #[arg(long, value_name = "DIR", env = "BELVEDERE_DATA")]
        data: Option<PathBuf>,
        /// A hash that was noted before and must still be in the chain
        #[arg(long, value_name = "HASH")]
        noted: Option<String>,
    },
}

#[derive(clap::Args, Clone, Default)]
struct Flags {
    /// Address and port to listen on [default: 127.0.0.1:3000]
    #[arg(long, value_name = "ADDR:PORT", env = "BELVEDERE_LISTEN")]
    listen: Option<String>,
    /// A libvirt host, such as qemu:///system or atlas=qemu+ssh://root@atlas/system; may be repeated
    #[arg(long, value_name = "[NAME=]URI", env = "BELVEDERE_CONNECT", value_delimiter = ' ')]
    connect: Vec<String>,
    /// Show the demonstration host, which is libvirt's own test driver
    #[arg(long, env = "BELVEDERE_DEMO", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    demo: Option<bool>,
    /// Folder for what must survive a restart
    #[arg(long, value_name = "DIR", env = "BELVEDERE_DATA")]
    data: Option<PathBuf>,
    /// A TOML file with these settings as keys
    #[arg(long, value_name = "FILE", env = "BELVEDERE_CONFIG")]
    config: Option<PathBuf>,
    /// A further host name under which browsers may reach this server; may be repeated
    #[arg(long, value_name = "NAME", env = "BELVEDERE_ALLOW_HOST", value_delimiter = ' ')]
    allow_host: Vec<String>,
    /// A proxy in front of this server does TLS and accounts, so that it may listen beyond loopback
    #[arg(long, env = "BELVEDERE_BEHIND_PROXY", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    behind_proxy: Option<bool>,
    /// Path below which a proxy shows this server, such as /belvedere
    #[arg(long, value_name = "PATH", env = "BELVEDERE_BASE_PATH")]
    base_path: Option<String>,
    /// Address of a proxy on another machine that says where requests come from; may be repeated
    #[arg(long, value_name = "ADDR", env = "BELVEDERE_TRUSTED_PROXY", value_delimiter = ' ')]
    trusted_proxy: Vec<String>,
    /// Network that is not public, such as 10.1.0.0/16, from which files may be fetched into pools; may be repeated
    #[arg(long, value_name = "NET", env = "BELVEDERE_FETCH_FROM", value_delimiter = ' ')]
    fetch_from: Vec<String>,
    /// Folder in which new storage pools may lie, beside libvirt's own, /srv, /mnt, /media and what is mounted; may be repeated
    #[arg(long, value_name = "DIR", env = "BELVEDERE_STORAGE_ROOT", value_delimiter = ' ')]
    storage_root: Vec<PathBuf>,
    /// Ask each guest's agent for its version; libvirt then calls the machine tainted (custom-ga-command)
    #[arg(long, env = "BELVEDERE_AGENT_VERSION", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    agent_version: Option<bool>,
    /// Who has to sign in: everyone, except for the demonstration alone without accounts (auto); everyone (on); or no one, on loopback only (off)
    #[arg(long, value_name = "auto|on|off", env = "BELVEDERE_AUTH")]
    auth: Option<String>,
    /// Speak TLS with a certificate made at the first start, also on loopback; beyond it this is the default
    #[arg(long, env = "BELVEDERE_TLS", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    tls: Option<bool>,
    /// PEM file of the certificate to speak TLS with; read again when it changes
    #[arg(long, value_name = "FILE", env = "BELVEDERE_TLS_CERT")]
    tls_cert: Option<PathBuf>,
    /// PEM file of its private key
    #[arg(long, value_name = "FILE", env = "BELVEDERE_TLS_KEY")]
    tls_key: Option<PathBuf>,
    /// Address of an OpenID Connect provider that logs people in
    #[arg(long, value_name = "URL", env = "BELVEDERE_OIDC_ISSUER")]
    oidc_issuer: Option<String>,
    /// What the provider calls this server
    #[arg(long, value_name = "ID", env = "BELVEDERE_OIDC_CLIENT")]
    oidc_client: Option<String>,
    /// File of the secret that the provider knows this server by
    #[arg(long, value_name = "FILE", env = "BELVEDERE_OIDC_SECRET_FILE")]
    oidc_secret_file: Option<PathBuf>,
    /// Claim that roles are read from [default: groups]
    #[arg(long, value_name = "NAME", env = "BELVEDERE_OIDC_CLAIM")]
    oidc_claim: Option<String>,
    /// A role, and the value of the claim that gives it, such as admin=vm-admins; may be repeated
    #[arg(long, value_name = "ROLE=VALUE", env = "BELVEDERE_OIDC_ROLE", value_delimiter = ' ')]
    oidc_role: Vec<String>,
    /// A claim value and a host or #tag in its scope, such as staff=atlas; may be repeated; without any, admins set scopes under Accounts
    #[arg(long, value_name = "VALUE=HOST|#TAG", env = "BELVEDERE_OIDC_SCOPE", value_delimiter = ' ')]
    oidc_scope: Vec<String>,
    /// A role, and the group of this system whose members have it, such as admin=libvirt; they log in with the system's password (PAM); may be repeated
    #[arg(long, value_name = "ROLE=GROUP", env = "BELVEDERE_PAM_ROLE", value_delimiter = ' ')]
    pam_role: Vec<String>,
    /// A group of this system, and a host or a #tag that its members see; without any they see everything; may be repeated
    #[arg(long, value_name = "GROUP=HOST|#TAG", env = "BELVEDERE_PAM_SCOPE", value_delimiter = ' ')]
    pam_scope: Vec<String>,
    /// Service of PAM whose rules apply [default: belvedere]
    #[arg(long, value_name = "NAME", env = "BELVEDERE_PAM_SERVICE")]
    pam_service: Option<String>,
}

/// The TOML file; the keys are the flags without dashes in front.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct File {
    listen: Option<String>,
    connect: Vec<String>,
    demo: Option<bool>,
    data: Option<PathBuf>,
    allow_host: Vec<String>,
    behind_proxy: Option<bool>,
    base_path: Option<String>,
    trusted_proxy: Vec<String>,
    fetch_from: Vec<String>,
    storage_root: Vec<PathBuf>,
    agent_version: Option<bool>,
    auth: Option<String>,
    tls: Option<bool>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    oidc_issuer: Option<String>,
    oidc_client: Option<String>,
    oidc_secret_file: Option<PathBuf>,
    oidc_claim: Option<String>,
    oidc_role: Vec<String>,
    oidc_scope: Vec<String>,
    pam_role: Vec<String>,
    pam_scope: Vec<String>,
    pam_service: Option<String>,
}

impl Config {
    /// Reads arguments, environment and file.
    ///
    /// # Errors
    /// When help was asked for, or anything is wrong.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, Stop> {
        let arguments = Arguments::try_parse_from(arguments).map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Stop::Said(error.to_string()),
            _ => Stop::Wrong(first_sentence(&error.to_string())),
        })?;
        let flags = match arguments.verb {
            Some(Verb::Serve(flags)) => *flags,
            Some(Verb::Audit { verb: AuditVerb::Verify { data, noted } }) => return Err(verify(data, noted)),
            Some(Verb::User { verb }) => return Err(said(verbs::user(verb))),
            Some(Verb::Token { verb }) => return Err(said(verbs::token(verb))),
            Some(Verb::LoginLink { name, folder }) => return Err(said(verbs::log_in_link(&name, &folder))),
            None => arguments.serve,
        };
        Self::check(flags).map_err(Stop::Wrong)
    }

    fn check(flags: Flags) -> Result<Self, String> {
        let file = match &flags.config {
            Some(path) => {
                let unreadable = |error: io::Error| format!("cannot read {}: {error}", path.display());
                let text = fs::read_to_string(path).map_err(unreadable)?;
                // Whoever changes it decides what the server trusts.
                if path.metadata().map_err(unreadable)?.permissions().mode() & 0o002 != 0 {
                    return Err(format!("everybody can change {0}; say chmod o-w {0}", path.display()));
                }
                toml::from_str(&text).map_err(|error| {
                    format!("{} is not right: {}", path.display(), first_sentence(&error.to_string()))
                })?
            }
            None => File::default(),
        };
        let listen = flags.listen.or(file.listen).unwrap_or_else(|| "127.0.0.1:3000".into());
        let listen: SocketAddr = listen.parse().map_err(|_| {
            format!("\"{}\" is no address to listen on; it looks like 127.0.0.1:3000", listen.escape_debug())
        })?;
        let behind_proxy = flags.behind_proxy.or(file.behind_proxy).unwrap_or(false);
        let base_path = base_path(flags.base_path.or(file.base_path).as_deref().unwrap_or_default())?;
        let auth = asking(flags.auth.or(file.auth).as_deref(), listen, behind_proxy)?;
        let tls_files = (flags.tls_cert.or(file.tls_cert), flags.tls_key.or(file.tls_key));
        let tls = tls(tls_files, flags.tls.or(file.tls), listen, behind_proxy)?;
        let oidc = oidc(
            (flags.oidc_issuer.or(file.oidc_issuer), flags.oidc_client.or(file.oidc_client)),
            flags.oidc_secret_file.or(file.oidc_secret_file),
            flags.oidc_claim.or(file.oidc_claim),
            (
                if flags.oidc_role.is_empty() { file.oidc_role } else { flags.oidc_role },
                if flags.oidc_scope.is_empty() { file.oidc_scope } else { flags.oidc_scope },
            ),
        )?;
        let pam_roles = if flags.pam_role.is_empty() { file.pam_role } else { flags.pam_role };
        let pam_scopes = if flags.pam_scope.is_empty() { file.pam_scope } else { flags.pam_scope };
        let pam = pam(&pam_roles, &pam_scopes, flags.pam_service.or(file.pam_service))?;
        let trusted = if flags.trusted_proxy.is_empty() { file.trusted_proxy } else { flags.trusted_proxy };
        let trusted_proxies = trusted.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
        let address =
            |text: &str| text.parse().map_err(|_| format!("\"{}\" is no address of a proxy", text.escape_debug()));
        let trusted_proxies: Vec<IpAddr> = trusted_proxies.map(address).collect::<Result<_, _>>()?;
        if !trusted_proxies.is_empty() && !behind_proxy {
            return Err("--trusted-proxy says nothing without --behind-proxy".into());
        }
        let fetch_from = if flags.fetch_from.is_empty() { file.fetch_from } else { flags.fetch_from };
        let fetch_from = fetch_from.iter().map(|text| network(text.trim())).collect::<Result<_, _>>()?;
        let storage_roots = if flags.storage_root.is_empty() { file.storage_root } else { flags.storage_root };
        let storage_roots = storage_roots.into_iter().map(storage_root).collect::<Result<_, _>>()?;
        let uris = if flags.connect.is_empty() { file.connect } else { flags.connect };
        let connect = named_hosts(&uris)?;
        let allow_host = if flags.allow_host.is_empty() { file.allow_host } else { flags.allow_host };
        let data = flags.data.or(file.data);
        if let Some(data) = &data {
            journal::own_folder(data).map_err(|error| {
                format!("cannot use {} for data: {error}; choose another folder with --data", data.display())
            })?;
        }
        let agent_version = flags.agent_version.or(file.agent_version).unwrap_or(false);
        let demo = flags.demo.or(file.demo).unwrap_or(false);
        if demo && connect.iter().any(|(id, _)| id.as_str() == "demo") {
            return Err("the name demo belongs to the demonstration host; give yours another name with NAME=URI".into());
        }
        Ok(Self {
            listen,
            connect,
            demo,
            data,
            allow_host,
            behind_proxy,
            base_path,
            trusted_proxies,
            auth,
            tls,
            oidc,
            pam,
            fetch_from,
            storage_roots,
            agent_version,
            site: site(),
        })
    }

    /// The folder for what must survive: the configured one, else the account's own.
    /// A demonstration without a configured folder keeps nothing.
    pub(crate) fn data_folder(&self, demo: bool) -> Option<PathBuf> {
        if self.data.is_some() || demo {
            return self.data.clone();
        }
        default_data()
    }

    /// The names under which browsers reach the server, for its certificate.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
        names.push(own_name().to_string());
        if !self.listen.ip().is_unspecified() {
            names.push(self.listen.ip().to_string());
        }
        names.extend(self.allow_host.iter().cloned());
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The hosts to watch, and the folder that must live as long as they do.
    pub(crate) async fn hosts(&self) -> io::Result<(Vec<HostConfig>, Option<tempfile::TempDir>)> {
        let storage_roots = StorageRoots { named: self.storage_roots.clone(), own: self.data_folder(false) };
        let host = |id: HostId, uri: String| HostConfig {
            id,
            uri,
            demo: false,
            agent_version: self.agent_version,
            storage_roots: storage_roots.clone(),
        };
        let mut hosts: Vec<HostConfig> = self.connect.iter().map(|(id, uri)| host(id.clone(), uri.clone())).collect();
        let mut demo = self.demo;
        if hosts.is_empty() && !demo {
            let local = "qemu:///system";
            match hypervisor::probe(local).await {
                Ok(()) => hosts.push(host(own_name(), local.into())),
                Err(why) => {
                    tracing::warn!("{local} does not answer, so the demonstration host is shown instead. {why}");
                    demo = true;
                }
            }
        }
        let mut scratch = None;
        if demo {
            let folder = match &self.data {
                Some(data) => data.clone(),
                None => scratch.insert(tempfile::TempDir::with_prefix("belvedere-")?).path().to_owned(),
            };
            hosts.push(demo_host(&folder)?);
        }
        Ok((hosts, scratch))
    }
}

/// The hosts, each with a name of its own.
fn named_hosts(uris: &[String]) -> Result<Vec<(HostId, String)>, String> {
    let mut named: Vec<(HostId, String)> = Vec::new();
    let texts = uris.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
    let (given, derived): (Vec<_>, Vec<_>) =
        texts.map(named_uri).collect::<Result<Vec<_>, _>>()?.into_iter().partition(|(_, given, _)| *given);
    for (id, _, uri) in given {
        if named.iter().any(|(other, _)| *other == id) {
            return Err(format!("two hosts are named {id}; give one another name with NAME=URI"));
        }
        named.push((id, uri));
    }
    // Names that nobody gave make way for those that somebody did.
    for (id, _, uri) in derived {
        let taken = |id: &HostId| named.iter().any(|(other, _)| other == id);
        let further = (2..).map_while(|n| format!("{id}-{n}").parse().ok());
        let free = std::iter::once(id.clone()).chain(further).find(|id| !taken(id));
        let id = free.ok_or_else(|| format!("two hosts are named {id}; give one another name with NAME=URI"))?;
        named.push((id, uri));
    }
    Ok(named)
}

fn said(said: Result<String, String>) -> Stop {
    said.map_or_else(Stop::Failed, Stop::Said)
}

/// What `belvedere audit verify` says.
fn verify(data: Option<PathBuf>, noted: Option<String>) -> Stop {
    let Some(folder) = data.or_else(default_data) else {
        return Stop::Wrong("name the folder of the records with --data".into());
    };
    match journal::verify(&journal::audit_file(&folder), noted.as_deref()) {
        Ok(said) => Stop::Said(format!("{said}\n")),
        Err(wrong) => Stop::Failed(wrong),
    }
}

/// Where programs keep what must survive (XDG Base Directory Specification).
pub(crate) fn default_data() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")))?;
    Some(data.join("belvedere"))
}

/// `NAME=URI`, or a URI whose name is derived from it; says whether the name was given.
fn named_uri(text: &str) -> Result<(HostId, bool, String), String> {
    let (name, uri) = match text.split_once('=') {
        Some((name, uri)) if !name.contains(['/', ':', '?']) => (Some(name), uri),
        _ => (None, text),
    };
    let (scheme, rest) = uri.split_once(':').unwrap_or_default();
    let plausible = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        && rest.starts_with("//");
    if !plausible || uri.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(format!(
            "\"{}\" is no libvirt URI; it looks like qemu:///system or qemu+ssh://root@host/system",
            text.escape_debug()
        ));
    }
    let id = match name {
        Some(name) => name.parse()?,
        None => derived_name(scheme, &rest[2..]),
    };
    Ok((id, name.is_some(), uri.to_owned()))
}

/// The remote host's name, or what the local connection is.
fn derived_name(scheme: &str, rest: &str) -> HostId {
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    // An address of IPv6 stands in brackets, and its colons in no name.
    let host = match host.strip_prefix('[').and_then(|six| six.split_once(']')) {
        Some((six, _)) => six.split(':').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-"),
        None => host.split(':').next().unwrap_or_default().to_owned(),
    };
    if let Ok(id) = host.parse() {
        return id;
    }
    if scheme.starts_with("test") { fallback("test") } else { own_name() }
}

/// This machine's host name.
pub(crate) fn own_name() -> HostId {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().split('.').next().and_then(|name| name.parse().ok()).unwrap_or_else(|| fallback("local"))
}

fn fallback(name: &str) -> HostId {
    name.parse().expect("our own names are host names")
}

/// Where the scripts are: beside the executable, or where the build puts them.
fn site() -> PathBuf {
    if let Some(set) = std::env::var_os("LEPTOS_SITE_ROOT") {
        return set.into();
    }
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.to_owned())).unwrap_or_default();
    let candidates = [beside.join("site"), beside.join("../site")];
    candidates.into_iter().find(|folder| folder.join("pkg").is_dir()).unwrap_or_else(|| "target/site".into())
}

/// The first sentence of a longer message, without the tool's own prefix.
fn first_sentence(text: &str) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or(text);
    line.trim_start_matches("error: ").trim().to_owned()
}

/// Whether a name in a `Host` header cannot have been rebound by a stranger's DNS.
pub(crate) fn is_own_name(name: &str, allowed: &[String]) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().is_ok()
        || name == "localhost"
        || name.ends_with(".localhost")
        || name == own_name().as_str().to_ascii_lowercase()
        || allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(&name))
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
