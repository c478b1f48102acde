//! Where new pools may lie. A pool makes whatever is in its folder readable and deletable for
//! operators, so nobody, admin or not, makes one of the system's folders or of our own data.

use std::path::{Path, PathBuf};

use model::{Fault, storage::PoolSpec};

use crate::places::{Places, in_order};

/// Folders that are for images on any host, beside what is mounted there.
const USUAL: [&str; 6] =
    ["/var/lib/libvirt/images", "/var/lib/libvirt/boot", "/var/lib/libvirt/filesystems", "/mnt", "/media", "/srv"];

/// Where pools of one host may lie.
#[derive(Clone, Debug, Default)]
pub struct StorageRoots {
    /// Further folders that somebody named.
    pub named: Vec<PathBuf>,
    /// The folder of our own data, which no pool may hold or lie in.
    pub own: Option<PathBuf>,
}

impl StorageRoots {
    /// Whether a new pool may lie where it shall.
    ///
    /// # Errors
    /// `Denied`, with the folders in which it may.
    pub(crate) fn check(&self, places: &mut Places, spec: &PoolSpec) -> Result<(), Fault> {
        if spec.path.is_empty() {
            return Ok(());
        }
        let path = Path::new(&spec.path);
        // Where links cannot be followed, the path as it is written has to do.
        let resolved = places.resolve(path).unwrap_or_else(|| in_order(path));
        let mut lead = |to: &Path| places.resolve(to).unwrap_or_else(|| in_order(to));
        let denied = |why: String, next: String| Err(Fault::denied(why).with_next(next));
        let own = self.own.as_deref().map(&mut lead);
        if own.is_some_and(|own| resolved.starts_with(&own) || own.starts_with(&resolved)) {
            let why = format!("{} holds, or lies in, Belvedere's own data", spec.path);
            return denied(why, "Choose a folder of its own".into());
        }
        if model::storage::is_of_the_system(&resolved) {
            let why = format!("{} leads to {}, which belongs to the system", spec.path, resolved.display());
            return denied(why, "Choose a folder of its own".into());
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
        let why = format!("{} is no place for storage pools", spec.path);
        let next = format!(
            "Choose a folder below {}, or have this one named with --storage-root when Belvedere is started",
            shown.join(", ")
        );
        denied(why, next)
    }
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
            assert!(why.contains("own data"), "{why}");
        }
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
        for (below, why) in [("etc/x", "belongs to the system"), ("own", "own data"), ("../other", "no place")] {
            let said = check(&roots, &mut places(), &root.join(below)).expect_err(below);
            assert!(said.contains(why), "{said}");
        }
    }
}
