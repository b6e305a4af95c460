//! What is refused before anything happens.

use serde_json::{Value, json};

use super::lab::{Lab, assert_same, change, facts, zfs_when_free};

fn diagnostics(lab: &Lab, config: Value) -> Vec<(String, String, Option<String>)> {
    let file = lab.backstay.scratch_dir().join("wrong.json");
    std::fs::write(&file, lab.job(config, json!({})).to_string()).unwrap();
    let output = lab
        .backstay
        .run_json(&["apply", "-f", file.to_str().unwrap()])
        .code(2);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let found = output.json()["checked"][0]["diagnostics"]
        .as_array()
        .unwrap()
        .clone();
    let each = found.iter();
    each.map(|d| {
        (
            text(&d["pointer"]).unwrap(),
            text(&d["message"]).unwrap(),
            text(&d["hint"]),
        )
    })
    .collect()
}

#[test]
fn a_missing_dataset_is_an_error_that_lists_what_there_is() {
    let lab = Lab::new();
    let wrong = format!("{}/sauce", lab.pool.name());
    let found = diagnostics(&lab, json!({ "poolName": wrong }));
    let [(pointer, message, Some(hint))] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(pointer, "/source/config/poolName");
    assert_eq!(message, &format!("there is no pool or dataset `{wrong}`"));
    assert!(
        hint.starts_with(&format!("there are {}, {}", lab.pool.name(), lab.source.name())),
        "{hint}"
    );
}

#[test]
fn wrong_names_are_refused() {
    let lab = Lab::new();
    for name in [
        "",
        "/tank",
        "tank/../x",
        "tank@x",
        "tank x",
        "tank;x",
        "-r",
        "tank/",
        "tank//x",
        "tänk",
    ] {
        let found = diagnostics(&lab, json!({ "poolName": name }));
        assert!(
            found
                .iter()
                .any(|(pointer, _, _)| pointer == "/source/config/poolName"),
            "{name}: {found:?}"
        );
    }
    for name in ["", "a b", "a@b", "a/b", "a.b", "ä", "a%b"] {
        let found = diagnostics(&lab, json!({ "snapshotName": name }));
        assert!(
            found
                .iter()
                .any(|(pointer, _, _)| pointer == "/source/config/snapshotName"),
            "{name}: {found:?}"
        );
    }
}

#[test]
fn options_that_only_openzfs_knows_are_refused_where_it_is_not() {
    let lab = Lab::new();
    let found = diagnostics(
        &lab,
        json!({ "raw": true, "compressed": true, "largeBlocks": true }),
    );
    let pointers: Vec<&str> = found.iter().map(|(pointer, _, _)| pointer.as_str()).collect();
    assert_eq!(
        pointers,
        ["raw", "compressed", "largeBlocks"].map(|f| format!("/source/config/{f}"))
    );
    assert_eq!(found[0].2.as_deref(), Some("it needs OpenZFS 0.8 or newer"));
}

#[test]
fn a_restore_never_goes_where_something_is() {
    let lab = Lab::new();
    lab.apply(json!({}));
    change(lab.source.mountpoint(), 0);
    let backup = lab.back_up();
    let there = lab.pool.dataset("there");
    std::fs::write(there.mountpoint().join("precious"), "1").unwrap();
    for (target, code, reason) in [
        (there.name(), 2, "exists already"),
        (lab.source.name(), 2, "exists already"),
        ("/mnt/somewhere", 2, "is not the name of a dataset"),
        ("--force", 2, ""),
        (
            &format!("{}/no/such/parent", lab.pool.name()),
            5,
            "does not exist",
        ),
    ] {
        let output = lab
            .backstay
            .run(&["restore", "latest:data", &format!("--to={target}")])
            .code(code);
        assert!(output.stdout.contains(reason), "{}", output.stdout);
    }
    let output = lab
        .backstay
        .run(&["restore", "latest:data", "--in-place"])
        .code(2);
    assert!(output.stdout.contains("--to POOL/NAME"), "{}", output.stdout);
    let output = lab
        .backstay
        .run(&["restore", "latest:data", "--to", "x/y", "sub/dir"])
        .code(2);
    assert!(output.stdout.contains("as a whole"), "{}", output.stdout);
    // Told to overwrite, ZFS itself still keeps a dataset that has snapshots.
    let args = ["restore", "latest:data", "--overwrite", "--to", lab.source.name()];
    let output = lab.backstay.run(&args).code(5);
    assert!(
        output.stdout.contains("destroy it first, or name a new dataset"),
        "{}",
        output.stdout
    );
    assert!(there.mountpoint().join("precious").exists());
    assert!(lab.source.mountpoint().join("changes").exists());
    lab.assert_only_base(&backup);
}

#[test]
fn a_dataset_is_overwritten_only_on_request() {
    let lab = Lab::new();
    lab.apply(json!({}));
    for step in 0..2 {
        change(lab.source.mountpoint(), step);
        lab.back_up();
    }
    let there = lab.pool.dataset("there");
    lab.backstay
        .run(&["restore", "latest:data", "--to", there.name()])
        .code(2);
    zfs_when_free(&lab.pool, &["unmount", there.name()]);
    lab.backstay
        .run(&["restore", "latest:data", "--overwrite", "--to", there.name()])
        .ok();
    lab.pool.zfs(&["mount", there.name()]);
    assert_same(lab.source.mountpoint(), there.mountpoint());
}

#[test]
fn a_dry_run_prints_the_exact_commands_and_does_nothing() {
    let lab = Lab::new();
    lab.apply(json!({}));
    let mut snapshots = Vec::new();
    for step in 0..3 {
        change(lab.source.mountpoint(), step);
        snapshots.push(facts(&lab.back_up())["snapshot"].as_str().unwrap().to_owned());
    }
    let target = format!("{}/restored", lab.pool.name());
    let commands = |verb: &str, stderr: &str| {
        let lines: Vec<String> = stderr
            .lines()
            .filter(|l| l.contains("zfs receive"))
            .map(str::to_owned)
            .collect();
        assert_eq!(lines.len(), 3, "{stderr}");
        for (line, snapshot) in lines.iter().zip(&snapshots) {
            let expected = format!("{verb} `zfs receive -u {target}` with the stream of {snapshot}");
            assert!(line.ends_with(&expected), "{line}");
        }
    };
    let dry = lab
        .backstay
        .run(&["restore", "latest:data", "--dry-run", "--to", &target])
        .ok();
    commands("would run", &dry.stderr);
    assert!(!lab.pool.exists(&target));
    let real = lab
        .backstay
        .run(&["restore", "latest:data", "--to", &target])
        .ok();
    commands("running", &real.stderr);
    assert!(lab.pool.exists(&target));
}
