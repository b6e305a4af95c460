//! Runs a program to its end and keeps what it said.

use backstay_model::Result;

use crate::context::Context;
use crate::process::CommandSpec;
use crate::process::child::{Child, Stdin};
use crate::process::keep::{Part, keep};

/// How much of a program's output is kept, in bytes. The rest is read and thrown away.
pub const STDOUT_BYTES: usize = 1 << 20;

/// How a program ended and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit status; 128 + n if signal n killed it.
    pub status: i32,
    /// The first [`STDOUT_BYTES`] that it wrote, as text; bytes that are not UTF-8 are replaced.
    pub stdout: String,
    /// The last of what it complained.
    pub stderr: String,
}

/// Runs a program without input to its end.
///
/// # Errors
/// It can't be started, or the run was cancelled. A bad exit status is no error here.
pub fn run(spec: &CommandSpec, context: &Context) -> Result<Output> {
    let mut child = Child::start(spec, Stdin::Null, context)?;
    let output = keep(child.take_stdout()?, Part::First(STDOUT_BYTES))?;
    let exit = child.wait()?;
    context.cancel.check()?;
    Ok(exit.into_output(&output.take()))
}
