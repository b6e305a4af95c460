//! `demo`: a real backup of a real directory, verified and restored, each command printed as it runs.
//!
//! Everything lies in `demo` below the target directory, which is made afresh each time and left for looking at.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::setup::Purpose;
use crate::{setup, shell, workspace};

/// Options of `demo`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Use the optimised build, which takes longer to make
    #[arg(long)]
    release: bool,
}

/// Folders of this repository that are backed up, as a directory that everybody who runs this has.
const SOURCES: [&str; 5] = ["host", "plugins", "sdk", "wit", "migrations"];

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    setup::for_purpose(Purpose::Demo)?;
    let profile = if arguments.release {
        ["--profile", "release"]
    } else {
        ["--profile", "dev"]
    };
    shell::run(shell::cargo(["build", "--package", "backstay-cli"]).args(profile))?;
    let target = workspace::target_dir()?;
    let binary = target
        .join(if arguments.release { "release" } else { "debug" })
        .join("backstay");

    let demo = Demo {
        binary,
        directory: target.join("demo"),
    };
    demo.prepare().context("can't prepare the demonstration")?;
    demo.play()
}

struct Demo {
    binary: PathBuf,
    directory: PathBuf,
}

impl Demo {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Makes the source, an empty destination and the job, from nothing.
    fn prepare(&self) -> Result<()> {
        if self.directory.exists() {
            std::fs::remove_dir_all(&self.directory)?;
        }
        let source = self.path("source");
        std::fs::create_dir_all(&source)?;
        std::fs::create_dir_all(self.path("backups"))?;
        for folder in SOURCES {
            shell::run(shell::program("cp").args(["-a", folder]).arg(&source))?;
        }
        odd_files(&source.join("odd"))?;
        std::fs::write(self.path("job.yaml"), self.job())?;
        Ok(())
    }

    fn job(&self) -> String {
        format!(
            "name: demo\n\
             source: {{ plugin: path, config: {{ path: \"{}\" }} }}\n\
             destinations:\n  - {{ plugin: local, config: {{ path: \"{}\" }} }}\n\
             filters: {{ compression: {{ algorithm: zstd, level: 3 }} }}\n\
             retention: {{ keepLast: 3 }}\n",
            self.path("source").display(),
            self.path("backups").display()
        )
    }

    fn play(&self) -> Result<()> {
        let restored = self.path("restored");
        println!(
            "\n== the job: {}\n{}",
            self.path("job.yaml").display(),
            self.job()
        );
        shell::run(self.backstay(["apply", "-f"]).arg(self.path("job.yaml")))?;
        shell::run(&mut self.backstay(["run", "demo"]))?;
        shell::run(&mut self.backstay(["backups"]))?;
        shell::run(&mut self.backstay(["verify", "latest:demo", "--level", "restore"]))?;
        shell::run(self.backstay(["restore", "latest:demo", "--to"]).arg(&restored))?;
        let compare = ["--recursive", "--no-dereference"];
        shell::run(
            shell::program("diff")
                .args(compare)
                .arg(self.path("source"))
                .arg(&restored),
        )?;

        println!("\n== done: the restored files are the same as the original ones");
        for (what, name) in [
            ("original", "source"),
            ("backups", "backups"),
            ("restored", "restored"),
            ("host's data", "data"),
        ] {
            println!("{what:>12}  {}", self.path(name).display());
        }
        Ok(())
    }

    fn backstay<const N: usize>(&self, args: [&str; N]) -> Command {
        let mut command = shell::program(&self.binary);
        command.arg("--data-dir").arg(self.path("data")).args(args);
        command
    }
}

/// A few files that careless tools lose.
fn odd_files(directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory.join("empty directory"))?;
    for name in [&b"new\nline"[..], b"--dash", b"not-utf8-\xff"] {
        std::fs::write(directory.join(OsStr::from_bytes(name)), name)?;
    }
    std::fs::write(directory.join("empty"), "")?;
    std::fs::hard_link(directory.join("--dash"), directory.join("same file"))?;
    symlink("no such file", directory.join("dangling"))?;
    let sparse = std::fs::File::create(directory.join("sparse"))?;
    sparse.set_len(100 << 20)?;
    Ok(())
}
