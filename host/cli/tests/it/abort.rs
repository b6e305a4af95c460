//! A backup is complete or it is not there: whatever ends badly leaves nothing, says why, and touches no earlier backup.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use backstay_testkit::cli::{Backstay, Output, Running};
use backstay_testkit::disk::SmallDisk;
use backstay_testkit::process::{is_alive, wait_until};
use backstay_testkit::tools;
use serde_json::Value;

/// A digest of every file below `root`, by its path.
pub(crate) fn files(root: &Path) -> BTreeMap<PathBuf, String> {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let digest = |path: PathBuf| {
        let mut hasher = DefaultHasher::new();
        if path.is_file() {
            fs::read(&path).unwrap().hash(&mut hasher);
        }
        (path, format!("{:x}", hasher.finish()))
    };
    paths(root).into_iter().map(digest).collect()
}

/// Every path below `root`.
pub(crate) fn paths(root: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            }
            found.insert(entry.path());
        }
    }
    found
}

/// A job whose source runs `source.sh`, with one good backup of it.
struct Desk {
    backstay: Backstay,
    place: PathBuf,
}

impl Desk {
    /// The destination is a directory; `more` is added to the job.
    fn new(more: &str) -> Self {
        let desk = Self::empty();
        let destination = format!(
            "{{ plugin: local, config: {{ path: {}, minFreeBytes: 0 }} }}",
            desk.place.display()
        );
        desk.apply(&destination, more);
        desk.script("echo good");
        desk.run().ok();
        desk
    }

    /// The destination runs `store.sh` with the stream as its input.
    fn with_process(store: &str, more: &str) -> Self {
        let desk = Self::empty();
        desk.store_script(store);
        let config = format!(
            "do: process, script: \". {}\", path: {}",
            desk.file("store.sh").display(),
            desk.place.display()
        );
        desk.apply(
            &format!("{{ plugin: lab-destination, config: {{ {config} }} }}"),
            more,
        );
        desk
    }

    fn empty() -> Self {
        let labs = ["lab-source", "lab-destination"];
        let backstay = Backstay::with_guests(env!("CARGO_BIN_EXE_backstay"), &labs);
        let place = backstay.scratch_dir().join("place");
        fs::create_dir(&place).unwrap();
        let desk = Desk { backstay, place };
        desk.script("true");
        desk
    }

    fn file(&self, name: &str) -> PathBuf {
        self.backstay.scratch_dir().join(name)
    }

    fn apply(&self, destination: &str, more: &str) {
        let script = self.file("source.sh");
        self.backstay
            .apply(&format!(
                "name: j\nsource: {{ plugin: lab-source, config: {{ do: command, script: \". {}\" }} }}\ndestinations: [{destination}]\n{more}\n",
                script.display()
            ))
            .ok();
    }

    /// What the source runs from now on.
    fn script(&self, text: &str) {
        fs::write(self.file("source.sh"), text).unwrap();
    }

    /// What the destination runs from now on.
    fn store_script(&self, text: &str) {
        fs::write(self.file("store.sh"), text).unwrap();
    }

    fn run(&self) -> Output {
        self.backstay.run_json(&["run", "j"])
    }

    fn start(&self) -> Running {
        self.backstay.spawn(&["run", "j", "--json"])
    }

    fn newest_run(&self) -> Value {
        self.backstay.json(&["runs"])[0].clone()
    }

