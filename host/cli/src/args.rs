//! The command line.

mod access;
mod import;
mod notification;
mod plugin;
mod remote;
mod schedule;
mod secret;
mod serve;

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgAction, Parser, Subcommand, ValueEnum};

pub use access::{Audit, Role as TokenRole, Token, TokenAdd};
pub use import::{Import, Tool};
pub use notification::Notification;
pub use plugin::{Plugin, PluginTest};
pub use remote::{Remote, RemoteAdd, RemoteType, SecretFrom};
pub use schedule::{Schedule, ScheduleNext};
pub use secret::{Secret, SecretSet};
pub use serve::{Cancel, Serve};

/// Backs up, verifies and restores through sandboxed plugins.
///
/// A job file says what is backed up (a source plugin) and where to (a destination plugin); `backstay
/// apply` stores it, `backstay run` runs it, `backstay restore` gives the data back.
#[derive(Debug, Parser)]
#[command(name = "backstay", version, propagate_version = true, after_help = EXIT_CODES)]
pub struct Args {
    /// Where the database and the plugins are kept
    ///
    /// The default is /var/lib/backstay for root and ~/.local/share/backstay for others.
    #[arg(long, global = true, env = "BACKSTAY_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Print JSON for programs instead of text for people
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 ok, 1 warning, 2 usage or configuration, 3 environment, 4 backup failed, 5 storage, 6 network,
7 permission, 8 verification, 9 collection, 10 archive, 11 compression, 12 disk space, 13 internal error,
14 security or grant refused, 15 encryption, 16 skipped.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check a job file and store its jobs
    Apply(Apply),
    /// Look at, check or remove jobs
    Job {
        /// What to do with them
        #[command(subcommand)]
        command: Job,
    },
    /// Look at when jobs run by themselves
    Schedule {
        /// What to look at
        #[command(subcommand)]
        command: Schedule,
    },
    /// Run as a service: start jobs when they are due
    ///
    /// One service runs on a data directory. All other commands work beside it, and it notices what they change. SIGTERM and
    /// SIGINT end it: it takes nothing new, waits for its runs and then cancels them; the second one cancels them at once.
    /// SIGHUP reads the settings again.
    Serve(Serve),
    /// Run a job now and wait for it
    Run(Run),
    /// End a run and undo what it did, wherever it runs
    Cancel(Cancel),
    /// List runs, newest first
    Runs(Runs),
    /// Show what happened in a run
    Logs(Logs),
    /// List backups, newest first
    Backups(Backups),
    /// Check that backups are what they should be
    ///
    /// Each backup is a run of its own, and the outcome is kept in the catalogue. A backup that is found damaged is
    /// marked so until it passes one as deep.
    Verify(Verify),
    /// Delete what a job's retention lets go
    Prune(Prune),
    /// Try out whether backups can be restored
    ///
    /// Restores the newest good backup at each destination to a scratch place, compares, and removes it again. What
    /// only its source's tools can read is decoded to its end instead. Exit code 8 if one can't be restored.
    Drill(Drill),
    /// Give data back
    Restore(Restore),
    /// Print the plain commands that restore a backup without Backstay
    RecoveryKit(RecoveryKit),
    /// The list of all backups
    Catalog {
        /// What to do with it
        #[command(subcommand)]
        command: Catalog,
    },
    /// Show or change how fast backups may be stored, also those under way
    ///
    /// `backstay throttle` shows all limits, `backstay throttle 10M` changes that of all jobs together, `backstay
    /// throttle JOB 10M` that of one job (its `filters.throttle`). Runs under way follow within a second.
    Throttle(Throttle),
    /// Look at plugins and install them
    Plugin {
        /// What to do with them
        #[command(subcommand)]
        command: Plugin,
    },
    /// Make object stores known, to be named by jobs
    Remote {
        /// What to do with them
        #[command(subcommand)]
        command: Remote,
    },
    /// Keep passwords and keys for jobs, encrypted
    Secret {
        /// What to do with them
        #[command(subcommand)]
        command: Secret,
    },
    /// Make tokens, by which programs use the HTTP interface of the service
    Token {
        /// What to do with them
        #[command(subcommand)]
        command: Token,
    },
    /// Show who changed what, newest first
    Audit(Audit),
    /// Make jobs of another tool's configuration
    ///
    /// Prints the jobs, or writes them to a file for `backstay apply`; nothing is stored. Passwords are not repeated: the
    /// jobs name secrets, and the report says which. Exit code 1 if something was left behind.
    Import(Import),
    /// Look at who is told what happens, and try it
    Notification {
        /// What to do
        #[command(subcommand)]
        command: Notification,
    },
    /// Print what is known about jobs and runs as metrics for Prometheus
    Metrics,
    /// Ask the service whether it does its work
    ///
    /// Ends with 0 if its database can be used and its scheduler moves, else with 3: for health checks of containers and for
    /// monitoring.
    Health,
    /// Check this machine: tools, database, leftovers
    Doctor,
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// Check a job file and store its jobs.
#[derive(Debug, clap::Args)]
pub struct Apply {
    /// A YAML or JSON file with one or more jobs, or - for standard input
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
    /// Only check
    #[arg(long)]
    pub dry_run: bool,
}

/// What to do with jobs.
#[derive(Debug, Subcommand)]
pub enum Job {
    /// List jobs
    List,
    /// Show a job
    Show {
        /// Name or id
        job: String,
    },
    /// Remove a job; its backups stay
    Rm {
        /// Name or id
        job: String,
    },
    /// Say all that is wrong with a job, without storing it
    Validate {
        /// Name or id of a stored job
        #[arg(required_unless_present = "file", conflicts_with = "file")]
        job: Option<String>,
        /// A job file, or - for standard input
        #[arg(short, long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

/// Run a job now and wait for it.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// Name or id of the job
    pub job: String,
    /// Accept once that the source shrank by more than guards.maxShrinkPercent
    #[arg(long)]
    pub accept_shrink: bool,
    /// Only say what would change at each destination since the newest backup there; nothing is stored, and no script runs
    #[arg(long, conflicts_with = "accept_shrink")]
    pub dry_run: bool,
    /// File with an age private key, for verify.afterRun on encrypted backups
    #[arg(short, long, value_name = "KEYFILE", env = "BACKSTAY_IDENTITY", action = ArgAction::Append)]
    pub identity: Vec<PathBuf>,
}

/// List runs, newest first.
#[derive(Debug, clap::Args)]
pub struct Runs {
    /// Only those of this job
    pub job: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 50)]
    pub limit: u32,
}

