//! The command line of `backstay serve` and `backstay cancel`.

use std::path::PathBuf;

/// Run as a service.
#[derive(Debug, clap::Args)]
pub struct Serve {
    /// The settings file [default: /etc/backstay/config.yaml for root, else ~/.config/backstay/config.yaml]
    #[arg(long, value_name = "FILE", env = "BACKSTAY_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// Print a systemd unit for this program and end
    #[arg(long, conflicts_with = "print_config")]
    pub print_unit: bool,
    /// Print a settings file with all settings and their defaults and end
    #[arg(long)]
    pub print_config: bool,
}

/// End a run.
#[derive(Debug, clap::Args)]
pub struct Cancel {
    /// Id of a run, or a job's name for all of its runs that have not ended
    #[arg(value_name = "RUN|JOB")]
    pub run: String,
}
