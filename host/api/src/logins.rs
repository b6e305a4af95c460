//! Counts requests with wrong tokens, or with cookies of no session, by the address that they come from.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So many wrong tokens an address may send within [`WINDOW`]. After that, only tokens that were right before are looked at.
pub const MOST_TOKENS: u32 = 10;

/// So many cookies of no session. Pages that were left open go on asking with theirs when that has ended.
pub const MOST_COOKIES: u32 = 100;

/// How long a wrong one counts.
const WINDOW: Duration = Duration::from_secs(60);

/// So many addresses are remembered, and as many tokens; above that it begins anew.
const MOST_REMEMBERED: usize = 10_000;

/// What is known about attempts.
#[derive(Debug)]
pub struct Logins {
    most: u32,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    failed: HashMap<IpAddr, (u32, Instant)>,
    /// Hashes of tokens that were right: who guesses from an address doesn't lock out those who share it.
    good: HashSet<blake3::Hash>,
}

impl Logins {
    /// With so many wrong ones from an address.
    pub fn new(most: u32) -> Self {
        Logins {
            most,
            known: Mutex::default(),
        }
    }

    /// Seconds to wait for an address that has sent too many wrong tokens; nothing if this one may be looked at.
    pub fn wait(&self, address: IpAddr, token: &str, now: Instant) -> Option<u64> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, since) = known.failed.get(&address)?;
        let left = WINDOW.checked_sub(now.saturating_duration_since(*since))?;
        let is_limited = *count >= self.most && !known.good.contains(&blake3::hash(token.as_bytes()));
        is_limited.then_some(left.as_secs() + 1)
    }

    /// A token was wrong.
    pub fn failed(&self, address: IpAddr, now: Instant) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.failed.len() >= MOST_REMEMBERED {
            known.failed.clear();
        }
        let entry = known.failed.entry(address).or_insert((0, now));
        if now.saturating_duration_since(entry.1) > WINDOW {
            *entry = (0, now);
        }
        entry.0 += 1;
    }

    /// A token was right.
    pub fn succeeded(&self, token: &str) {
        let hash = blake3::hash(token.as_bytes());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.good.len() >= MOST_REMEMBERED {
            known.good.clear();
        }
        known.good.insert(hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_guesses_has_to_wait_and_nobody_else() {
        let logins = Logins::new(MOST_TOKENS);
        let (here, there) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let start = Instant::now();
        logins.succeeded("right");
        for n in 0..MOST_TOKENS {
            assert_eq!(logins.wait(here, "wrong", start), None, "after {n}");
            logins.failed(here, start);
        }
        assert_eq!(logins.wait(here, "wrong", start), Some(61));
        assert_eq!(logins.wait(here, "right", start), None);
        assert_eq!(logins.wait(there, "wrong", start), None);
        let later = start + WINDOW + Duration::from_secs(1);
        assert_eq!(logins.wait(here, "wrong", later), None);
        logins.failed(here, later);
        assert_eq!(logins.wait(here, "wrong", later), None);
    }
}
