//! `backstay doctor`: checks this machine.

use std::path::PathBuf;

use backstay_model::plugin::PluginManifest;
use backstay_model::secrets::Secrets;
use backstay_model::{Code, Result};
use backstay_stream::Context;
use backstay_stream::process::{self, CommandSpec};
use serde_json::json;

use crate::output::{Output, table};
use crate::wire;

/// Programs that a recovery kit uses.
const RECOVERY: [&str; 9] = [
    "tar",
    "age",
    "gzip",
    "zstd",
    "xz",
    "bzip2",
    "lz4",
    "sha256sum",
    "bash",
];

struct Check {
    what: String,
    ok: bool,
    /// Nothing works without it.
    is_vital: bool,
    says: String,
}

/// Runs the command.
///
/// # Errors
/// The database can't be opened, which is itself the finding.
pub async fn run(data_dir: Option<PathBuf>, output: Output) -> Result<u8> {
    let engine = wire::recovered(data_dir, output).await?;
    let mut checks = vec![Check {
        what: "database".to_owned(),
        ok: true,
        is_vital: true,
        says: engine.store.file().display().to_string(),
    }];
    let left = engine.store.runs_with_entries().await?.len();
    checks.push(Check {
        what: "journal".to_owned(),
        ok: left == 0,
        is_vital: true,
        says: if left == 0 {
            "nothing left to undo".to_owned()
        } else {
            format!("{left} runs have something to undo")
        },
    });
    let plugins = engine.plugins.list().await?;
    for (manifest, _) in &plugins {
        let loaded = engine.plugins.load(&manifest.id).await;
        checks.push(Check {
            what: format!("plugin {}", manifest.id),
            ok: loaded.is_ok(),
            is_vital: true,
            says: loaded.map_or_else(
                |e| e.report(),
                |p| format!("{} {}", p.manifest().kind, p.manifest().version),
            ),
        });
    }
    checks.push(confinement());
    checks.extend(secrets(&engine).await?);
    for (program, needed_by) in programs(&plugins) {
        checks.push(program_check(&engine, &program, &needed_by));
    }
    let is_sound = checks.iter().all(|c| c.ok || !c.is_vital);
    let values: Vec<_> = checks
        .iter()
        .map(|c| json!({ "check": c.what, "ok": c.ok, "vital": c.is_vital, "says": c.says }))
        .collect();
    output.print(&json!({ "ok": is_sound, "checks": values }), || {
        let rows = checks.iter().map(|c| {
            let mark = if c.ok {
                "ok"
            } else if c.is_vital {
                "FAIL"
            } else {
                "missing"
            };
            vec![mark.to_owned(), c.what.clone(), c.says.clone()]
        });
        table(&["", "check", "found"], &rows.collect::<Vec<_>>())
    })?;
    Ok(if is_sound {
        0
    } else {
        Code::Environment.exit_code()
    })
}

/// The key of the secrets, and the secrets that jobs name and that aren't there.
async fn secrets(engine: &backstay_engine::Engine) -> Result<Vec<Check>> {
    let (ok, says) = match engine.store.key_state().await {
        Err(error) => (false, with_hint(&error)),
        Ok(None) => (true, "none yet: it is made with the first secret".to_owned()),
        Ok(Some(state)) => {
            let file = state.path.display();
            match (state.keys, state.is_credential) {
                (1, _) => (true, file.to_string()),
                (_, true) => (
                    false,
                    format!(
                        "{file} holds {} keys (`backstay secret rotate-key`, then take the old ones out)",
                        state.keys
                    ),
                ),
                (_, false) => (
                    false,
                    format!(
                        "{file} still holds an old key (`backstay secret rotate-key` ends what was begun)"
                    ),
                ),
            }
        }
    };
    let mut checks = vec![Check {
        what: "key of the secrets".to_owned(),
        ok,
        is_vital: true,
        says,
    }];
    for (name, jobs) in engine.secrets_in_use().await? {
        let found = engine.store.secret(&name).await;
        if let Err(error) = found {
            checks.push(Check {
                // Somebody may have written the secret itself in the place of its name.
                what: match backstay_model::secrets::check_name(&name) {
                    Ok(()) => format!("secret {name}"),
                    Err(_) => "a secret without a name".to_owned(),
                },
                ok: false,
                is_vital: false,
                says: format!("{} (for {})", with_hint(&error), jobs.join(", ")),
            });
        }
    }
    Ok(checks)
}

fn with_hint(error: &backstay_model::Error) -> String {
    let hint = error.hint_text().map(|hint| format!(" ({hint})"));
    format!("{}{}", error.report(), hint.unwrap_or_default())
}

/// Whether scripts can be run. All else works without.
fn confinement() -> Check {
    let (ok, says) = match backstay_confine::probe::probe() {
        Ok(how) => (true, how),
        Err(error) => (false, with_hint(&error)),
    };
    Check {
        what: "confinement of scripts".to_owned(),
        ok,
        is_vital: false,
        says,
    }
}

fn programs(plugins: &[(PluginManifest, bool)]) -> Vec<(String, String)> {
    let mut programs: Vec<(String, String)> = RECOVERY
        .iter()
        .map(|p| ((*p).to_owned(), "recovery kits".to_owned()))
        .collect();
    for (manifest, _) in plugins {
        for exec in &manifest.capabilities.exec {
            if !programs.iter().any(|(p, _)| *p == exec.program) {
                programs.push((exec.program.clone(), format!("plugin {}", manifest.id)));
            }
        }
    }
    programs
}

fn program_check(engine: &backstay_engine::Engine, program: &str, needed_by: &str) -> Check {
    let what = format!("program {program}");
    match engine.plugins.programs().find(program) {
        Err(e) => Check {
            what,
            ok: false,
            is_vital: false,
            says: format!("{} (for {needed_by})", e.report()),
        },
        Ok(path) => {
            let spec = CommandSpec {
                meanings: Vec::new(),
                program: path.clone(),
                args: vec!["--version".into()],
                env: vec![("LANG".into(), "C.UTF-8".into())],
                secrets: Secrets::default(),
                code: Code::Environment,
            };
            let said = process::run(&spec, &Context::default())
                .map(|o| if o.status == 0 { o.stdout } else { String::new() })
                .unwrap_or_default();
            let version = said.lines().next().unwrap_or_default().to_owned();
            Check {
                what,
                ok: true,
                is_vital: false,
                says: format!("{}  {version}", path.display()),
            }
        }
    }
}
