//! The command line of `backstay plugin`.

use std::path::PathBuf;

use clap::Subcommand;

/// What to do with plugins.
#[derive(Debug, Subcommand)]
pub enum Plugin {
    /// List plugins
    List,
    /// Show a plugin, its configuration and what it asks for
    Info {
        /// Its id
        plugin: String,
        /// Show each command that it may run, with what its arguments may be
        #[arg(long)]
        commands: bool,
    },
    /// Install a plugin from a file, after showing what it asks for
    Install {
        /// A component (.wasm)
        file: PathBuf,
        /// Grant what it asks for without asking
        #[arg(long)]
        yes: bool,
    },
    /// Try out whether a destination plugin does what every destination must
    ///
    /// Stores streams and trees at the place that the configuration names, reads and lists and removes them, has a source
    /// fail, a run be cancelled and a host be killed, and looks each time at what is there. The place must be yours to
    /// write to; all that is stored is removed again. Exit code 8 if a behaviour is wrong.
    Test(PluginTest),
}

/// Try out a destination plugin.
#[derive(Debug, clap::Args)]
pub struct PluginTest {
    /// A component (.wasm), which is not installed for it, or the id of a plugin
    #[arg(value_name = "FILE|ID")]
    pub plugin: String,
    /// Its configuration, as under `config` in a job: a YAML or JSON file
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// Grant what a file asks for without asking
    #[arg(long)]
    pub yes: bool,
    /// Store something that never ends, and say when a part of it is there
    #[arg(long, hide = true)]
    pub until_killed: bool,
}
