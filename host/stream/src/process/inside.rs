//! Runs a program inside of a directory, with a file as its input, and follows how far it is.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use backstay_model::Result;

use crate::context::{Context, Meter};
use crate::process::CommandSpec;
use crate::process::child::Child;
use crate::process::follow::Follow;
use crate::process::keep::{Part, keep};
use crate::process::run::Output;

/// How much of a program's output is kept, in bytes: its last words say how it went.
pub const LAST_BYTES: usize = 64 << 10;

/// Where a program runs and what it is given.
#[derive(Debug)]
pub struct Inside<'a> {
    /// Its working directory.
    pub directory: &'a Path,
    /// What it reads, from where the file stands to its end.
    pub input: File,
    /// What stands in a line of its output before the number of bytes that it has copied by then; an empty text for
    /// the start of the line.
    pub progress: Option<&'a str>,
}

/// Runs a program to its end. Of its output the last [`LAST_BYTES`] are kept. What it says, computes, reads and writes
/// counts as movement.
///
/// # Errors
/// It can't be started, or the run was cancelled. A bad exit status is no error here.
pub fn run_inside(spec: &CommandSpec, inside: Inside<'_>, context: &Context) -> Result<Output> {
    let _storing = context.meter.store();
    let _moving = Moving::new(&context.meter);
    let mut child = Child::start_in(spec, inside.directory, inside.input, context)?;
    let _activity = child.watch(&context.meter)?;
    let follow = Follow::new(child.take_stdout()?, inside.progress, Arc::clone(&context.meter));
    let output = keep(follow, Part::Last(LAST_BYTES))?;
    let exit = child.wait()?;
    context.cancel.check()?;
    Ok(exit.into_output(&output.take()))
}

/// Something moves that may stall.
pub(crate) struct Moving(Arc<Meter>);

impl Moving {
    pub(crate) fn new(meter: &Arc<Meter>) -> Self {
        meter.active.fetch_add(1, Ordering::Relaxed);
        Moving(Arc::clone(meter))
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}
