//! `backstay remote`: object stores that jobs name.

use std::path::PathBuf;

use backstay_model::remote::{Remote as Settings, RemoteKind};
use backstay_model::{Diagnostic, Error, Result};
use backstay_store::KnownRemote;
use serde_json::{Value, json};

use crate::args::{Remote, RemoteAdd, RemoteType, SecretFrom};
use crate::commands::secret_text::{self, From};
use crate::commands::user;
use crate::output::{Output, table};
use crate::wire;

/// Runs the command.
///
/// # Errors
/// There is no such remote, it can't be used, or it is in use.
pub async fn run(command: Remote, data_dir: Option<PathBuf>, output: Output) -> Result<u8> {
    let engine = wire::engine(data_dir).await?;
    match command {
        Remote::Add(add) => {
            let remote = settings(&add);
            remote.refuse_if_wrong()?;
            let secret = secret(&remote, &add.secret)?;
            let added = engine.add_remote(&remote, secret.as_deref());
            engine.audited(&user(), "remote.add", &remote.name, added).await?;
            for warning in remote.check().iter().filter(|d| !d.is_error()) {
                output.note(&text_of(warning));
            }
            let known = engine.store.remote(&remote.name).await?;
            output.print(&value(&known)?, || {
                format!(
                    "added {} ({}); `backstay remote test {}` tries it",
                    remote.name,
                    remote.place(),
                    remote.name
                )
            })?;
        }
        Remote::List => {
            let remotes = engine.store.remotes().await?;
            let values = remotes.iter().map(value).collect::<Result<Vec<Value>>>()?;
            output.print(&values, || {
                let rows = remotes.iter().map(|known| {
                    let remote = &known.remote;
                    vec![
                        remote.name.clone(),
                        remote.kind.to_string(),
                        remote.account.clone().unwrap_or_default(),
                        remote.place(),
                    ]
                });
                table(&["name", "type", "account", "place"], &rows.collect::<Vec<_>>())
            })?;
        }
        Remote::Show { name } => {
            let known = engine.store.remote(&name).await?;
            output.print(&value(&known)?, || show(&known))?;
        }
        Remote::Secret { name, from } => {
            let remote = engine.store.remote(&name).await?.remote;
            let secret = secret(&remote, &from)?;
            let changed = engine.change_secret(&remote, secret.as_deref());
            engine
                .audited(&user(), "remote.change-secret", &name, changed)
                .await?;
            output.print(&json!({ "changed": name }), || {
                format!("{name} has another secret; `backstay remote test {name}` tries it")
            })?;
        }
        Remote::Test { name } => {
            let steps = engine.test_remote(&name).await?;
            let values: Vec<Value> = steps
                .iter()
                .map(|done| json!({ "step": done.step, "milliseconds": done.milliseconds }))
                .collect();
            output.print(&json!({ "name": name, "ok": true, "steps": values }), || {
                let mut text = String::new();
                for done in &steps {
                    text.push_str(&format!("{:<7} ok, {} ms\n", done.step, done.milliseconds));
                }
                text.push_str(&format!("{name} can be used\n"));
                text
            })?;
        }
        Remote::Rm { name } => {
            let removed = engine.remove_remote(&name);
            engine.audited(&user(), "remote.remove", &name, removed).await?;
            output.print(&json!({ "removed": name }), || {
                format!("removed {name}; what is stored in it stays")
            })?;
        }
    }
    Ok(0)
}

/// The secret, if the remote needs one or one is given.
fn secret(remote: &Settings, from: &SecretFrom) -> Result<Option<String>> {
    let from = match (&from.secret_from_file, from.secret_stdin) {
        (Some(file), _) => From::File(file),
        (None, true) => From::Input,
        (None, false) if remote.needs_secret() => {
            From::Person("give it by --secret-from-file FILE or --secret-stdin")
        }
        (None, false) => return Ok(None),
    };
    let name = format!("the {}", remote.kind.secret_name());
    secret_text::read(&name, from).map(Some)
}

fn settings(add: &RemoteAdd) -> Settings {
    Settings {
        name: add.name.clone(),
        kind: match add.kind {
            RemoteType::S3 => RemoteKind::S3,
            RemoteType::Gcs => RemoteKind::Gcs,
            RemoteType::Azure => RemoteKind::Azure,
            RemoteType::B2 => RemoteKind::B2,
            RemoteType::Webdav => RemoteKind::Webdav,
            RemoteType::Sftp => RemoteKind::Sftp,
        },
        bucket: add.bucket.clone(),
        bucket_id: add.bucket_id.clone(),
        endpoint: add.endpoint.clone(),
        region: add.region.clone(),
        account: add.account.clone(),
        root: add.root.clone(),
        virtual_host_style: add.virtual_host_style,
        identity_file: add.identity_file.clone(),
        known_hosts_file: add.known_hosts.clone(),
    }
}

fn value(known: &KnownRemote) -> Result<Value> {
    let mut value = serde_json::to_value(&known.remote)
        .map_err(|e| Error::internal("cannot write a remote as JSON").because(e))?;
    value["hasSecret"] = json!(known.has_secret);
    value["createdAt"] = json!(known.created_at.to_string());
    value["place"] = json!(known.remote.place());
    Ok(value)
}

fn show(known: &KnownRemote) -> String {
    let remote = &known.remote;
    let mut text = String::new();
    let kind = remote.kind.to_string();
    let secret = if known.has_secret {
        "kept, encrypted"
    } else {
        "none"
    };
    for (name, value) in [
        ("name", Some(remote.name.as_str())),
        ("type", Some(kind.as_str())),
        ("bucket", remote.bucket.as_deref()),
        ("bucketId", remote.bucket_id.as_deref()),
        ("endpoint", remote.endpoint.as_deref()),
        ("region", remote.region.as_deref()),
        ("account", remote.account.as_deref()),
        ("root", remote.root.as_deref()),
        ("identityFile", remote.identity_file.as_deref()),
        ("knownHostsFile", remote.known_hosts_file.as_deref()),
        ("secret", Some(secret)),
    ] {
        if let Some(value) = value {
            text.push_str(&format!("{name:<14} {value}\n"));
        }
    }
    text
}

fn text_of(warning: &Diagnostic) -> String {
    match &warning.hint {
        Some(hint) => format!("warning: {}; {hint}", warning.message),
        None => format!("warning: {}", warning.message),
    }
}
