//! Whole process trees end, and waiting has a limit.

use std::process::{Command, Stdio};
use std::time::Duration;

use backstay_testkit::process;

#[test]
fn a_process_tree_is_killed_with_its_grandchildren() {
    let mut child = Command::new("sh")
        .args([
            "-c",
            "sh -c 'sleep 300 & sleep 300 & wait' & setsid sleep 300 & wait",
        ])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    process::wait_until("five processes", Duration::from_secs(10), || {
        process::with_descendants(child.id()).len() == 5
    });
    let tree = process::with_descendants(child.id());
    process::kill_tree(child.id());
    child.wait().unwrap();
    process::wait_until("all of them to end", Duration::from_secs(10), || {
        tree.iter().all(|pid| !process::is_alive(*pid))
    });
}

#[test]
#[should_panic(expected = "in vain for the moon")]
fn waiting_in_vain_fails_by_name() {
    process::wait_until("the moon", Duration::from_millis(30), || false);
}
