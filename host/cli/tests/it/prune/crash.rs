//! The host is killed while it deletes: nothing half gone is ever taken for a backup, and the next start finishes it.

use std::fs;

use backstay_testkit::cli::Moment;
use backstay_testkit::tools;

use super::lab::{Lab, assert_whole};

/// Days of a year of their own for each attempt, so that what the one before left is old.
fn days(attempt: u32, of_november: &[u32]) -> Vec<String> {
    let days = of_november.iter();
    days.map(|day| format!("{}-11-{day}", 1990 + attempt)).collect()
}

fn history(lab: &Lab, attempt: u32, of_november: &[u32]) {
    let days = days(attempt, of_november);
    lab.history(&days.iter().map(String::as_str).collect::<Vec<_>>());
}

/// Kills a command at each call of one kind in turn, with two backups to delete.
#[track_caller]
fn kill_at_each(lab: &Lab, args: &[&str], call: &str, on: Option<&str>) -> u32 {
    let mut kills = 0;
    for nth in 1.. {
        assert!(nth < 100, "it never gets to its end");
        lab.apply("");
        history(lab, nth, &[17, 18, 19]);
        if args[0] == "prune" {
            history(lab, nth, &[20]);
        }
        let last = days(nth, &[20]).remove(0);
        lab.clock.set(&format!("{last} 12:30:00"));
        lab.apply("retention: { keepLast: 2 }");
        let path = on.map(|name| match name {
            "wal" => lab.backstay.data_dir().join("backstay.db-wal"),
            _ => lab.place.join(name),
        });
        let moment = Moment::of(call, nth);
        let moment = path.as_ref().map_or(moment, |path| moment.on(path));
        let killed = lab.backstay.killed_at(args, moment).was_killed_or_ok();
        let at = format!("{args:?}, {call} {nth} on {on:?}");
        // Before anybody cleans up: somebody may rebuild a catalogue from what is there.
        assert_whole(&lab.place.join("j"), &at);
        lab.assert_in_step(&at);
        let doctor = lab.backstay.json(&["doctor"]);
        assert_eq!(doctor["ok"], true, "{at}: {doctor:#}");
        lab.backstay.run(&["verify", "latest:j"]).ok();
        if killed {
            kills += 1;
            // A run that was killed before its backup was whole deletes nothing.
            lab.back_up(&format!("{last} 13:00:00"));
        }
        assert_eq!(lab.days().len(), 2, "{at}");
        lab.assert_in_step(&at);
        assert_eq!(lab.days()[0], last, "{at}");
        // The next one starts from nothing.
        lab.apply("retention: { keepLast: 1 }");
        lab.back_up(&format!("{last} 14:00:00"));
        if !killed {
            return kills;
        }
    }
    kills
}

#[test]
fn killed_at_every_removal_of_a_prune() {
    tools::require(&["strace"]);
    let kills = kill_at_each(&Lab::new(), &["prune", "j"], "unlinkat", None);
    assert!(kills >= 6, "only {kills} steps were found to kill at");
}

#[test]
fn killed_at_every_durable_write_of_a_prune() {
    tools::require(&["strace"]);
    let lab = Lab::new();
    let kills = kill_at_each(&lab, &["prune", "j"], "fsync", Some("wal"));
    assert!(kills >= 4, "only {kills} steps were found to kill at");
}

#[test]
fn killed_at_every_removal_of_a_run() {
    tools::require(&["strace"]);
    let kills = kill_at_each(&Lab::new(), &["run", "j"], "unlinkat", None);
    assert!(kills >= 3, "only {kills} steps were found to kill at");
}

#[test]
fn killed_again_while_it_finishes_what_it_began() {
    tools::require(&["strace"]);
    let lab = Lab::new();
    let kill = |args: &[&str], nth| {
        lab.backstay
            .killed_at(args, Moment::of("unlinkat", nth))
            .was_killed_or_ok()
    };
    for nth in 1.. {
        lab.apply("");
        history(&lab, nth, &[18, 19, 20]);
        lab.apply("retention: { keepLast: 2 }");
        // Its manifest is gone by then.
        assert!(kill(&["prune", "j"], 2));
        assert_whole(&lab.place.join("j"), "after the first kill");
        let killed = kill(&["runs"], nth);
        assert_whole(&lab.place.join("j"), "after the second kill");
        lab.assert_in_step(&format!("after a kill at {nth}"));
        lab.backstay.run(&["prune", "j"]).ok();
        assert_eq!(lab.days(), days(nth, &[20, 19]));
        lab.apply("retention: { keepLast: 1 }");
        let last = days(nth, &[20]).remove(0);
        lab.back_up(&format!("{last} 14:00:00"));
        if !killed {
            assert!(nth > 1, "nothing was found to kill at");
            return;
        }
    }
}

#[test]
fn a_polite_stop_waits_for_the_backup_at_hand_and_deletes_no_more() {
    tools::require(&["strace"]);
    let lab = Lab::new();
    lab.history(&[
        "2026-11-15",
        "2026-11-16",
        "2026-11-17",
        "2026-11-18",
        "2026-11-19",
        "2026-11-20",
    ]);
    lab.apply("retention: { keepLast: 1 }");
    let moment = Moment::of("unlinkat", 1).politely();
    let run = lab
        .backstay
        .killed_at(&["prune", "j", "--json"], moment)
        .code(4)
        .json();
    assert_eq!(run["status"], "cancelled", "{run:#}");
    let deleted = run["stats"]["deletedBackups"].as_u64().unwrap();
    assert!((1..5).contains(&deleted), "{run:#}");
    assert_eq!(lab.days().len() as u64, 6 - deleted);
    lab.assert_in_step("after a polite stop");
    lab.backstay.run(&["prune", "j"]).ok();
    assert_eq!(lab.days(), ["2026-11-20"]);
    assert!(fs::read_dir(lab.place.join("j")).unwrap().count() == 1);
}
