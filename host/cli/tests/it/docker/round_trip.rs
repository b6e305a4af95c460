//! What is in volumes and bind mounts comes back as it was, by Backstay and without it.

use backstay_testkit::compare;
use backstay_testkit::containers::OBEDIENT;
use backstay_testkit::tree::{self, Size};
use serde_json::{Value, json};

use super::lab::{Lab, artifacts, facts, keep_copy, run_kit};

/// Small enough for a quick test, with one of everything.
fn fill(path: &std::path::Path) {
    let size = Size::default().sparse_bytes(64 << 20).path_bytes(1000).depth(20);
    tree::hostile(path, size);
}

#[test]
fn volumes_and_bind_mounts_come_back_as_they_were() {
    let lab = Lab::new();
    let volume = lab.containers.volume("shop_db");
    fill(&volume);
    std::os::unix::fs::chown(&volume, Some(999), Some(998)).unwrap();
    let bind = lab.directory("srv/app");
    fill(&bind);
    let file = lab.directory("srv").join("app.conf");
    std::fs::write(&file, "colour = red").unwrap();
    let (bind_mount, file_mount) = (
        format!("{}:/app", bind.display()),
        format!("{}:/etc/app.conf:ro", file.display()),
    );
    let options = [
        "--volume",
        "shop_db:/var/lib/db",
        "--volume",
        &bind_mount,
        "--volume",
        &file_mount,
        "--env",
        "DB_PASSWORD=hunter2",
        "--env",
        "TZ=UTC",
        "--label",
        "tier=backend",
    ];
    lab.containers.run("shop", &options, OBEDIENT);
    // The same volume in a second container is backed up once.
    lab.containers
        .run("reader", &["--volume", "shop_db:/db:ro"], OBEDIENT);
    let started = lab.containers.inspect("shop", "{{.State.StartedAt}}");
    lab.apply_with(
        json!({ "containers": ["shop", "reader"], "bindPaths": [lab.directory("srv")] }),
        json!({ "filters": { "compression": { "algorithm": "zstd" } }, "verify": { "level": "restore", "afterRun": true } }),
    );
    let backup = lab.back_up();

    lab.assert_states(&[("shop", "running"), ("reader", "running")]);
    assert_ne!(lab.containers.inspect("shop", "{{.State.StartedAt}}"), started);
    let names = artifacts(&backup);
    assert_eq!(names.len(), 4, "{names:?}");
    assert!(
        names.contains(&"volume-shop_db") && names.contains(&"containers"),
        "{names:?}"
    );
    let [bind_name, file_name] =
        ["-srv-app", "-srv-app.conf"].map(|end| *names.iter().find(|name| name.ends_with(end)).unwrap());

    let target = lab.directory("restored");
    let target_text = target.to_str().unwrap();
    lab.backstay
        .run(&["restore", "latest:c", "--to", target_text])
        .ok();
    let by_kit = lab.directory("by-kit");
    let kit = lab.backstay.run(&["recovery-kit", "latest:c"]).ok().stdout;
    let result = run_kit(&kit, &by_kit);
    assert_eq!(result.code, 0, "{}\n{}\n{kit}", result.stdout, result.stderr);
    for restored in [&target, &by_kit] {
        compare::trees(&volume, &restored.join("volume-shop_db")).unwrap();
        compare::trees(&bind, &restored.join(bind_name)).unwrap();
        assert_eq!(
            std::fs::read_to_string(restored.join(file_name).join("app.conf")).unwrap(),
            "colour = red"
        );
        let text = std::fs::read_to_string(restored.join("containers.json")).unwrap();
        let definitions: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(&definitions, facts(&backup, "containers"));
    }
    let definitions = facts(&backup, "containers");
    let shop = &definitions["containers"]
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["name"] == "shop")
        .unwrap();
    assert_eq!(shop["state"], "running");
    assert_eq!(shop["action"], "stop");
    assert!(shop["quietSince"].is_string() && shop["imageId"].as_str().unwrap().len() >= 64);
    assert_eq!(shop["image"], "localhost/busybox:test");
    let env = shop["inspect"]["Config"]["Env"].as_array().unwrap();
    assert!(
        env.contains(&json!("DB_PASSWORD=(redacted)")) && env.contains(&json!("TZ=UTC")),
        "{env:?}"
    );
    assert_eq!(shop["inspect"]["Config"]["Labels"]["tier"], "backend");
    assert!(
        !backup.to_string().contains("hunter2"),
        "a secret is in the manifest"
    );
}

