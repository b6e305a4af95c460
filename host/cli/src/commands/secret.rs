//! `backstay secret`: passwords and keys that jobs name.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use backstay_model::secrets::check_name;
use backstay_model::{Code, Error, Result};
use serde_json::json;

use crate::args::{Secret, SecretSet};
use crate::commands::secret_text::{self, From};
use crate::commands::user;
use crate::output::{Output, table};
use crate::wire;

/// Runs the command.
///
/// # Errors
/// There is no such secret, it is in use, or the key can't be used.
pub async fn run(command: Secret, data_dir: Option<PathBuf>, output: Output) -> Result<u8> {
    let engine = wire::engine(data_dir).await?;
    match command {
        Secret::Set(set) => {
            check_name(&set.name)?;
            let text = text(&set)?;
            let is_new = !engine.store.has_secret(&set.name).await?;
            let kept = engine.store.set_secret(&set.name, &text);
            engine.audited(&user(), "secret.set", &set.name, kept).await?;
            output.print(&json!({ "name": set.name, "new": is_new }), || match is_new {
                true => format!("{} is kept, encrypted", set.name),
                false => format!("{} has another text; runs from now on use it", set.name),
            })?;
        }
        Secret::List => {
            let secrets = engine.store.secrets().await?;
            let used = engine.secrets_in_use().await?;
            let jobs = |name: &str| used.get(name).cloned().unwrap_or_default();
            let values: Vec<_> = secrets
                .iter()
                .map(|secret| {
                    json!({ "name": secret.name, "setAt": secret.set_at.to_string(), "jobs": jobs(&secret.name) })
                })
                .collect();
            output.print(&values, || {
                if secrets.is_empty() {
                    return "no secrets yet: `backstay secret set NAME` keeps one".to_owned();
                }
                let rows = secrets.iter().map(|secret| {
                    let at = secret.set_at.strftime("%F %H:%M").to_string();
                    vec![secret.name.clone(), at, jobs(&secret.name).join(", ")]
                });
                table(&["name", "set", "jobs"], &rows.collect::<Vec<_>>())
            })?;
        }
        Secret::Rm { name, force } => {
            // Before it is written down anywhere: it may be the secret itself.
            check_name(&name)?;
            let removed = engine.remove_secret(&name, force);
            engine.audited(&user(), "secret.remove", &name, removed).await?;
            output.print(&json!({ "removed": name }), || format!("removed {name}"))?;
        }
        Secret::RotateKey => {
            let rotated = engine.store.rotate_key();
            let rotated = engine
                .audited(&user(), "secret.rotate-key", "all secrets", rotated)
                .await?;
            let file = rotated.file.display().to_string();
            let value = json!({ "keyFile": file, "secrets": rotated.secrets, "keepsOld": rotated.keeps_old });
            output.print(&value, || {
                let rest = match rotated.keeps_old {
                    true => "take the old key out of it now",
                    false => "copies of the old key open old copies of the database, and nothing else",
                };
                format!(
                    "{} secrets are sealed for another key, in {file}; {rest}",
                    rotated.secrets
                )
            })?;
        }
    }
    Ok(0)
}

fn text(set: &SecretSet) -> Result<String> {
    if !set.refused.is_empty() {
        return Err(Error::new(
            Code::Configuration,
            "a secret is never taken from the command line, where every user of this machine can read it",
        )
        .hint(
            "give it by --from-file FILE, --from-env VARIABLE, standard input, or when asked; the one that you gave is now in your shell's history: choose another",
        ));
    }
    let from = match (&set.from_file, &set.from_env) {
        (Some(file), _) => From::File(file),
        (None, Some(variable)) => From::Variable(variable),
        (None, None) if std::io::stdin().is_terminal() => {
            From::PersonTwice("give it by --from-file FILE, --from-env VARIABLE or standard input")
        }
        (None, None) => From::Input,
    };
    secret_text::read(&format!("the secret `{}`", set.name), from)
}
