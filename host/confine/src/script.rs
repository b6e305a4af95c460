//! A script to run, and by what.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

use backstay_model::error::{show, show_bytes};
use backstay_model::{Code, Error, Result};

use crate::limits::{Limits, SCRIPT_BYTES};

/// Where a script finds its output directory.
pub const OUTPUT: &str = "/backstay/output";

/// The directories that programs are looked for in, as a script sees them.
pub const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";

/// A script, fully decided.
#[derive(Clone)]
pub struct Script {
    /// Its absolute path. It has the same inside.
    pub path: PathBuf,
    /// What is in it, read once: a change while it runs changes nothing.
    pub content: Vec<u8>,
    /// Its arguments, never seen by a shell.
    pub args: Vec<String>,
    /// Where it starts; the output directory if there is none, else `/tmp`.
    pub directory: Option<PathBuf>,
    /// What it may read besides the system's programs.
    pub readable: Vec<PathBuf>,
    /// What it must never see, whatever it may read.
    pub hidden: Vec<PathBuf>,
    /// The directory that it may write to, which it sees as [`OUTPUT`].
    pub output: Option<PathBuf>,
    /// Whether it has the host's network.
    pub network: bool,
    /// Its environment besides `PATH`, `LANG`, `HOME` and `TMPDIR`.
    pub env: Vec<(String, String)>,
    /// Its limits.
    pub limits: Limits,
}

/// What can't be granted, because the script has its own.
const OWN: [&str; 3] = ["/proc", "/dev", "/backstay"];

/// Something that a script may read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Granted {
    /// Where the script finds it.
    pub path: PathBuf,
    /// What it is, after links were followed.
    pub real: PathBuf,
    /// What in it must be covered over.
    pub covered: Vec<PathBuf>,
}

/// What a script's name must end with, and what runs one that doesn't say by what.
const INTERPRETERS: [(&str, &str); 4] = [("sh", "sh"), ("py", "python3"), ("pl", "perl"), ("js", "node")];

/// Reads a script.
///
/// # Errors
/// It isn't there, isn't a file, or is too long.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let failed = |e| Error::io_as(Code::Environment, "read the script", path, e);
    // A fifo would never open.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(failed)?;
    let is_file = file.metadata().map_err(failed)?.is_file();
    let mut content = Vec::new();
    if is_file {
        file.take(SCRIPT_BYTES + 1)
            .read_to_end(&mut content)
            .map_err(failed)?;
    }
    if !is_file || content.len() as u64 > SCRIPT_BYTES {
        return Err(Error::new(
            Code::Configuration,
            format!(
                "{} is not a file of at most {} MiB",
                show(path),
                SCRIPT_BYTES >> 20
            ),
        ));
    }
    Ok(content)
}

impl fmt::Debug for Script {
    /// Leaves out the environment: it may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script")
            .field("path", &self.path)
            .field("args", &self.args)
            .finish_non_exhaustive()
    }
}

impl Script {
    /// Its name, for a person.
    pub fn name(&self) -> String {
        show(&self.path)
    }

    /// The interpreter to put in front of it, if it doesn't name one itself by `#!`.
    ///
    /// # Errors
    /// There is none, or none that scripts can see.
    pub(crate) fn interpreter(&self) -> Result<Option<PathBuf>> {
        if let Some(named) = self.shebang() {
            return if is_program(&named) {
                Ok(None)
            } else {
                Err(Error::new(
                    Code::Environment,
                    format!(
                        "the script {} wants to be run by {}, which scripts don't see",
                        self.name(),
                        show(&named)
                    ),
                )
                .hint("install it below /usr, or write `#!/usr/bin/env NAME` on its first line"))
            };
        }
        let ending = self.path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        let Some((_, program)) = INTERPRETERS.iter().find(|(known, _)| *known == ending) else {
            return Err(Error::new(
                Code::Configuration,
                format!("the script {} doesn't say by what it is run", self.name()),
            )
            .hint("its name must end in .sh, .py, .pl or .js, or its first line begin with `#!`"));
        };
        PATH.split(':')
            .map(|directory| Path::new(directory).join(program))
            .find(|path| is_program(path))
            .map(Some)
            .ok_or_else(|| {
                Error::new(
                    Code::Environment,
                    format!(
                        "the script {} needs `{program}`, which is not installed",
                        self.name()
                    ),
                )
                .hint(format!("install it; looked in {PATH}"))
            })
    }

    /// The program after `#!`.
    fn shebang(&self) -> Option<PathBuf> {
        let line = self.content.strip_prefix(b"#!")?.split(|b| *b == b'\n').next()?;
        let line = String::from_utf8_lossy(line).into_owned();
        line.split_whitespace().next().map(PathBuf::from)
    }

