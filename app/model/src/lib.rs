//! The vocabulary shared by the browser, the server and `hypervisor`: plain data, and the decisions
//! that must be identical in browser and server.
//!
//! It does not depend on Leptos, tokio or libvirt, and does no I/O. Commands go down, events come
//! up; both are values of this crate. Read the modules in the order below.
mod choice;

pub mod id;

pub mod text;

pub mod natural;

pub mod domain;

pub mod problem;

pub mod device;

pub mod definition;

pub mod host_hardware;

pub mod host;

pub mod storage;

pub mod network;

pub mod stats;

pub mod console;

pub mod command;

pub mod fault;

pub mod note;

pub mod task;

pub mod user;

pub mod event;

pub mod inventory;

pub mod query;

pub mod selection;

pub mod window;

pub mod index;

pub mod read;

pub mod write;

pub use command::{BatchRequest, Command, CommandRequest, DomainCommand, NetworkCommand, PoolCommand, Receipt};
pub use console::{Console, ConsoleKind};
pub use domain::{Domain, DomainState};
pub use event::Event;
pub use fault::{Fault, FaultKind};
pub use host::{Host, HostInfo, Link};
pub use id::{Cursor, DomainRef, HostId, ObjectKind, ObjectRef, RequestId};
pub use inventory::{HostInventory, Inventory};
pub use natural::{by_address, natural};
pub use network::Network;
pub use note::NoteKind;
pub use stats::{HostStats, VmStats};
pub use storage::{Pool, Volume};
pub use task::{AuditRecord, Origin, Source, Task, TaskState};
pub use user::{Permission, Role, Scope, Viewer};
