//! Tries a server: writes a small object, reads it, finds it in a listing, and deletes it.

use std::sync::Arc;
use std::time::Instant;

use backstay_model::filters::Filters;
use backstay_model::{Code, Error, Result};
use backstay_stream::Context;
use backstay_stream::recipe::TextRecipe;

use super::SftpStore;
use crate::Key;
use crate::object::Probed;

impl SftpStore {
    /// Tries everything that a backup needs on an object named `name`, and leaves nothing behind.
    ///
    /// # Errors
    /// The first step that fails, why, and what to do. The object is deleted if that is possible.
    pub fn probe(&self, name: &str) -> Result<Vec<Probed>> {
        let key = Key::parse(name)?;
        let mut done = Vec::new();
        let tried = self.probe_all(&key, &mut done);
        if tried.is_err() {
            // If it can't be deleted either, the first failure is still the one to tell.
            let _ = self.delete(&key);
        }
        tried.map(|()| done)
    }

    fn probe_all(&self, key: &Key, done: &mut Vec<Probed>) -> Result<()> {
        let content = format!("{key}: written to see whether it can be\n");
        let mut at = Instant::now();
        let mut step = |step| {
            let milliseconds = u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
            at = Instant::now();
            done.push(Probed { step, milliseconds });
        };
        let recipe = Arc::new(TextRecipe::new(content.clone().into_bytes()));
        self.put(key, recipe, &Filters::default(), &Context::default())?;
        step("write");
        let shared = &self.shared;
        let read = shared.look("read", key.as_str(), async |session| {
            let mut fs = session.sftp.fs();
            Ok(fs.read(shared.names.path(key.as_str())).await?)
        })?;
        if read != content.as_bytes() {
            return Err(Error::new(
                Code::Verification,
                format!("{} is not what was written to it", self.location(key)),
            )
            .hint("something between here and the server changes what is sent"));
        }
        step("read");
        if !self
            .find(key.as_str())?
            .iter()
            .any(|found| found.key == key.as_str())
        {
            return Err(Error::new(
                Code::Storage,
                format!("{} is there, and missing in the listing", self.location(key)),
            )
            .hint("backups could not be found on such a server"));
        }
        step("list");
        self.delete(key)?;
        if self.stat(key)?.is_some() {
            return Err(Error::new(
                Code::Storage,
                format!("{} was deleted and is still there", self.location(key)),
            ));
        }
        step("delete");
        Ok(())
    }
}
