//! `backstay plugin`: looks at plugins and installs them.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;

use backstay_api::view::{PluginDetails, PluginView};
use backstay_model::plugin::{PluginKind, PluginManifest};
use backstay_model::{Code, Error, Result};
use serde_json::Map;

use crate::args::Plugin;
use crate::commands::asks::{Programs, about};
use crate::commands::{plugin_test, user};
use crate::output::{Output, table};
use crate::wire;

/// Runs the command.
///
/// # Errors
/// There is no such plugin, or it can't be installed.
pub async fn run(command: Plugin, data_dir: Option<PathBuf>, output: Output) -> Result<u8> {
    let command = match command {
        Plugin::Test(args) => return plugin_test::run(args, data_dir, output).await,
        other => other,
    };
    let engine = wire::engine(data_dir).await?;
    match command {
        Plugin::List => {
            let plugins = engine.plugins.list().await?;
            let values: Vec<_> = plugins
                .iter()
                .map(|(manifest, bundled)| PluginView {
                    manifest: manifest.clone(),
                    bundled: *bundled,
                })
                .collect();
            output.print(&values, || {
                let rows = plugins.iter().map(|(m, bundled)| {
                    let origin = if *bundled { "host" } else { "installed" };
                    vec![
                        m.id.clone(),
                        m.version.clone(),
                        m.kind.to_string(),
                        origin.to_owned(),
                        m.summary.clone(),
                    ]
                });
                table(
                    &["id", "version", "kind", "from", "summary"],
                    &rows.collect::<Vec<_>>(),
                )
            })?;
        }
        Plugin::Info { plugin, commands } => {
            let plugin = engine.plugins.load(&plugin).await?;
            let manifest = plugin.manifest();
            let scope = engine.looking(Map::new());
            let schema = match manifest.kind {
                PluginKind::Source => plugin.source_schema(&scope).await?,
                PluginKind::Destination => plugin.destination_schema(&scope).await?,
            };
            let details = PluginDetails {
                manifest: manifest.clone(),
                digest: plugin.digest().to_owned(),
                bundled: plugin.is_bundled(),
                config_schema: schema.clone(),
            };
            output.print(&details, || {
                let programs = if commands {
                    Programs::Commands
                } else {
                    Programs::Names
                };
                let mut text = about(manifest, programs);
                text.push_str(&format!(
                    "digest   blake3:{}\n\nconfiguration:\n",
                    plugin.digest()
                ));
                let required: Vec<&str> = schema["required"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|v| v.as_str())
                    .collect();
                for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                    let needed = if required.contains(&name.as_str()) {
                        " (required)"
                    } else {
                        ""
                    };
                    let description = field["description"]
                        .as_str()
                        .unwrap_or_default()
                        .replace('\n', " ");
                    text.push_str(&format!("  {name}{needed}: {description}\n"));
                }
                text
            })?;
        }
        Plugin::Test(_) => {}
        Plugin::Install { file, yes } => {
            let (manifest, _) = engine.plugins.inspect(&file)?;
            if !yes {
                confirm(&manifest, output)?;
            }
            let installed = engine.plugins.install(&file, engine.clock.now());
            let subject = format!("{} {}", manifest.id, manifest.version);
            let manifest = engine
                .audited(&user(), "plugin.install", &subject, installed)
                .await?;
            output.print(&manifest, || {
                format!(
                    "installed {} {} ({})",
                    manifest.id, manifest.version, manifest.kind
                )
            })?;
        }
    }
    Ok(0)
}

/// Shows what a plugin asks for, and asks whether it may have it.
///
/// # Errors
/// It may not, or there is nobody to ask.
pub(super) fn confirm(manifest: &PluginManifest, output: Output) -> Result<()> {
    output.note(&about(manifest, Programs::Commands));
    let declined = || {
        Error::new(Code::Security, "not done: its grants were not confirmed")
            .hint("pass --yes to grant what it asks for")
    };
    if !std::io::stdin().is_terminal() {
        return Err(declined());
    }
    // The answer counts, not whether the question could be printed.
    let _ = write!(std::io::stderr().lock(), "grant this? [y/N] ");
    let mut answer = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|e| Error::internal("cannot read the answer").because(e))?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(declined())
    }
}