    fn events(&self) -> Vec<String> {
        let events = self.backstay.json(&["logs", "j"]);
        let events = events.as_array().unwrap().iter();
        events
            .map(|e| e["message"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Does `action`, which must end in `code` and leave nothing but what was there before.
    #[track_caller]
    fn fails(&self, code: i32, status: &str, sentence: &str, action: impl FnOnce() -> Output) -> Value {
        let before = files(&self.place);
        let backups = self.backstay.json(&["backups"]);
        let run = action().code(code).json();
        assert_eq!(run["status"], status, "{run:#}");
        let message = run["error"]["message"].as_str().unwrap();
        assert!(message.contains(sentence), "{message}");
        assert!(!message.contains("roken pipe"), "{message}");
        assert!(
            status == "cancelled" || run["error"]["hint"].is_string(),
            "no next step: {run:#}"
        );
        assert_eq!(self.newest_run()["status"], status);
        assert_eq!(files(&self.place), before, "something was left or touched");
        assert_eq!(self.backstay.json(&["backups"]), backups);
        run
    }
}

#[test]
fn a_source_that_exits_badly_after_50_mb() {
    for filters in ["", "filters: { compression: { algorithm: zstd } }"] {
        let desk = Desk::new(filters);
        desk.script("head -c 50M /dev/zero; echo noise >&2; echo the disk is on fire >&2; exit 1");
        desk.fails(
            4,
            "failed",
            "exited with status 1 after 52428800 bytes: the disk is on fire",
            || desk.run(),
        );
    }
}

#[test]
fn a_source_that_is_killed() {
    let desk = Desk::new("");
    desk.script("head -c 5M /dev/zero; kill -9 $$");
    desk.fails(4, "failed", "was killed by signal 9 after 5242880 bytes", || {
        desk.run()
    });
}

#[test]
fn a_source_that_fails_at_once_and_says_nothing() {
    let desk = Desk::new("");
    desk.script("exit 7");
    desk.fails(
        4,
        "failed",
        "exited with status 7 after 0 bytes and said nothing",
        || desk.run(),
    );
}

#[test]
fn a_destination_never_takes_a_failed_source_for_a_complete_one() {
    let desk = Desk::with_process("cat > $0.part && mv $0.part complete", "");
    let complete = desk.file("complete");
    desk.store_script(&format!("cat > {0}.part && mv {0}.part {0}", complete.display()));
    desk.script("head -c 3M /dev/zero; exit 1");
    desk.fails(4, "failed", "exited with status 1 after 3145728 bytes", || {
        desk.run()
    });
    std::thread::sleep(Duration::from_millis(300));
    assert!(!complete.exists(), "half a stream was committed");
}

#[test]
fn a_destination_that_dies() {
    let desk = Desk::with_process("", "retries: { attempts: 1 }");
    desk.script("head -c 5M /dev/zero; sleep 100");
    let started = Instant::now();
    for (script, sentence) in [
        (
            "head -c 100000 > /dev/null; echo no room for you >&2; exit 3",
            "exited with status 3",
        ),
        ("echo no room for you >&2; exit 3", "no room for you"),
        ("kill -9 $$", "was killed by signal 9"),
        ("head -c 100000 > /dev/null", "stopped reading after"),
    ] {
        desk.store_script(script);
        desk.fails(5, "failed", sentence, || desk.run());
    }
    assert!(
        started.elapsed() < Duration::from_secs(30),
        "a silent source kept them waiting"
    );
    desk.script("echo whole");
    desk.store_script("cat > /dev/null; echo could not keep it >&2; exit 9");
    desk.fails(5, "failed", "ended with status 9: could not keep it", || {
        desk.run()
    });
}

#[test]
fn a_destination_that_runs_full() {
    let desk = Desk::empty();
    let disk = SmallDisk::mount(32 << 20);
    let source = desk.file("source");
    fs::create_dir(&source).unwrap();
    let job = |stream: bool, more: &str| {
        let (source, place) = (source.display(), disk.path().display());
        desk.backstay
            .apply(&format!(
                "name: j\nsource: {{ plugin: path, config: {{ path: {source}, stream: {stream} }} }}\ndestinations: [{{ plugin: local, config: {{ path: {place}{more} }} }}]\n"
            ))
            .ok();
    };
    for stream in [true, false] {
        job(stream, ", minFreeBytes: 0");
        let _ = fs::remove_file(source.join("large"));
        fs::write(source.join("small"), "small").unwrap();
        desk.run().ok();
        let before = files(disk.path());
        let free_bytes = disk.free_bytes();
        fs::write(source.join("large"), vec![7; 40 << 20]).unwrap();
        let run = desk.fails(12, "failed", "No space left on device", || desk.run());
        assert!(
            run["error"]["hint"].as_str().unwrap().contains("make room"),
            "{run:#}"
        );
        assert_eq!(files(disk.path()), before);
        assert!(disk.free_bytes() >= free_bytes, "the room was not given back");
        desk.backstay
            .run(&["verify", "latest:j", "--level", "restore"])
            .ok();
    }
    job(true, ", minFreeBytes: 1000000000");
    desk.fails(12, "failed", "less than `minFreeBytes`", || desk.run());
}

#[test]
fn a_stalled_source_is_reported_at_once_and_fails_at_ten_times_that() {
    let desk = Desk::new("timeouts: { stall: 200ms }");
    desk.script("printf x; sleep 100");
    let started = Instant::now();
    desk.fails(4, "failed", "the stream stalled", || desk.run());
    assert!(started.elapsed() >= Duration::from_secs(2));
    let events = desk.backstay.json(&["logs", "j"]);
    let at = |text: &str| {
        let event = events
            .as_array()
            .unwrap()
            .iter()
            .find(|e| e["message"].as_str().unwrap().contains(text))
            .unwrap_or_else(|| panic!("no event `{text}` in {events:#}"));
        event["at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap()
    };
    let between = at("the stream stalled").duration_since(at("stalled: no byte"));
    assert!(between > jiff::SignedDuration::from_millis(800), "{between}");
}

#[test]
fn a_destination_that_stops_reading_is_a_stall() {
    let desk = Desk::with_process("sleep 100", "timeouts: { stall: 200ms }");
    desk.script("head -c 20M /dev/zero");
    desk.fails(4, "failed", "the stream stalled", || desk.run());
}

#[test]
fn a_slow_reader_is_no_stall() {
    tools::require(&["python3"]);
    let desk = Desk::with_process("", "timeouts: { stall: 200ms }");
    let kept = desk.file("kept");
    fs::create_dir(&kept).unwrap();
    let slow = "import os,sys,time\nout=open(sys.argv[1]+'/'+str(len(os.listdir(sys.argv[1]))),'wb')\nn=0\nwhile True:\n  b=os.read(0,65536)\n  if not b: break\n  out.write(b); n+=1\n  if n<40: time.sleep(0.15)\nprint(out.tell())\n";
    fs::write(desk.file("slow.py"), slow).unwrap();
    desk.store_script(&format!(
        "python3 {} {}",
        desk.file("slow.py").display(),
        kept.display()
    ));
    desk.script("head -c 8M /dev/zero | tr '\\0' x; echo end");
    desk.run().ok();
    let stored = fs::read(kept.join("0")).unwrap();
    assert_eq!(stored.len(), (8 << 20) + 4);
    assert!(stored.ends_with(b"xend\n"));
}

#[test]
fn a_transfer_that_takes_too_long() {
    let desk = Desk::new("timeouts: { transfer: 1s }");
    desk.script("while :; do echo x; sleep 0.05; done");
    desk.fails(4, "failed", "longer than timeouts.transfer allows (1 s)", || {
        desk.run()
    });
    let desk = Desk::with_process("cat > /dev/null; sleep 100", "timeouts: { transfer: 1s }");
    desk.script("echo all of it");
    desk.fails(4, "failed", "longer than timeouts.transfer allows (1 s)", || {
        desk.run()
    });
}

#[test]
fn what_a_late_source_started_has_ended_before_it_is_undone() {
    let desk = Desk::empty();
    let log = desk.file("log");
    let script = format!(
        "trap 'sleep 0.5; echo ended >> {0}; exit 1' TERM; echo started >> {0}; sleep 100 & wait",
        log.display()
    );
    fs::write(desk.file("late.sh"), script).unwrap();
    desk.backstay
        .apply(&format!(
            "name: j\nsource: {{ plugin: lab-source, config: {{ do: journal-then-trap, script: \". {}\", undoScript: \"echo undone >> {}\" }} }}\ndestinations: [{{ plugin: local, config: {{ path: {} }} }}]\ntimeouts: {{ prepare: 1s }}\n",
            desk.file("late.sh").display(),
            log.display(),
            desk.place.display()
        ))
        .ok();
    desk.fails(4, "failed", "the source was not ready after 1 s", || desk.run());
    assert_eq!(fs::read_to_string(log).unwrap(), "started\nended\nundone\n");
}

#[test]
fn a_signal_cancels_the_run_and_ends_the_whole_process_group() {
    for signal in ["INT", "TERM"] {
        let desk = Desk::new("");
        let pids = desk.file("pids");
        desk.script(&format!(
            "sleep 1000 & echo $! >> {0}; echo $$ >> {0}; head -c 3M /dev/zero; wait",
            pids.display()
        ));
        let read = || -> Vec<u32> {
            let text = fs::read_to_string(&pids).unwrap_or_default();
            text.lines().map(|l| l.parse().unwrap()).collect()
        };
        desk.fails(4, "cancelled", "cancelled", || {
            let running = desk.start();
            wait_until("the source's processes", Duration::from_secs(60), || {
                read().len() == 2
            });
            let pid = running.pid().to_string();
            let kill = Command::new("kill").args([&format!("-{signal}"), &pid]).status();
            assert!(kill.unwrap().success());
            let asked = Instant::now();
            let output = running.wait();
            assert!(asked.elapsed() < Duration::from_secs(9), "it waited for SIGKILL");
            output
        });
        for pid in read() {
            assert!(!is_alive(pid), "process {pid} is still there");
        }
        desk.script("echo good again");
        desk.run().ok();
    }
}

#[test]
fn a_source_that_ignores_sigterm_is_killed() {
    let desk = Desk::new("");
    let pids = desk.file("pids");
    desk.script(&format!(
        "trap '' TERM; echo $$ > {}; while :; do sleep 0.1; done",
        pids.display()
    ));
    let read = || {
        fs::read_to_string(&pids)
            .unwrap_or_default()
            .trim()
            .parse::<u32>()
    };
    desk.fails(4, "cancelled", "cancelled", || {
        let running = desk.start();
        wait_until("the source", Duration::from_secs(60), || read().is_ok());
        running.terminate();
        running.wait()
    });
    assert!(!is_alive(read().unwrap()));
}

#[test]
fn a_source_that_is_not_there_or_cannot_be_read() {
    tools::require(&["setpriv"]);
    tools::require_root("to take away the right to read everything");
    let desk = Desk::empty();
    let source = desk.file("source");
    let apply = |backstay: &Backstay| {
        backstay
            .apply(&format!(
                "name: j\nsource: {{ plugin: path, config: {{ path: {} }} }}\ndestinations: [{{ plugin: local, config: {{ path: {} }} }}]\n",
                source.display(),
                desk.place.display()
            ))
            .ok();
    };
    fs::create_dir(&source).unwrap();
    fs::write(source.join("a"), "a").unwrap();
    apply(&desk.backstay);
    desk.run().ok();
    fs::remove_dir_all(&source).unwrap();
    desk.fails(4, "failed", "does not exist", || desk.run());

    let weak = Backstay::new(without_privilege(&desk));
    fs::create_dir(&source).unwrap();
    fs::write(source.join("a"), "a").unwrap();
    apply(&weak);
    Command::new("chmod").arg("0").arg(&source).status().unwrap();
    let before = files(&desk.place);
    let run = weak.run_json(&["run", "j"]).code(7).json();
    assert_eq!(run["status"], "failed");
    let message = run["error"]["message"].as_str().unwrap();
    assert!(message.contains(source.to_str().unwrap()), "{message}");
    assert_eq!(files(&desk.place), before);
}

/// A program that runs backstay as a root who may not read what its mode forbids.
fn without_privilege(desk: &Desk) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let wrapper = desk.file("weak-backstay");
    let capabilities = "-dac_override,-dac_read_search";
    let text = format!(
        "#!/bin/sh\nexec setpriv --bounding-set={capabilities} --inh-caps={capabilities} {} \"$@\"\n",
        env!("CARGO_BIN_EXE_backstay")
    );
    fs::write(&wrapper, text).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    wrapper
}

#[test]
fn a_destination_that_is_not_there() {
    let desk = Desk::new("");
    let hidden = desk.file("hidden");
    fs::rename(&desk.place, &hidden).unwrap();
    let run = desk.run().code(3).json();
    assert_eq!(run["status"], "failed");
    let message = run["error"]["message"].as_str().unwrap();
    assert!(message.contains("does not exist"), "{message}");
    assert!(run["error"]["hint"].as_str().unwrap().contains("mount"));
    assert!(
        !desk.place.exists(),
        "it must not be made: a disk may belong there"
    );
    fs::rename(&hidden, &desk.place).unwrap();
    desk.backstay
        .run(&["verify", "latest:j", "--level", "checksum"])
        .ok();
}

#[test]
fn a_second_run_of_a_job_that_runs_is_skipped() {
    let desk = Desk::new("");
    let go = desk.file("go");
    desk.script(&format!(
        "echo begun; while [ ! -e {} ]; do sleep 0.05; done; echo done",
        go.display()
    ));
    let first = desk.start();
    wait_until("the first run", Duration::from_secs(60), || {
        desk.newest_run()["status"] == "transferring"
    });
    let second = desk.run().code(16).json();
    assert_eq!(second["status"], "skipped");
    assert!(
        second["error"]["message"]
            .as_str()
            .unwrap()
            .contains("job j is running already")
    );
    fs::write(&go, "").unwrap();
    let first = first.wait().ok().json();
    assert_eq!(first["status"], "succeeded");
}

#[test]
fn what_may_pass_is_tried_again_from_its_start() {
    let desk = Desk::empty();
    desk.script("head -c 2M /dev/zero");
    let retries = "retries: { attempts: 3, firstDelay: 10ms, maxDelay: 10ms }";
    let kept = desk.file("kept");
    fs::create_dir(&kept).unwrap();
    let once = format!(
        "cd {}; n=$(ls | wc -l); cat > $n; [ $n -gt 0 ] || {{ echo busy >&2; exit 1; }}; wc -c < $n",
        kept.display()
    );
    desk.store_script(&once);
    let config = |act: &str| {
        format!(
            "{{ plugin: lab-destination, config: {{ do: {act}, retry: true, path: {}, script: \". {}\" }} }}",
            desk.place.display(),
            desk.file("store.sh").display()
        )
    };
    desk.apply(&config("process"), retries);
    desk.run().ok();
    assert_eq!(fs::metadata(kept.join("1")).unwrap().len(), 2 << 20);
    assert!(
        desk.events()
            .iter()
            .any(|e| e.starts_with("attempt 1 failed") && e.contains("busy"))
    );

    // What a failed try has stored is gone before the next, and after the last.
    desk.apply(&config("fail-after-put"), retries);
    desk.fails(5, "failed", "failed after storing", || desk.run());
    let tries = desk.events();
    assert!(
        tries.iter().any(|e| e.starts_with("attempt 2 failed")),
        "{tries:?}"
    );
    assert!(!tries.iter().any(|e| e.contains("exists already")), "{tries:?}");

    desk.apply(
        &config("fail-after-put"),
        "retries: { attempts: 3, firstDelay: 100s, maxDelay: 100s }",
    );
    let before = desk.newest_run()["id"].clone();
    desk.fails(4, "cancelled", "cancelled", || {
        let running = desk.start();
        wait_until("the first try", Duration::from_secs(60), || {
            desk.newest_run()["id"] != before
                && desk.events().iter().any(|e| e.starts_with("attempt 1 failed"))
        });
        running.terminate();
        let asked = Instant::now();
        let output = running.wait();
        assert!(asked.elapsed() < Duration::from_secs(10));
        output
    });
}

#[test]
fn a_source_that_may_be_ready_next_time_is_tried_again() {
    let desk = Desk::empty();
    desk.backstay
        .apply(&format!(
            "name: j\nsource: {{ plugin: lab-source, config: {{ do: fail-once }} }}\ndestinations: [{{ plugin: local, config: {{ path: {} }} }}]\nretries: {{ firstDelay: 10ms }}\n",
            desk.place.display()
        ))
        .ok();
    desk.run().ok();
    assert!(desk.events().iter().any(|e| e.starts_with("attempt 1 failed")));
}

#[test]
fn a_check_that_could_not_be_made_says_nothing_about_the_backup() {
    tools::require(&["age-keygen"]);
    let desk = Desk::empty();
    let key = desk.file("key");
    let made = Command::new("age-keygen").arg("-o").arg(&key).output().unwrap();
    assert!(made.status.success());
    let text = fs::read_to_string(&key).unwrap();
    let recipient = text
        .lines()
        .find_map(|l| l.strip_prefix("# public key: "))
        .unwrap();
    desk.apply(
        &format!("{{ plugin: local, config: {{ path: {} }} }}", desk.place.display()),
        &format!("filters: {{ encryption: {{ recipients: [{recipient}] }} }}\nverify: {{ afterRun: true, level: archive }}"),
    );
    desk.script("echo good");
    let run = desk.run().code(15).json();
    assert_eq!(run["status"], "failed");
    assert_eq!(desk.backstay.json(&["backups"])[0]["verifiedOk"], Value::Null);
    let key = key.to_str().unwrap();
    desk.backstay
        .run(&["verify", "latest:j", "--level", "archive", "-i", key])
        .ok();
}
