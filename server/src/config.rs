//! The configuration: flags, environment variables `BELVEDERE_…` and keys of a TOML file, in this
//! order of precedence.
//!
//! It is checked completely before anything starts; an error is one clear sentence.

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
    backend::hosts::{self, Stored},
    journal,
    verbs::{self, Folder, TokenVerb, UserVerb},
};

/// The checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The listen address.
    pub listen: SocketAddr,
    /// Hosts to watch; empty for the local one or the demonstration.
    pub connect: Vec<(HostId, String)>,
    /// Whether to add the demonstration host.
    pub demo: bool,
    /// The data directory.
    pub data: Option<PathBuf>,
    /// Additional host names for browsers.
    pub allow_host: Vec<String>,
    /// Whether a proxy terminates TLS.
    pub behind_proxy: bool,
    /// The path below which a proxy serves the server, such as `/belvedere`; empty at the root.
    pub base_path: String,
    /// Remote proxies whose address headers are trusted, besides local ones.
    pub trusted_proxies: Vec<IpAddr>,
    /// When sign-in is required.
    pub auth: Asking,
    /// The TLS mode.
    pub tls: Tls,
    /// The OpenID Connect provider, if any.
    pub oidc: Option<Oidc>,
    /// PAM, if configured.
    pub pam: Option<Pam>,
    /// Private networks allowed for downloads.
    pub fetch_from: Vec<IpNet>,
    /// Additional directories for new storage pools.
    pub storage_roots: Vec<PathBuf>,
    /// Whether guest agents are queried for their version.
    pub agent_version: bool,
    /// The directory of scripts, styles and images.
    pub site: PathBuf,
}

/// Why the program ends without serving.
#[derive(Debug)]
pub enum Stop {
    /// The requested output.
    Said(String),
    /// An invalid argument; one sentence.
    Wrong(String),
    /// A failed command; one sentence.
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
    /// Manage the audit log
    Audit {
        #[command(subcommand)]
        verb: AuditVerb,
    },
    /// Manage accounts; works while the server runs
    User {
        #[command(subcommand)]
        verb: UserVerb,
    },
    /// Manage API tokens; works while the server runs
    Token {
        #[command(subcommand)]
        verb: TokenVerb,
    },
    /// Print a link that signs a browser in once within 15 minutes
    LoginLink {
        /// Account name
        name: String,
        #[command(flatten)]
        folder: Folder,
    },
}

#[derive(Subcommand)]
enum AuditVerb {
    /// Verify that no record was changed, moved or removed; works while the server runs
    Verify {
        /// Data directory
        #[arg(long, value_name = "DIR", env = "BELVEDERE_DATA")]
        data: Option<PathBuf>,
        /// A hash noted earlier that must still be in the chain
        #[arg(long, value_name = "HASH")]
        noted: Option<String>,
    },
}