#[test]
fn containers_run_again_before_the_backup_is_checked() {
    let lab = Lab::new();
    lab.run_obedient("web", &[]);
    let second = lab.directory("second");
    let first = json!({ "plugin": "local", "config": { "path": lab.store(), "minFreeBytes": 0 } });
    lab.apply_with(
        json!({ "containers": ["web"] }),
        json!({
            "destinations": [first, { "plugin": "local", "config": { "path": second, "minFreeBytes": 0 } }],
            "verify": { "level": "checksum", "afterRun": true },
        }),
    );
    let run = lab.run(0);
    let log = lab.log();
    let place = |words: &str| log.find(words).unwrap_or_else(|| panic!("no `{words}` in {log}"));
    assert!(
        place("web runs again; it was down for ") < place("passed the level checksum"),
        "{log}"
    );
    // The last manifest says how long each stage took while it was down.
    let manifest = &run["backups"][1]["manifest"];
    let stages: Vec<&str> = manifest["stages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["name"].as_str().unwrap())
        .collect();
    assert_eq!(stages, ["prepare", "store at local", "store at local", "release"]);
}

#[test]
fn a_volume_that_is_a_directory_of_this_machine_is_read_there() {
    let lab = Lab::new();
    let device = lab.directory("srv/files");
    std::fs::write(device.join("file"), "1").unwrap();
    let option = format!("device={}", device.display());
    lab.containers.podman(&[
        "volume",
        "create",
        "--opt",
        "type=none",
        "--opt",
        "o=bind",
        "--opt",
        &option,
        "files",
    ]);
    lab.containers.run("web", &["--volume", "files:/files"], OBEDIENT);
    lab.apply(json!({ "containers": ["web"], "bindPaths": [lab.directory("srv")] }));
    let backup = lab.back_up();
    assert_eq!(artifacts(&backup), ["volume-files", "containers"]);
    let target = lab.backstay.scratch_dir().join("restored");
    lab.backstay
        .run(&["restore", "latest:c", "--to", target.to_str().unwrap()])
        .ok();
    compare::trees(&device, &target.join("volume-files")).unwrap();
}

#[test]
fn files_and_mounts_are_left_out_on_request() {
    let lab = Lab::new();
    let path = lab.run_obedient(
        "web",
        &["--volume", "web-cache:/cache", "--volume", "web-tmp:/x/tmp"],
    );
    std::fs::write(path.join("a.log"), "noise").unwrap();
    lab.apply(json!({ "containers": ["web"], "exclude": ["*-cache", "/x/*"], "excludeFiles": ["*.log"] }));
    let backup = lab.back_up();
    assert_eq!(artifacts(&backup), ["volume-web-data", "containers"]);
    let target = lab.directory("restored");
    lab.backstay
        .run(&["restore", "latest:c", "--to", target.to_str().unwrap()])
        .ok();
    assert!(target.join("volume-web-data/file").exists());
    assert!(!target.join("volume-web-data/a.log").exists());
}

#[test]
fn a_backup_is_restored_into_its_volume_when_that_is_empty() {
    let lab = Lab::new();
    let path = lab.run_obedient("web", &[]);
    let copy = lab.backstay.scratch_dir().join("copy");
    keep_copy(&path, &copy);
    lab.apply(json!({ "containers": ["web"] }));
    lab.back_up();
    lab.containers.podman(&["rm", "--force", "--time", "0", "web"]);
    lab.containers.podman(&["volume", "rm", "web-data"]);
    lab.backstay.run(&["restore", "latest:c", "--in-place"]).ok();
    compare::trees(&copy, &path).unwrap();
}
