//! What the command line does beside serving: accounts, tokens and links. It works while
//! a server uses the same folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand, ValueEnum};
use model::Role;

use crate::{
    auth::{self, LINK_FOR},
    journal::{self, accounts},
    tasks::now,
};

/// A day in milliseconds.
const DAY: u64 = 24 * 3_600_000;
/// The file that says where the server of a folder listens.
const ADDRESS: &str = "address";

/// The folder of the accounts.
#[derive(Args, Clone)]
pub(crate) struct Folder {
    /// Folder of the accounts
    #[arg(long, value_name = "DIR", env = "BELVEDERE_DATA")]
    data: Option<PathBuf>,
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
    /// Add an account; from the first one on everybody has to log in
    Add {
        /// The name to log in with
        name: String,
        /// What it may do
        #[arg(long)]
        role: RoleName,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
        #[command(flatten)]
        folder: Folder,
    },
    /// Take an account away and end its sessions
    Remove {
        /// Its name
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
    /// Make a token for programs and print it; it is shown only now
    Create {
        /// What it is called in records
        name: String,
        /// What it may do
        #[arg(long)]
        role: RoleName,
        /// Days until it expires; without it it does not
        #[arg(long, value_name = "DAYS")]
        expires: Option<u32>,
        #[command(flatten)]
        folder: Folder,
    },
    /// Take a token away
    Revoke {
        /// What it is called
        name: String,
        #[command(flatten)]
        folder: Folder,
    },
}

impl Folder {
    fn path(&self) -> Result<PathBuf, String> {
        let chosen = self.data.clone().or_else(crate::config::default_data);
        chosen.ok_or_else(|| "name the folder of the accounts with --data".into())
    }
}

/// What is said when something worked, or one sentence why it did not.
type Said = Result<String, String>;

/// `belvedere user`
pub(crate) fn user(verb: UserVerb) -> Said {
    match verb {
        UserVerb::Add { name, role, password_stdin, folder } => {
            let password = password_stdin.then(first_line).transpose()?;
            let user = auth::new_user(&name, role.into(), password.as_deref())?;
            let connection = journal::open_accounts(&folder.path()?)?;
            if !accounts::add_user(&connection, &user, now()).map_err(told)? {
                return Err(format!("there is an account {name} already; take another name"));
            }
            let how = match password {
                Some(_) => String::new(),
                None => format!(" It has no password: belvedere login-link {name} makes a link that logs in."),
            };
            Ok(format!("{name} is {}.{how}\n{}\n", user.role.name(), used(&folder.path()?)))
        }
        UserVerb::Remove { name, folder } => {
            let connection = journal::open_accounts(&folder.path()?)?;
            match accounts::remove_user(&connection, &name).map_err(told)? {
                true => Ok(format!("{name} is removed, and its sessions have ended.\n")),
                false => Err(format!("there is no account {name}; belvedere user list shows them")),
            }
        }
        UserVerb::List { folder } => {
            let connection = journal::open_accounts(&folder.path()?)?;
            let users = accounts::users(&connection).map_err(told)?;
            Ok(users.iter().map(|user| format!("{}\t{}\n", user.name, user.role.name())).collect())
        }
    }
}

/// `belvedere token`
pub(crate) fn token(verb: TokenVerb) -> Said {
    match verb {
        TokenVerb::Create { name, role, expires, folder } => {
            model::user::check_name(&name)?;
            let secret = auth::secret();
            let expires = expires.map(|days| now() + u64::from(days) * DAY);
            let connection = journal::open_accounts(&folder.path()?)?;
            let token = (name.as_str(), role.into(), expires);
            match accounts::add_token(&connection, &auth::hash(&secret), token, now()).map_err(told)? {
                true => Ok(format!("{secret}\n")),
                false => Err(format!("there is a token {name} already; revoke it or take another name")),
            }
        }
        TokenVerb::Revoke { name, folder } => {
            let connection = journal::open_accounts(&folder.path()?)?;
            match accounts::remove_token(&connection, &name).map_err(told)? {
                true => Ok(format!("{name} is revoked.\n")),
                false => Err(format!("there is no token {name}")),
            }
        }
    }
}

/// `belvedere login-link`
pub(crate) fn log_in_link(name: &str, folder: &Folder) -> Said {
    let folder = folder.path()?;
    let secret = auth::secret();
    let connection = journal::open_accounts(&folder)?;
    if !accounts::add_link(&connection, &auth::hash(&secret), name, now() + LINK_FOR).map_err(told)? {
        return Err(format!("there is no account {name}; belvedere user list shows them"));
    }
    let address = fs::read_to_string(folder.join(ADDRESS)).unwrap_or_else(|_| "http://127.0.0.1:3000".into());
    Ok(format!("{}/login/{secret}\n", address.trim()))
}

/// Notes where the server of a folder listens, for links.
///
/// # Errors
/// When the folder cannot be written.
pub(crate) fn note_address(folder: &Path, address: &str) -> io::Result<()> {
    fs::write(folder.join(ADDRESS), address)
}

/// Whether a server reads these accounts: those of another folder would close nothing.
fn used(folder: &Path) -> String {
    let folder_name = folder.display();
    match journal::is_in_use(folder) {
        true => format!("The server that uses {folder_name} knows it at once."),
        false => format!("No server uses {folder_name} now; one that runs elsewhere needs --data with its folder."),
    }
}

fn first_line() -> Result<String, String> {
    let mut line = String::new();
    io::stdin().read_line(&mut line).map_err(|error| format!("cannot read the password: {error}"))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn told(error: rusqlite::Error) -> String {
    format!("the accounts cannot be used: {error}")
}
