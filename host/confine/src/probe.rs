//! Whether scripts can be confined on this machine, found out by confining one.

use std::fs;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use backstay_model::{Code, Error, Result};

use crate::cgroup::Group;
use crate::limits::Limits;
use crate::lines::Hear;
use crate::script::Script;

/// What the probe writes: its capabilities, whether its calls are filtered, and its user.
const PROBE: &str = "#!/bin/sh\nexec cat /proc/self/status\n";

/// How scripts are confined here, for a person.
///
/// # Errors
/// They can't be, and what to do about it.
pub fn probe() -> Result<String> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hear: Hear = Arc::new({
        let heard = Arc::clone(&heard);
        move |_, line: &str| {
            heard
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(line.to_owned())
        }
    });
    let script = Script {
        path: "/backstay/probe.sh".into(),
        content: PROBE.into(),
        args: Vec::new(),
        directory: None,
        readable: Vec::new(),
        hidden: Vec::new(),
        output: None,
        network: false,
        env: Vec::new(),
        limits: Limits::default(),
    };
    let ended = crate::run(&script, &AtomicBool::new(false), &hear)?;
    ended.success("probe", &script.limits)?;
    let lines = heard.lock().unwrap_or_else(PoisonError::into_inner);
    let field = |name: &str| {
        let line = lines.iter().find_map(|line| line.strip_prefix(name));
        line.map(str::trim).unwrap_or_default().to_owned()
    };
    let user = field("Uid:")
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned();
    let is_tight = field("CapEff:").trim_start_matches('0').is_empty()
        && field("CapBnd:").trim_start_matches('0').is_empty()
        && field("NoNewPrivs:") == "1"
        && field("Seccomp:") == "2"
        && user != "0";
    if !is_tight {
        return Err(Error::new(
            Code::Security,
            "a confined script still has rights that it should not have",
        )
        .hint("this is a defect of bubblewrap, util-linux or the kernel: update them"));
    }
    let memory = match Group::create(&script.limits) {
        Some(group) if group.limits_memory() => "memory and processes limited by a control group",
        _ => "memory limited for each process and watched for all",
    };
    let root = if fs::metadata("/proc/self").is_ok_and(|_| rustix::process::geteuid().is_root()) {
        "users of their own"
    } else {
        "the host's user"
    };
    Ok(format!(
        "bubblewrap with a filter of system calls, {root}; {memory}"
    ))
}
