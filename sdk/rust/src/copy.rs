//! Trees that programs copy by themselves, such as `rsync`: the host says what to take, and checks that it was.

use crate::bindings::backstay::plugin::process as host;
use crate::command::{Command, Output};
use crate::content::Tree;
use crate::failure::Result;

pub use host::{CopyOptions, CopySize, Listing, TreeCopy};

impl Tree {
    /// Walks it for programs that copy it by themselves. While they do, the host reads what has changed since the run before:
    /// drop it if nobody is to copy it after all. Only in a destination's `put`.
    ///
    /// # Errors
    /// It can't be read, or a pattern is wrong.
    pub fn copy(&self, options: CopyOptions) -> Result<TreeCopy> {
        host::copy(self, options)
    }
}

impl TreeCopy {
    /// Runs a program in the tree's directory with a list as its input. A program that ends badly is an [`Output`], not a
    /// failure. `progress` is what stands in a line of its output before the number of bytes copied by then; an empty
    /// text for the start of the line.
    ///
    /// # Errors
    /// It can't be started: there is no such program, or no grant for it with these arguments. An `exec` request for it
    /// must say `"inTree": true`, and then holds nowhere else.
    pub fn start(&self, command: &Command, input: Listing, progress: Option<&str>) -> Result<Output> {
        let output = self.run(command.as_host(), input, progress)?;
        Ok(Output {
            command: command.to_string(),
            is_fed: true,
            status: output.status,
            stdout: output.stdout,
            stderr: output.stderr,
        })
    }
}
