//! Where programs are: found once, on a fixed path, so that nobody's PATH decides what runs as root.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use backstay_model::{Code, Error, Result};

/// The directories that programs are looked for in.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Programs found so far.
#[derive(Debug, Default)]
pub struct Programs {
    found: Mutex<HashMap<String, PathBuf>>,
}

impl Programs {
    /// The absolute path of a program.
    ///
    /// # Errors
    /// [`Code::Environment`] if it isn't installed, [`Code::Security`] if the name isn't a plain one.
    pub fn find(&self, name: &str) -> Result<PathBuf> {
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return Err(Error::new(
                Code::Security,
                format!("`{}` is not a plain program name", super::shown(name)),
            ));
        }
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = found.get(name) {
            return Ok(path.clone());
        }
        let executable = |path: &PathBuf| {
            std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        };
        let path = PATH
            .split(':')
            .map(|directory| PathBuf::from(directory).join(name))
            .find(executable)
            .ok_or_else(|| {
                Error::new(
                    Code::Environment,
                    format!("the program `{name}` is not installed (looked in {PATH})"),
                )
                .hint(format!("install {name}; `backstay doctor` lists what is found"))
            })?;
        found.insert(name.to_owned(), path.clone());
        Ok(path)
    }
}
