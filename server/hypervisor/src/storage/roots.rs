//! Allowed locations of new pools. A pool makes all files in its directory readable and deletable
//! for operators, so system directories and our own data are refused for every role.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use model::{
    Fault,
    storage::{PoolKind, PoolSpec},
};

use crate::{
    places::{Key, Places, in_order},
    xml::sources::Place,
};

/// Image directories allowed on any host, besides mounts.
const USUAL: [&str; 6] =
    ["/var/lib/libvirt/images", "/var/lib/libvirt/boot", "/var/lib/libvirt/filesystems", "/mnt", "/media", "/srv"];

/// Allowed locations of pools on one host.
#[derive(Clone, Debug, Default)]
pub struct StorageRoots {
    /// Additional directories from the configuration.
    pub named: Vec<PathBuf>,
    /// Our data directory, which no pool may contain or be inside of.
    pub own: Option<PathBuf>,
}

impl StorageRoots {
    /// Whether the location of a new pool is allowed.
    ///
    /// # Errors
    /// `Denied`, with the allowed directories.
    pub(crate) fn check(&self, places: &mut Places, spec: &PoolSpec) -> Result<(), Fault> {
        let denied = |why: String, next: String| Err(Fault::denied(why).with_next(next));
        if spec.kind == PoolKind::Fs && !spec.device.is_empty() {
            let device = places.identify(&Place::Path(spec.device.clone().into()));
            for (mounted, what) in places.used_by_host() {
                let at = places.identify(&Place::Path(mounted.to_owned()));
                if device.touches(&at) {
                    let why = format!("{} is {what} on the host", spec.device);
                    return denied(why, "Choose an unused device, or create a directory pool on it".into());
                }
            }
        }
        if spec.path.is_empty() {
            return Ok(());
        }
        let path = Path::new(&spec.path);
        // If links cannot be resolved, the path is used as written.
        let resolved = places.resolve(path).unwrap_or_else(|| in_order(path));
        let is_own = self.own.as_deref().is_some_and(|own| is_same(places, path, own));
        let mut lead = |to: &Path| places.resolve(to).unwrap_or_else(|| in_order(to));
        let own = self.own.as_deref().map(&mut lead);
        if is_own || own.is_some_and(|own| resolved.starts_with(&own) || own.starts_with(&resolved)) {
            let why = format!("{} contains or is inside Belvedere's data directory", spec.path);
            return denied(why, "Choose a dedicated directory".into());
        }
        if model::storage::is_of_the_system(&resolved) {
            let why = format!("{} resolves to {}, which is a system directory", spec.path, resolved.display());
            return denied(why, "Choose a dedicated directory".into());
        }
        let usual = USUAL.iter().map(PathBuf::from).chain(places.mounts());
        let mut roots: Vec<PathBuf> = usual.chain(self.named.iter().cloned()).collect();
        roots.sort();
        roots.dedup();
        let inside = roots.iter().any(|root| {
            let root = places.resolve(root).unwrap_or_else(|| in_order(root));
            resolved.starts_with(root)
        });
        if inside {
            return Ok(());
        }
        let shown: Vec<String> = roots.iter().map(|root| root.display().to_string()).collect();
        let why = format!("{} is not in a directory that is allowed for storage pools", spec.path);
        let next = format!(
            "Choose a directory below {}, or ask an administrator of the server to allow this one with --storage-root",
            shown.join(", ")
        );
        denied(why, next)
    }
}

