//! The commands that this plugin runs at another machine by ssh, one function each. `plugin.json` asks for exactly these.
//!
//! Each is a line of fixed words for a POSIX shell there, with paths between single quotes: `remotePath` has no quote in
//! it, and the names below it are those of jobs, backups and artifacts, which have none either. Only the job says which
//! server, which account and which key; nothing is read from a configuration of ssh.

use backstay_sdk::Command;

use crate::config::Config;

/// How a server is spoken to, whoever it is. Nothing may ask a person, and nobody is believed whose key isn't known.
const SAFELY: [&str; 13] = [
    "-F",
    "none",
    "-aTx",
    "-oLogLevel=ERROR",
    "-oBatchMode=yes",
    "-oStrictHostKeyChecking=yes",
    "-oUpdateHostKeys=no",
    "-oClearAllForwardings=yes",
    "-oIdentitiesOnly=yes",
    "-oConnectTimeout=15",
    "-oServerAliveInterval=15",
    "-oServerAliveCountMax=4",
    "-oGlobalKnownHostsFile=/dev/null",
];

/// The options of ssh for the server of a job.
fn options(config: &Config) -> Vec<String> {
    let identity = config.identity_file.as_deref().unwrap_or("~/.ssh/id_ed25519");
    let known = config.known_hosts_file.as_deref().unwrap_or("~/.ssh/known_hosts");
    let mut options: Vec<String> = SAFELY.map(str::to_owned).into();
    options.extend([
        format!("-oUserKnownHostsFile={known}"),
        format!("-oIdentityFile={identity}"),
        format!("-p{}", config.port.unwrap_or(22)),
        format!("-l{}", user(config)),
    ]);
    options
}

/// The account at the other machine.
pub fn user(config: &Config) -> &str {
    config.user.as_deref().unwrap_or("root")
}

/// The option by which rsync reaches the server.
pub fn remote_shell(config: &Config) -> String {
    format!("--rsh=ssh {}", options(config).join(" "))
}

/// Says who runs there, on which filesystem the directory is, and where rsync is. Fails if there is no such directory.
pub fn look(config: &Config) -> Command {
    at(
        config,
        &format!("cd '{}' && id -u && df -Pk . && command -v rsync", path(config)),
    )
}

/// As [`look`], and says `taken` if there is something under a key.
pub fn look_for(config: &Config, key: &str) -> Command {
    at(
        config,
        &format!(
            "cd '{}' && id -u && df -Pk . && command -v rsync && if test -e './{key}' || test -L './{key}'; then echo taken; fi",
            path(config)
        ),
    )
}

/// The size of what is under a key, or `none`.
pub fn facts(config: &Config, key: &str) -> Command {
    at(
        config,
        &format!(
            "cd '{}' && if test -d './{key}'; then find './{key}' -type f -printf '%D:%i %s\\n' | sort -u | (n=0; while read -r file size; do n=$((n + size)); done; echo $n); elif test -e './{key}'; then wc -c < './{key}'; else echo none; fi",
            path(config)
        ),
    )
}

/// The kinds and keys of all objects that have a name, and of others that are less deep. `lost+found` is root's alone.
pub fn list(config: &Config, name: &str) -> Command {
    at(
        config,
        &format!(
            "cd '{}' && find . -ignore_readdir_race -maxdepth 3 -name lost+found -prune -o -name '{name}' -printf '%y %P\\n'",
            path(config)
        ),
    )
}

/// The kinds of all objects of a job that have a name, and their keys without the job's name.
pub fn list_of(config: &Config, job: &str, name: &str) -> Command {
    at(
        config,
        &format!(
            "cd '{}' && if test -d './{job}'; then find './{job}' -ignore_readdir_race -mindepth 2 -maxdepth 2 -name '{name}' -printf '%y %P\\n'; fi",
            path(config)
        ),
    )
}

/// Makes a directory that is empty. What a broken connection left in it shares files with earlier snapshots, which must not
/// be changed, and may still be written to.
pub fn make(config: &Config, directory: &str) -> Command {
    at(
        config,
        &format!(
            "cd '{}' && rm -rf './{directory}' && mkdir -p './{directory}'",
            path(config)
        ),
    )
}

