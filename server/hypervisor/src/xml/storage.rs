//! The little of `<pool>` that measuring needs.

use std::path::PathBuf;

use roxmltree::Document;

use super::{child, child_text};

/// The folder of a pool that keeps files in one; none of pools of other kinds.
pub(crate) fn target_folder(text: &str) -> Option<PathBuf> {
    let document = Document::parse(text).ok()?;
    let pool = document.root_element();
    if !matches!(pool.attribute("type")?, "dir" | "fs" | "netfs") {
        return None;
    }
    let path = PathBuf::from(child_text(child(pool, "target")?, "path"));
    path.is_absolute().then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_of_files_have_a_folder_and_others_have_none() {
        let pool = |kind: &str, path: &str| {
            target_folder(&format!("<pool type='{kind}'><name>a</name><target><path>{path}</path></target></pool>"))
        };
        assert_eq!(pool("dir", "/var/lib/images"), Some("/var/lib/images".into()));
        assert_eq!(pool("logical", "/dev/vg"), None);
        assert_eq!(pool("fs", "relative"), None);
        assert_eq!(target_folder("<"), None);
    }
}
