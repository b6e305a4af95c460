//! A critical place or the source fails: the cause is theirs. Without a source or the first place nothing is left
//! anywhere; without another place the others have their backups.

use std::collections::BTreeSet;
use std::fs;

use backstay_testkit::process::wait_until;
use std::time::Duration;

use super::desk::{Desk, noise, object};
use crate::abort::paths;
use crate::destinations::places::{ObjectS3, Place, RcloneDisk, ResticDisk};

fn place<P: Place>(desk: &Desk, name: &str) -> (P, String) {
    fs::create_dir(desk.at(name)).unwrap();
    let place = P::start(&desk.at(name));
    place.introduce(&desk.backstay);
    let destination = place.destination();
    (place, destination.trim_matches(['{', '}']).to_owned())
}

#[test]
fn a_source_that_fails_after_50_mb_leaves_nothing_anywhere() {
    let desk = Desk::new();
    let (rclone, at_rclone) = place::<RcloneDisk>(&desk, "rclone");
    let (restic, at_restic) = place::<ResticDisk>(&desk, "restic");
    let (s3, at_s3) = place::<ObjectS3>(&desk, "s3");
    desk.apply(
        &[
            desk.local("first"),
            at_rclone,
            at_restic,
            format!("optional: true, {at_s3}"),
        ],
        "retries: { attempts: 1 }",
    );
    desk.source(&format!(
        "{}; echo the disk is broken >&2; exit 3",
        noise(&desk, 50)
    ));
    desk.fails(
        4,
        "exited with status 3 after 52428800 bytes: the disk is broken",
        &["first"],
    );
    assert_eq!(desk.reads(), 1);
    assert_eq!(rclone.stored(), BTreeSet::new());
    assert_eq!(restic.stored(), BTreeSet::new());
    assert_eq!(s3.stored(), BTreeSet::new());
    assert_eq!(s3.unfinished(), Vec::<String>::new());
    desk.source("echo whole");
    let run = desk.run().ok().json();
    assert_eq!(run["backups"].as_array().unwrap().len(), 4, "{run:#}");
}

#[test]
fn no_program_takes_a_failed_source_for_a_complete_one() {
    let desk = Desk::new();
    let complete = desk.at("complete");
    let script = format!(
        "cat > {0}.part && mv {0}.part {0}; wc -c < {0}",
        complete.display()
    );
    let destinations = [
        desk.local("first"),
        desk.script_place("one.sh", &script, ""),
        format!("optional: true, {}", desk.script_place("two.sh", &script, "")),
    ];
    desk.apply(&destinations, "");
    desk.source("head -c 3M /dev/zero; exit 1");
    desk.fails(4, "exited with status 1 after 3145728 bytes", &["first"]);
    std::thread::sleep(Duration::from_millis(300));
    assert!(!complete.exists(), "half a stream was committed");
}

/// Ways of a place to fail, all for this reason.
const DYING: [&str; 3] = [
    "head -c 5M > /dev/null; echo no room for you >&2; exit 3",
    "echo no room for you >&2; exit 3",
    // When it has got everything.
    "cat > /dev/null; echo no room for you >&2; exit 3",
];

#[test]
fn a_first_place_that_dies_is_the_cause_and_nothing_is_left_at_the_others() {
    let desk = Desk::new();
    desk.source(&noise(&desk, 30));
    for script in DYING {
        let destinations = [
            desk.script_place("store.sh", script, ""),
            desk.local("second"),
            format!("optional: true, {}", desk.local("third")),
        ];
        desk.apply(&destinations, "");
        desk.fails(5, "no room for you", &["second", "third"]);
    }
    assert_eq!(desk.reads(), 3);
}

#[test]
fn another_critical_place_that_dies_fails_the_run_but_the_others_have_their_backups() {
    for script in DYING {
        let desk = Desk::new();
        desk.source(&noise(&desk, 30));
        let destinations = [
            desk.local("first"),
            desk.script_place("store.sh", script, ""),
            format!("optional: true, {}", desk.local("third")),
        ];
        desk.apply(&destinations, "");
        let run = desk.run().code(5).json();
        let message = run["error"]["message"].as_str().unwrap();
        assert!(message.contains("no room for you"), "{run:#}");
        let backups = run["backups"].as_array().unwrap();
        let kept: Vec<_> = backups.iter().map(|b| &b["destination"]).collect();
        assert_eq!(backups.len(), 2, "{kept:?}");
        assert_eq!(object(&desk.at("first")), object(&desk.at("third")));
        assert_eq!(object(&desk.at("first")).len(), 30 << 20);
        desk.has_nothing_to_undo();
    }
}

#[test]
fn a_place_that_is_not_there_is_found_before_anything_is_read() {
    let desk = Desk::new();
    let destinations = [desk.local("first"), desk.local("second")];
    desk.apply(&destinations, "");
    fs::remove_dir(desk.at("first")).unwrap();
    desk.fails(3, "first", &["second"]);
    assert_eq!(desk.reads(), 0);
}

#[test]
fn without_another_critical_place_the_run_fails_but_the_first_has_its_backup() {
    let desk = Desk::new();
    let destinations = [desk.local("first"), desk.local("second")];
    desk.apply(&destinations, "");
    desk.source("echo whole");
    fs::remove_dir(desk.at("second")).unwrap();
    let run = desk.run().code(3).json();
    assert_eq!(run["backups"].as_array().unwrap().len(), 1, "{run:#}");
    assert_eq!(desk.reads(), 1);
    assert_eq!(object(&desk.at("first")), b"whole\n");
}

#[test]
fn what_may_pass_next_time_is_undone_everywhere_and_read_again_from_its_start() {
    let desk = Desk::new();
    desk.source("echo once more");
    let once = desk.at("once");
    let script = format!(
        "if [ ! -e {0} ]; then cat > {0}; echo busy >&2; exit 3; fi; wc -c",
        once.display()
    );
    let destinations = [
        desk.local("first"),
        desk.script_place("store.sh", &script, ", retry: true"),
        format!("optional: true, {}", desk.local("third")),
    ];
    desk.apply(&destinations, "retries: { attempts: 2, firstDelay: 10ms }");
    let run = desk.run().ok().json();
    assert_eq!(run["status"], "succeeded", "{run:#}");
    assert_eq!(run["backups"].as_array().unwrap().len(), 3, "{run:#}");
    assert_eq!(desk.reads(), 2);
    assert_eq!(object(&desk.at("first")), b"once more\n");
    assert_eq!(object(&desk.at("third")), b"once more\n");
    assert!(desk.events().contains("attempt 1 failed"), "{}", desk.events());
    desk.has_nothing_to_undo();
}

#[test]
fn cancelling_ends_all_of_it() {
    let desk = Desk::new();
    let started = desk.at("started");
    desk.source(&format!(
        "{}; : > {}; exec sleep 1000",
        noise(&desk, 5),
        started.display()
    ));
    let script = "cat > /dev/null; echo 0";
    let destinations = [
        desk.local("first"),
        desk.script_place("store.sh", script, ""),
        format!("optional: true, {}", desk.local("third")),
    ];
    desk.apply(&destinations, "");
    let running = desk.backstay.spawn(&["run", "j", "--json"]);
    wait_until("the reading", Duration::from_secs(60), || started.exists());
    running.terminate();
    let run = running.wait().code(4).json();
    assert_eq!(run["status"], "cancelled", "{run:#}");
    assert!(paths(&desk.at("first")).is_empty() && paths(&desk.at("third")).is_empty());
    desk.has_nothing_to_undo();
}
