//! The plain command that reads an object of a remote on a machine without Backstay: one line for `rclone`, which speaks to
//! all kinds of stores and takes its settings from the environment.

use backstay_model::remote::{Remote, RemoteKind};

/// What is at a path.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Form {
    /// An object, to be written to standard output.
    Stream,
    /// The files of a tree, to be written into `$TARGET`.
    Tree,
}

/// The command that reads what is at a path of a remote. `$SECRET` stands for the secret, which is not in it.
pub(crate) fn command(remote: &Remote, form: Form, path: &str) -> String {
    let mut words: Vec<String> = settings(remote)
        .into_iter()
        .map(|(name, value)| format!("RCLONE_CONFIG_STORE_{name}={}", quote(&value)))
        .collect();
    if remote.kind == RemoteKind::Sftp && remote.known_hosts_file.is_none() {
        words.push("RCLONE_CONFIG_STORE_KNOWN_HOSTS_FILE=\"$HOME/.ssh/known_hosts\"".to_owned());
    }
    if remote.needs_secret() {
        let secret = format!("\"${{SECRET:?set it to the {}}}\"", remote.kind.secret_name());
        words.push(match remote.kind {
            RemoteKind::S3 => format!("RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY={secret}"),
            RemoteKind::Gcs => format!("RCLONE_CONFIG_STORE_SERVICE_ACCOUNT_CREDENTIALS={secret}"),
            RemoteKind::Azure | RemoteKind::B2 => format!("RCLONE_CONFIG_STORE_KEY={secret}"),
            RemoteKind::Webdav => {
                format!("RCLONE_CONFIG_STORE_PASS=\"$(printf %s {secret} | rclone obscure -)\"")
            }
            // It takes a key on one line.
            RemoteKind::Sftp => format!(
                "RCLONE_CONFIG_STORE_KEY_PEM=\"$(printf '%s\\n' {secret} | awk '{{printf \"%s\\\\n\", $0}}')\""
            ),
        });
    }
    let path = quote(&format!("store:{path}"));
    words.push(match form {
        Form::Stream => format!("rclone cat {path}"),
        Form::Tree => format!("rclone copy {path} \"$TARGET\""),
    });
    words.join(" ")
}

/// What rclone calls the settings.
fn settings(remote: &Remote) -> Vec<(&'static str, String)> {
    let kind = match remote.kind {
        RemoteKind::S3 => "s3",
        RemoteKind::Gcs => "google cloud storage",
        RemoteKind::Azure => "azureblob",
        RemoteKind::B2 => "b2",
        RemoteKind::Webdav => "webdav",
        RemoteKind::Sftp => "sftp",
    };
    let mut settings = vec![("TYPE", kind.to_owned())];
    let mut add = |name, value: &Option<String>| {
        if let Some(value) = value {
            settings.push((name, value.clone()));
        }
    };
    match remote.kind {
        RemoteKind::S3 => {
            let provider = if remote.endpoint.is_some() { "Other" } else { "AWS" };
            add("PROVIDER", &Some(provider.to_owned()));
            add("ENDPOINT", &remote.endpoint);
            add("REGION", &remote.region);
            add("ACCESS_KEY_ID", &remote.account);
            if remote.virtual_host_style {
                add("FORCE_PATH_STYLE", &Some("false".to_owned()));
            }
        }
        RemoteKind::Gcs => add("ENDPOINT", &remote.endpoint),
        RemoteKind::Azure => {
            add("ENDPOINT", &remote.endpoint);
            add("ACCOUNT", &remote.account);
        }
        RemoteKind::B2 => add("ACCOUNT", &remote.account),
        RemoteKind::Webdav => {
            add("URL", &remote.endpoint);
            add("USER", &remote.account);
        }
        RemoteKind::Sftp => {
            let (host, port) = remote.ssh_host();
            add("HOST", &Some(host.to_owned()));
            add("PORT", &port.map(str::to_owned));
            add("USER", &remote.account);
            add("KEY_FILE", &remote.identity_file);
            add("KNOWN_HOSTS_FILE", &remote.known_hosts_file);
        }
    }
    settings
}

/// One word of a shell command, whatever is in it.
pub(crate) fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "%+,-./:=@_".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}