#[derive(clap::Args, Clone, Default)]
struct Flags {
    /// Address and port to listen on [default: 127.0.0.1:3000]
    #[arg(long, value_name = "ADDR:PORT", env = "BELVEDERE_LISTEN")]
    listen: Option<String>,
    /// libvirt host, such as qemu:///system or atlas=qemu+ssh://root@atlas/system; may be repeated
    #[arg(long, value_name = "[NAME=]URI", env = "BELVEDERE_CONNECT", value_delimiter = ' ')]
    connect: Vec<String>,
    /// Add the demonstration host, which uses libvirt's test driver
    #[arg(long, env = "BELVEDERE_DEMO", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    demo: Option<bool>,
    /// Data directory for the journal, accounts and history
    #[arg(long, value_name = "DIR", env = "BELVEDERE_DATA")]
    data: Option<PathBuf>,
    /// TOML file with these settings as keys
    #[arg(long, value_name = "FILE", env = "BELVEDERE_CONFIG")]
    config: Option<PathBuf>,
    /// Additional host name that browsers may use for this server; may be repeated
    #[arg(long, value_name = "NAME", env = "BELVEDERE_ALLOW_HOST", value_delimiter = ' ')]
    allow_host: Vec<String>,
    /// A proxy in front of this server terminates TLS; allows listening beyond loopback without TLS
    #[arg(long, env = "BELVEDERE_BEHIND_PROXY", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    behind_proxy: Option<bool>,
    /// Path below which a proxy serves this server, such as /belvedere
    #[arg(long, value_name = "PATH", env = "BELVEDERE_BASE_PATH")]
    base_path: Option<String>,
    /// Address of a remote proxy whose X-Forwarded-For is trusted; may be repeated
    #[arg(long, value_name = "ADDR", env = "BELVEDERE_TRUSTED_PROXY", value_delimiter = ' ')]
    trusted_proxy: Vec<String>,
    /// Private network, such as 10.1.0.0/16, from which files may be downloaded into pools; may be repeated
    #[arg(long, value_name = "NET", env = "BELVEDERE_FETCH_FROM", value_delimiter = ' ')]
    fetch_from: Vec<String>,
    /// Directory in which new storage pools are allowed, besides libvirt's own, /srv, /mnt, /media and mounted file systems; may be repeated
    #[arg(long, value_name = "DIR", env = "BELVEDERE_STORAGE_ROOT", value_delimiter = ' ')]
    storage_root: Vec<PathBuf>,
    /// Query the version of each guest agent; libvirt then marks the machine as tainted (custom-ga-command)
    #[arg(long, env = "BELVEDERE_AGENT_VERSION", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    agent_version: Option<bool>,
    /// Require sign-in: always, except for the demonstration by itself without accounts (auto); always (on); never, on loopback only (off)
    #[arg(long, value_name = "auto|on|off", env = "BELVEDERE_AUTH")]
    auth: Option<String>,
    /// Serve TLS with a self-signed certificate created at the first start; default beyond loopback
    #[arg(long, env = "BELVEDERE_TLS", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    tls: Option<bool>,
    /// PEM file with the TLS certificate chain; reloaded when it changes
    #[arg(long, value_name = "FILE", env = "BELVEDERE_TLS_CERT")]
    tls_cert: Option<PathBuf>,
    /// PEM file with the private key of the certificate
    #[arg(long, value_name = "FILE", env = "BELVEDERE_TLS_KEY")]
    tls_key: Option<PathBuf>,
    /// Issuer URL of an OpenID Connect provider
    #[arg(long, value_name = "URL", env = "BELVEDERE_OIDC_ISSUER")]
    oidc_issuer: Option<String>,
    /// Client ID of this server at the provider
    #[arg(long, value_name = "ID", env = "BELVEDERE_OIDC_CLIENT")]
    oidc_client: Option<String>,
    /// File with the client secret
    #[arg(long, value_name = "FILE", env = "BELVEDERE_OIDC_SECRET_FILE")]
    oidc_secret_file: Option<PathBuf>,
    /// Claim that contains the roles [default: groups]
    #[arg(long, value_name = "NAME", env = "BELVEDERE_OIDC_CLAIM")]
    oidc_claim: Option<String>,
    /// Role and the claim value that grants it, such as admin=vm-admins; may be repeated
    #[arg(long, value_name = "ROLE=VALUE", env = "BELVEDERE_OIDC_ROLE", value_delimiter = ' ')]
    oidc_role: Vec<String>,
    /// Claim value and a host or #tag in its scope, such as staff=atlas; may be repeated; without any, admins set scopes under Accounts
    #[arg(long, value_name = "VALUE=HOST|#TAG", env = "BELVEDERE_OIDC_SCOPE", value_delimiter = ' ')]
    oidc_scope: Vec<String>,
    /// Role and the system group whose members get it, such as admin=libvirt; members sign in with their system password (PAM); may be repeated
    #[arg(long, value_name = "ROLE=GROUP", env = "BELVEDERE_PAM_ROLE", value_delimiter = ' ')]
    pam_role: Vec<String>,
    /// System group and a host or #tag in the scope of its members; without any they see everything; may be repeated
    #[arg(long, value_name = "GROUP=HOST|#TAG", env = "BELVEDERE_PAM_SCOPE", value_delimiter = ' ')]
    pam_scope: Vec<String>,
    /// PAM service name [default: belvedere]
    #[arg(long, value_name = "NAME", env = "BELVEDERE_PAM_SERVICE")]
    pam_service: Option<String>,
}

