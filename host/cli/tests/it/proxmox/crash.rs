//! `kill -9` while things are collected: the next start leaves nothing behind, not even a program.

use std::fs;
use std::time::Duration;

use backstay_testkit::cli::Moment;
use backstay_testkit::process::{is_alive, wait_until};
use backstay_testkit::turns::Turns;

use super::lab::{Lab, steady};

#[test]
fn killed_at_many_steps_it_leaves_nothing() {
    let lab = Lab::new();
    lab.apply(&steady());
    lab.run().ok();
    for (call, mut turns) in [
        ("mkdir", Turns::of(1)),
        ("renameat2", Turns::of(2).every(4)),
        ("mkdirat", Turns::of(2).every(20)),
        ("rmdir", Turns::of(1)),
    ] {
        while let Some(nth) = turns.next() {
            let moment = Moment::of(call, nth);
            turns.note(lab.backstay.killed_at(&["run", "j"], moment).was_killed_or_ok());
            lab.is_clean(&format!("{call} {nth}"));
        }
    }
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
