//! Tries a store: writes a small object, reads it, finds it in a listing, and deletes it.

use std::time::{Duration, Instant};

use backstay_model::{Code, Error, Result};
use backstay_stream::Cancel;

use super::ObjectStore;

/// How long one step may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// One step that went well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probed {
    /// `write`, `read`, `list` or `delete`.
    pub step: &'static str,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
}

impl ObjectStore {
    /// Tries everything that a backup needs on an object named `name`, and leaves nothing behind.
    ///
    /// # Errors
    /// The first step that fails, why, and what to do. The object is deleted if that is possible.
    pub fn probe(&self, name: &str) -> Result<Vec<Probed>> {
        let mut done = Vec::new();
        let tried = self.probe_all(name, &mut done);
        if tried.is_err() {
            // If it can't be deleted either, the first failure is still the one to tell.
            let _ = self.shared.remove(name);
        }
        tried.map(|()| done)
    }

    fn probe_all(&self, name: &str, done: &mut Vec<Probed>) -> Result<()> {
        let shared = &self.shared;
        let operator = &shared.operator;
        let content = format!("{name}: written to see whether it can be\n");
        let (cancel, patience) = (Cancel::default(), Some(PATIENCE));
        let mut at = Instant::now();
        let mut step = |step| {
            let milliseconds = u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX);
            at = Instant::now();
            done.push(Probed { step, milliseconds });
        };
        shared.wait(
            &cancel,
            patience,
            "write",
            name,
            operator.write(name, content.clone()),
        )?;
        step("write");
        let read = shared.wait(&cancel, patience, "read", name, operator.read(name))?;
        if read.to_vec() != content.as_bytes() {
            return Err(Error::new(
                Code::Verification,
                format!("{} is not what was written to it", shared.location(name)),
            )
            .hint("something between here and the store changes what is sent"));
        }
        step("read");
        let listed = shared.wait(&cancel, patience, "list", "", operator.list("/"))?;
        if !listed.iter().any(|entry| entry.path() == name) {
            return Err(Error::new(
                Code::Storage,
                format!("{} is there, and missing in the listing", shared.location(name)),
            )
            .hint("is it a store that lists what was written only later? backups could not be found in it"));
        }
        step("list");
        shared.wait(&cancel, patience, "delete", name, operator.delete(name))?;
        if shared.size(&shared.operator, name, &cancel)?.is_some() {
            return Err(Error::new(
                Code::Storage,
                format!("{} was deleted and is still there", shared.location(name)),
            ));
        }
        step("delete");
        Ok(())
    }
}
