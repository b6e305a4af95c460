//! The command line of `backstay secret`.

use std::path::PathBuf;

use clap::Subcommand;

/// What to do with secrets.
#[derive(Debug, Subcommand)]
pub enum Secret {
    /// Keep a secret, or give one another text
    ///
    /// It is asked for at a terminal, else read from standard input; never given on the command line, where others
    /// could see it. It is kept encrypted, and no command shows it.
    Set(SecretSet),
    /// List secrets: their names, when they were set, and which jobs name them
    List,
    /// Forget a secret
    Rm {
        /// Its name
        name: String,
        /// Also if jobs name it
        #[arg(long)]
        force: bool,
    },
    /// Encrypt all secrets, those of remotes too, for a new key
    ///
    /// Whatever happens meanwhile, each secret can be opened before, during and after it. One that was interrupted is
    /// ended by the next.
    RotateKey,
}

/// Keep a secret.
#[derive(Debug, clap::Args)]
pub struct SecretSet {
    /// Name by which jobs know it
    pub name: String,
    /// Read it from a file
    #[arg(long, value_name = "FILE", conflicts_with = "from_env")]
    pub from_file: Option<PathBuf>,
    /// Take it from an environment variable
    #[arg(long, value_name = "VARIABLE")]
    pub from_env: Option<String>,
    /// What is refused without being repeated
    #[arg(hide = true)]
    pub refused: Vec<String>,
}