/// The TOML file; its keys are the flags without leading dashes.
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
    /// If help was requested, or something is invalid.
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
                // Its author decides what the server trusts.
                if path.metadata().map_err(unreadable)?.permissions().mode() & 0o002 != 0 {
                    return Err(format!("{0} is world-writable; run chmod o-w {0}", path.display()));
                }
                toml::from_str(&text)
                    .map_err(|error| format!("{} is invalid: {}", path.display(), first_sentence(&error.to_string())))?
            }
            None => File::default(),
        };
        let listen = flags.listen.or(file.listen).unwrap_or_else(|| "127.0.0.1:3000".into());
        let listen: SocketAddr = listen.parse().map_err(|_| {
            format!("\"{}\" is not a listen address; expected ADDR:PORT such as 127.0.0.1:3000", listen.escape_debug())
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
        let address = |text: &str| {
            text.parse().map_err(|_| format!("\"{}\" is not an IP address for --trusted-proxy", text.escape_debug()))
        };
        let trusted_proxies: Vec<IpAddr> = trusted_proxies.map(address).collect::<Result<_, _>>()?;
        if !trusted_proxies.is_empty() && !behind_proxy {
            return Err("--trusted-proxy requires --behind-proxy".into());
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
                format!("cannot use data directory {}: {error}; choose another one with --data", data.display())
            })?;
        }
        let agent_version = flags.agent_version.or(file.agent_version).unwrap_or(false);
        let demo = flags.demo.or(file.demo).unwrap_or(false);
        if demo && connect.iter().any(|(id, _)| id.as_str() == "demo") {
            return Err("the name demo is reserved for the demonstration host; use another name with NAME=URI".into());
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

    /// The data directory: the configured one, otherwise the account's default. A demonstration
    /// without a configured directory keeps nothing.
    pub(crate) fn data_folder(&self, demo: bool) -> Option<PathBuf> {
        if self.data.is_some() || demo {
            return self.data.clone();
        }
        default_data()
    }

    /// The host names of the server, for its certificate.
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

    /// The hosts that were added while a server ran. The demonstration alone has none without a data
    /// directory of its own.
    fn stored_hosts(&self) -> io::Result<Vec<Stored>> {
        let folder = self.data_folder(self.demo && self.connect.is_empty());
        folder.map_or(Ok(Vec::new()), |folder| hosts::read(&folder))
    }

    /// What all hosts but the demonstration have in common.
    pub(crate) fn host_template(&self) -> HostConfig {
        HostConfig {
            id: fallback("host"),
            uri: String::new(),
            demo: false,
            managed: false,
            agent_version: self.agent_version,
            storage_roots: StorageRoots { named: self.storage_roots.clone(), own: self.data_folder(false) },
        }
    }

    /// The hosts to watch, and a temporary directory that must live as long.
    pub(crate) async fn hosts(&self) -> io::Result<(Vec<HostConfig>, Option<tempfile::TempDir>)> {
        let host = |id: HostId, uri: String| HostConfig { id, uri, ..self.host_template() };
        let mut hosts: Vec<HostConfig> = self.connect.iter().map(|(id, uri)| host(id.clone(), uri.clone())).collect();
        let (mut demo, stored) = (self.demo, self.stored_hosts()?);
        if hosts.is_empty() && !demo {
            let local = "qemu:///system";
            match hypervisor::probe(local).await {
                Ok(()) => hosts.push(host(own_name(), local.into())),
                // Those that were added here are hosts enough.
                Err(why) if !stored.is_empty() => tracing::info!("cannot connect to {local}. {why}"),
                Err(why) => {
                    tracing::warn!("cannot connect to {local}; using the demonstration host instead. {why}");
                    demo = true;
                }
            }
        }
        for Stored { name, uri } in stored {
            if hosts.iter().any(|host| host.id == name) {
                tracing::warn!(host = %name, "is set on the command line, so the one that was added is not used");
            } else {
                hosts.push(HostConfig { managed: true, ..host(name, uri) });
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

/// The hosts, each with a unique name.
fn named_hosts(uris: &[String]) -> Result<Vec<(HostId, String)>, String> {
    let mut named: Vec<(HostId, String)> = Vec::new();
    let texts = uris.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
    let (given, derived): (Vec<_>, Vec<_>) =
        texts.map(named_uri).collect::<Result<Vec<_>, _>>()?.into_iter().partition(|(_, given, _)| *given);
    for (id, _, uri) in given {
        if named.iter().any(|(other, _)| *other == id) {
            return Err(format!("two hosts are named {id}; set another name with NAME=URI"));
        }
        named.push((id, uri));
    }
    // Derived names give way to configured ones.
    for (id, _, uri) in derived {
        let taken = |id: &HostId| named.iter().any(|(other, _)| other == id);
        let further = (2..).map_while(|n| format!("{id}-{n}").parse().ok());
        let free = std::iter::once(id.clone()).chain(further).find(|id| !taken(id));
        let id = free.ok_or_else(|| format!("two hosts are named {id}; set another name with NAME=URI"))?;
        named.push((id, uri));
    }
    Ok(named)
}

fn said(said: Result<String, String>) -> Stop {
    said.map_or_else(Stop::Failed, Stop::Said)
}

/// Runs `belvedere audit verify`.
fn verify(data: Option<PathBuf>, noted: Option<String>) -> Stop {
    let Some(folder) = data.or_else(default_data) else {
        return Stop::Wrong("set the data directory with --data".into());
    };
    match journal::verify(&journal::audit_file(&folder), noted.as_deref()) {
        Ok(said) => Stop::Said(format!("{said}\n")),
        Err(wrong) => Stop::Failed(wrong),
    }
}

/// The default data directory (XDG Base Directory Specification).
pub(crate) fn default_data() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")))?;
    Some(data.join("belvedere"))
}

/// Parses `NAME=URI`, or a URI with a derived name; returns whether the name was given.
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
            "\"{}\" is not a libvirt URI; expected one such as qemu:///system or qemu+ssh://root@host/system",
            text.escape_debug()
        ));
    }
    let id = match name {
        Some(name) => name.parse()?,
        None => derived_name(scheme, &rest[2..]),
    };
    Ok((id, name.is_some(), uri.to_owned()))
}

/// The remote host name, or a name for a local connection.
fn derived_name(scheme: &str, rest: &str) -> HostId {
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    // IPv6 addresses are in brackets, and their colons are not allowed in names.
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

/// The directory of the browser assets: next to the executable, or the build output.
fn site() -> PathBuf {
    if let Some(set) = std::env::var_os("LEPTOS_SITE_ROOT") {
        return set.into();
    }
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.to_owned())).unwrap_or_default();
    let candidates = [beside.join("site"), beside.join("../site")];
    candidates.into_iter().find(|folder| folder.join("pkg").is_dir()).unwrap_or_else(|| "target/site".into())
}

/// The first sentence of a message, without clap's prefix.
fn first_sentence(text: &str) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or(text);
    line.trim_start_matches("error: ").trim().to_owned()
}

/// Whether a name in a `Host` header cannot be the result of DNS rebinding.
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
