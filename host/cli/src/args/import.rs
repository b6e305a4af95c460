//! The command line of `backstay import`.

use std::path::PathBuf;

use clap::ValueEnum;

/// Make jobs of another tool's configuration.
#[derive(Debug, clap::Args)]
pub struct Import {
    /// Whose configuration it is
    pub tool: Tool,
    /// The configuration
    pub file: PathBuf,
    /// Store at this destination instead, written as in a job
    #[arg(long, value_name = "YAML")]
    pub destination: Option<String>,
    /// Write the jobs to this file, which must not be there yet [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Tools whose configurations are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Tool {
    /// config.json of Backrest
    Backrest,
    /// Profiles of resticprofile, in YAML or JSON
    Resticprofile,
    /// config.yaml of borgmatic; needs --destination
    Borgmatic,
    /// backup.env of proxsave
    Proxsave,
    /// What `restic snapshots --json` says of Relica's repository; needs --destination
    Relica,
}

impl Tool {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Tool::Backrest => "Backrest",
            Tool::Resticprofile => "resticprofile",
            Tool::Borgmatic => "borgmatic",
            Tool::Proxsave => "proxsave",
            Tool::Relica => "Relica",
        }
    }
}
