//! `backstay completions`: a completion script for a shell.

use backstay_model::Result;
use clap::CommandFactory as _;

use crate::args::Args;
use crate::output::Output;

/// Runs the command.
///
/// # Errors
/// Standard output can't be written to.
pub fn run(shell: clap_complete::Shell) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "backstay", &mut script);
    Output { json: false }.print(&(), || String::from_utf8_lossy(&script).into_owned())?;
    Ok(0)
}
