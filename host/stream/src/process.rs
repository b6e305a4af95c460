//! Child processes as origins and ends of streams.
//!
//! Each child leads a process group of its own, dies with the thread that started it, starts with
//! an empty environment, and is waited for by that thread. When it ends, what is left of its group is ended too.

mod activity;
pub mod child;
mod follow;
pub mod inside;
pub(crate) mod keep;
mod pace;
pub mod record;
pub mod run;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use backstay_model::secrets::Secrets;
use backstay_model::{Code, Error, Result};

use self::pace::Pace;
use crate::blocks::Blocks;
use crate::context::{Context, Meter};
use crate::pump::{Completed, Sink};
use crate::recipe::{Produced, Recipe};
use child::Child;
pub use inside::{Inside, run_inside};
use keep::{Kept, Part, keep};
pub use record::{Bounds, Recorded, record};
pub use run::{Output, run};

/// A program to run, fully decided.
#[derive(Clone)]
pub struct CommandSpec {
    /// Absolute path of the program.
    pub program: PathBuf,
    /// Its arguments, never seen by a shell.
    pub args: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// What of the environment must not be repeated: it is left out of what the program complains of.
    /// Its output is data, and stays as it is.
    pub secrets: Secrets,
    /// The class of its failure.
    pub code: Code,
    /// What its complaints mean, where that is known. The first that fits counts.
    pub meanings: Vec<Meaning>,
}

/// What it means if a program that ends badly complains of something.
#[derive(Debug, Clone)]
pub struct Meaning {
    /// Words in the complaint; none fit every complaint.
    pub sign: String,
    /// The class of the failure.
    pub code: Code,
    /// Whether it may pass.
    pub retry: bool,
    /// What stands before the complaint.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Meaning {
    fn of(&self, complaint: &str) -> Error {
        let error = Error::new(self.code, format!("{}: {complaint}", self.message));
        let error = match &self.hint {
            Some(hint) => error.hint(hint.as_str()),
            None => error,
        };
        if self.retry { error.retryable() } else { error }
    }
}

impl fmt::Debug for CommandSpec {
    /// Leaves out the environment: it may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

/// Longest command line in a message, in characters.
const SHOWN_CHARS: usize = 200;

impl CommandSpec {
    /// The command line, for a person.
    pub fn describe(&self) -> String {
        let name = self.program.file_name().unwrap_or(self.program.as_os_str());
        let mut text = backstay_model::error::show_bytes(name.as_encoded_bytes());
        for arg in &self.args {
            text.push(' ');
            text.push_str(&backstay_model::error::show_bytes(arg.as_encoded_bytes()));
        }
        if text.chars().count() > SHOWN_CHARS {
            text = text.chars().take(SHOWN_CHARS).chain(['…']).collect();
        }
        text
    }
}

/// What a program writes to its standard output, complete only if it exits with 0.
#[derive(Debug)]
pub struct CommandRecipe(pub CommandSpec);

impl Recipe for CommandRecipe {
    fn describe(&self) -> String {
        self.0.describe()
    }

    fn produce(&self, context: &Context, out: &mut Blocks) -> Result<Produced> {
        use std::io::Read as _;
        let mut child = Child::start(&self.0, child::Stdin::Null, context)?;
        let mut stdout = child.take_stdout()?;
        let mut pace = Pace::of(&stdout);
        let read = loop {
            match out.fill(|buffer| stdout.read(buffer)) {
                Ok(0) => break Ok(()),
                Ok(bytes) => {
                    context.meter.tick();
                    pace.after(bytes);
                }
                Err(error) => {
                    let failed = |e| {
                        Error::new(
                            Code::BackupFailed,
                            format!("cannot read from `{}`", self.describe()),
                        )
                        .because(e)
                    };
                    break Err(error.or(failed));
                }
            }
        };
        match read {
            Ok(()) => child.wait()?.success(out.pushed_bytes())?,
            Err(error) => {
                child.kill();
                return Err(error);
            }
        }
        context.cancel.check()?;
        Ok(Produced::default())
    }
}

/// A program's standard input as an end of a stream. Its input is closed only on commit.
#[derive(Debug)]
pub struct CommandSink {
    child: Child,
    written_bytes: u64,
    output: Kept,
    meter: Arc<Meter>,
}

/// Bytes handed to a program at a time, so that one which reads slowly is seen to read.
const PIECE_BYTES: usize = 64 << 10;

impl CommandSink {
    /// Starts the program.
    ///
    /// # Errors
    /// It can't be started.
    pub fn start(spec: &CommandSpec, context: &Context) -> Result<Self> {
        let mut child = Child::start(spec, child::Stdin::Piped, context)?;
        let output = keep(child.take_stdout()?, Part::First(run::STDOUT_BYTES))?;
        Ok(CommandSink {
            child,
            written_bytes: 0,
            output,
            meter: Arc::clone(&context.meter),
        })
    }
}

impl Sink for CommandSink {
    type Stored = Output;

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        for piece in bytes.chunks(PIECE_BYTES) {
            self.child.write(piece)?;
            self.written_bytes += piece.len() as u64;
            self.meter.tick();
        }
        Ok(())
    }

    fn commit(mut self, _: &Completed) -> Result<Output> {
        self.child.close_stdin();
        let exit = self.child.wait()?;
        Ok(exit.into_output(&self.output.take()))
    }

    fn abort(mut self, cause: Error) -> Error {
        // A program that closed its input has died or is about to say why; one that still listens is killed
        // before its input ends, so that it can't take what it got for everything.
        let exit = if self.child.broke() {
            self.child.wait_or_kill()
        } else {
            self.child.kill()
        };
        match exit {
            Some(exit) if self.child.broke() && !exit.is_success() => exit.into_error(self.written_bytes),
            Some(exit) if self.child.broke() => Error::new(
                exit.code(),
                format!(
                    "`{}` stopped reading after {} bytes although there was more",
                    exit.command(),
                    self.written_bytes
                ),
            )
            .hint("run it by hand to see why it stops early; it must read its input to the end"),
            _ => cause,
        }
    }
}
