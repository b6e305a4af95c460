//! Where the secret of a remote comes from: a file, standard input, or a person who isn't watched. Never an argument,
//! which every user of the machine can read while the command runs.

use std::io::{IsTerminal as _, Read, Write as _};

use backstay_model::remote::Remote;
use backstay_model::{Code, Error, Result};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::args::SecretFrom;

/// More than the longest key that a provider gives out, in bytes.
const MAX_BYTES: u64 = 64 << 10;

/// The secret, if the remote needs one or one is given.
///
/// # Errors
/// It can't be read, is empty or too long, or nobody is there to be asked.
pub fn read(remote: &Remote, from: &SecretFrom) -> Result<Option<String>> {
    let name = remote.kind.secret_name();
    let bytes = if let Some(file) = &from.secret_from_file {
        let failed = |e| Error::io_as(Code::Configuration, "read the secret from", file, e);
        let open = std::fs::File::open(file).map_err(failed)?;
        limited(open).map_err(failed)?
    } else if from.secret_stdin {
        limited(std::io::stdin().lock()).map_err(|e| {
            Error::new(Code::Configuration, "cannot read the secret from standard input").because(e)
        })?
    } else if remote.needs_secret() {
        ask(name)?
    } else {
        return Ok(None);
    };
    let wrong = |what: &str| Error::new(Code::Configuration, format!("the {name} {what}"));
    if bytes.len() as u64 > MAX_BYTES {
        return Err(wrong("is longer than 64 KiB").hint("is it the right file?"));
    }
    let text = String::from_utf8(bytes).map_err(|_| wrong("is not text").hint("is it the right file?"))?;
    let text = text.trim_end_matches(['\r', '\n']).to_owned();
    if text.trim().is_empty() {
        return Err(wrong("is empty"));
    }
    Ok(Some(text))
}

fn limited(from: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Asks at the terminal, without showing what is typed.
fn ask(name: &str) -> Result<Vec<u8>> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Error::new(Code::Configuration, format!("the {name} is missing"))
            .hint("give it by --secret-from-file FILE or --secret-stdin"));
    }
    let failed = |e: std::io::Error| Error::new(Code::Environment, "cannot ask for the secret").because(e);
    let before = tcgetattr(&stdin).map_err(|e| failed(e.into()))?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    // The answer counts, not whether the question could be printed.
    let _ = write!(std::io::stderr().lock(), "{name}: ");
    tcsetattr(&stdin, OptionalActions::Now, &silent).map_err(|e| failed(e.into()))?;
    let mut answer = String::new();
    let read = stdin.read_line(&mut answer);
    let restored = tcsetattr(&stdin, OptionalActions::Now, &before);
    let _ = writeln!(std::io::stderr().lock());
    read.map_err(failed)?;
    restored.map_err(|e| failed(e.into()))?;
    Ok(answer.into_bytes())
}
