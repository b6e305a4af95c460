//! Who may import whom, by what cargo knows. Dependencies of tests don't count.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::root;

/// Each room of the host, and the rooms it may import. A new crate needs a line here.
const LAYERS: [(&str, &[&str]); 12] = [
    ("model", &[]),
    ("store", &["model"]),
    ("stream", &["model"]),
    ("confine", &["model"]),
    ("storage", &["model", "stream"]),
    ("notify", &["model"]),
    ("plugin", &["model", "store", "stream", "confine", "storage"]),
    (
        "engine",
        &[
            "model", "store", "stream", "confine", "storage", "notify", "plugin",
        ],
    ),
    (
        "api",
        &[
            "model", "store", "stream", "confine", "storage", "plugin", "engine",
        ],
    ),
    (
        "cli",
        &[
            "model", "store", "stream", "confine", "storage", "plugin", "engine", "api",
        ],
    ),
    ("testkit", &["model"]),
    ("xtask", &["testkit"]),
];

/// What only some rooms may know: the beginning of a crate's name, and the rooms.
const OWNED: [(&str, &[&str]); 9] = [
    ("wasmtime", &["plugin"]),
    ("sqlx", &["store"]),
    ("opendal", &["storage"]),
    ("cap-std", &["storage", "plugin", "confine"]),
    ("lettre", &["notify"]),
    ("axum", &["api"]),
    ("utoipa", &["api"]),
    ("tower-http", &["api"]),
    ("clap", &["cli", "xtask"]),
];

/// What the room without input, output and concurrency can't need.
const NOT_PURE: [&str; 7] = [
    "tokio",
    "async-std",
    "rustix",
    "libc",
    "tempfile",
    "reqwest",
    "cap-std",
];

/// Where a path lies: the top folder, and the room in it.
fn place(path: &str) -> Option<(&str, &str)> {
    let relative = Path::new(path).strip_prefix(root()).ok()?.to_str()?;
    // Plugins for tests live in the test kit, but are plugins.
    let (top, rest) = match relative.strip_prefix("host/testkit/guests/") {
        Some(rest) => ("plugins", rest),
        None => relative.split_once('/')?,
    };
    Some((top, rest.split('/').next()?))
}

/// A sentence for each dependency that the layout forbids.
fn wrong_arrows(metadata: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        let (name, manifest) = (
            package["name"].as_str().unwrap(),
            package["manifest_path"].as_str().unwrap(),
        );
        let Some((top, room)) = place(manifest) else {
            wrong.push(format!(
                "{name} at {manifest} lies outside host/, plugins/ and sdk/"
            ));
            continue;
        };
        let allowed = LAYERS
            .iter()
            .find(|(layer, _)| top == "host" && *layer == room)
            .map(|(_, allowed)| *allowed);
        if top == "host" && allowed.is_none() {
            wrong.push(format!(
                "host/{room} is in no layer: give it a line in {}",
                file!()
            ));
        }
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        for dependency in dependencies.filter(|dependency| dependency["kind"] != "dev") {
            let other = dependency["name"].as_str().unwrap();
            // The path of a dependency is its folder: add a file's name to find its room.
            let path = dependency["path"]
                .as_str()
                .map(|path| format!("{path}/Cargo.toml"));
            let to = path.as_deref().and_then(place);
            wrong.extend(match to {
                Some(("host", _)) if top != "host" => Some(format!(
                    "{top}/{room} depends on {other}: what is outside host/ knows only the contract"
                )),
                Some(("host", to)) => allowed.filter(|allowed| !allowed.contains(&to)).map(|allowed| {
                    let may = if allowed.is_empty() {
                        "nothing of host/".into()
                    } else {
                        allowed.join(", ")
                    };
                    format!(
                        "host/{room} depends on host/{to}, which is no layer below it; it may depend on {may}"
                    )
                }),
                Some(("plugins", _)) => Some(format!(
                    "{top}/{room} depends on the plugin {other}: the host loads plugins, it never links them"
                )),
                Some(_) if top == "host" => {
                    Some(format!("host/{room} depends on {other}: the SDK is for plugins"))
                }
                _ => None,
            });
            if let Some((_, owners)) = OWNED.iter().find(|(prefix, _)| other.starts_with(prefix))
                && top == "host"
                && !owners.contains(&room)
            {
                wrong.push(format!(
                    "host/{room} depends on {other}, which only host/{} may know",
                    owners.join(", host/")
                ));
            }
            if top == "host" && room == "model" && NOT_PURE.contains(&other) {
                wrong.push(format!(
                    "host/model depends on {other}, but it does no input or output and waits for nothing"
                ));
            }
        }
    }
    wrong
}

#[test]
fn every_dependency_follows_the_layers() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let args = ["metadata", "--no-deps", "--format-version", "1", "--offline"];
    let output = Command::new(cargo)
        .args(args)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let wrong = wrong_arrows(&serde_json::from_slice(&output.stdout).unwrap());
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The only sentence about a package in `folder` with one dependency.
#[track_caller]
fn said(folder: &str, dependency: Value) -> Option<String> {
    let manifest = root().join(folder).join("Cargo.toml");
    let package = json!({ "name": "it", "manifest_path": manifest, "dependencies": [dependency] });
    let wrong = wrong_arrows(&json!({ "packages": [package] }));
    assert!(wrong.len() <= 1, "{wrong:?}");
    wrong.into_iter().next()
}

fn local(folder: &str, kind: Value) -> Value {
    json!({ "name": folder, "kind": kind, "path": root().join(folder) })
}

fn external(name: &str) -> Value {
    json!({ "name": name, "kind": null })
}

#[test]
fn a_planted_wrong_arrow_is_named() {
    let upwards = said("host/stream", local("host/engine", Value::Null)).unwrap();
    assert_eq!(
        upwards,
        "host/stream depends on host/engine, which is no layer below it; it may depend on model"
    );
    assert!(
        said("host/model", local("host/store", json!("build")))
            .unwrap()
            .contains("nothing of host/")
    );
    assert!(
        said("plugins/zfs", local("host/model", Value::Null))
            .unwrap()
            .starts_with("plugins/zfs depends on")
    );
    assert!(
        said("sdk/rust", local("host/model", Value::Null))
            .unwrap()
            .starts_with("sdk/rust depends on")
    );
    let guest = said("host/testkit/guests/lab-source", local("host/model", Value::Null)).unwrap();
    assert!(guest.starts_with("plugins/lab-source depends on"), "{guest}");
    assert!(
        said("host/cli", local("plugins/zfs", Value::Null))
            .unwrap()
            .contains("never links them")
    );
    assert!(
        said("host/engine", external("wasmtime-wasi"))
            .unwrap()
            .contains("only host/plugin may know")
    );
    assert!(
        said("host/model", external("tokio"))
            .unwrap()
            .contains("waits for nothing")
    );
    assert!(
        said("host/attic", external("serde"))
            .unwrap()
            .contains("is in no layer")
    );
}

#[test]
fn allowed_arrows_and_those_of_tests_are_passed() {
    assert_eq!(said("host/engine", local("host/plugin", Value::Null)), None);
    assert_eq!(said("host/stream", local("host/testkit", json!("dev"))), None);
    assert_eq!(said("plugins/zfs", local("sdk/rust", Value::Null)), None);
    assert_eq!(
        said("host/testkit/guests/lab-source", local("sdk/rust", Value::Null)),
        None
    );
    assert_eq!(said("host/plugin", external("wasmtime")), None);
}
