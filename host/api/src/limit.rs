//! Limits how often something may happen within a minute.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What is counted together.
const WINDOW: Duration = Duration::from_secs(60);

/// So many keys are remembered; above that it begins anew.
const MOST_REMEMBERED: usize = 10_000;

/// Counts by a key, such as the address that something comes from.
#[derive(Debug)]
pub struct Limiter<K> {
    most: u32,
    seen: Mutex<HashMap<K, (u32, Instant)>>,
}

impl<K: Eq + Hash> Limiter<K> {
    /// Allows so many within a minute.
    pub fn new(most: u32) -> Self {
        Limiter {
            most,
            seen: Mutex::default(),
        }
    }

    /// Counts one more.
    ///
    /// # Errors
    /// There were too many: the seconds until it begins anew.
    pub fn count(&self, key: K, now: Instant) -> Result<(), u32> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MOST_REMEMBERED && !seen.contains_key(&key) {
            seen.clear();
        }
        let (count, since) = seen.entry(key).or_insert((0, now));
        let left = match WINDOW.checked_sub(now.saturating_duration_since(*since)) {
            Some(left) => left,
            None => {
                (*count, *since) = (0, now);
                WINDOW
            }
        };
        if *count < self.most {
            *count += 1;
            return Ok(());
        }
        Err(u32::try_from(left.as_secs())
            .unwrap_or(u32::MAX)
            .saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_so_many_one_has_to_wait_and_nobody_else() {
        let limiter = Limiter::new(3);
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        for seconds in 0..3 {
            assert_eq!(limiter.count("here", after(seconds)), Ok(()));
        }
        assert_eq!(limiter.count("here", after(10)), Err(51));
        assert_eq!(limiter.count("there", after(10)), Ok(()));
        assert_eq!(limiter.count("here", after(60)), Err(1));
        for _ in 0..3 {
            assert_eq!(limiter.count("here", after(61)), Ok(()));
        }
        assert_eq!(limiter.count("here", after(61)), Err(61));
    }
}
