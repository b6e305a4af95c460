//! Locks in the repository: who holds them, and the one that a killed restic of this plugin has left.
//!
//! A lock belongs to this plugin if its journal says that a restic of its own was at work and did not end well, the lock
//! was made since then, on this machine, and the process that made it is gone. Only such a lock is ever removed, and
//! only if `restic unlock` would remove no lock of anybody else.

use std::time::{Duration, SystemTime};

use backstay_sdk::{Failure, Result, log};
use jiff::Timestamp;

use crate::answer::{self, Lock};
use crate::config::Config;
use crate::receipt::is_id;
use crate::{command, complaint};

/// After 30 minutes without renewal restic itself takes a lock for dead, wherever it was made. Earlier by what an
/// `unlock` may take to start.
const MAY_BE_TAKEN_FOR_DEAD: Duration = Duration::from_secs(25 * 60);

/// Locks are looked at one by one, at most so many.
const MOST: usize = 32;

/// Now, for the journal.
///
/// # Errors
/// The clock is beyond all reason.
pub fn now() -> Result<Timestamp> {
    Timestamp::try_from(SystemTime::now())
        .map_err(|e| Failure::environment(format!("the clock of this machine is wrong: {e}")))
}

/// Removes the lock that a restic of ours left, which began at `since` and was killed.
///
/// # Errors
/// The repository can't be opened; or the lock can't be removed without removing another's.
pub fn heal(config: &Config, since: Timestamp) -> Result<()> {
    let locks = all(config)?;
    if locks.is_empty() {
        return Ok(());
    }
    let machine = command::machine().run_ok()?.stdout.trim().to_owned();
    let mut others = Vec::new();
    let mut is_ours_there = false;
    for lock in locks {
        if lock.hostname == machine && lock.time >= since && ends(lock.pid)? {
            is_ours_there = true;
        } else {
            others.push(lock);
        }
    }
    if !is_ours_there {
        return Ok(());
    }
    let long_ago = now()?
        .checked_sub(MAY_BE_TAKEN_FOR_DEAD)
        .unwrap_or(Timestamp::MIN);
    for lock in others {
        let is_dead_here = lock.hostname == machine && !is_alive(lock.pid)?;
        if is_dead_here || lock.time < long_ago {
            let message = format!(
                "a killed restic has left a lock in {}, which can't be removed without removing the one of {}",
                config.repository,
                holder(&lock)
            );
            return Err(Failure::storage(message)
                .hint("see whether that one is at work; if not, `restic unlock` removes both"));
        }
    }
    let output = command::unlock(config).run()?;
    if !output.is_success() {
        return Err(complaint::failure("unlock", &config.repository, &output));
    }
    log::info(format!(
        "removed the lock that a killed restic has left in {}",
        config.repository
    ));
    Ok(())
}

/// Says who holds the locks, in a failure because of them.
pub fn name_holders(config: &Config, failure: Failure) -> Failure {
    let Ok(locks) = all(config) else { return failure };
    if locks.is_empty() {
        return failure;
    }
    let holders: Vec<String> = locks.iter().map(holder).collect();
    let message = format!(
        "the repository {} is locked by {}",
        config.repository,
        holders.join(", ")
    );
    Failure { message, ..failure }
}

fn holder(lock: &Lock) -> String {
    format!("process {} on {} since {:.0}", lock.pid, lock.hostname, lock.time)
}

/// The locks that there are. One that goes away meanwhile is none.
fn all(config: &Config) -> Result<Vec<Lock>> {
    let output = command::list_locks(config).run()?;
    if !output.is_success() {
        return Err(complaint::failure(
            "list the locks of",
            &config.repository,
            &output,
        ));
    }
    let mut locks = Vec::new();
    for id in output
        .stdout
        .lines()
        .map(str::trim)
        .filter(|id| is_id(id))
        .take(MOST)
    {
        let output = command::cat_lock(config, id).run()?;
        if output.is_success() {
            locks.push(answer::lock(&output.stdout)?);
        } else if is_there(config, id)? {
            return Err(complaint::failure("read a lock of", &config.repository, &output));
        }
    }
    Ok(locks)
}

fn is_there(config: &Config, id: &str) -> Result<bool> {
    let output = command::list_locks(config).run()?;
    Ok(output.stdout.lines().any(|line| line.trim() == id))
}

/// Whether a process is gone, or goes within a moment: one that was killed just now takes a while, and restic takes it
/// for alive until its parent knows.
fn ends(pid: u32) -> Result<bool> {
    const STEPS: u32 = 50;
    const STEP: Duration = Duration::from_millis(100);
    for _ in 0..STEPS {
        if !is_alive(pid)? {
            return Ok(true);
        }
        std::thread::sleep(STEP);
    }
    Ok(false)
}

fn is_alive(pid: u32) -> Result<bool> {
    Ok(command::process_exists(pid).run()?.is_success())
}
