//! `kill -9` while several places take from one reading: the next start leaves nothing half done at any of them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use backstay_testkit::cli::Moment;
use backstay_testkit::process::wait_until;
use backstay_testkit::turns::Turns;

use super::desk::{Desk, noise};
use crate::abort::paths;

const PLACES: [&str; 2] = ["first", "second"];

/// At the places is what is in the catalogue, and nothing is left to do.
#[track_caller]
fn is_clean(desk: &Desk, at: &str) {
    let mut expected = BTreeSet::new();
    for backup in desk.backstay.json(&["backups"]).as_array().unwrap() {
        for of in [backup, &backup["manifest"]["artifacts"][0]] {
            expected.insert(PathBuf::from(of["location"].as_str().unwrap()));
        }
    }
    let mut found: BTreeSet<PathBuf> = PLACES.iter().flat_map(|place| paths(&desk.at(place))).collect();
    found.retain(|path| !path.is_dir());
    assert_eq!(found, expected, "{at}");
}

#[test]
fn killed_at_the_steps_that_last() {
    let desk = Desk::new();
    desk.source("echo data");
    let second = format!("optional: true, {}", desk.local("second"));
    desk.apply(&[desk.local("first"), second], "");
    desk.run().ok();
    let log = desk.backstay.data_dir().join("backstay.db-wal");
    // The entries of the journal and the catalogue, and the names that the places give.
    let steps = [
        ("fsync", Some(log.as_path()), Turns::of(4).every(2)),
        ("renameat2", None, Turns::of(2)),
    ];
    for (call, path, mut turns) in steps {
        while let Some(nth) = turns.next() {
            let moment = Moment::of(call, nth);
            let moment = path.map_or(moment, |path| moment.on(path));
            let killed = desk.backstay.killed_at(&["run", "j"], moment).was_killed_or_ok();
            if turns.note(killed) {
                is_clean(&desk, &format!("{call} {nth}"));
            }
        }
    }
    desk.run().ok();
    is_clean(&desk, "at the end");
    // What a start could not undo would still be there.
    desk.has_nothing_to_undo();
}

#[test]
fn killed_while_both_write() {
    let desk = Desk::new();
    let started = desk.at("started");
    desk.source(&format!(
        "{}; : > {}; exec sleep 1000",
        noise(&desk, 8),
        started.display()
    ));
    desk.apply(&[desk.local("first"), desk.local("second")], "");
    let mut running = desk.backstay.spawn(&["run", "j"]);
    wait_until("both places to have some of it", Duration::from_secs(60), || {
        started.exists()
            && PLACES
                .iter()
                .all(|place| paths(&desk.at(place)).iter().any(|path| path.is_file()))
    });
    running.kill();
    desk.backstay.run(&["runs"]).ok();
    is_clean(&desk, "killed in the middle");
    desk.source("echo data");
    desk.run().ok();
    is_clean(&desk, "after the next run");
    desk.has_nothing_to_undo();
}