/// Stores its input under a name that is none yet, and makes the directory for it.
pub fn write(config: &Config, directory: &str, partial: &str) -> Command {
    at(
        config,
        &format!(
            "cd '{}' && mkdir -p './{directory}' && cat > './{partial}'",
            path(config)
        ),
    )
}

/// Gives what was stored its name, once all of it is on disk.
pub fn publish(config: &Config, partial: &str, key: &str) -> Command {
    at(
        config,
        &format!(
            "cd '{}' && sync -f './{partial}' && mv -T './{partial}' './{key}' && sync -f './{key}'",
            path(config)
        ),
    )
}

/// Has the link in a job's directory lead to a backup, unless something else has its name.
pub fn link(config: &Config, job: &str, backup: &str) -> Command {
    at(
        config,
        &format!(
            "cd '{}/{job}' && if test -e latest && test ! -L latest; then echo 'something else has its name' >&2; exit 1; fi && ln -sfn -- './{backup}' .latest.partial && mv -T .latest.partial latest",
            path(config)
        ),
    )
}

/// Fails unless the link in a job's directory leads to no backup.
pub fn is_broken(config: &Config, job: &str) -> Command {
    at(
        config,
        &format!(
            "cd '{}/{job}' && test -L latest && test ! -e latest/manifest.json",
            path(config)
        ),
    )
}

/// Writes an object to its output.
pub fn read(config: &Config, key: &str) -> Command {
    at(config, &read_words(config, key))
}

fn read_words(config: &Config, key: &str) -> String {
    format!("cat '{}/{key}'", path(config))
}

/// Writes a tree to its output as a tar stream, sorted by name. It holds what the files hold: all else is in the host's
/// index.
pub fn read_tree(config: &Config, key: &str) -> Command {
    at(
        config,
        &format!(
            "tar --format=gnu --sparse --sort=name --hard-dereference --numeric-owner -C '{}/{key}' -cf - .",
            path(config)
        ),
    )
}

/// As [`read`], for a person.
pub fn read_by_hand(config: &Config, key: &str) -> Command {
    by_hand(config, &read_words(config, key))
}

/// Removes an object and what an interrupted copy of it left, and the directories that are empty then.
pub fn remove(config: &Config, key: &str, partial: &str, backup: &str, job: &str) -> Command {
    at(
        config,
        &format!(
            "cd '{}' && rm -rf './{key}' './{partial}' && (rmdir './{backup}' './{job}' 2>/dev/null || true)",
            path(config)
        ),
    )
}

/// Makes what is on its input, all of it in one snapshot there, a part of another one. What that one has lost is complained
/// of: nobody else looks.
pub fn carry(config: &Config, from: &str, to: &str) -> Command {
    let hard_links = if config.hard_links { " --hard-links" } else { "" };
    let fake_super = if config.fake_super { " --fake-super" } else { "" };
    let path = path(config);
    at(
        config,
        &format!(
            "rsync --archive --acls --xattrs --numeric-ids --modify-window=-1 --sparse{hard_links}{fake_super} --link-dest='{path}/{from}' --files-from=- --from0 -- '{path}/{from}/' '{path}/{to}/'"
        ),
    )
}

/// The directory at the other machine.
pub fn path(config: &Config) -> &str {
    config.remote_path.as_deref().unwrap_or_default()
}

/// The other machine.
pub fn host(config: &Config) -> &str {
    config.host.as_deref().unwrap_or_default()
}

fn at(config: &Config, words: &str) -> Command {
    Command::new("ssh")
        .args(options(config))
        .args(["--", host(config), words])
}

/// For a person, who may be asked for a passphrase or whether to trust the server.
fn by_hand(config: &Config, words: &str) -> Command {
    let port = config.port.map(|port| format!("-p{port}"));
    let identity = config.identity_file.as_ref().map(|file| format!("-i{file}"));
    Command::new("ssh")
        .args(port)
        .args(identity)
        .arg(format!("{}@{}", user(config), host(config)))
        .arg(words)
}

#[cfg(test)]
pub mod tests {
    use serde_json::Value;

    use super::*;
    use crate::command;

