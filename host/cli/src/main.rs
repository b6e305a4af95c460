//! The `backstay` program: reads the command line, wires the parts together, calls one use case, prints the outcome.
//!
//! Decisions about backups are made in the engine; this crate talks to people and scripts. A new
//! command is a file in `commands/` and a variant in [`args::Command`].

mod args;
mod commands;
mod output;
mod wire;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Command};
use output::Output;

fn main() -> ExitCode {
    let args = Args::parse();
    wire::keep_no_cores();
    // A service says what its settings tell it to.
    if !matches!(args.command, Command::Serve(_)) {
        let filter = tracing_subscriber::EnvFilter::try_from_env("BACKSTAY_LOG")
            .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .init();
    }
    let output = Output { json: args.json };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(Box::pin(dispatch(args, output))),
        Err(e) => Err(backstay_model::Error::internal("cannot start").because(e)),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            output.error(&error);
            ExitCode::from(error.code().exit_code())
        }
    }
}

async fn dispatch(args: Args, output: Output) -> backstay_model::Result<u8> {
    let data_dir = args.data_dir;
    match args.command {
        Command::Apply(command) => commands::apply::run(command, data_dir, output).await,
        Command::Job { command } => commands::job::run(command, data_dir, output).await,
        Command::Schedule { command } => commands::schedule::run(command, data_dir, output).await,
        Command::Serve(command) => commands::serve::run(command, data_dir, output).await,
        Command::Cancel(command) => commands::cancel::run(command, data_dir, output).await,
        Command::Run(command) => commands::run::run(command, data_dir, output).await,
        Command::Runs(command) => commands::runs::run(command, data_dir, output).await,
        Command::Logs(command) => commands::logs::run(command, data_dir, output).await,
        Command::Backups(command) => commands::backups::run(command, data_dir, output).await,
        Command::Verify(command) => commands::verify::run(command, data_dir, output).await,
        Command::Prune(command) => commands::prune::run(command, data_dir, output).await,
        Command::Drill(command) => commands::drill::run(command, data_dir, output).await,
        Command::Catalog { command } => commands::catalog::run(command, data_dir, output).await,
        Command::Restore(command) => commands::restore::run(command, data_dir, output).await,
        Command::RecoveryKit(command) => commands::recovery_kit::run(command, data_dir, output).await,
        Command::Throttle(command) => commands::throttle::run(command, data_dir, output).await,
        Command::Plugin { command } => commands::plugin::run(command, data_dir, output).await,
        Command::Remote { command } => commands::remote::run(command, data_dir, output).await,
        Command::Secret { command } => commands::secret::run(command, data_dir, output).await,
        Command::Token { command } => commands::token::run(command, data_dir, output).await,
        Command::Audit(command) => commands::audit::run(command, data_dir, output).await,
        Command::Import(command) => commands::import::run(command, output).await,
        Command::Notification { command } => commands::notification::run(command, data_dir, output).await,
        Command::Metrics => commands::metrics::run(data_dir, output).await,
        Command::Health => commands::health::run(data_dir, output).await,
        Command::Doctor => commands::doctor::run(data_dir, output).await,
        Command::Completions { shell } => commands::completions::run(shell),
    }
}
