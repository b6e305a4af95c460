//! What goes over the network can be encrypted, and a new certificate needs no restart.

use std::path::Path;
use std::process::Command;

use backstay_testkit::process::wait_until;
use backstay_testkit::tools::require;

use super::lab::{Lab, PATIENCE, request};

/// Makes a key and a certificate for this name of the loopback address.
fn certify(directory: &Path, name: &str) {
    require(&["openssl", "curl"]);
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ])
        .args([
            "-days",
            "2",
            "-subj",
            &format!("/CN={name}"),
            "-addext",
            "subjectAltName=DNS:localhost",
        ])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[test]
fn a_certificate_encrypts_and_a_new_one_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    certify(place, "first");
    let files = [place.join("cert.pem"), place.join("key.pem")];
    let lab = Lab::encrypted(&files);
    let ask = || {
        let curl = Command::new("curl")
            .args([
                "--silent",
                "--verbose",
                "--max-time",
                "20",
                "--cacert",
                files[0].to_str().unwrap(),
            ])
            .arg(format!("https://localhost:{}/health", lab.port))
            .output()
            .unwrap();
        (
            String::from_utf8_lossy(&curl.stdout).into_owned(),
            String::from_utf8_lossy(&curl.stderr).into_owned(),
        )
    };
    let (said, how) = ask();
    assert_eq!(said, "{\"status\":\"ok\"}", "{how}");
    assert!(how.contains("CN=first"), "{how}");
    let mut plain = lab.connect();
    std::io::Write::write_all(
        &mut plain,
        request("GET /health", "localhost", &[], "").as_bytes(),
    )
    .unwrap();
    assert!(super::lab::read_reply(plain).is_none(), "it answers unencrypted");
    let token = lab.token("ann", "viewer");
    let login = Command::new("curl")
        .args(["--silent", "--include", "--max-time", "20", "--cacert"])
        .arg(&files[0])
        .args(["--json", &format!("{{\"token\":\"{token}\"}}")])
        .arg(format!("https://localhost:{}/api/v1/session", lab.port))
        .output()
        .unwrap();
    let login = super::lab::parse(&login.stdout).unwrap();
    let cookie = login.header("set-cookie").unwrap();
    assert!(
        cookie.starts_with("__Host-backstay=bss_") && cookie.ends_with("; Secure"),
        "{cookie}"
    );
    std::fs::write(&files[1], "no key").unwrap();
    certify(place, "second");
    wait_until("the new certificate", PATIENCE, || ask().1.contains("CN=second"));
    assert_eq!(ask().0, "{\"status\":\"ok\"}");
}

#[test]
fn without_encryption_only_this_machine_can_be_listened_on() {
    let backstay = backstay_testkit::cli::Backstay::new(env!("CARGO_BIN_EXE_backstay"));
    let file = backstay.scratch_dir().join("config.yaml");
    let said = |settings: &str| {
        std::fs::write(&file, settings).unwrap();
        backstay
            .run(&["serve", "--config", file.to_str().unwrap()])
            .code(2)
            .stderr
    };
    let open = said("api: { listen: \"0.0.0.0:1201\" }");
    assert!(
        open.contains("/api/listen") && open.contains("tokens would go there unencrypted"),
        "{open}"
    );
}

#[test]
fn backups_are_made_where_it_cant_listen_and_it_tries_again() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    let files = [place.join("cert.pem"), place.join("key.pem")];
    let lab = Lab::unheard(&files);
    let problems = || lab.local("GET /status").json(200)["problems"].clone();
    let said = problems()[0].as_str().unwrap().to_owned();
    assert!(said.contains("cert.pem can't be used as a certificate"), "{said}");
    lab.job("documents");
    lab.backstay.run(&["run", "documents"]).ok();
    let taken = std::net::TcpListener::bind(("127.0.0.1", lab.port)).unwrap();
    certify(place, "first");
    wait_until("the next reason", PATIENCE, || {
        problems()[0].as_str().unwrap().contains("cannot listen on")
    });
    drop(taken);
    wait_until("it to listen", PATIENCE, || problems() == serde_json::json!([]));
    drop(lab.connect());
}
