//! What other tools lost data or services by, each as a test.

use backstay_testkit::containers::OBEDIENT;
use serde_json::json;

use super::lab::{Lab, artifacts};

#[test]
fn containers_that_lost_their_data_are_no_empty_backup() {
    let lab = Lab::new();
    lab.run_obedient("web", &[]);
    lab.apply(json!({ "containers": ["web"] }));
    lab.back_up();
    lab.containers.podman(&["rm", "--force", "--time", "0", "web"]);
    lab.containers.run("web", &[], OBEDIENT);
    let run = lab.run(4);
    let error = run["error"].to_string();
    assert!(
        error.contains("have no volume or bind mount that is backed up"),
        "{error}"
    );
    assert_eq!(lab.backstay.json(&["backups"]).as_array().unwrap().len(), 1);
    lab.assert_states(&[("web", "running")]);
}

#[test]
fn a_container_that_would_vanish_when_stopped_is_not_stopped() {
    let lab = Lab::new();
    let volume = lab.run_obedient("web", &["--rm", "--volume", "/unnamed"]);
    let file = lab.backstay.scratch_dir().join("wrong.json");
    std::fs::write(
        &file,
        lab.job(json!({ "containers": ["web"] }), json!({})).to_string(),
    )
    .unwrap();
    let said = lab
        .backstay
        .run(&["apply", "-f", file.to_str().unwrap()])
        .code(2)
        .stderr;
    assert!(said.contains("was started with `--rm`"), "{said}");
    lab.assert_states(&[("web", "running")]);
    lab.apply(json!({ "containers": ["web"], "action": "pause" }));
    let backup = lab.back_up();
    assert_eq!(artifacts(&backup).len(), 3, "the unnamed volume too");
    lab.assert_states(&[("web", "running")]);
    assert!(volume.join("file").exists());
}

#[test]
fn the_engines_socket_and_the_systems_own_places_are_never_read() {
    let lab = Lab::new();
    let srv = lab.directory("srv");
    let socket = srv.join("app.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let mounts = [
        "/proc:/host/proc:ro".to_owned(),
        "/sys/kernel:/host/sys:ro".to_owned(),
        "/dev/null:/dev/nothing".to_owned(),
        "/run:/host/run:ro".to_owned(),
        format!("{}:/app.sock", socket.display()),
    ];
    let options: Vec<&str> = mounts.iter().flat_map(|m| ["--volume", m]).collect();
    lab.run_obedient("web", &[&options[..], &["--tmpfs", "/scratch"]].concat());
    lab.apply(json!({ "containers": ["web"], "bindPaths": [srv] }));
    assert_eq!(artifacts(&lab.back_up()), ["volume-web-data", "containers"]);
}

#[test]
fn a_bind_mount_that_the_job_does_not_name_is_no_silent_gap() {
    let lab = Lab::new();
    let srv = lab.directory("srv");
    let mount = format!("{}:/app", srv.display());
    lab.run_obedient("web", &["--volume", &mount]);
    lab.apply(json!({ "containers": ["web"] }));
    let run = lab.run(1);
    let expected = format!(
        "bind-not-named: {}, mounted into web, is not backed up: name it, or a directory above it, in `bindPaths`, or leave it out by `exclude`",
        srv.display()
    );
    assert_eq!(Lab::warnings(&run), [expected]);
    assert_eq!(
        run["backups"][0]["manifest"]["warnings"][0]["code"],
        "bind-not-named"
    );
    lab.apply(json!({ "containers": ["web"], "exclude": ["/app"] }));
    lab.back_up();
}

#[test]
fn a_volume_that_another_container_goes_on_writing_to_is_said() {
    let lab = Lab::new();
    lab.run_obedient("web", &[]);
    lab.containers
        .run("worker", &["--volume", "web-data:/data"], OBEDIENT);
    lab.apply(json!({ "containers": ["web"] }));
    let run = lab.run(1);
    let expected = "volume-in-use: the volume web-data is also used by the container worker, which is not in this job and keeps running";
    assert_eq!(Lab::warnings(&run), [expected]);
}

#[test]
fn a_container_that_vanished_since_the_job_was_made_fails_the_run_and_keeps_the_others_up() {
    let lab = Lab::new();
    lab.run_obedient("web", &[]);
    lab.run_obedient("db", &[]);
    lab.apply(json!({ "containers": ["db", "web"] }));
    lab.containers.podman(&["rm", "--force", "--time", "0", "db"]);
    let started = lab.containers.inspect("web", "{{.State.StartedAt}}");
    let run = lab.run(4);
    assert!(
        run["error"].to_string().contains("podman has no container `db`"),
        "{run}"
    );
    assert_eq!(lab.containers.inspect("web", "{{.State.StartedAt}}"), started);
}

#[test]
fn hostile_labels_and_names_are_only_text() {
    let lab = Lab::new();
    let odd = "com.docker.compose.depends_on=$(touch /tmp/owned),`x`,,:::,web:\u{1b}[31m\n--all";
    lab.run_obedient(
        "web",
        &[
            "--label",
            odd,
            "--label",
            "com.docker.compose.project=--all",
            "--label",
            "evil=\u{1b}]0;title\u{7}",
        ],
    );
    lab.apply(json!({ "labels": ["com.docker.compose.project=--all"] }));
    lab.back_up();
    lab.assert_states(&[("web", "running")]);
    let shown = lab.log();
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
    // The beginning of an id is no name.
    let id = lab.containers.inspect("web", "{{.Id}}");
    let file = lab.backstay.scratch_dir().join("wrong.json");
    std::fs::write(
        &file,
        lab.job(json!({ "containers": [&id[..6]] }), json!({}))
            .to_string(),
    )
    .unwrap();
    let said = lab
        .backstay
        .run(&["apply", "-f", file.to_str().unwrap()])
        .code(2)
        .stderr;
    assert!(said.contains("podman has no container"), "{said}");
}
