//! Programs that the host runs for the plugin. Needs the capability `exec` for the program and a pattern
//! that its arguments match.

use std::fmt;

use crate::bindings::backstay::plugin::process as host;
use crate::content::ByteStream;
use crate::failure::Result;
use crate::{Failure, shell};

/// A program with its arguments, run without a shell and with an empty environment but for `PATH`, `LANG` and what is named here.
#[derive(Debug, Clone)]
pub struct Command(host::Command);

impl Command {
    /// A program by its plain name.
    pub fn new(program: impl Into<String>) -> Self {
        Command(host::Command {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            env_secrets: Vec::new(),
        })
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.0.args.push(arg.into());
        self
    }

    /// Adds arguments.
    pub fn args<I: IntoIterator<Item = S>, S: Into<String>>(mut self, args: I) -> Self {
        self.0.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of its environment. The grant must name it.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.env.push((name.into(), value.into()));
        self
    }

    /// Sets a variable to the text of a secret, which the plugin never sees. The grant must name the variable,
    /// and there must be one for the secret.
    pub fn env_secret(mut self, name: impl Into<String>, secret: impl Into<String>) -> Self {
        self.0.env_secrets.push((name.into(), secret.into()));
        self
    }

    /// Its arguments, for tests.
    pub fn arguments(&self) -> &[String] {
        &self.0.args
    }

    /// The variables that it sets, for tests; not those that hold a secret.
    pub fn environment(&self) -> &[(String, String)] {
        &self.0.env
    }

    /// Runs it to its end. A program that ends badly is an [`Output`], not a failure.
    ///
    /// # Errors
    /// It can't be started: there is no such program, or no grant for it with these arguments.
    pub fn run(&self) -> Result<Output> {
        self.finish(None)
    }

    /// Runs it with a stream as its input. The host closes that input only after the stream's own source
    /// has ended well; otherwise the program is killed.
    ///
    /// # Errors
    /// It can't be started, or the stream failed.
    pub fn run_with(&self, stdin: ByteStream) -> Result<Output> {
        self.finish(Some(stdin))
    }

    /// Runs it to its end, and fails unless it ends with 0.
    ///
    /// # Errors
    /// See [`Command::run`] and [`Output::check`].
    pub fn run_ok(&self) -> Result<Output> {
        self.run()?.check()
    }

    /// What it will write, as a stream. The stream fails unless the program exits with 0.
    ///
    /// # Errors
    /// There is no such program, or no grant for it with these arguments.
    pub fn pipe(&self) -> Result<ByteStream> {
        host::pipe(&self.0)
    }

    /// As [`Command::pipe`], for a program whose complaints the plugin knows: the stream runs when the plugin can't be
    /// asked any more. Of the signs, the first that is in a complaint counts; its failure's message is followed by the
    /// complaint. An empty sign is in every complaint.
    ///
    /// # Errors
    /// As [`Command::pipe`].
    pub fn pipe_explained(
        &self,
        meanings: impl IntoIterator<Item = (String, Failure)>,
    ) -> Result<ByteStream> {
        host::pipe_explained(&self.0, &as_host(meanings))
    }

    pub(crate) fn as_host(&self) -> &host::Command {
        &self.0
    }

    fn finish(&self, stdin: Option<ByteStream>) -> Result<Output> {
        let is_fed = stdin.is_some();
        let output = host::run(&self.0, stdin)?;
        Ok(Output {
            command: self.to_string(),
            is_fed,
            status: output.status,
            stdout: output.stdout,
            stderr: output.stderr,
        })
    }
}

/// What complaints mean, in the host's words.
pub(crate) fn as_host(meanings: impl IntoIterator<Item = (String, Failure)>) -> Vec<host::Meaning> {
    let meanings = meanings.into_iter();
    meanings
        .map(|(sign, failure)| host::Meaning { sign, failure })
        .collect()
}

/// As a person would type it into a shell, without its environment.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shell::quote(&self.0.program))?;
        if self.0.args.is_empty() {
            return Ok(());
        }
        write!(f, " {}", shell::join(&self.0.args))
    }
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The command, as a person would type it.
    pub command: String,
    /// Whether it got a stream as its input.
    pub is_fed: bool,
    /// Its exit status; 128 + n if signal n killed it.
    pub status: i32,
    /// At most 1 MiB of what it wrote.
    pub stdout: String,
    /// The last 16 KiB of what it complained.
    pub stderr: String,
}

/// A complaint of at most this many lines is shown whole; of a longer one, such as a usage text, the last line.
const COMPLAINT_LINES: usize = 5;

impl Output {
    /// Whether it ended with 0.
    pub fn is_success(&self) -> bool {
        self.status == 0
    }

    /// Fails unless it ended with 0. The failure names the command and what it complained; its class is
    /// `storage` if the command got a stream to keep, else `backup-failed`.
    ///
    /// # Errors
    /// It ended with another status.
    pub fn check(self) -> Result<Self> {
        if self.is_success() {
            Ok(self)
        } else {
            Err(self.failure())
        }
    }

    /// The failure that [`Output::check`] gives.
    pub fn failure(&self) -> Failure {
        let complaint = self.complaint();
        let cause = if complaint.is_empty() {
            "it said nothing".to_owned()
        } else {
            complaint
        };
        let message = format!("`{}` ended with status {}: {cause}", self.command, self.status);
        let failure = if self.is_fed {
            Failure::storage(message)
        } else {
            Failure::backup_failed(message)
        };
        failure.hint("remove what it complains of, or run it by hand to see more")
    }

    /// What it complained, on one line: all of it if it is short, else its last line.
    pub fn complaint(&self) -> String {
        let lines: Vec<&str> = self
            .stderr
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        match lines.as_slice() {
            few if few.len() <= COMPLAINT_LINES => few.join("; "),
            many => many.last().copied().unwrap_or_default().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(status: i32, stderr: &str) -> Output {
        Output {
            command: "zfs list".to_owned(),
            is_fed: false,
            status,
            stdout: String::new(),
            stderr: stderr.to_owned(),
        }
    }

    #[test]
    fn a_command_reads_as_it_would_be_typed() {
        let command = Command::new("zfs")
            .args(["send", "-i"])
            .arg("tank/a b@1")
            .env("X", "y");
        assert_eq!(command.to_string(), "zfs send -i 'tank/a b@1'");
        assert_eq!(Command::new("zfs").to_string(), "zfs");
    }

    #[test]
    fn a_bad_end_names_the_command_and_its_complaint() {
        let failure = output(1, "cannot receive: destination exists\nmust specify -F\n")
            .check()
            .expect_err("status 1");
        assert_eq!(
            failure.message,
            "`zfs list` ended with status 1: cannot receive: destination exists; must specify -F"
        );
        assert_eq!(
            output(2, "").failure().message,
            "`zfs list` ended with status 2: it said nothing"
        );
    }

    #[test]
    fn of_a_long_complaint_the_last_line_is_shown() {
        assert_eq!(
            output(2, "usage:\n a\n b\n c\n d\nthe cause\n").complaint(),
            "the cause"
        );
    }

    #[test]
    fn status_0_is_well() {
        assert!(output(0, "noise").check().is_ok());
    }
}
