//! Deletes a storage pool.

use super::{
    About, Fault, Field, Hindrance, HostInventory, Input, Lane, Permission, Pool, User, Verb, of_machines, of_volumes,
    unless, verb,
};

verb! {
    /// Forget its definition (`virStoragePoolUndefine`).
    pub struct DeletePool {
        /// Whether what it holds is deleted first (`virStoragePoolDelete`).
        pub content: bool,
    }
}

impl Verb for DeletePool {
    type On = Pool;

    const ABOUT: About =
        About { kind: "deletePool", label: "Delete pool", done: "is deleted", lane: Lane::Slow, ..About::DEFAULT };

    const FIELDS: &'static [Field] = &[Field::new("content", "Delete its volumes, too", Input::Flag)];

    fn label(&self) -> &'static str {
        // Two losses of one kind never look alike.
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
            false => "Belvedere and libvirt forget the pool. What it holds stays where it is.",
            true => {
                "The pool is forgotten, and the storage below it is deleted for good: the folder, the volume group or the partition table."
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

    fn hindrance(&self, users: &[User]) -> Option<Hindrance> {
        Some(match self.content {
            false => Hindrance {
                users: of_machines(users).cloned().collect(),
                so: "so it cannot be deleted",
                next: "Take the disks away first",
            },
            true => Hindrance {
                users: of_machines(users).chain(of_volumes(users)).cloned().collect(),
                so: "so what it holds cannot be deleted",
                next: "Take the disks away, or delete those volumes, first",
            },
        })
    }

    fn check(&self, on: &Pool, _: &HostInventory) -> Result<(), Fault> {
        let unknown = self.content && !on.state.is_active();
        unless(on, unknown.then_some("is not started, so its volumes are not known; start it first"))
    }

    fn evidence(&self, on: Option<&Pool>) -> Option<bool> {
        Some(on.is_none())
    }
}
