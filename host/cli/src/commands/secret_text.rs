//! Where the text of a secret comes from: a file, a variable, standard input, or a person who isn't watched. Never an
//! argument, which every user of the machine can read while the command runs.

use std::io::{IsTerminal as _, Read, Write as _};
use std::path::Path;

use backstay_model::secrets::MAX_TEXT_BYTES;
use backstay_model::{Code, Error, Result};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

/// Where to take it from.
#[derive(Debug, Clone, Copy)]
pub enum From<'a> {
    /// A file.
    File(&'a Path),
    /// An environment variable of this command.
    Variable(&'a str),
    /// Standard input to its end.
    Input,
    /// Whoever is at the terminal; the text says how else it can be given.
    Person(&'a str),
    /// The same, who must type it twice.
    PersonTwice(&'a str),
}

/// The text, without the line end after it. `name` is what a person knows it by, such as `the password`.
///
/// # Errors
/// It can't be read, is empty, too long or no text, or nobody is there to be asked.
pub fn read(name: &str, from: From<'_>) -> Result<String> {
    let wrong = |what: &str| Error::new(Code::Configuration, format!("{name} {what}"));
    let bytes = match from {
        From::File(file) => {
            let failed = |e| Error::io_as(Code::Configuration, "read the secret from", file, e);
            let open = std::fs::File::open(file).map_err(failed)?;
            limited(open).map_err(failed)?
        }
        From::Variable(variable) => {
            use std::os::unix::ffi::OsStringExt as _;
            let value = std::env::var_os(variable);
            let value = value
                .ok_or_else(|| wrong("is missing").because(format!("the variable {variable} is not set")))?;
            value.into_vec()
        }
        From::Input => limited(std::io::stdin().lock()).map_err(|e| {
            Error::new(Code::Configuration, "cannot read the secret from standard input").because(e)
        })?,
        From::Person(otherwise) => ask(name, otherwise)?,
        From::PersonTwice(otherwise) => {
            let first = ask(name, otherwise)?;
            if ask(&format!("{name}, again"), otherwise)? != first {
                return Err(wrong("was not the same twice").hint("type it again"));
            }
            first
        }
    };
    if bytes.len() > MAX_TEXT_BYTES {
        return Err(wrong("is longer than 64 KiB").hint("is it the right file?"));
    }
    let text = String::from_utf8(bytes).map_err(|_| wrong("is not text").hint("is it the right file?"))?;
    let text = text.trim_end_matches(['\r', '\n']).to_owned();
    if text.trim().is_empty() {
        return Err(wrong("is empty"));
    }
    if text.contains('\0') {
        return Err(wrong("holds a NUL character").hint("is it the right file?"));
    }
    Ok(text)
}

fn limited(from: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_TEXT_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Asks at the terminal, without showing what is typed.
fn ask(name: &str, otherwise: &str) -> Result<Vec<u8>> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Error::new(Code::Configuration, format!("{name} is missing")).hint(otherwise));
    }
    let failed = |e: std::io::Error| Error::new(Code::Environment, "cannot ask for the secret").because(e);
    let before = tcgetattr(&stdin).map_err(|e| failed(e.into()))?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    // What was typed before the question could be seen on the screen: it is no answer.
    tcsetattr(&stdin, OptionalActions::Flush, &silent).map_err(|e| failed(e.into()))?;
    // The answer counts, not whether the question could be printed.
    let question = name.strip_prefix("the ").unwrap_or(name);
    let _ = write!(std::io::stderr().lock(), "{question}: ");
    let mut answer = String::new();
    let read = stdin.read_line(&mut answer);
    let restored = tcsetattr(&stdin, OptionalActions::Now, &before);
    let _ = writeln!(std::io::stderr().lock());
    read.map_err(failed)?;
    restored.map_err(|e| failed(e.into()))?;
    Ok(answer.into_bytes())
}
