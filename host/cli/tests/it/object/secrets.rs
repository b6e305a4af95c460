//! The secret of a remote reaches the store as a signature, and nothing that anybody could read.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use backstay_testkit::process::wait_until;
use backstay_testkit::proxy::Fault;
use backstay_testkit::stores::{Protocol, SECRET};

use super::lab::{Lab, said};
use crate::abort::paths;

#[test]
fn it_is_nowhere_in_clear() {
    for protocol in [Protocol::S3, Protocol::WebDav] {
        let lab = Lab::without_remote(protocol);
        let mut said = vec![lab.add("main", SECRET).ok()];
        lab.apply("");
        lab.proxy.fail("PUT", "data.tar", 0, 1, Fault::Hang(0));
        let mut running = lab.backstay.spawn(&["run", "data", "--json"]);
        wait_until("the upload to begin", Duration::from_secs(60), || {
            lab.proxy.struck() == 1
        });
        assert_eq!(lab.server.seen_in_processes(SECRET), Vec::<String>::new());
        assert!(running.is_running());
        running.terminate();
        std::thread::sleep(Duration::from_millis(300));
        lab.proxy.heal();
        said.push(running.wait());
        lab.proxy.heal();
        for args in [
            &["run", "data"][..],
            &["remote", "show", "main"],
            &["remote", "list"],
            &["remote", "test", "main"],
            &["logs", "data"],
            &["backups"],
            &["recovery-kit", "latest:data"],
        ] {
            said.push(lab.backstay.run_json(args).ok());
        }
        lab.proxy.fail("PUT", "", 0, 99, Fault::Answer(403));
        said.push(lab.backstay.run(&["run", "data"]).code(7));
        said.push(lab.backstay.run(&["logs", "data"]).ok());
        for output in said {
            assert!(
                !output.stdout.contains(SECRET) && !output.stderr.contains(SECRET),
                "{output:?}"
            );
        }
        for path in paths(lab.backstay.scratch_dir())
            .into_iter()
            .filter(|path| path.is_file())
        {
            let bytes = fs::read(&path).unwrap();
            let needle = SECRET.as_bytes();
            assert!(
                !bytes.windows(needle.len()).any(|part| part == needle),
                "{}",
                path.display()
            );
        }
    }
}

#[test]
fn its_key_is_for_its_owner_alone() {
    let lab = Lab::new(Protocol::S3);
    let key = lab.backstay.data_dir().join("secrets.key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let output = lab.backstay.run(&["remote", "test", "main"]).code(7);
    assert!(said(&output).contains("chmod 600"), "{}", said(&output));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    lab.backstay.run(&["remote", "test", "main"]).ok();
    let other = Lab::new(Protocol::S3);
    fs::copy(other.backstay.data_dir().join("secrets.key"), &key).unwrap();
    let output = lab.backstay.run(&["remote", "test", "main"]).code(15);
    assert!(said(&output).contains("key file"), "{}", said(&output));
    fs::remove_file(&key).unwrap();
    lab.backstay.run(&["remote", "test", "main"]).code(15);
    assert!(!key.exists());
}

#[test]
fn a_wrong_one_is_said_so() {
    for protocol in [Protocol::S3, Protocol::WebDav] {
        let lab = Lab::without_remote(protocol);
        lab.add("main", "not-the-secret").ok();
        let tested = lab.backstay.run(&["remote", "test", "main"]).code(7);
        let name = if protocol == Protocol::S3 {
            "secret access key"
        } else {
            "password"
        };
        assert!(
            said(&tested).contains(&format!("the {name} is wrong")),
            "{}",
            tested.stderr
        );
        lab.apply("");
        let run = lab.backstay.run(&["run", "data"]).code(7);
        assert!(said(&run).contains(name), "{}", said(&run));
        assert!(!said(&run).contains("not-the-secret"), "{}", said(&run));
        assert_eq!(lab.server.objects(), Vec::<String>::new());
    }
}