/// Show what happened in a run.
#[derive(Debug, clap::Args)]
pub struct Logs {
    /// Id of a run, or a job's name for its last run
    pub run: String,
    /// Go on until the run ends
    #[arg(short, long)]
    pub follow: bool,
}

/// List backups, newest first.
#[derive(Debug, clap::Args)]
pub struct Backups {
    /// Only those of this job
    pub job: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 100)]
    pub limit: u32,
}

/// How deep a check goes.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Level {
    /// It is there and as long as it should be
    Size,
    /// It is read back and its hashes compared
    Checksum,
    /// It is decrypted, decompressed and the archive walked to its end
    Archive,
    /// It is restored to a scratch place and compared
    Restore,
}

/// Check that backups are what they should be.
#[derive(Debug, clap::Args)]
pub struct Verify {
    /// Id of a backup, or latest:JOB; with --all or --due the name of a job
    #[arg(required_unless_present_any = ["all", "due"])]
    pub backup: Option<String>,
    /// All backups, or all of one job, the newest first
    #[arg(long, conflicts_with = "due")]
    pub all: bool,
    /// Those that nobody has checked for longer than their job's verify.every, the longest unchecked first
    #[arg(long)]
    pub due: bool,
    /// At most so many, with --all or --due
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// How deep; each level includes the ones before it [default: checksum; with --due the job's verify.level]
    #[arg(long, value_enum)]
    pub level: Option<Level>,
    /// File with an age private key, for encrypted backups
    #[arg(short, long, value_name = "KEYFILE", env = "BACKSTAY_IDENTITY", action = ArgAction::Append)]
    pub identity: Vec<PathBuf>,
}

