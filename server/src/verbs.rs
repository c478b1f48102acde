//! Commands besides serving: accounts, tokens and sign-in links. They work while a server uses the
//! same data directory.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand, ValueEnum};
use model::{NoteKind, Origin, Role, Scope, Source};
use rusqlite::{Connection, TransactionBehavior};

use crate::{
    auth::{self, LINK_FOR},
    journal::{self, Note, accounts},
    tasks::now,
};

/// The file with the URL of the server of a directory.
const ADDRESS: &str = "address";

/// The data directory.
#[derive(Args, Clone)]
pub(crate) struct Folder {
    /// Data directory
    #[arg(long, value_name = "DIR", env = "BELVEDERE_DATA")]
    data: Option<PathBuf>,
}

/// A scope on the command line.
#[derive(Args, Clone)]
pub(crate) struct ScopeArguments {
    /// Only machines on this host; may be repeated
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,
    /// Only machines with this tag; may be repeated
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
}

impl ScopeArguments {
    fn scope(&self) -> Result<Scope, String> {
        let hosts = self.host.iter().map(|host| host.parse()).collect::<Result<_, String>>()?;
        let scope = Scope { hosts, tags: self.tag.iter().cloned().collect() };
        match Scope::from_words(&scope.words()) {
            Ok(read) if read == scope => Ok(scope),
            _ => Err("a tag must be one word without commas and #".into()),
        }
    }
}

/// A role on the command line.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum RoleName {
    Viewer,
    Operator,
    Admin,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Viewer => Self::Viewer,
            RoleName::Operator => Self::Operator,
            RoleName::Admin => Self::Admin,
        }
    }
}

#[derive(Subcommand)]
pub(crate) enum UserVerb {
    /// Add an account; from the first one on everyone must sign in
    Add {
        /// Account name
        name: String,
        /// Role
        #[arg(long)]
        role: RoleName,
        #[command(flatten)]
        scope: ScopeArguments,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
        #[command(flatten)]
        folder: Folder,
    },
    /// Change an account
    Set {
        /// Account name
        name: String,
        /// New role; sets the scope as well
        #[arg(long)]
        role: Option<RoleName>,
        #[command(flatten)]
        scope: ScopeArguments,
        /// Read a new password from the first line of standard input; ends its sessions
        #[arg(long)]
        password_stdin: bool,
        /// Turn off the second factor
        #[arg(long)]
        no_second_factor: bool,
        #[command(flatten)]
        folder: Folder,
    },
    /// Remove an account and end its sessions
    Remove {
        /// Account name
        name: String,
        #[command(flatten)]
        folder: Folder,
    },
    /// List the accounts
    List {
        #[command(flatten)]
        folder: Folder,
    },
}

#[derive(Subcommand)]
pub(crate) enum TokenVerb {
    /// Create an API token and print it; it is shown only once
    Create {
        /// Token name, also used in the audit log
        name: String,
        /// Role
        #[arg(long)]
        role: RoleName,
        #[command(flatten)]
        scope: ScopeArguments,
        /// Days until the token expires (default: never)
        #[arg(long, value_name = "DAYS")]
        expires: Option<u32>,
        #[command(flatten)]
        folder: Folder,
    },
    /// Revoke a token
    Revoke {
        /// Token name
        name: String,
        #[command(flatten)]
        folder: Folder,
    },
}

impl Folder {
    fn path(&self) -> Result<PathBuf, String> {
        let chosen = self.data.clone().or_else(crate::config::default_data);
        chosen.ok_or_else(|| "set the data directory with --data".into())
    }
}

/// The output of a command, or one sentence why it failed.
type Said = Result<String, String>;

/// Changes the accounts of a directory and records it, both or neither; returns whether anything
/// changed.
fn change(
    folder: &Folder,
    (kind, name): (NoteKind, &str),
    change: impl FnOnce(&Connection) -> rusqlite::Result<bool>,
) -> Result<bool, String> {
    let mut connection = journal::open_accounts(&folder.path()?)?;
    let changed = || {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let changed = change(&transaction)?;
        if changed {
            let origin = Origin { source: Source::Cli, ..Origin::default() };
            accounts::note(&transaction, &Note::of(kind, name, origin))?;
        }
        transaction.commit().map(|()| changed)
    };
    changed().map_err(told)
}

