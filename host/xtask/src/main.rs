//! Developer commands, one file each: `cargo xtask setup | check | test | plugins | demo | bench | dist`.
//!
//! They only call other programs and say which; what Backstay itself does is in the crates of the host. To add one,
//! give it a file and a variant of [`Command`].
#![expect(clippy::print_stdout, reason = "commands for people at a terminal")]

mod bench;
mod check;
mod demo;
mod dist;
mod plugins;
mod setup;
mod shell;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Developer commands of Backstay")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what is missing to build, demonstrate or test
    Setup(setup::Arguments),
    /// The inner loop: format, lints, pure unit tests and the rules of the layout
    Check,
    /// Everything that has to pass: set-up, lints, licences, documentation and all tests
    Test,
    /// Build the first-party plugins to WebAssembly components
    Plugins,
    /// Back up, verify and restore a real directory, showing each command
    Demo(demo::Arguments),
    /// Measure the release binary beside other tools
    Bench(bench::Arguments),
    /// Build the release binary and say where it is
    Dist,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Setup(arguments) => setup::run(&arguments),
        Command::Check => check::run(),
        Command::Test => test::run(),
        Command::Plugins => plugins::run(),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Dist => dist::run(),
    }
}
