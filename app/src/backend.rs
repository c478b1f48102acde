//! What the interface may ask of the server while it renders, and what a
//! request brings with it. The server implements and provides it as context.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use model::{Command, DomainRef, Fault, RequestId, inventory::Snapshot};

/// The server as pages see it. Commands do not go through here: they are
/// requests of their own.
#[async_trait]
pub trait Backend: Send + Sync {
    /// Everything that is known, with the position it was read at.
    fn snapshot(&self) -> Snapshot;

    /// How an answered request ended.
    fn done(&self, id: RequestId) -> Option<Done>;

    /// A machine's definition as libvirt writes it, without secrets.
    async fn definition(&self, id: &DomainRef) -> Result<String, Fault>;
}

/// What takes time to read and is therefore read before a page is rendered;
/// rendering itself never waits.
#[derive(Clone, Debug, Default)]
pub struct Beforehand {
    /// The definition that the page shows, if it shows one.
    pub(crate) definition: Option<Result<String, Fault>>,
}

impl Beforehand {
    /// What the page at an address needs.
    pub async fn read(backend: &dyn Backend, address: &str) -> Self {
        match crate::routes::definition_at(address) {
            Some(id) => Self { definition: Some(backend.definition(&id).await) },
            None => Self::default(),
        }
    }
}

/// How a request ended.
#[derive(Clone, Debug)]
pub struct Done {
    /// The machine's name, or empty when it was not found.
    pub name: String,
    /// What was asked.
    pub command: Command,
    /// How it ended; none while it runs.
    pub outcome: Option<Result<(), Fault>>,
}

/// Addresses of the files that the build made; none of a file that is missing.
#[derive(Clone, Debug, Default)]
pub struct AssetNames {
    /// The script that loads the module.
    pub script: Option<String>,
    /// The WebAssembly module.
    pub module: Option<String>,
    /// The style sheet.
    pub style: Option<String>,
}

/// Makes the requests of one rendered page distinct from those of another.
#[derive(Clone, Debug, Default)]
pub struct FormToken(pub String);

/// What a page says of itself beside its text.
#[derive(Clone, Debug, Default)]
pub struct Answer(Arc<AtomicBool>);

impl Answer {
    /// What the page shows does not exist.
    pub(crate) fn not_found(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the page shows something that does not exist.
    pub fn is_not_found(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Light, dark, or what the system says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Theme {
    /// What the system says.
    #[default]
    Auto,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

impl Theme {
    /// The choice that a `Cookie` header remembers.
    pub fn from_cookies(header: &str) -> Self {
        match header.split(';').find_map(|pair| pair.trim().strip_prefix("theme=")) {
            Some("light") => Self::Light,
            Some("dark") => Self::Dark,
            _ => Self::Auto,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }
}
