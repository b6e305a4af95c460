//! The command line of `backstay token` and `backstay audit`.

use backstay_model::span::Span;
use clap::{Subcommand, ValueEnum};

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub enum Token {
    /// Make a token and show it, once
    ///
    /// Only its hash is kept: nobody can show it again. Programs send it as `Authorization: Bearer TOKEN`.
    Add(TokenAdd),
    /// List tokens: their names, roles, and until when they are good
    List,
    /// Remove a token: it is refused from now on
    Rm {
        /// Its name or id
        token: String,
    },
}

/// Make a token.
#[derive(Debug, clap::Args)]
pub struct TokenAdd {
    /// A name for it, such as that of who uses it
    pub name: String,
    /// What it allows
    #[arg(long, value_enum, default_value_t = Role::Viewer)]
    pub role: Role,
    /// How long it is good, such as 90d or 12h [default: for ever]
    #[arg(long, value_name = "SPAN")]
    pub expires: Option<Span>,
}

/// What a token allows. Each role may do all that the ones before it may.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Role {
    /// Look at everything
    Viewer,
    /// Start and end runs
    Operator,
    /// Change jobs
    Admin,
}

/// Show who changed what.
#[derive(Debug, clap::Args)]
pub struct Audit {
    /// At most so many
    #[arg(long, default_value_t = 50)]
    pub limit: u32,
}
