//! Each limit ends a script that breaks it, with all that it started.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backstay_confine::limits::Broken;
use backstay_confine::{How, Script};

use super::lab::{Lab, is_anywhere};

#[track_caller]
fn breaks(lab: &Lab, script: &Script, expected: Broken) {
    let done = lab.run(script);
    assert_eq!(done.ended.how, How::Broke(expected), "{:?}", done.lines);
    assert!(!is_anywhere(script.path.to_str().unwrap()), "something lives on");
}

#[test]
fn a_script_that_takes_too_long_is_asked_to_end_and_then_ended() {
    let lab = Lab::new();
    let mut script = lab.script("a.sh", "trap 'echo bye; exit 0' TERM\nsleep 4711001 & wait");
    script.limits.time = Duration::from_secs(1);
    let done = lab.run(&script);
    assert_eq!(done.ended.how, How::Broke(Broken::Time));
    assert_eq!(done.lines, ["bye"]);
    assert!(!is_anywhere("4711001"));
    // One that doesn't listen is killed.
    script.content = b"trap '' TERM\nwhile true; do sleep 4711002; done".into();
    breaks(&lab, &script, Broken::Time);
    assert!(!is_anywhere("4711002"));
}

#[test]
fn a_script_that_somebody_stops_ends_with_all_that_it_started() {
    let lab = Lab::new();
    let script = lab.script("a.sh", "setsid sleep 4711003 &\nsleep 4711003 & wait");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let running = scope.spawn(|| lab.run_until(&script, &stop));
        backstay_testkit::process::wait_until("the script to run", Duration::from_secs(20), || {
            is_anywhere("4711003")
        });
        stop.store(true, Ordering::SeqCst);
        assert_eq!(running.join().unwrap().ended.how, How::Stopped);
    });
    assert!(!is_anywhere("4711003"));
}

#[test]
fn what_it_leaves_running_ends_with_it() {
    let lab = Lab::new();
    lab.sh("setsid nohup sleep 4711004 >/dev/null 2>&1 &\n(sleep 4711004 &) &\nsleep 4711004 & disown 2>/dev/null; exit 0");
    assert!(!is_anywhere("4711004"));
}

#[test]
fn a_fork_bomb_is_ended() {
    let lab = Lab::new();
    // This one may give up by itself when it gets no more processes.
    let shell = lab.script("bomb.sh", "#!/bin/bash\nb() { b | b & }\nb\nwait");
    let how = lab.run(&shell).ended.how;
    assert!(
        matches!(how, How::Broke(Broken::Processes) | How::Exited(_)),
        "{how:?}"
    );
    assert!(!is_anywhere(shell.path.to_str().unwrap()), "something lives on");
    let python = "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass";
    breaks(&lab, &lab.script("bomb.py", python), Broken::Processes);
}

#[test]
fn memory_is_limited_for_one_process() {
    let lab = Lab::new();
    let mut script = lab.script(
        "a.py",
        "try:\n  bytearray(400 << 20)\nexcept MemoryError:\n  print('refused')",
    );
    script.limits.memory_bytes = 200 << 20;
    let done = lab.run(&script);
    let is_contained = done.lines == ["refused"] || done.ended.how == How::Broke(Broken::Memory);
    assert!(is_contained, "{:?} {:?}", done.ended.how, done.lines);
}

#[test]
fn memory_is_limited_for_all_processes_together() {
    let lab = Lab::new();
    let together = "import os, time\nfor _ in range(6):\n  if os.fork() == 0:\n    a = b'x' * (40 << 20)\n    time.sleep(600)\nos.wait()";
    let shared = "import mmap, time\na = mmap.mmap(-1, 300 << 20)\nfor i in range(0, len(a), 4096): a[i] = 1\ntime.sleep(600)";
    for content in [together, shared] {
        let mut script = lab.script("a.py", content);
        script.limits.memory_bytes = 150 << 20;
        breaks(&lab, &script, Broken::Memory);
    }
}

#[test]
fn the_disk_is_not_filled() {
    let lab = Lab::new();
    let mut script = lab.script("a.sh", "exec head -c 100M /dev/zero > one");
    script.limits.output_bytes = 2 << 20;
    breaks(&lab, &script, Broken::OutputBytes);
    script.content = b"i=0; while true; do i=$((i+1)); head -c 1M /dev/zero > f$i; done".into();
    breaks(&lab, &script, Broken::OutputBytes);
    let lab = Lab::new();
    script.output = Some(lab.output());
    script.content = b"truncate -s 1T big 2>/dev/null || echo refused; rm -f *".into();
    assert_eq!(lab.run(&script).ok(), ["refused"]);
    // More than allowed within the blink of an eye.
    script.content = b"head -c 1500K /dev/zero > a; cp a b".into();
    breaks(&lab, &script, Broken::OutputBytes);
}

#[test]
fn inodes_and_levels_are_limited() {
    let lab = Lab::new();
    let mut script = lab.script("a.sh", "i=0; while true; do i=$((i+1)); : > f$i; done");
    script.limits.output_entries = 500;
    breaks(&lab, &script, Broken::OutputEntries);
    let lab = Lab::new();
    let deep = "import os\nwhile True:\n  os.mkdir('d')\n  os.chdir('d')";
    breaks(&lab, &lab.script("a.py", deep), Broken::OutputDepth);
}

#[test]
fn its_temporary_files_are_limited() {
    let lab = Lab::new();
    let said = lab.sh("for d in /tmp /dev/shm; do head -c 100M /dev/zero > $d/x 2>/dev/null || echo full; done; touch /dev/x / 2>/dev/null || echo closed");
    assert_eq!(said, ["full", "full", "closed"]);
}

#[test]
fn a_hundred_megabytes_of_output_are_read_and_dropped() {
    let lab = Lab::new();
    let done = lab.run(&lab.script(
        "a.sh",
        "yes | head -c 100M; head -c 5M /dev/zero | tr '\\0' y; echo done >&2",
    ));
    assert_eq!(done.ended.how, How::Exited(0));
    assert_eq!(done.lines.len(), 1_002);
    assert!(done.lines.iter().map(String::len).sum::<usize>() < 1 << 20);
    assert!(done.lines.contains(&"done".to_owned()));
}
