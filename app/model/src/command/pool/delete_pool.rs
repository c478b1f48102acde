//! Deletes a storage pool.

use super::{
    About, Fault, Field, Hindrance, HostInventory, Input, Lane, Permission, Pool, Verb, VolumeUse, of_machines,
    of_volumes, unless, verb,
};

verb! {
    /// Undefine the pool (`virStoragePoolUndefine`).
    pub struct DeletePool {
        /// Whether its storage is deleted first (`virStoragePoolDelete`).
        pub content: bool,
    }
}

impl Verb for DeletePool {
    type On = Pool;

    const ABOUT: About =
        About { kind: "deletePool", label: "Delete pool", done: "is deleted", lane: Lane::Slow, ..About::DEFAULT };

    const FIELDS: &'static [Field] = &[Field::new("content", "Delete its volumes as well", Input::Flag)];

    fn label(&self) -> &'static str {
        // Two different losses never look alike.
        if self.content { "Delete pool and its volumes" } else { Self::ABOUT.label }
    }

    fn done(&self) -> &'static str {
        if self.content { "is deleted with its volumes" } else { Self::ABOUT.done }
    }

    fn permission(&self) -> Permission {
        if self.content { Permission::ShapeStorage } else { Self::ABOUT.permission }
    }

    fn loses(&self) -> Option<&'static str> {
        Some(match self.content {
            false => "Only the pool's definition is deleted. Its volumes and their data are kept.",
            true => {
                "The pool and its storage are permanently deleted: the directory, the volume group or the partition table."
            }
        })
    }

    fn typed(&self, name: &str) -> Option<String> {
        self.content.then(|| name.to_owned())
    }

    fn depends_on_use(&self) -> bool {
        true
    }

    fn loses_content(&self) -> bool {
        self.content
    }

    fn hindrance(&self, users: &[VolumeUse]) -> Option<Hindrance> {
        Some(match self.content {
            false => Hindrance {
                users: of_machines(users).cloned().collect(),
                so: "so it cannot be deleted",
                next: "Detach the disks first",
            },
            true => Hindrance {
                users: of_machines(users).chain(of_volumes(users)).cloned().collect(),
                so: "so its volumes cannot be deleted",
                next: "Detach the disks or delete those volumes first",
            },
        })
    }

    fn check(&self, on: &Pool, _: &HostInventory) -> Result<(), Fault> {
        let unknown = self.content && !on.state.is_active();
        unless(on, unknown.then_some("is not active, so its volumes are unknown; start it first"))
    }

    fn evidence(&self, on: Option<&Pool>) -> Option<bool> {
        Some(on.is_none())
    }
}
