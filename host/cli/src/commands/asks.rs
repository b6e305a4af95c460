//! What a plugin is and asks for, in the words of a person who decides.

use backstay_model::plugin::{Capabilities, ExecRequest, PluginManifest};

/// How much is said of the programs that it may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Programs {
    /// Their names, and what for.
    Names,
    /// Each command with what its arguments may be, too.
    Commands,
}

/// What a plugin is and asks for.
pub fn about(manifest: &PluginManifest, programs: Programs) -> String {
    let mut text = format!(
        "{} {} ({}): {}\nlicence  {}\napi      backstay:plugin@{}\n\nasks for:\n",
        manifest.id, manifest.version, manifest.kind, manifest.summary, manifest.license, manifest.api
    );
    let asked = &manifest.capabilities;
    run(&mut text, &asked.exec, programs);
    rest(&mut text, asked);
    text
}

/// The programs, each with all that it is for.
fn run(text: &mut String, asked: &[ExecRequest], programs: Programs) {
    let mut names: Vec<&str> = Vec::new();
    for exec in asked {
        if !names.contains(&exec.program.as_str()) {
            names.push(&exec.program);
        }
    }
    for name in names {
        text.push_str(&format!("  run {name}\n"));
        let mut variables: Vec<&str> = Vec::new();
        for exec in asked.iter().filter(|exec| exec.program == name) {
            text.push_str(&format!("      {}\n", exec.reason));
            if programs == Programs::Commands {
                text.push_str(&format!("          {exec}\n"));
            }
            for variable in &exec.env {
                if !variables.contains(&variable.as_str()) {
                    variables.push(variable);
                }
            }
        }
        if !variables.is_empty() {
            text.push_str(&format!("      with {}\n", variables.join(", ")));
        }
    }
}

/// Everything but programs.
fn rest(text: &mut String, asked: &Capabilities) {
    let mut line = |what: String, why: &str| text.push_str(&format!("  {what}\n      {why}\n"));
    for path in &asked.read {
        line(format!("read {}", path.path), &path.reason);
    }
    for path in &asked.write {
        line(format!("write {}", path.path), &path.reason);
    }
    for secret in &asked.secret {
        line(format!("use the secret {}", secret.name), &secret.reason);
    }
    for storage in &asked.storage {
        let place = match &storage.prefix {
            Some(prefix) => format!("below {prefix}, or all of it if the job names none"),
            None => "all of it".to_owned(),
        };
        line(
            format!("use the remote {}, {place}", storage.remote),
            &storage.reason,
        );
    }
    for script in &asked.script {
        let mut what = format!("run the script {}, confined", script.path);
        if !script.read.is_empty() {
            what.push_str(&format!(", which may read {}", script.read.join(", ")));
        }
        if let Some(secrets) = &script.secrets {
            what.push_str(&format!(", with the secrets {secrets}"));
        }
        if let Some(network) = &script.network {
            what.push_str(&format!(", with the network if {network}"));
        }
        line(what, &script.reason);
    }
    if let Some(state) = &asked.state {
        line("keep notes between runs".to_owned(), &state.reason);
    }
}
