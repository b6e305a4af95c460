//! A server of SFTP: who it is, who we are, and what is left of a connection.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use backstay_testkit::cli::{Backstay, Output};
use backstay_testkit::process::wait_until;
use backstay_testkit::ssh::SshServer;

use super::lab::said;

struct Lab {
    backstay: Backstay,
    server: SshServer,
}

impl Lab {
    fn new() -> Self {
        let backstay = Backstay::with_guests(env!("CARGO_BIN_EXE_backstay"), &["lab-source"]);
        let server = SshServer::start(&backstay.scratch_dir().join("ssh"));
        let lab = Lab { backstay, server };
        fs::create_dir(lab.served()).unwrap();
        lab
    }

    fn served(&self) -> PathBuf {
        self.backstay.scratch_dir().join("served")
    }

    /// A remote that is called so, with more options.
    fn add(&self, name: &str, root: &str, more: &[&str]) {
        let endpoint = format!("sftp://127.0.0.1:{}", self.server.port());
        let known = self.server.known_hosts();
        let fixed = ["remote", "add", name, "--type", "sftp", "--account", "root"];
        let server = ["--endpoint", &endpoint, "--root", root];
        let known = ["--known-hosts", known.to_str().unwrap()];
        self.backstay
            .run(&[&fixed[..], &server, &known, more].concat())
            .ok();
    }

    fn test(&self, name: &str) -> Output {
        self.backstay.run(&["remote", "test", name])
    }
}

/// How many programs are connected to a port.
fn connections(port: u16) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines
        .filter(|line| line.starts_with("ssh ") && line.contains(&format!("-p {port} ")))
        .count()
}

#[test]
fn a_key_file_that_stays_where_it_is_opens_it_as_a_kept_key_does() {
    let lab = Lab::new();
    let (root, key) = (lab.served(), lab.server.key());
    let (root, key) = (root.to_str().unwrap(), key.to_str().unwrap());
    lab.add("kept", root, &["--secret-from-file", key]);
    lab.add("file", root, &["--identity-file", key]);
    for name in ["kept", "file"] {
        let tested = lab.test(name).ok();
        assert!(tested.stdout.contains("can be used"), "{}", tested.stdout);
        assert_eq!(fs::read_dir(root).unwrap().count(), 0);
    }
    let shown = lab.backstay.json(&["remote", "show", "file"]);
    assert_eq!(
        (&shown["identityFile"], &shown["hasSecret"]),
        (&key.into(), &false.into())
    );
    let both = ["--secret-from-file", key];
    let refused = lab
        .backstay
        .run(&[&["remote", "secret", "file"][..], &both].concat())
        .code(2);
    assert!(said(&refused).contains("needs no secret"), "{}", said(&refused));
}

#[test]
fn only_a_known_server_is_talked_to() {
    let lab = Lab::new();
    let (root, key) = (lab.served(), lab.server.key());
    lab.add(
        "main",
        root.to_str().unwrap(),
        &["--identity-file", key.to_str().unwrap()],
    );
    for another in [false, true] {
        lab.server.forget(another);
        let output = lab.test("main").code(6);
        assert!(said(&output).contains("ssh-keyscan"), "{}", said(&output));
        assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
    }
    lab.server.remember();
    lab.test("main").ok();
}

#[test]
fn what_is_wrong_with_a_key_or_a_directory_is_said() {
    let lab = Lab::new();
    let (root, key, other) = (lab.served(), lab.server.key(), lab.server.other_key());
    let (root, key, other) = (
        root.to_str().unwrap(),
        key.to_str().unwrap(),
        other.to_str().unwrap(),
    );
    lab.add("stranger", root, &["--secret-from-file", other]);
    let output = lab.test("stranger").code(7);
    assert!(said(&output).contains("Permission denied"), "{}", said(&output));
    lab.add("nowhere", "/no/such/directory", &["--identity-file", key]);
    let output = lab.test("nowhere").code(5);
    let sentence = "there is no directory /no/such/directory on the server";
    assert!(said(&output).contains(sentence), "{}", said(&output));
    fs::set_permissions(key, fs::Permissions::from_mode(0o644)).unwrap();
    lab.add("open", root, &["--identity-file", key]);
    let output = lab.test("open").code(7);
    assert!(said(&output).contains("chmod 600"), "{}", said(&output));
    lab.add("keyless", root, &["--identity-file", "/no/such/key"]);
    let output = lab.test("keyless");
    assert!(output.code != 0, "{}", said(&output));
    assert!(said(&output).contains("/no/such/key"), "{}", said(&output));
}

#[test]
fn a_connection_ends_with_the_host() {
    let lab = Lab::new();
    let (root, key) = (lab.served(), lab.server.key());
    lab.add(
        "main",
        root.to_str().unwrap(),
        &["--identity-file", key.to_str().unwrap()],
    );
    let source = "{ plugin: lab-source, config: { do: command, script: 'head -c 9M /dev/zero; sleep 100' } }";
    lab.backstay
        .apply(&format!(
            "name: data\nsource: {source}\ndestinations: [{{ plugin: object, config: {{ remote: main }} }}]\n"
        ))
        .ok();
    let mut running = lab.backstay.spawn(&["run", "data"]);
    let patience = Duration::from_secs(60);
    wait_until("the upload to begin", patience, || {
        lab.served().join("data").exists()
    });
    let port = lab.server.port();
    assert!(connections(port) > 0);
    running.kill();
    wait_until("the connection to end", patience, || connections(port) == 0);
    lab.backstay.run(&["runs"]).ok();
    assert_eq!(
        fs::read_dir(lab.served()).unwrap().count(),
        0,
        "something is left"
    );
}
