//! `kill -9` while things are collected: the next start leaves nothing behind, not even a program.

use std::fs;
use std::time::Duration;

use backstay_testkit::cli::Moment;
use backstay_testkit::process::{is_alive, wait_until};

use super::lab::{Lab, steady};

#[test]
fn killed_at_many_steps_it_leaves_nothing() {
    let lab = Lab::new();
    lab.apply(&steady());
    lab.run().ok();
    let mut kills = 0;
    for (call, step) in [("mkdir", 1), ("renameat2", 4), ("mkdirat", 20), ("rmdir", 1)] {
        for nth in (1..).step_by(step) {
            let moment = Moment::of(call, nth);
            if !lab.backstay.killed_at(&["run", "j"], moment).was_killed_or_ok() {
                break;
            }
            kills += 1;
            lab.is_clean(&format!("{call} {nth}"));
        }
    }
    assert!(
        kills >= 8,
        "only {kills} steps were found to kill at: has the host changed?"
    );
    lab.run().ok();
}

#[test]
fn killed_or_cancelled_while_a_command_runs_it_leaves_no_program() {
    let lab = Lab::new();
    let mark = lab.backstay.scratch_dir().join("mark");
    lab.behave(&format!(
        "[ \"$called\" = 'pvecm status' ] && {{ echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000; }}",
        mark.display()
    ));
    lab.apply(&steady());
    for polite in [false, true] {
        let _ = fs::remove_file(&mark);
        let mut running = lab.backstay.spawn(&["run", "j", "--json"]);
        wait_until("the command", Duration::from_secs(60), || mark.exists());
        if polite {
            running.terminate();
            assert_eq!(running.wait().code(4).json()["status"], "cancelled");
        } else {
            running.kill();
        }
        let pid: u32 = fs::read_to_string(&mark).unwrap().trim().parse().unwrap();
        wait_until("the end of the command", Duration::from_secs(10), || {
            !is_alive(pid)
        });
        lab.is_clean("after the end");
    }
    lab.behave("");
    lab.run().ok();
}
