//! Whether a place of the machine is in what is taken.

use std::path::{Path, PathBuf};

use backstay_model::Result;

use crate::tree::compare::Lines;
use crate::tree::copy::{TreeCopy, reader};
use crate::tree::path::os;

impl TreeCopy {
    /// Whether anything is taken at or below an absolute path. Links in the path are followed.
    ///
    /// # Errors
    /// The list can't be read again.
    pub fn takes(&self, path: &Path) -> Result<bool> {
        let (path, root) = (real(path), real(&self.spec.root));
        if root.starts_with(&path) {
            return Ok(true);
        }
        let Ok(inside) = path.strip_prefix(&root) else {
            return Ok(false);
        };
        let mut lines = Lines::new(reader(&self.draft)?, "drafted");
        while let Some(line) = lines.next()? {
            if !line.line.carried && Path::new(os(&line.path)).starts_with(inside) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// A path without links, as far as it can be told.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::context::Context;
    use crate::tree::copy::CopyOptions;
    use crate::tree::spec::TreeSpec;

    #[test]
    fn places_are_found_through_links_and_files_are_counted_by_name() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("root");
        fs::create_dir_all(root.join("var/cache")).unwrap();
        fs::write(root.join("var/cache/index"), "i").unwrap();
        fs::hard_link(root.join("var/cache/index"), root.join("var/other")).unwrap();
        std::os::unix::fs::symlink(&root, place.path().join("link")).unwrap();
        let context = Context::default();
        let spec = TreeSpec::all(&root).unwrap();
        let copy = TreeCopy::scan(spec.clone(), &CopyOptions::default(), None, &context).unwrap();
        let at = |path: &str| copy.takes(&place.path().join(path)).unwrap();
        for path in ["root/var/cache", "link/var/cache", "link", ""] {
            assert!(at(path), "{path}");
        }
        for path in ["root/var/c", "root/gone", "rooted", "var"] {
            assert!(!at(path), "{path}");
        }
        assert_eq!(copy.finish(&[], &context).unwrap().files, 2);
        let less = spec.leaving_out(&["/var/cache".to_owned()], "exclude").unwrap();
        let copy = TreeCopy::scan(less, &CopyOptions::default(), None, &context).unwrap();
        assert!(!copy.takes(&root.join("var/cache")).unwrap());
        assert!(copy.takes(&root.join("var")).unwrap());
    }
}
