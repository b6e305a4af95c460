//! Remotes by the command line, and what is said about wrong ones.

use std::process::{Command, Stdio};

use backstay_testkit::cli::Backstay;
use backstay_testkit::stores::{ACCOUNT, Protocol, SECRET};

use super::lab::{Lab, said};

#[test]
fn they_are_added_listed_tried_and_removed() {
    let lab = Lab::new(Protocol::S3);
    let tested = lab.backstay.json(&["remote", "test", "main"]);
    let steps: Vec<&str> = tested["steps"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|step| step["step"].as_str())
        .collect();
    assert_eq!(steps, ["write", "read", "list", "delete"]);
    assert_eq!(lab.server.objects(), Vec::<String>::new());
    let shown = lab.backstay.json(&["remote", "show", "main"]);
    assert_eq!(lab.backstay.json(&["remote", "list"]), serde_json::json!([shown]));
    assert_eq!(
        (&shown["account"], &shown["hasSecret"]),
        (&ACCOUNT.into(), &true.into())
    );
    lab.add("main", SECRET).code(2);
    lab.apply("");
    let refused = lab.backstay.run(&["remote", "rm", "main"]).code(2);
    assert!(
        said(&refused).contains("used by the jobs `data`"),
        "{}",
        refused.stderr
    );
    // Its secret can be changed all the same.
    let file = lab.at("another");
    for (secret, code) in [("another secret", 7), (SECRET, 0)] {
        std::fs::write(&file, secret).unwrap();
        lab.backstay
            .run(&[
                "remote",
                "secret",
                "main",
                "--secret-from-file",
                file.to_str().unwrap(),
            ])
            .ok();
        lab.backstay.run(&["remote", "test", "main"]).code(code);
    }
    lab.backstay
        .run(&["remote", "secret", "nobody", "--secret-stdin"])
        .code(2);
    lab.backstay.run(&["job", "rm", "data"]).ok();
    lab.backstay.run(&["remote", "rm", "main"]).ok();
    assert_eq!(lab.backstay.json(&["remote", "list"]), serde_json::json!([]));
    lab.backstay.run(&["remote", "rm", "main"]).code(2);
}

#[test]
fn a_secret_may_come_from_standard_input() {
    let lab = Lab::without_remote(Protocol::WebDav);
    let endpoint = format!("http://127.0.0.1:{}", lab.proxy.port());
    let mut child = Command::new(env!("CARGO_BIN_EXE_backstay"))
        .env("BACKSTAY_DATA_DIR", lab.backstay.data_dir())
        .args([
            "remote",
            "add",
            "main",
            "--type",
            "webdav",
            "--endpoint",
            &endpoint,
        ])
        .args(["--user", ACCOUNT, "--root", "a/b", "--secret-stdin"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), SECRET.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    lab.backstay.run(&["remote", "test", "main"]).ok();
}

#[test]
fn a_store_that_cannot_be_reached_or_used_is_said_so() {
    let lab = Lab::without_remote(Protocol::S3);
    let file = lab.at("s");
    std::fs::write(&file, SECRET).unwrap();
    let add = |name: &str, endpoint: &str, bucket: &str| {
        let fixed = [
            "remote",
            "add",
            name,
            "--type",
            "s3",
            "--endpoint",
            endpoint,
            "--bucket",
            bucket,
        ];
        let more = ["--account", ACCOUNT, "--secret-from-file", file.to_str().unwrap()];
        lab.backstay.run(&[&fixed[..], &more].concat()).ok();
    };
    add("nobody", "http://127.0.0.1:1", "backups");
    let output = lab.backstay.run(&["remote", "test", "nobody"]).code(6);
    assert!(said(&output).contains("Connection refused"), "{}", said(&output));
    add(
        "bucketless",
        &format!("http://127.0.0.1:{}", lab.server.port()),
        "elsewhere",
    );
    let output = lab.backstay.run(&["remote", "test", "bucketless"]).code(2);
    assert!(said(&output).contains("NoSuchBucket"), "{}", said(&output));
}

#[test]
fn what_is_wrong_with_them_and_with_jobs() {
    let backstay = Backstay::new(env!("CARGO_BIN_EXE_backstay"));
    let mut text = String::new();
    let mut say = |command: &str, output: backstay_testkit::cli::Output| {
        text += &format!(
            "$ {command}\n{}{}[{}]\n\n",
            output.stdout, output.stderr, output.code
        );
    };
    for command in [
        "remote add a --type s3",
        "remote add a --type gcs --bucket b --account x",
        "remote add a --type webdav --endpoint ftp://host",
        "remote add a --type webdav --endpoint https://me:pass@host/dav",
        "remote add a --type b2 --bucket b --account k --endpoint https://h",
        "remote add a/b --type azure --bucket b --account k --root ../x",
        "remote add a --type s3 --bucket b --account k --region eu-central-1",
        "remote add plain --type webdav --endpoint http://nas/dav",
        "remote add a --type sftp --endpoint nas --identity-file id",
        "remote add a --type sftp --endpoint sftp://-oProxyCommand=x --account me --region eu",
        "remote add a --type s3 --bucket b --account k --region eu-central-1 --known-hosts /etc/known",
        "remote add a --type s3 --secret hunter2",
        "remote show nobody",
        "remote list",
    ] {
        let args: Vec<&str> = command.split(' ').collect();
        say(&format!("backstay {command}"), backstay.run(&args));
    }
    for config in [
        "{ remote: nobody }",
        "{ remote: plain, prefix: /x }",
        "{ remote: plain, prefix: ../x }",
        "{ remote: plain, storageClass: DEEP_ARCHIVE }",
        "{ remote: plain, storageClass: warm }",
        "{ remote: plain, objectLock: { mode: GOVERNANCE, retainFor: 30d } }",
        "{}",
    ] {
        let job = format!(
            "name: data\nsource: {{ plugin: path, config: {{ path: /etc/hostname }} }}\ndestinations: [{{ plugin: object, config: {config} }}]\n"
        );
        say(config, backstay.apply(&job));
    }
    insta::assert_snapshot!("remotes", text);
}
