//! How many connections come from an address: nobody else's clients are kept out by those of one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// So many connections from one address at once. A loopback address may have all: whoever is behind it, such as a proxy, is
/// on this machine.
const MOST: usize = 128;

/// The connections that there are.
#[derive(Debug, Clone, Default)]
pub struct Shares(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A connection; dropped, there is room for another.
#[derive(Debug)]
pub struct Share {
    of: Shares,
    address: IpAddr,
}

impl Shares {
    /// Counts a connection; nothing if there are too many from its address.
    pub fn take(&self, address: IpAddr) -> Option<Share> {
        let address = address.to_canonical();
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(address).or_default();
        if *count >= MOST && !address.is_loopback() {
            return None;
        }
        *count += 1;
        Some(Share {
            of: self.clone(),
            address,
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.of.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_leaves_room_for_others_and_has_it_again_later() {
        let shares = Shares::default();
        let [one, other, here] = ["192.0.2.1", "192.0.2.2", "127.0.0.1"].map(|text| text.parse().unwrap());
        let mut held: Vec<Share> = (0..MOST).filter_map(|_| shares.take(one)).collect();
        assert_eq!(held.len(), MOST);
        assert!(shares.take(one).is_none());
        assert!(shares.take("::ffff:192.0.2.1".parse().unwrap()).is_none());
        assert!(shares.take(other).is_some());
        assert_eq!((0..=MOST).filter_map(|_| shares.take(here)).count(), MOST + 1);
        held.pop();
        assert!(shares.take(one).is_some());
        drop(held);
        assert!(shares.0.lock().unwrap().is_empty());
    }
}
