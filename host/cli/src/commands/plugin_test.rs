//! `backstay plugin test`: tries out whether a destination plugin does what every destination must.
//!
//! It happens in an installation of its own below the data directory, which is removed at the end: nothing of it is in
//! the history, and a plugin that is tried out from a file isn't installed.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use backstay_engine::Engine;
use backstay_engine::trial::{Outcome, Trial, Tried};
use backstay_model::plugin::PluginKind;
use backstay_model::{Code, Error, Result};
use serde_json::{Map, Value, json};

use crate::args::PluginTest;
use crate::commands::jobfile;
use crate::commands::plugin::confirm;
use crate::output::Output;
use crate::wire;

/// What the process that is to be killed says when it is time.
const SENT: &str = "sent";

/// How long it may take until then.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs the command.
///
/// # Errors
/// It can't be tried out. What the plugin does wrong is a result.
pub async fn run(args: PluginTest, data_dir: Option<PathBuf>, output: Output) -> Result<u8> {
    let context = wire::cancellable()?;
    let engine = wire::engine(data_dir).await?;
    let config = read_config(&args.config)?;
    if args.until_killed {
        let trial = Trial::new(&engine, &args.plugin, config, context).await?;
        let said = trial.store_until_killed(|| output.text(SENT)).await;
        return said.map(|()| 0);
    }
    let home = home(engine.data_dir())?;
    let own = wire::engine(Some(home.path().to_owned())).await?;
    let id = choose(&engine, &own, &args, output).await?;
    let plugin = own.plugins.get(&id, PluginKind::Destination).await?;
    engine.lend(&own, &plugin, &config).await?;
    let killed = Killed::new(home.path(), &id, &config)?;
    let mut trial = Trial::new(&own, &id, config, context).await?;
    let (mut tried, mut unwritten) = (Vec::new(), None);
    let tell = |one: &Tried| {
        if !output.json {
            unwritten = output.text(&line(one)).err().or(unwritten.take());
        }
        tried.push(one.clone());
    };
    let is_good = trial.all(async || killed.clone().kill().await, tell).await?;
    if let Some(error) = unwritten {
        return Err(error);
    }
    let manifest = plugin.manifest();
    let value = json!({
        "plugin": manifest.id,
        "version": manifest.version,
        "digest": plugin.digest(),
        "passed": is_good,
        "behaviours": tried,
    });
    let count = |wanted: fn(&Outcome) -> bool| tried.iter().filter(|one| wanted(&one.outcome)).count();
    output.print(&value, || {
        format!(
            "\n{} {}: {} passed, {} failed, {} skipped\n",
            manifest.id,
            manifest.version,
            count(|outcome| *outcome == Outcome::Passed),
            count(|outcome| matches!(outcome, Outcome::Failed { .. })),
            count(|outcome| matches!(outcome, Outcome::Skipped { .. })),
        )
    })?;
    Ok(if is_good {
        0
    } else {
        Code::Verification.exit_code()
    })
}

/// A data directory that is removed with what it holds. Compiled plugins are shared with the real one.
fn home(data_dir: &Path) -> Result<tempfile::TempDir> {
    let failed = |e| Error::io("make a directory in", data_dir, e);
    let home = tempfile::Builder::new()
        .prefix("plugin-test-")
        .tempdir_in(data_dir)
        .map_err(failed)?;
    let cache = data_dir.join("cache");
    std::fs::create_dir_all(&cache).map_err(failed)?;
    std::os::unix::fs::symlink(&cache, home.path().join("cache")).map_err(failed)?;
    Ok(home)
}

/// The id of the plugin that is meant, which is known to `own` then.
async fn choose(engine: &Engine, own: &Engine, args: &PluginTest, output: Output) -> Result<String> {
    let file = Path::new(&args.plugin);
    let is_file = args.plugin.contains('/') || file.extension().is_some_and(|ending| ending == "wasm");
    if is_file {
        let (manifest, _) = own.plugins.inspect(file)?;
        if !args.yes {
            confirm(&manifest, output)?;
        }
        return Ok(own.plugins.install(file, own.clock.now()).await?.id);
    }
    if let Some(file) = engine.plugins.file(&args.plugin).await? {
        own.plugins.install(&file, own.clock.now()).await?;
    }
    Ok(args.plugin.clone())
}

fn read_config(file: &Path) -> Result<Map<String, Value>> {
    match jobfile::read(file)?.as_slice() {
        [Value::Object(config)] => Ok(config.clone()),
        _ => Err(Error::new(
            Code::Configuration,
            format!("{} is no configuration of a plugin", file.display()),
        )
        .hint("write into it what stands under `config` in a job, such as `path: /mnt/backups`")),
    }
}

fn line(tried: &Tried) -> String {
    #[expect(clippy::cast_precision_loss, reason = "seconds for people")]
    let seconds = tried.milliseconds as f64 / 1000.0;
    let (word, why) = match &tried.outcome {
        Outcome::Passed => ("ok", String::new()),
        Outcome::Skipped { why } => ("skipped", format!("\n{:18}{why}", "")),
        Outcome::Failed { error } => {
            let hint = error.hint.as_ref();
            let hint = hint.map_or_else(String::new, |hint| format!("\n{:18}{hint}", ""));
            ("FAILED", format!("\n{:18}{}{hint}", "", error.message))
        }
    };
    format!("{word:<8} {seconds:>5.1} s  {}{why}\n", tried.says)
}

/// A process of this program that stores something until it is killed.
#[derive(Clone)]
struct Killed {
    home: PathBuf,
    plugin: String,
    config: PathBuf,
}

impl Killed {
    fn new(home: &Path, plugin: &str, config: &Map<String, Value>) -> Result<Self> {
        let file = home.join("config.json");
        std::fs::write(&file, json!(config).to_string()).map_err(|e| Error::io("write", &file, e))?;
        Ok(Killed {
            home: home.to_owned(),
            plugin: plugin.to_owned(),
            config: file,
        })
    }

    async fn kill(self) -> Result<()> {
        tokio::task::spawn_blocking(move || self.run())
            .await
            .map_err(|e| Error::internal("a thread panicked").because(e))?
    }

    fn run(&self) -> Result<()> {
        let failed = |e: std::io::Error| Error::internal("cannot start a process to kill").because(e);
        let mut child = Command::new(std::env::current_exe().map_err(failed)?)
            .arg("--data-dir")
            .arg(&self.home)
            .args(["plugin", "test", "--until-killed", "--config"])
            .arg(&self.config)
            .arg(&self.plugin)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (sender, told) = std::sync::mpsc::channel();
        let output = child.stdout.take();
        std::thread::spawn(move || {
            let mut line = String::new();
            if let Some(output) = output {
                // What can't be read was not said.
                let _ = BufReader::new(output).read_line(&mut line);
            }
            let _ = sender.send(line);
        });
        let line = told.recv_timeout(PATIENCE).unwrap_or_default();
        child.kill().map_err(failed)?;
        child.wait().map_err(failed)?;
        if line.trim_end() == SENT {
            return Ok(());
        }
        let mut said = String::new();
        if let Some(mut errors) = child.stderr.take() {
            errors.read_to_string(&mut said).map_err(failed)?;
        }
        Err(Error::new(
            Code::Storage,
            format!("it stored nothing until it was killed: {}", said.trim()),
        ))
    }
}
