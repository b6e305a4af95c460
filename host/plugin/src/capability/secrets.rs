//! `secrets`: names only. The text goes from its file into a child's environment and nowhere else.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use backstay_model::{Code, Error, Result};

use crate::bindings::wit::secrets;
use crate::bindings::wit::types::Failure;
use crate::host::{Host, answer};

impl Host {
    /// The text of a secret that the plugin was granted.
    ///
    /// # Errors
    /// There is no grant, no such secret, or its file can be read by others.
    pub(crate) fn secret_text(&self, name: &str) -> Result<String> {
        self.grants.secret(name)?;
        text(&self.scope.data_dir, name)
    }
}

/// The text of a secret, whose use was granted.
///
/// # Errors
/// There is no such secret, or its file can be read by others.
pub(crate) fn text(data_dir: &Path, name: &str) -> Result<String> {
    let file = file(data_dir, name)?;
    let meta = std::fs::metadata(&file).map_err(|e| {
        Error::new(Code::Environment, format!("there is no secret `{name}`"))
            .because(e)
            .hint(format!("write it to {} with mode 0600", file.display()))
    })?;
    if meta.mode() & 0o077 != 0 {
        return Err(Error::new(
            Code::Permission,
            format!("the secret {} can be read by others", file.display()),
        )
        .hint(format!("chmod 600 {}", file.display())));
    }
    let text = std::fs::read_to_string(&file)
        .map_err(|e| Error::io_as(Code::Permission, "read the secret", &file, e))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn file(data_dir: &Path, name: &str) -> Result<PathBuf> {
    let plain = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && !name.starts_with('.');
    if !plain {
        return Err(Error::new(
            Code::Security,
            "the name of a secret has letters, digits, `.`, `_` and `-` only",
        ));
    }
    Ok(data_dir.join("secrets").join(name))
}

impl secrets::Host for Host {
    async fn exists(&mut self, name: String) -> wasmtime::Result<Result<bool, Failure>> {
        let granted = self.grants.secret(&name);
        answer(
            granted
                .and_then(|()| file(&self.scope.data_dir, &name))
                .map(|file| file.is_file()),
        )
    }
}
