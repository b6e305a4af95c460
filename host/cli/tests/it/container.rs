//! The service in a container, as the container file says: an unprivileged user, a volume, a health check, a polite end.
//!
//! There is no registry here: the image has what the last stage of the file says, but this machine's binary and libraries in
//! place of the packages of a distribution.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use backstay_testkit::containers::Containers;
use backstay_testkit::process::wait_until;
use backstay_testkit::tools;

const PATIENCE: Duration = Duration::from_secs(60);

const BINARY: &str = env!("CARGO_BIN_EXE_backstay");

/// The user of the container file.
const USER: u32 = 1201;

fn container_file() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../dist/Containerfile")).unwrap()
}

/// The last stage of the container file, on top of nothing, with what is in `root` in place of what it installs.
fn on_top_of_nothing(file: &str) -> String {
    let last = file.rsplit("\nFROM ").next().unwrap();
    let kept: Vec<&str> = last
        .lines()
        .skip(1)
        .filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()))
        .filter(|line| !line.starts_with("RUN ") && !line.starts_with("COPY "))
        .collect();
    for word in [
        "ENV",
        "VOLUME",
        "USER",
        "STOPSIGNAL",
        "HEALTHCHECK",
        "ENTRYPOINT",
        "CMD",
    ] {
        assert!(
            kept.iter().any(|line| line.starts_with(word)),
            "{word} is not in {kept:#?}"
        );
    }
    let data = format!("COPY --chown={USER}:{USER} data /var/lib/backstay");
    format!("FROM scratch\nCOPY root /\n{data}\n{}\n", kept.join("\n"))
}

/// Files that the binary needs to start: its libraries, and whom this machine trusts.
fn needed() -> Vec<PathBuf> {
    tools::require(&["ldd"]);
    let output = Command::new("ldd").arg(BINARY).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let words = text.split_whitespace().filter(|word| word.starts_with('/'));
    let trusted = "/etc/ssl/certs/ca-certificates.crt";
    words.chain([trusted]).map(PathBuf::from).collect()
}

fn make(directory: &Path, user: u32) {
    fs::create_dir_all(directory).unwrap();
    chown(directory, Some(user), Some(user)).unwrap();
}

#[test]
fn the_container_of_the_container_file_is_healthy_and_ends_politely() {
    let containers = Containers::start();
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    for directory in ["root/usr/local/bin", "root/tmp", "root/etc/backstay", "data"] {
        make(&at(directory), 0);
    }
    fs::copy(tools::find("busybox").unwrap(), at("root/usr/local/bin/busybox")).unwrap();
    fs::write(at("Containerfile"), on_top_of_nothing(&container_file())).unwrap();
    let (context, image) = (scratch.path().to_str().unwrap(), "localhost/backstay:test");
    // Only this format has health checks.
    let how = [
        "build",
        "--quiet",
        "--format",
        "docker",
        "--isolation",
        "chroot",
        "--tag",
        image,
    ];
    containers.podman(&[&how[..], &[context]].concat());

    for directory in ["source", "place"] {
        make(&at(directory), USER);
    }
    fs::write(at("source/file"), "content").unwrap();
    fs::write(
        at("source/job.yaml"),
        "name: documents\nsource: { plugin: path, config: { path: /source } }\ndestinations: [{ plugin: local, config: { path: /place } }]\n",
    )
    .unwrap();
    let mut mounts = vec![
        format!("{BINARY}:/usr/local/bin/backstay:ro"),
        format!("{}:/source:ro", at("source").display()),
        format!("{}:/place", at("place").display()),
        "backstay-data:/var/lib/backstay".to_owned(),
    ];
    mounts.extend(needed().iter().map(|path| format!("{0}:{0}:ro", path.display())));
    let mut run = vec![
        "run",
        "--detach",
        "--name",
        "backup",
        "--network",
        "none",
        "--cap-drop",
        "all",
    ];
    // This machine has no systemd that could ask for the health again and again; the test does.
    run.extend(["--read-only", "--tmpfs", "/tmp", "--health-interval", "disable"]);
    for mount in &mounts {
        run.extend(["--volume", mount]);
    }
    run.push(image);
    containers.podman(&run);
    wait_until("the container to be healthy", PATIENCE, || {
        assert_eq!(containers.state("backup"), "running", "{}", logs(&containers));
        containers
            .try_podman(&["healthcheck", "run", "backup"])
            .status
            .success()
    });

    let backstay = ["exec", "backup", "/usr/local/bin/backstay"];
    let exec = |args: &[&str]| containers.podman(&[&backstay[..], args].concat());
    assert_eq!(exec(&["health"]), "the service does its work");
    exec(&["apply", "-f", "/source/job.yaml"]);
    exec(&["run", "documents"]);
    let shown = containers.podman(&["exec", "backup", "/usr/local/bin/busybox", "id", "-u"]);
    assert_eq!(shown, USER.to_string());
    assert_eq!(fs::read_dir(at("place/documents")).unwrap().count(), 1);

    containers.podman(&["stop", "--time", "60", "backup"]);
    assert_eq!(
        containers.inspect("backup", "{{.State.ExitCode}}"),
        "0",
        "{}",
        logs(&containers)
    );
    // What it knows is in the volume, so another container goes on with it.
    containers.podman(&["rm", "backup"]);
    containers.podman(&run);
    wait_until("the next container to be healthy", PATIENCE, || {
        containers
            .try_podman(&["healthcheck", "run", "backup"])
            .status
            .success()
    });
    assert!(exec(&["runs"]).contains("documents"));
    containers.podman(&["kill", "backup"]);
}

fn logs(containers: &Containers) -> String {
    let output = containers.try_podman(&["logs", "backup"]);
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn what_asks_for_the_health_of_a_service_hears_when_there_is_none() {
    let backstay = backstay_testkit::cli::Backstay::new(BINARY);
    let said = backstay.run(&["health"]).code(3).stderr;
    assert!(said.contains("no service runs on the data directory"), "{said}");
    let file = container_file();
    assert!(file.contains("\"/usr/local/bin/backstay\", \"health\""), "{file}");
}
