//! What systemd hears of the service, by a socket as it makes one.

use std::os::unix::net::UnixDatagram;
use std::path::Path;

use backstay_testkit::cli::Backstay;
use sd_notify::NotifyState;

use super::{Desk, PATIENCE};

/// The end at which systemd listens.
struct Systemd(UnixDatagram);

impl Systemd {
    fn listen(at: &Path) -> Self {
        let socket = UnixDatagram::bind(at).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Systemd(socket)
    }

    /// The next message, as lines.
    fn next(&self) -> std::io::Result<Vec<String>> {
        let mut bytes = [0; 4096];
        let length = self.0.recv(&mut bytes)?;
        let text = std::str::from_utf8(&bytes[..length]).unwrap();
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// The messages up to the one with this line, that one last.
    #[track_caller]
    fn until(&self, line: &str) -> Vec<Vec<String>> {
        let mut all = Vec::new();
        loop {
            let Ok(lines) = self.next() else {
                panic!("waited in vain for {line}: {all:?}");
            };
            let is_it = lines.iter().any(|known| known == line);
            all.push(lines);
            if is_it {
                return all;
            }
        }
    }

    /// What can be heard now, without waiting.
    fn rest(&self) -> Vec<Vec<String>> {
        self.0.set_nonblocking(true).unwrap();
        let all = std::iter::from_fn(|| self.next().ok()).collect();
        self.0.set_nonblocking(false).unwrap();
        all
    }
}

fn has(messages: &[Vec<String>], line: &str) -> bool {
    messages.iter().flatten().any(|known| known == line)
}

/// Microseconds of the clock that systemd compares by.
fn monotonic() -> i128 {
    match NotifyState::monotonic_usec_now().unwrap() {
        NotifyState::MonotonicUsec(now) => now,
        other => panic!("{other} is no time"),
    }
}

fn desk(more: &[(&str, &str)]) -> (Desk, Systemd) {
    let backstay = Backstay::new(env!("CARGO_BIN_EXE_backstay"));
    let socket = backstay.scratch_dir().join("notify");
    let systemd = Systemd::listen(&socket);
    let backstay = backstay.env("NOTIFY_SOCKET", socket.to_str().unwrap());
    let backstay = more
        .iter()
        .fold(backstay, |backstay, (name, value)| backstay.env(name, value));
    (Desk::of(backstay), systemd)
}

#[test]
fn it_hears_when_the_service_is_ready_reads_its_settings_again_and_ends() {
    let (desk, systemd) = desk(&[("WATCHDOG_USEC", "60000000")]);
    desk.slow_job("slow", "");
    // A run that a crash left: it is ready only when that is dealt with.
    let mut service = desk.serve("");
    systemd.until("READY=1");
    let mut run = desk.backstay.spawn(&["run", "slow"]);
    desk.wait_for_status("slow", "transferring");
    service.kill();
    run.kill();
    systemd.rest();

    let service = desk.serve("runs: { shutdownTimeout: 0s }");
    let begin = systemd.until("READY=1");
    assert!(has(&begin[..1], "STATUS=undoing what a crash left"), "{begin:?}");
    assert!(has(&begin[begin.len() - 1..], "STATUS=ready"), "{begin:?}");
    assert!(!has(&begin, "WATCHDOG=1"), "it is not watched yet: {begin:?}");
    assert_eq!(desk.runs()[0]["status"], "interrupted");
    for _ in 0..2 {
        systemd.until("WATCHDOG=1");
    }

    let before = monotonic();
    let reload = std::process::Command::new("kill")
        .args(["-HUP", &service.pid().to_string()])
        .status();
    assert!(reload.unwrap().success());
    let reloading = systemd.until("RELOADING=1").pop().unwrap();
    let at = reloading
        .iter()
        .find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    let at: i128 = at.expect("systemd wants to know when").parse().unwrap();
    assert!(at >= before && at <= monotonic(), "{reloading:?}");
    systemd.until("READY=1");

    let run = desk.backstay.spawn(&["run", "slow"]);
    desk.wait_for("another run", |runs| {
        runs.len() == 2 && runs[1]["status"] == "transferring"
    });
    service.terminate();
    systemd.until("STOPPING=1");
    service.wait().ok();
    assert!(run.wait().code != 0, "it was cancelled");
    assert!(!has(&systemd.rest(), "READY=1"), "it ends");
}

#[test]
fn it_hears_no_watchdog_that_it_didnt_ask_for_and_of_wrong_settings_that_it_goes_on() {
    let (desk, systemd) = desk(&[]);
    let service = desk.serve("");
    systemd.until("READY=1");
    std::fs::write(desk.file("config.yaml"), "runs: { max: many }").unwrap();
    let edit = systemd.until("RELOADING=1");
    let back = systemd.until("READY=1");
    service.terminate();
    let end = systemd.until("STOPPING=1");
    assert!(!has(&[edit, back, end].concat(), "WATCHDOG=1"));
    let said = service.wait().ok().stderr;
    assert!(said.contains("the settings stay as they were"), "{said}");
}

#[test]
fn the_unit_agrees_with_what_the_service_does() {
    let backstay = Backstay::new(env!("CARGO_BIN_EXE_backstay"));
    let unit = backstay.run(&["serve", "--print-unit"]).ok().stdout;
    let value = |key: &str| {
        let line = unit
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("{key} is not in\n{unit}"))
            .to_owned()
    };
    let seconds = |key: &str| value(key).trim_end_matches('s').parse::<u64>().unwrap();
    assert_eq!(
        (value("Type").as_str(), value("NotifyAccess").as_str()),
        ("notify", "main")
    );
    assert_eq!(value("ExecReload"), "/bin/kill -HUP $MAINPID");
    // A turn of its loop takes a second, and longer on a machine that swaps.
    assert!(seconds("WatchdogSec") >= 30);
    let settings = backstay.run(&["serve", "--print-config"]).ok().stdout;
    let shutdown = settings
        .lines()
        .find_map(|line| line.trim().strip_prefix("shutdownTimeout: "))
        .unwrap();
    let shutdown: u64 = shutdown.trim_end_matches('s').parse().unwrap();
    assert!(seconds("TimeoutStopSec") > shutdown + 10);
}
