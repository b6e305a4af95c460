//! The command line of `backstay schedule`.

use clap::Subcommand;
use jiff::Timestamp;

/// What to look at.
#[derive(Debug, Subcommand)]
pub enum Schedule {
    /// Show when jobs run next, or when a crontab expression would
    ///
    /// For each job with a schedule, or for `--cron` without storing anything. With `--json` the times of `--cron` are an
    /// array of instants in UTC.
    Next(ScheduleNext),
}

/// Show when jobs run next, or when a crontab expression would.
#[derive(Debug, clap::Args)]
pub struct ScheduleNext {
    /// Names or ids of jobs [default: all that have a schedule]
    #[arg(value_name = "JOB")]
    pub jobs: Vec<String>,
    /// A crontab expression: five fields, six with seconds first, or @daily and friends
    #[arg(long, value_name = "EXPR", conflicts_with = "jobs")]
    pub cron: Option<String>,
    /// The time zone that it is meant in, such as Europe/Berlin [default: the machine's]
    #[arg(long, value_name = "TZ", requires = "cron")]
    pub timezone: Option<String>,
    /// Only times after this instant, such as 2026-03-29T00:00:00Z [default: now]
    #[arg(long, value_name = "RFC3339")]
    pub from: Option<Timestamp>,
    /// So many times
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub count: u16,
}
