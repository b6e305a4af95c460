//! The host is killed while it deletes: nothing half gone is ever taken for a backup, and the next start finishes it.

use std::fs;
use std::ops::RangeInclusive;

use backstay_testkit::cli::Moment;
use backstay_testkit::tools;

use super::lab::{Lab, assert_whole};

/// A job whose policy lets all go but the newest two of these many backups.
fn lab(form: &str, backups: u32) -> Lab {
    let lab = Lab::new();
    lab.backstay.apply(&lab.job(form, "", "")).ok();
    let days: Vec<String> = (1..=backups).map(|day| format!("2026-10-{day:02}")).collect();
    lab.history(&days.iter().map(String::as_str).collect::<Vec<_>>());
    let policy = "retention: { keepLast: 2 }";
    lab.backstay.apply(&lab.job(form, "", policy)).ok();
    lab
}

/// Runs a command that is killed as one of its threads enters a call for the `nth` time. Whether it was.
fn killed_at(lab: &Lab, args: &[&str], call: &str, on: Option<&str>, nth: u32) -> bool {
    lab.clock.set(&format!("2026-11-{nth:02} 12:00:00"));
    let path = on.map(|name| lab.backstay.data_dir().join(name));
    let moment = Moment::of(call, nth);
    let moment = path.as_ref().map_or(moment, |path| moment.on(path));
    lab.backstay.killed_at(args, moment).was_killed_or_ok()
}

/// Kills a command as it enters each of these calls, each time with something left to delete.
#[track_caller]
fn kill_at_each(form: &str, args: &[&str], call: &str, on: Option<&str>, calls: RangeInclusive<u32>) {
    tools::require(&["strace"]);
    let backups = calls.end() - calls.start() + 5;
    let mut lab = self::lab(form, backups);
    for nth in calls {
        let at = format!("{args:?} with {form}, {call} {nth} on {on:?}");
        let mut tries = 0;
        while !killed_at(&lab, args, call, on, nth) {
            // Each thread counts its own calls, and it is chance which of them makes one.
            tries += 1;
            assert!(tries < 8, "{at}: not killed");
            lab = self::lab(form, backups);
        }
        // Before anybody cleans up: somebody may rebuild a catalogue from what is there.
        assert_whole(&lab.place.join("j"), &at);
        lab.assert_in_step(&at);
        assert!(lab.days().len() >= 2, "{at}");
    }
    let doctor = lab.backstay.json(&["doctor"]);
    assert_eq!(doctor["ok"], true, "{doctor:#}");
    lab.clock.set("2026-12-01 12:00:00");
    lab.backstay.run(&["prune", "j"]).ok();
    assert_eq!(lab.days().len(), 2);
    lab.assert_in_step("at the end");
    lab.backstay
        .run(&["verify", "latest:j", "--level", "restore"])
        .ok();
}

#[test]
fn killed_at_every_removal_of_a_prune() {
    // Of one backup, and the first of the next.
    kill_at_each("stream: true", &["prune", "j"], "unlinkat", None, 1..=6);
}

#[test]
fn killed_at_every_durable_write_of_a_prune() {
    kill_at_each(
        "stream: true",
        &["prune", "j"],
        "fsync",
        Some("backstay.db-wal"),
        1..=4,
    );
}

#[test]
fn killed_at_every_removal_of_a_run_that_stores_files() {
    kill_at_each("stream: false", &["run", "j"], "unlinkat", None, 1..=9);
}

#[test]
fn killed_again_while_it_finishes_what_it_began() {
    tools::require(&["strace"]);
    let lab = lab("stream: true", 9);
    let kill = |args: &[&str], nth| {
        let moment = Moment::of("unlinkat", nth);
        lab.backstay.killed_at(args, moment).was_killed_or_ok()
    };
    for nth in 1.. {
        // Its manifest is gone by then.
        assert!(kill(&["prune", "j"], 2));
        let killed = kill(&["runs"], nth);
        assert_whole(&lab.place.join("j"), "after the second kill");
        lab.assert_in_step(&format!("after a kill at {nth}"));
        if !killed {
            assert!(nth > 1, "nothing was found to kill at");
            break;
        }
    }
    lab.backstay.run(&["prune", "j"]).ok();
    assert_eq!(lab.days(), ["2026-10-09", "2026-10-08"]);
    lab.assert_in_step("at the end");
}

#[test]
fn a_polite_stop_waits_for_the_backup_at_hand_and_deletes_no_more() {
    tools::require(&["strace"]);
    let lab = lab("stream: true", 7);
    // Calls are counted by thread, and a second signal would end it at once: only one thread writes the catalogue.
    let log = lab.backstay.data_dir().join("backstay.db-wal");
    let moment = Moment::of("fsync", 4).on(&log).politely();
    let run = lab
        .backstay
        .killed_at(&["prune", "j", "--json"], moment)
        .code(4)
        .json();
    assert_eq!(run["status"], "cancelled", "{run:#}");
    let deleted = run["stats"]["deletedBackups"].as_u64().unwrap();
    assert!((1..5).contains(&deleted), "{run:#}");
    assert_eq!(lab.days().len() as u64, 7 - deleted);
    lab.assert_in_step("after a polite stop");
    lab.backstay.run(&["prune", "j"]).ok();
    assert_eq!(lab.days(), ["2026-10-07", "2026-10-06"]);
    assert!(fs::read_dir(lab.place.join("j")).unwrap().count() == 2);
}
