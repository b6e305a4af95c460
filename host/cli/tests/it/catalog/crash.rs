//! A rebuild that is killed, or that runs beside others, leaves a catalogue that the next one completes.

use std::fs;

use backstay_testkit::cli::Moment;
use serde_json::json;

use super::lab::{Lab, backups, fresh, rebuilt};

#[test]
fn killed_at_every_step_it_is_done_by_the_next() {
    let lab = Lab::new(json!({}));
    lab.back_up();
    lab.back_up();
    let config = json!({ "path": lab.place }).to_string();
    let args = ["catalog", "rebuild", "--plugin", "local", "--config", &config];
    let mut kills = 0;
    for call in ["fsync", "fdatasync", "renameat2", "openat"] {
        for nth in (1..).step_by(if call == "openat" { 150 } else { 1 }) {
            let new = fresh();
            let wal = new.data_dir().join("backstay.db-wal");
            let moment = Moment::of(call, nth);
            let moment = if call == "openat" { moment } else { moment.on(&wal) };
            if !new.killed_at(&args, moment).was_killed_or_ok() {
                break;
            }
            kills += 1;
            let listed = backups(&new).len();
            assert!(listed == 0 || listed == 2, "{call} {nth}: {listed} of one batch");
            rebuilt(&new, &lab.place, 0);
            assert_eq!(backups(&new).len(), 2, "{call} {nth}");
            assert_eq!(new.json(&["runs"]), json!([]), "{call} {nth}");
        }
    }
    assert!(
        kills >= 3,
        "only {kills} steps were found to kill at: has the host changed?"
    );
}

#[test]
fn two_at_a_time_and_beside_a_run_do_no_harm() {
    let lab = Lab::new(json!({}));
    for _ in 0..3 {
        lab.back_up();
    }
    let new = fresh();
    let config = json!({ "path": lab.place }).to_string();
    let args = ["catalog", "rebuild", "--plugin", "local", "--config", &config];
    let running: Vec<_> = (0..3).map(|_| new.spawn(&args)).collect();
    for one in running {
        one.wait().ok();
    }
    assert_eq!(backups(&new).len(), 3);
    // On the machine that makes them, a rebuild never takes what a run has stored so far for a backup.
    let running: Vec<_> = (0..4).map(|_| lab.old.spawn(&["catalog", "rebuild"])).collect();
    lab.back_up();
    for one in running {
        one.wait().ok();
    }
    assert_eq!(backups(&lab.old).len(), 4);
    assert_eq!(fs::read_dir(lab.place.join("j")).unwrap().count(), 4);
}