/// Delete what a job's retention lets go, and say of each backup why it stays or goes.
///
/// A run that ended well does this by itself. Nothing is deleted while retention is frozen, after a run that failed, or
/// while a backup of the job is restored or verified.
#[derive(Debug, clap::Args)]
pub struct Prune {
    /// Name or id of the job
    pub job: String,
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Delete although the last run failed, for example because the disk is full
    #[arg(long)]
    pub after_failure: bool,
    /// Delete also what is too old only since a gap between two backups, or a jump of the clock
    #[arg(long)]
    pub after_gap: bool,
    /// Take what would be deleted and isn't at its destination any more out of the catalogue
    #[arg(long)]
    pub forget_missing: bool,
}

/// Try out whether backups can be restored.
#[derive(Debug, clap::Args)]
pub struct Drill {
    /// Name or id of a job, id of a backup, or latest:JOB [default: every job that has backups]
    #[arg(value_name = "JOB|BACKUP")]
    pub what: Option<String>,
    /// Where what only the tools of its source can read is restored, and removed again: a dataset, or a new database or file
    /// [default: `verify.drillTo` of the job; without it that is only decoded]
    #[arg(long, value_name = "PLACE", requires = "what", value_parser = NonEmptyStringValueParser::new())]
    pub to: Option<String>,
    /// File with an age private key, for encrypted backups
    #[arg(short, long, value_name = "KEYFILE", env = "BACKSTAY_IDENTITY", action = ArgAction::Append)]
    pub identity: Vec<PathBuf>,
}

/// What to do with the catalogue.
#[derive(Debug, Subcommand)]
pub enum Catalog {
    /// Put the backups that are at a destination into the catalogue
    ///
    /// For a machine that knows nothing but where its backups are. What is in the catalogue already stays, and nothing
    /// at the destination is changed. Each backup is checked on the level size.
    Rebuild(Rebuild),
}

/// Put the backups that are at a destination into the catalogue.
#[derive(Debug, clap::Args)]
pub struct Rebuild {
    /// Jobs whose destinations to look at [default: all jobs]
    #[arg(value_name = "JOB")]
    pub jobs: Vec<String>,
    /// Look at the destinations in this job file instead, or - for standard input
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["jobs", "plugin"])]
    pub file: Option<PathBuf>,
    /// Look at one destination: the id of its plugin
    #[arg(long, value_name = "ID", requires = "config", conflicts_with = "jobs")]
    pub plugin: Option<String>,
    /// Its configuration, as in a job
    #[arg(long, value_name = "JSON", requires = "plugin")]
    pub config: Option<String>,
    /// Only say what would be added
    #[arg(long)]
    pub dry_run: bool,
}

/// Give data back.
#[derive(Debug, clap::Args)]
pub struct Restore {
    /// Id of a backup, or latest:JOB
    pub backup: String,
    /// Where to: a directory, - for standard output, or what the source plugin takes (such as POOL/NAME)
    #[arg(
        long,
        value_name = "PLACE",
        required_unless_present = "in_place",
        conflicts_with = "in_place"
    )]
    pub to: Option<String>,
    /// Restore to where the data came from
    #[arg(long)]
    pub in_place: bool,
    /// Only these paths, relative to the root of what was backed up, each with all below it
    pub paths: Vec<String>,
    /// Write over what is there
    #[arg(long)]
    pub overwrite: bool,
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Only this artifact of a backup that has several
    #[arg(long, value_name = "NAME")]
    pub artifact: Option<String>,
    /// File with an age private key, for encrypted backups
    #[arg(short, long, value_name = "KEYFILE", env = "BACKSTAY_IDENTITY", action = ArgAction::Append)]
    pub identity: Vec<PathBuf>,
}

/// Print the plain commands that restore a backup without Backstay.
#[derive(Debug, clap::Args)]
pub struct RecoveryKit {
    /// Id of a backup, or latest:JOB
    pub backup: String,
}

/// Show or change how fast backups may be stored.
#[derive(Debug, clap::Args)]
pub struct Throttle {
    /// Name or id of a job; or a rate for all jobs together
    #[arg(value_name = "JOB|RATE")]
    pub job_or_rate: Option<String>,
    /// Bytes per second, such as 800k, 10M (10,000,000) or 10MiB (10,485,760); or off
    pub rate: Option<String>,
}
