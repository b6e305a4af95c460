//! Whether a path lies below a granted one, after links are followed.

use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use backstay_model::{Code, Error, Result};

/// The real path, if it lies at or below the real path of one of the granted ones.
///
/// # Errors
/// The path isn't a plain absolute path, or can't be looked at.
pub(super) fn resolve<'a>(path: &str, granted: impl Iterator<Item = &'a PathBuf>) -> Result<Option<PathBuf>> {
    let asked = Path::new(path);
    if !asked.is_absolute() || path.contains('\0') {
        return Err(Error::new(
            Code::Security,
            format!("`{}` is not an absolute path", super::shown(path)),
        ));
    }
    if asked.components().any(|c| c == Component::ParentDir) {
        return Err(Error::new(
            Code::Security,
            format!("`{}` has a `..` in it", super::shown(path)),
        ));
    }
    let mut real = None;
    for grant in granted {
        // A first look at the text alone, so that nothing outside is even looked at.
        if !asked.starts_with(grant) {
            continue;
        }
        let real = match &real {
            Some(real) => real,
            None => real.insert(real_path(asked)?),
        };
        if real.starts_with(real_path(grant)?) {
            return Ok(Some(real.clone()));
        }
    }
    Ok(None)
}

/// Follows links in the part that exists and appends the rest.
fn real_path(path: &Path) -> Result<PathBuf> {
    let mut missing = Vec::new();
    let mut existing = path;
    loop {
        match existing.canonicalize() {
            Ok(real) => return Ok(missing.iter().rev().fold(real, |path, name| path.join(name))),
            Err(e) if e.kind() == ErrorKind::NotFound => {
                // A dangling link could come to lead anywhere later.
                if existing.is_symlink() {
                    return Err(Error::new(
                        Code::Security,
                        format!("{} is a link that leads nowhere", existing.display()),
                    ));
                }
                match (existing.file_name(), existing.parent()) {
                    (Some(name), Some(parent)) => {
                        missing.push(name);
                        existing = parent;
                    }
                    _ => return Err(Error::io("look at", path, e)),
                }
            }
            Err(e) => return Err(Error::io("look at", path, e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_dots_lead_nowhere() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        std::fs::create_dir_all(root.join("sub")).unwrap();
        std::fs::write(directory.path().join("secret"), "x").unwrap();
        std::os::unix::fs::symlink("/etc", root.join("etc")).unwrap();
        std::os::unix::fs::symlink("sub", root.join("inside")).unwrap();
        let granted = [root.clone()];
        let ask = |path: &str| resolve(&format!("{}{path}", root.display()), granted.iter());
        let real = root.canonicalize().unwrap();
        assert_eq!(ask("").unwrap(), Some(real.clone()));
        assert_eq!(ask("/inside").unwrap(), Some(real.join("sub")));
        assert_eq!(ask("/sub/new/deeper").unwrap(), Some(real.join("sub/new/deeper")));
        assert_eq!(ask("/etc/passwd").unwrap(), None);
        assert_eq!(ask("-other").unwrap(), None);
        assert!(ask("/../secret").is_err());
        assert!(resolve("relative", granted.iter()).is_err());
        assert_eq!(resolve("/etc/shadow", granted.iter()).unwrap(), None);
    }
}
