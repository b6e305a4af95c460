//! An optional place that is slow, dies or is full: the critical one doesn't notice.

use std::fs;
use std::time::Duration;

use backstay_testkit::disk::SmallDisk;
use backstay_testkit::process::wait_until;
use backstay_testkit::proxy::{Fault, Proxy};
use backstay_testkit::stores::{ACCOUNT, ObjectServer, Protocol, SECRET};

use super::desk::{Desk, noise, object};
use crate::abort::paths;

/// More than what an optional place may be behind, what waits for a server, and what is in pipes and sockets.
const MUCH_MIB: usize = 80;

/// Lets the source tell whether the critical backup was whole when it was read again.
fn telling(desk: &Desk, script: &str) -> String {
    let first = desk.at("first");
    format!(
        "ls {0}/j/*/manifest.json > /dev/null 2>&1 && echo whole >> {1}\n{script}",
        first.display(),
        desk.at("whole").display()
    )
}

#[test]
fn a_server_that_stops_answering_is_left_behind_and_gets_it_afterwards() {
    let desk = Desk::new();
    let server = ObjectServer::start(Protocol::WebDav);
    let proxy = Proxy::start(server.port());
    let secret = desk.at("secret");
    fs::write(&secret, SECRET).unwrap();
    let endpoint = format!("http://127.0.0.1:{}", proxy.port());
    let fixed = ["remote", "add", "main", "--type", "webdav", "--account", ACCOUNT];
    let given = [
        "--endpoint",
        &endpoint,
        "--secret-from-file",
        secret.to_str().unwrap(),
    ];
    desk.backstay.run(&[&fixed[..], &given].concat()).ok();
    desk.source(&telling(&desk, &noise(&desk, MUCH_MIB)));
    let object_store = "optional: true, plugin: object, config: { remote: main }".to_owned();
    desk.apply(&[desk.local("first"), object_store], "");
    proxy.fail("PUT", "data", 0, 1, Fault::Hang(1 << 20));
    let running = desk.backstay.spawn(&["run", "j", "--json"]);
    wait_until("the critical backup", Duration::from_secs(60), || {
        let found = paths(&desk.at("first"));
        found.iter().any(|path| path.ends_with("manifest.json"))
    });
    proxy.heal();
    let run = running.wait().ok().json();
    assert_eq!(run["status"], "succeeded", "{run:#}");
    let events = desk.events();
    let sentence = "destination 1 (object): it is too slow to take part; it is stored on its own afterwards";
    assert!(events.contains(sentence), "{events}");
    assert_eq!(desk.reads(), 2);
    assert_eq!(fs::read_to_string(desk.at("whole")).unwrap(), "whole\n");
    let stored = object(&desk.at("first"));
    assert_eq!(stored.len(), MUCH_MIB << 20);
    assert!(object(&server.files()) == stored);
    desk.has_nothing_to_undo();
}

#[test]
fn a_program_that_stands_still_is_ended_and_started_again_afterwards() {
    let desk = Desk::new();
    desk.source(&telling(&desk, &noise(&desk, MUCH_MIB)));
    let (once, kept) = (desk.at("once"), desk.at("kept"));
    let script = format!(
        "if [ ! -e {0} ]; then : > {0}; exec sleep 1000; fi; tee -a {1} | wc -c",
        once.display(),
        kept.display()
    );
    let place = format!("optional: true, {}", desk.script_place("store.sh", &script, ""));
    desk.apply(&[desk.local("first"), place], "");
    let run = desk.run().ok().json();
    assert!(once.exists());
    assert_eq!(desk.reads(), 2);
    assert_eq!(fs::read_to_string(desk.at("whole")).unwrap(), "whole\n");
    assert_eq!(run["backups"].as_array().unwrap().len(), 2, "{run:#}");
    let stored = fs::read(&kept).unwrap();
    assert!(stored.starts_with(&object(&desk.at("first"))));
}

#[test]
fn an_optional_program_that_dies_is_a_warning_and_nothing_is_read_again() {
    let desk = Desk::new();
    desk.source(&noise(&desk, 20));
    let script = "head -c 100000 > /dev/null; echo no room for you >&2; exit 3";
    let place = format!("optional: true, {}", desk.script_place("store.sh", script, ""));
    desk.apply(&[desk.local("first"), place, desk.local("third")], "");
    let run = desk.run().code(1).json();
    let warning = run["warnings"][0]["message"].as_str().unwrap();
    let sentence = "the optional destination 1 (lab-destination) has no backup of this run";
    assert!(
        warning.starts_with(sentence) && warning.contains("no room for you"),
        "{warning}"
    );
    assert_eq!(desk.reads(), 1);
    assert!(object(&desk.at("first")) == object(&desk.at("third")));
    desk.has_nothing_to_undo();
}

#[test]
fn an_optional_program_that_may_do_better_next_time_gets_it_afterwards() {
    let desk = Desk::new();
    desk.source("echo data");
    let once = desk.at("once");
    let script = format!(
        "if [ ! -e {0} ]; then cat > {0}; echo busy >&2; exit 3; fi; wc -c",
        once.display()
    );
    let place = desk.script_place("store.sh", &script, ", retry: true");
    desk.apply(&[desk.local("first"), format!("optional: true, {place}")], "");
    let run = desk.run().ok().json();
    assert_eq!(run["backups"].as_array().unwrap().len(), 2, "{run:#}");
    assert_eq!(desk.reads(), 2);
    assert!(desk.events().contains("afterwards"), "{}", desk.events());
}

#[test]
fn an_optional_disk_that_is_full_is_a_warning_and_left_as_it_was() {
    let desk = Desk::new();
    let disk = SmallDisk::mount(8 << 20);
    let free_bytes = disk.free_bytes();
    desk.source(&noise(&desk, 20));
    let place = format!(
        "optional: true, plugin: local, config: {{ path: {}, minFreeBytes: 0 }}",
        disk.path().display()
    );
    desk.apply(&[desk.local("first"), place], "");
    let run = desk.run().code(1).json();
    let warning = run["warnings"][0]["message"].as_str().unwrap();
    assert!(warning.contains("No space left on device"), "{warning}");
    assert_eq!(desk.reads(), 1);
    assert_eq!(object(&desk.at("first")).len(), 20 << 20);
    assert!(paths(disk.path()).is_empty());
    assert!(disk.free_bytes() >= free_bytes, "the room was not given back");
}

#[test]
fn an_optional_program_that_never_ends_is_ended_and_its_run_goes_on() {
    let desk = Desk::new();
    desk.source("echo data");
    let place = desk.script_place("store.sh", "cat > /dev/null; exec sleep 1000", "");
    let destinations = [desk.local("first"), format!("optional: true, {place}")];
    desk.apply(&destinations, "timeouts: { stall: 1s }");
    let run = desk.run().code(1).json();
    let warning = run["warnings"][0]["message"].as_str().unwrap();
    assert!(
        warning.contains("did not end within 10 s after its last byte"),
        "{warning}"
    );
    assert_eq!(run["backups"].as_array().unwrap().len(), 1);
    assert_eq!(object(&desk.at("first")), b"data\n");
    desk.has_nothing_to_undo();
}
