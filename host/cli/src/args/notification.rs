//! The command line of `backstay notification`.

use std::path::PathBuf;

use clap::Subcommand;

/// What to do with notifications.
#[derive(Debug, Subcommand)]
pub enum Notification {
    /// List the channels of the settings, and what is on its way to each
    List {
        /// Which settings
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Send a test message to a channel
    Test {
        /// Its name
        channel: String,
        /// Which settings
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// List messages and pings, newest first: on their way, sent, or given up
    Log {
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Send now what is due, where no service runs
    Send {
        /// Which settings
        #[command(flatten)]
        settings: SettingsArgs,
    },
}

/// Which settings.
#[derive(Debug, clap::Args)]
pub struct SettingsArgs {
    /// The settings file [default: that of the service]
    #[arg(long, value_name = "FILE", env = "BACKSTAY_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
}
