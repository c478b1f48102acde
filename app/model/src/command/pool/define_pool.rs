//! Creates a storage pool.

use super::{About, Fault, Field, HostInventory, Input, Lane, Permission, Pool, Verb, connected, taken_name, verb};
use crate::storage::PoolSpec;

verb! {
    /// Define a pool with the target's UUID (`virStoragePoolDefineXML`), and start it.
    pub struct DefinePool {
        /// Its specification.
        pub pool: PoolSpec,
        /// Whether the pool is built first.
        pub build: bool,
        /// Whether autostart is on.
        pub autostart: bool,
    }
}

impl Verb for DefinePool {
    type On = Pool;

    const ABOUT: About = About {
        kind: "definePool",
        label: "Create pool",
        done: "is created",
        lane: Lane::Slow,
        makes: true,
        permission: Permission::ShapeStorage,
        ..About::DEFAULT
    };

    const FIELDS: &'static [Field] = &[
        Field::new("pool.name", "Name", Input::Line(50)).required(),
        Field::new("pool.kind", "Type", Input::Choice),
        Field::new("pool.host", "Server", Input::Line(0)),
        Field::new("pool.folder", "Export path", Input::Line(0)),
        Field::new("pool.device", "Device", Input::Line(0)),
        Field::new("pool.group", "Volume group", Input::Line(0)),
        Field::new("pool.path", "Target path", Input::Line(0)),
        Field::new("build", "Build pool (never overwrites existing data)", Input::Flag).preset("yes"),
        Field::new("autostart", "Autostart", Input::Flag).preset("yes"),
    ];

    fn filled(self) -> Self {
        let PoolSpec { name, kind, path, host, folder, device, group } = self.pool;
        let [has_path, has_host, has_folder, has_device, has_group] = kind.needs();
        let needed = |needed: bool, text: String| if needed { text } else { String::new() };
        let pool = PoolSpec {
            path: needed(has_path, path),
            host: needed(has_host, host),
            folder: needed(has_folder, folder),
            device: needed(has_device, device),
            group: needed(has_group, group),
            name,
            kind,
        };
        Self { pool, ..self }
    }

    fn subject(&self, _: Option<&Pool>) -> Option<String> {
        Some(self.pool.name.clone())
    }

    fn check_new(&self, there: bool, host: &HostInventory) -> Result<(), Fault> {
        let spec = &self.pool;
        connected::<Pool>(host, &spec.name)?;
        spec.check()?;
        if host.host.info.as_ref().is_some_and(|info| !info.has_pools_of(spec.kind.key())) {
            let reason = format!("{} has no storage driver for pools of type {}", host.host.id, spec.kind);
            let next = "Install libvirt's storage driver for this type on the host, or choose another type";
            return Err(Fault::denied(reason).with_next(next));
        }
        let taken = there || host.pools.values().any(|known| known.name == spec.name);
        if taken { Err(taken_name(&spec.name, "storage pool", host)) } else { Ok(()) }
    }

    fn evidence(&self, on: Option<&Pool>) -> Option<bool> {
        Some(on.is_some())
    }
}
