//! A restore never writes over a volume's data, and goes where it is told.

use backstay_testkit::compare;
use serde_json::json;

use super::lab::Lab;

#[test]
fn a_volume_with_data_or_in_use_is_not_restored_to() {
    let lab = Lab::new();
    let path = lab.run_obedient("web", &[]);
    lab.apply(json!({ "containers": ["web"] }));
    lab.back_up();
    std::fs::write(path.join("file"), "newer").unwrap();
    let said = lab
        .backstay
        .run(&["restore", "latest:c", "--in-place"])
        .code(2)
        .stdout;
    assert!(
        said.contains("the volume web-data is in use by the container web, which runs"),
        "{said}"
    );
    assert!(said.contains("podman stop web"), "{said}");
    lab.containers.podman(&["stop", "web"]);
    let said = lab
        .backstay
        .run(&["restore", "latest:c", "--in-place"])
        .code(2)
        .stdout;
    assert!(
        said.contains("the volume web-data is not empty") && said.contains("--overwrite"),
        "{said}"
    );
    assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "newer");
    lab.backstay
        .run(&["restore", "latest:c", "--in-place", "--overwrite"])
        .ok();
    assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "of web");
    lab.assert_states(&[("web", "exited")]);
}

#[test]
fn a_volume_is_restored_into_another_one() {
    let lab = Lab::new();
    lab.containers.podman(&[
        "volume",
        "create",
        "--label",
        "com.example.owner=shop",
        "--label",
        "odd=-x y",
        "web-data",
    ]);
    let path = lab.run_obedient("web", &[]);
    std::fs::create_dir(path.join("deep")).unwrap();
    std::fs::write(path.join("deep/er"), "deeper").unwrap();
    lab.apply(json!({ "containers": ["web"] }));
    lab.back_up();
    let restore = |args: &[&str]| lab.backstay.run(&[&["restore", "latest:c"], args].concat());

    let said = restore(&["--to", "volume:copy"]).code(2).stdout;
    assert!(said.contains("--to volume:copy volume-web-data"), "{said}");
    restore(&["--to", "volume:-f", "volume-web-data"]).code(2);
    restore(&["--to", "volume:copy", "volume-web-data", "--dry-run"]).ok();
    assert!(
        !lab.containers
            .try_podman(&["volume", "exists", "copy"])
            .status
            .success(),
        "a dry run made a volume"
    );

    restore(&["--to", "volume:copy", "volume-web-data"]).ok();
    compare::trees(&path, &lab.containers.volume("copy")).unwrap();
    let labels = lab
        .containers
        .podman(&["volume", "inspect", "--format", "{{json .Labels}}", "copy"]);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&labels).unwrap(),
        json!({ "com.example.owner": "shop", "odd": "-x y" })
    );
    let said = restore(&["--to", "volume:copy", "volume-web-data"])
        .code(2)
        .stdout;
    assert!(said.contains("the volume copy is not empty"), "{said}");

    restore(&["--to", "volume:part", "volume-web-data/deep"]).ok();
    let part = lab.containers.volume("part");
    assert!(part.join("deep/er").exists() && !part.join("file").exists());
}

#[test]
fn a_bind_mount_goes_back_to_where_it_was_or_into_a_directory() {
    let lab = Lab::new();
    let srv = lab.directory("srv");
    let (data, file) = (lab.directory("srv/data"), srv.join("app.conf"));
    std::fs::write(data.join("file"), "1").unwrap();
    std::fs::write(&file, "2").unwrap();
    let mounts = [
        format!("{}:/data", data.display()),
        format!("{}:/app.conf", file.display()),
    ];
    lab.containers.run(
        "web",
        &["--volume", &mounts[0], "--volume", &mounts[1]],
        backstay_testkit::containers::OBEDIENT,
    );
    lab.apply(json!({ "containers": ["web"], "bindPaths": [srv] }));
    lab.back_up();
    lab.containers.podman(&["rm", "--force", "--time", "0", "web"]);
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::remove_file(&file).unwrap();
    let said = lab
        .backstay
        .run(&["restore", "latest:c", "--in-place", "--dry-run"])
        .ok()
        .stderr;
    assert!(
        said.contains(&format!(
            "would write 1 entries with 1 bytes to {}",
            file.display()
        )),
        "{said}"
    );
    assert!(!data.exists() && !file.exists());
    lab.backstay.run(&["restore", "latest:c", "--in-place"]).ok();
    assert_eq!(std::fs::read_to_string(data.join("file")).unwrap(), "1");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "2");
}

#[test]
fn the_definitions_are_shown_on_their_own() {
    let lab = Lab::new();
    lab.run_obedient("web", &["--label", "colour=red"]);
    lab.apply(json!({ "containers": ["web"] }));
    lab.back_up();
    let to = lab.directory("shown");
    lab.backstay
        .run(&[
            "restore",
            "latest:c",
            "--artifact",
            "containers",
            "--to",
            to.to_str().unwrap(),
        ])
        .ok();
    let text = std::fs::read_to_string(to.join("containers.json")).unwrap();
    assert!(text.contains("\"colour\": \"red\""), "{text}");
    assert!(!to.join("volume-web-data").exists());
}
