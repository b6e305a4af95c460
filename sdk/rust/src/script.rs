//! Scripts of users, which the host runs so that they see and do only what the job grants. Needs the capability
//! `script`.

use crate::bindings::backstay::plugin::script as host;
use crate::failure::Result;
use crate::scratch::Scratch;

pub use host::{Ended, Limits, Script};

impl Script {
    /// A script by its absolute path.
    pub fn new(path: impl Into<String>, limits: Limits) -> Self {
        Script {
            path: path.into(),
            args: Vec::new(),
            working_directory: None,
            read: Vec::new(),
            network: false,
            env: Vec::new(),
            env_secrets: Vec::new(),
            limits,
        }
    }

    /// Runs it to its end with all that it starts, and lets it write into a scratch directory. Its lines go to the
    /// run's log; what could harm a reader of the directory is taken away, each a warning of the run.
    ///
    /// # Errors
    /// There is no grant for it, it can't be confined, it broke a limit, or it didn't exit with 0.
    pub fn run(&self, output: &Scratch) -> Result<Ended> {
        host::run(self, output.as_host())
    }
}

/// Whether this machine can confine scripts.
///
/// # Errors
/// It can't, and what to do about it.
pub fn check() -> Result<()> {
    host::check()
}