/// Whether a path is our directory or inside of it by another path: a mount, or a name that only
/// the daemon sees.
fn is_same(places: &mut Places, path: &Path, own: &Path) -> bool {
    let Ok(found) = std::fs::metadata(own) else { return false };
    let own = Key::Inode(found.dev(), found.ino());
    let identity = places.identify(&Place::Path(path.to_owned()));
    identity.own.contains(&own) || identity.below.contains(&own)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn check(roots: &StorageRoots, places: &mut Places, path: &Path) -> Result<(), String> {
        let spec = PoolSpec { path: path.to_string_lossy().into_owned(), ..PoolSpec::default() };
        roots.check(places, &spec).map_err(|fault| fault.sentence())
    }

    #[test]
    fn a_pool_lies_where_images_lie_and_nowhere_else_however_it_is_spelled() {
        let elsewhere = StorageRoots::default();
        for path in ["/var/lib/libvirt/images", "/var/lib/libvirt/images/a/b", "/srv/vm", "/mnt"] {
            assert_eq!(check(&elsewhere, &mut Places::new(None), Path::new(path)), Ok(()), "{path}");
        }
        for path in
            ["/", "/var", "/var/lib/libvirt", "/var/lib/libvirt/qemu", "/home/jane", "/srv/../etc", "/srvx", "/opt/x"]
        {
            let why = check(&elsewhere, &mut Places::new(None), Path::new(path)).expect_err(path);
            assert!(why.contains(path), "{why}");
        }
        let named = StorageRoots { named: vec!["/opt/x".into()], own: Some("/srv/belvedere".into()) };
        assert_eq!(check(&named, &mut Places::new(None), Path::new("/opt/x/y")), Ok(()));
        for path in ["/srv", "/srv/belvedere", "/srv/belvedere/images"] {
            let why = check(&named, &mut Places::new(None), Path::new(path)).expect_err(path);
            assert!(why.contains("data directory"), "{why}");
        }
    }

    #[test]
    fn a_disk_of_its_own_is_a_place_but_not_where_the_host_keeps_more() {
        let table = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 8:2 / /var rw - ext4 /dev/sda2 rw\n\
            3 1 8:3 / /root rw - ext4 /dev/sda3 rw\n4 1 8:4 / /tank rw - ext4 /dev/sda4 rw";
        let places = || Places::with_mounts(table);
        let roots = StorageRoots::default();
        assert_eq!(check(&roots, &mut places(), Path::new("/tank/images")), Ok(()));
        assert_eq!(check(&roots, &mut places(), Path::new("/var/lib/libvirt/images/x")), Ok(()));
        for path in ["/var/backups", "/var/lib/libvirt/qemu", "/var/lib/libvirt/swtpm", "/root", "/root/x"] {
            let why = check(&roots, &mut places(), Path::new(path)).expect_err(path);
            assert!(why.contains("not in a directory that is allowed"), "{why}");
        }
        let spec =
            PoolSpec { kind: PoolKind::Fs, device: "/dev/sda2".into(), path: "/mnt/x".into(), ..PoolSpec::default() };
        let why = roots.check(&mut places(), &spec).expect_err("it is mounted").reason;
        assert_eq!(why, "/dev/sda2 is mounted at /var on the host");
        let other = PoolSpec { device: "/dev/sdb1".into(), ..spec };
        roots.check(&mut places(), &other).expect("nobody has it");
    }

    #[test]
    fn a_link_out_of_a_place_for_pools_is_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (root, data) = (folder.path().join("root"), folder.path().join("data"));
        fs::create_dir(&root).expect("made");
        fs::create_dir(&data).expect("made");
        symlink("/etc", root.join("etc")).expect("made");
        symlink(&data, root.join("own")).expect("made");
        symlink(&root, folder.path().join("link")).expect("made");
        let roots = StorageRoots { named: vec![folder.path().join("link")], own: Some(data) };
        let places = || Places::new(Some("/".into()));
        assert_eq!(check(&roots, &mut places(), &root.join("images")), Ok(()), "the root may be a link itself");
        assert_eq!(check(&roots, &mut places(), &folder.path().join("link/images")), Ok(()));
        for (below, why) in
            [("etc/x", "system directory"), ("own", "data directory"), ("../other", "not in a directory")]
        {
            let said = check(&roots, &mut places(), &root.join(below)).expect_err(below);
            assert!(said.contains(why), "{said}");
        }
    }
}