/// `belvedere user`
pub(crate) fn user(verb: UserVerb) -> Said {
    match verb {
        UserVerb::Add { name, role, scope, password_stdin, folder } => {
            let password = password_stdin.then(first_line).transpose()?;
            let may = (role.into(), scope.scope()?);
            let what = auth::may_words(&name, &may);
            let user = auth::new_user(&name, may, password.as_deref())?;
            if !change(&folder, (NoteKind::UserAdded, &what), |file| accounts::add_user(file, &user, now()))? {
                return Err(format!("account {name} already exists; choose another name"));
            }
            let how = match password {
                Some(_) => String::new(),
                None => format!(" It has no password; create a sign-in link with belvedere login-link {name}."),
            };
            Ok(format!("{name} is {}.{how}\n{}\n", user.role.name(), used(&folder.path()?)))
        }
        UserVerb::Set { name, role, scope, password_stdin, no_second_factor, folder } => {
            let scope = scope.scope()?;
            if role.is_none() && !scope.is_everything() {
                return Err("--host and --tag require --role".into());
            }
            let role = role.map(|role| (Role::from(role), scope));
            let password = password_stdin.then(first_line).transpose()?;
            let hashed = password.as_deref().map(auth::hash_password).transpose()?;
            set_user(&name, (role, hashed, no_second_factor), &folder)
        }
        UserVerb::Remove { name, folder } => {
            match change(&folder, (NoteKind::UserRemoved, &name), |file| accounts::remove_user(file, &name))? {
                true => Ok(format!("{name} was removed and its sessions were ended.\n")),
                false => Err(no_account(&name)),
            }
        }
        UserVerb::List { folder } => {
            let connection = journal::open_accounts(&folder.path()?)?;
            let users = accounts::users(&connection).map_err(told)?;
            Ok(users
                .iter()
                .map(|user| {
                    format!("{}\t{}\t{}", user.name, user.role.name(), user.scope.words()).trim_end().to_owned() + "\n"
                })
                .collect())
        }
    }
}

/// Each of these is a separate change with a record.
fn set_user(
    name: &str,
    (may, hashed, no_factor): (Option<(Role, Scope)>, Option<String>, bool),
    folder: &Folder,
) -> Said {
    let mut done = Vec::new();
    if let Some(may) = may {
        model::user::check_scope(may.0, &may.1)?;
        let (what, (role, scope)) = (auth::may_words(name, &may), may);
        if !change(folder, (NoteKind::RoleChanged, &what), |file| accounts::set_role(file, name, (role, &scope)))? {
            return Err(no_account(name));
        }
        done.push(format!("{name} is {}.", role.name()));
    }
    if let Some(hashed) = hashed {
        let set = |file: &Connection| {
            accounts::end_sessions(file, name, None)?;
            accounts::set_password(file, name, &hashed)
        };
        if !change(folder, (NoteKind::PasswordChanged, name), set)? {
            return Err(no_account(name));
        }
        done.push(format!("{name} has a new password and its sessions were ended."));
    }
    if no_factor {
        done.push(
            match change(folder, (NoteKind::SecondFactorOff, name), |file| accounts::unset_factor(file, name))? {
                true => format!("The second factor of {name} was turned off."),
                false => format!("{name} has no second factor."),
            },
        );
    }
    if done.is_empty() {
        return Err("nothing to change; use --role, --password-stdin or --no-second-factor".into());
    }
    Ok(done.join("\n") + "\n")
}

fn no_account(name: &str) -> String {
    format!("account {name} does not exist; list accounts with belvedere user list")
}

/// `belvedere token`
pub(crate) fn token(verb: TokenVerb) -> Said {
    match verb {
        TokenVerb::Create { name, role, scope, expires, folder } => {
            let may = (role.into(), scope.scope()?);
            let (what, secret) = (auth::may_words(&name, &may), auth::secret());
            let token = auth::new_token(&name, may, expires)?;
            let add = |file: &Connection| accounts::add_token(file, &auth::hash(&secret), &token);
            match change(&folder, (NoteKind::TokenCreated, &what), add)? {
                true => Ok(format!("{secret}\n")),
                false => Err(format!("token {name} already exists; revoke it or choose another name")),
            }
        }
        TokenVerb::Revoke { name, folder } => {
            match change(&folder, (NoteKind::TokenRevoked, &name), |file| accounts::remove_token(file, &name))? {
                true => Ok(format!("{name} was revoked.\n")),
                false => Err(format!("token {name} does not exist")),
            }
        }
    }
}

/// `belvedere login-link`
pub(crate) fn log_in_link(name: &str, folder: &Folder) -> Said {
    let secret = auth::secret();
    let add = |file: &Connection| accounts::add_link(file, &auth::hash(&secret), name, now() + LINK_FOR);
    if !change(folder, (NoteKind::LoginLinkMade, name), add)? {
        return Err(no_account(name));
    }
    let folder = folder.path()?;
    let address = fs::read_to_string(folder.join(ADDRESS)).unwrap_or_else(|_| "http://127.0.0.1:3000".into());
    Ok(format!("{}/login/{secret}\n", address.trim()))
}

/// Stores the URL of a directory's server, for links.
///
/// # Errors
/// If the directory cannot be written.
pub(crate) fn note_address(folder: &Path, address: &str) -> io::Result<()> {
    fs::write(folder.join(ADDRESS), address)
}

/// Whether a running server uses these accounts: those of another directory have no effect on it.
fn used(folder: &Path) -> String {
    let folder_name = folder.display();
    match journal::is_in_use(folder) {
        true => format!("The change takes effect immediately in the server that uses {folder_name}."),
        false => format!(
            "No running server uses {folder_name}. If your server uses another data directory, set it with --data."
        ),
    }
}

fn first_line() -> Result<String, String> {
    let mut line = String::new();
    io::stdin().read_line(&mut line).map_err(|error| format!("cannot read the password: {error}"))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn told(error: rusqlite::Error) -> String {
    format!("cannot access the accounts: {error}")
}
