//! Podman with its service, Podman without, Docker's client; and an engine that is missing or away.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use backstay_testkit::cli::Backstay;
use backstay_testkit::{process, tools};
use serde_json::json;

use super::lab::{BINARY, Lab, artifacts, facts};

/// The program in a mount namespace of its own, in which something else is at some paths.
fn with_mounts(directory: &Path, mounts: &[(&Path, &Path)]) -> PathBuf {
    tools::require(&["unshare", "mount"]);
    let script = directory.join("backstay-elsewhere");
    let mut text = "#!/bin/sh\nset -e\n".to_owned();
    text += "if [ -z \"$ELSEWHERE\" ]; then ELSEWHERE=1 exec unshare --mount \"$0\" \"$@\"; fi\n";
    for (from, to) in mounts {
        text += &format!("mount --bind '{}' '{}'\n", from.display(), to.display());
    }
    text += &format!("unset ELSEWHERE\nexec '{BINARY}' \"$@\"\n");
    std::fs::write(&script, text).unwrap();
    let made = Command::new("chmod").arg("755").arg(&script).status().unwrap();
    assert!(made.success());
    script
}

#[test]
fn podman_needs_no_service() {
    let lab = Lab::new();
    lab.run_obedient("web", &[]);
    lab.run_obedient("db", &[]);
    let directory = lab.directory("bin");
    let program = with_mounts(
        &directory,
        &[(&lab.containers.settings(), Path::new("/etc/containers"))],
    );
    let plain = Backstay::new(program);
    let mut job = lab.job(
        json!({ "containers": ["web", "db"], "actions": { "db": "pause" } }),
        json!({}),
    );
    job["source"]["config"].as_object_mut().unwrap().remove("host");
    plain.apply(&job.to_string()).ok();
    let run = plain.json(&["run", "c"]);
    assert_eq!(run["status"], "succeeded", "{run:#}");
    let backup = &run["backups"][0];
    assert_eq!(
        artifacts(backup),
        ["volume-db-data", "volume-web-data", "containers"]
    );
    assert!(
        facts(backup, "containers")["engineVersion"]
            .as_str()
            .unwrap()
            .starts_with("podman version")
    );
    lab.assert_states(&[("web", "running"), ("db", "running")]);
}

#[test]
fn dockers_client_does_the_same() {
    tools::require(&["docker"]);
    let lab = Lab::new();
    let path = lab.run_obedient("web", &[]);
    lab.run_obedient("db", &[]);
    lab.run_obedient("cache", &[]);
    lab.apply(json!({
        "engine": "docker", "containers": ["web", "db", "cache"], "actions": { "db": "pause", "cache": "quiesce" },
        "quiesce": "touch /data/quiet", "resume": "rm /data/quiet", "stopTimeout": 5,
    }));
    let backup = lab.back_up();
    assert_eq!(
        artifacts(&backup),
        [
            "volume-cache-data",
            "volume-db-data",
            "volume-web-data",
            "containers"
        ]
    );
    lab.assert_states(&[("web", "running"), ("db", "running"), ("cache", "running")]);
    assert!(
        facts(&backup, "containers")["engineVersion"]
            .as_str()
            .unwrap()
            .starts_with("Docker version")
    );
    lab.backstay
        .run(&["restore", "latest:c", "--to", "volume:copy", "volume-web-data"])
        .ok();
    backstay_testkit::compare::trees(&path, &lab.containers.volume("copy")).unwrap();
}

#[test]
fn a_missing_engine_is_named_with_the_remedy() {
    let lab = Lab::new();
    let directory = lab.directory("bin");
    let nothing = Path::new("/dev/null");
    let programs: Vec<PathBuf> = ["docker", "podman"].into_iter().filter_map(tools::find).collect();
    let mounts: Vec<(&Path, &Path)> = programs.iter().map(|p| (nothing, p.as_path())).collect();
    let without = Backstay::new(with_mounts(&directory, &mounts));
    let file = lab.backstay.scratch_dir().join("job.json");
    for (engine, message) in [
        (Some("podman"), "the program `podman` is not installed"),
        (None, "neither `docker` nor `podman` is installed"),
    ] {
        let mut job = lab.job(json!({ "containers": ["web"] }), json!({}));
        let config = job["source"]["config"].as_object_mut().unwrap();
        config.remove("engine");
        config.extend(engine.map(|engine| ("engine".to_owned(), json!(engine))));
        std::fs::write(&file, job.to_string()).unwrap();
        let said = without
            .run(&["apply", "-f", file.to_str().unwrap()])
            .code(2)
            .stderr;
        assert!(said.contains(message), "{said}");
    }
}

#[test]
fn an_engine_that_is_away_fails_the_run_before_anything_is_stopped() {
    let mut lab = Lab::new();
    lab.run_obedient("web", &[]);
    lab.apply(json!({ "containers": ["web"] }));
    lab.containers.stop_service();
    for engine in ["podman", "docker"] {
        let file = lab.backstay.scratch_dir().join("job.json");
        let job = lab.job(json!({ "containers": ["web"], "engine": engine }), json!({}));
        std::fs::write(&file, job.to_string()).unwrap();
        let said = lab
            .backstay
            .run(&["apply", "-f", file.to_str().unwrap()])
            .code(2)
            .stderr;
        assert!(
            said.contains("start the container engine, or correct `host` in the job"),
            "{said}"
        );
    }
    let run = lab.run(3);
    assert!(
        run["error"].to_string().contains("start the container engine"),
        "{run}"
    );
    lab.assert_states(&[("web", "running")]);
}

#[test]
fn an_engine_that_goes_away_during_the_run_gets_its_containers_back_later() {
    let mut lab = Lab::new();
    let path = lab.run_obedient("web", &["--label", "org.backstay.depends-on=db"]);
    let waits = lab.run_obedient("db", &[]);
    lab.apply(json!({
        "containers": ["web", "db"], "actions": { "db": "quiesce" },
        "quiesce": "touch /data/here; until test -e /data/go; do sleep 0.1; done", "resume": "true",
    }));
    let run = lab.backstay.spawn(&["run", "c", "--json"]);
    process::wait_until("`db` to be quiesced", Duration::from_secs(60), || {
        waits.join("here").exists()
    });
    lab.containers.stop_service();
    std::fs::write(waits.join("go"), "").unwrap();
    let output = run.wait();
    assert_ne!(output.code, 0, "{}", output.stdout);
    let run = output.json();
    assert!(
        Lab::warnings(&run).iter().any(|w| w.starts_with("not-undone: ")),
        "{run:#}"
    );
    lab.assert_states(&[("web", "exited")]);
    // As long as it is away, each start says so; once it is back, the next one brings the container back.
    lab.backstay.run(&["runs"]).ok();
    lab.assert_states(&[("web", "exited")]);
    lab.containers.start_service();
    lab.backstay.run(&["runs"]).ok();
    lab.assert_states(&[("web", "running"), ("db", "running")]);
    assert!(path.join("file").exists());
}