    /// What it may read besides the system's programs, the outermost first.
    ///
    /// # Errors
    /// Something isn't there, or can't be granted.
    pub fn granted(&self) -> Result<Vec<Granted>> {
        let mut granted = self
            .readable
            .iter()
            .map(|path| self.grant(path))
            .collect::<Result<Vec<_>>>()?;
        granted.sort();
        granted.dedup();
        Ok(granted)
    }

    fn grant(&self, path: &Path) -> Result<Granted> {
        let refuse = |what: &str, hint: &str| {
            let message = format!(
                "{} can't be granted to the script {}: {what}",
                show(path),
                self.name()
            );
            Err(Error::new(Code::Security, message).hint(hint))
        };
        if path.components().any(|part| part == Component::ParentDir) {
            return refuse("it has a `..` in it", "name it in full");
        }
        let real = path.canonicalize().map_err(|e| {
            let message = format!("{} can't be granted to the script {}", show(path), self.name());
            Error::new(Code::Environment, message)
                .because(e)
                .hint("correct it in `read`, or mount the filesystem that holds it")
        })?;
        if real == Path::new("/") {
            return refuse("it is everything", "name the directories that the script reads");
        }
        if OWN
            .iter()
            .any(|own| path.starts_with(own) || real.starts_with(own))
        {
            return refuse("scripts have their own", "remove it from `read`");
        }
        let hidden: Vec<PathBuf> = self
            .hidden
            .iter()
            .map(|hidden| hidden.canonicalize().unwrap_or_else(|_| hidden.clone()))
            .collect();
        if hidden.iter().any(|hidden| real.starts_with(hidden)) {
            return refuse("it belongs to Backstay itself", "remove it from `read`");
        }
        let below = hidden.iter().filter_map(|hidden| hidden.strip_prefix(&real).ok());
        Ok(Granted {
            path: path.to_owned(),
            covered: below.map(|below| path.join(below)).collect(),
            real,
        })
    }

    /// # Errors
    /// An argument, a variable or a path can't be handed over.
    pub(crate) fn check(&self) -> Result<()> {
        let fault = |what: String| Err(Error::new(Code::Configuration, what));
        let texts = self.args.iter().chain(self.env.iter().map(|(_, value)| value));
        if let Some(text) = texts.into_iter().find(|text| text.contains('\0')) {
            return fault(format!("`{}` has a NUL character", show_bytes(text.as_bytes())));
        }
        if let Some((name, _)) = self
            .env
            .iter()
            .find(|(name, _)| name.is_empty() || name.contains(['=', '\0']))
        {
            return fault(format!(
                "`{}` is not the name of a variable",
                show_bytes(name.as_bytes())
            ));
        }
        let paths = [&self.path]
            .into_iter()
            .chain(&self.directory)
            .chain(&self.readable);
        match paths.into_iter().find(|path| !path.is_absolute()) {
            Some(path) => fault(format!("{} is not an absolute path", show(path))),
            None => Ok(()),
        }
    }
}

/// Whether scripts see a program there.
fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    let is_seen = ["/usr", "/bin", "/sbin"]
        .iter()
        .any(|seen| path.starts_with(seen));
    is_seen
        && std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(path: &str, content: &str) -> Script {
        Script {
            path: path.into(),
            content: content.into(),
            args: Vec::new(),
            directory: None,
            readable: Vec::new(),
            hidden: Vec::new(),
            output: None,
            network: false,
            env: Vec::new(),
            limits: Limits::default(),
        }
    }

    #[test]
    fn the_first_line_decides_before_the_name() {
        assert_eq!(script("/x/a.py", "#!/bin/sh\n").interpreter().unwrap(), None);
        assert_eq!(
            script("/x/a.sh", "#! /usr/bin/env python3\n")
                .interpreter()
                .unwrap(),
            None
        );
        let named = script("/x/a.sh", "echo").interpreter().unwrap().unwrap();
        assert!(named.ends_with("sh"), "{named:?}");
    }

    #[test]
    fn an_interpreter_that_scripts_do_not_see_is_an_error_with_the_way_out() {
        for (path, content) in [
            ("/x/a.sh", "#!/root/bin/sh\n"),
            ("/x/a.sh", "#!/usr/bin/no-such\n"),
            ("/x/a.rb", "puts"),
        ] {
            let error = script(path, content).interpreter().unwrap_err();
            assert!(error.hint_text().is_some(), "{error}");
        }
    }

    #[test]
    fn nothing_but_a_file_is_read() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path()).unwrap_err().code(), Code::Configuration);
        assert_eq!(
            read(&directory.path().join("none")).unwrap_err().code(),
            Code::Environment
        );
        let long = directory.path().join("long");
        File::create(&long).unwrap().set_len(SCRIPT_BYTES + 1).unwrap();
        assert!(read(&long).unwrap_err().to_string().contains("4 MiB"));
    }
}