    fn config(more: &Value) -> Config {
        let mut config = serde_json::json!({ "host": "nas", "remotePath": "/my backups" });
        if let (Some(config), Some(more)) = (config.as_object_mut(), more.as_object()) {
            config.extend(more.clone());
        }
        serde_json::from_value(config).expect("a configuration")
    }

    fn commands(config: &Config) -> Vec<Command> {
        vec![
            command::take(config, Some(5_000), Some("j/0/data"), "j/1/.data.partial"),
            command::root(config, "j/1/.data.partial"),
            command::fetch(config, "j/1/data", "/scratch/1"),
            look(config),
            look_for(config, "j/1/data"),
            facts(config, "j/1/data"),
            list(config, "manifest.json"),
            list_of(config, "j", "manifest.json"),
            make(config, "j/1/.data.partial"),
            write(config, "j/1", "j/1/.data.partial"),
            publish(config, "j/1/.data.partial", "j/1/data"),
            link(config, "j", "1"),
            is_broken(config, "j"),
            read(config, "j/1/data"),
            read_tree(config, "j/1/data"),
            remove(config, "j/1/data", "j/1/.data.partial", "j/1", "j"),
            carry(config, "j/0/data", "j/1/.data.partial"),
        ]
    }

    /// Whether arguments match patterns as the host matches them.
    pub fn matches(patterns: &[Value], args: &[String]) -> bool {
        match (patterns.split_first(), args.split_first()) {
            (None, rest) => rest.is_none(),
            (Some((Value::Array(group), rest)), _) => {
                matches(rest, args) || matches(&[group.clone(), rest.to_vec()].concat(), args)
            }
            (Some((Value::String(pattern), rest)), Some((arg, args))) => {
                let mut pieces = pattern.split('*');
                let first = pieces.next().unwrap_or_default();
                let left = arg.strip_prefix(first);
                let end = pieces.fold(left, |left, piece| match piece {
                    "" => Some(""),
                    _ => left.and_then(|left| left.split_once(piece)).map(|(_, left)| left),
                });
                end == Some("") && matches(rest, args)
            }
            _ => false,
        }
    }

    #[test]
    fn the_manifest_asks_for_every_command() {
        let all = serde_json::json!({ "user": "b", "port": 2222, "identityFile": "/k", "knownHostsFile": "/h", "fakeSuper": true, "hardLinks": false, "compareContent": true });
        for (more, words) in [
            (
                serde_json::json!({}),
                ["root", "22", "~/.ssh/id_ed25519", "~/.ssh/known_hosts"],
            ),
            (all, ["b", "2222", "/k", "/h"]),
        ] {
            let [user, port, identity, known] = words;
            let text = include_str!("../plugin.json")
                .replace("{config.host}", "nas")
                .replace("{config.remotePath}", "/my backups")
                .replace("{config.user:-root}", user)
                .replace("{config.port:-22}", port)
                .replace("{config.identityFile:-~/.ssh/id_ed25519}", identity)
                .replace("{config.knownHostsFile:-~/.ssh/known_hosts}", known)
                .replace("{scratch}", "/scratch/1");
            let manifest: Value = serde_json::from_str(&text).expect("JSON");
            let requests = manifest["capabilities"]["exec"].as_array().expect("a list");
            for command in commands(&config(&more)) {
                let is_asked_for = requests
                    .iter()
                    .any(|request| matches(request["args"].as_array().expect("a list"), command.arguments()));
                assert!(is_asked_for, "{command}");
            }
        }
    }

    #[test]
    fn nobody_is_asked_and_nobody_is_believed_without_a_key() {
        for command in commands(&config(&serde_json::json!({}))) {
            let line = command.arguments().join(" ");
            assert!(
                line.contains("-oBatchMode=yes -oStrictHostKeyChecking=yes"),
                "{line}"
            );
        }
    }

    #[test]
    fn a_person_types_the_command_that_reads_an_object() {
        assert_eq!(
            read_by_hand(&config(&serde_json::json!({ "port": 2222 })), "j/1/m.json").to_string(),
            r"ssh -p2222 root@nas 'cat '\''/my backups/j/1/m.json'\'''"
        );
    }
}
