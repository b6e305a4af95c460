//! How large the parts of an upload are, and how much memory they may take.

/// S3, Google Cloud Storage and B2 take so many parts of an object; Azure takes five times as many.
pub(super) const MAX_PARTS: usize = 10_000;

/// The largest object of S3 in a single upload, 5 TB.
#[cfg(test)]
const LARGEST_BYTES: u64 = 5_000_000_000_000;

/// How many parts are on their way at once, if the memory is enough for them.
pub(super) const PARALLEL: usize = 8;

/// What all parts of an upload together may take, in MiB: being filled, waiting, on their way. A part larger than half
/// of it counts as half.
pub(super) const MEMORY_MIB: usize = 144;

/// Bytes of a MiB.
const MIB: usize = 1 << 20;

/// How an upload is cut up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// What [`MEMORY_MIB`] and the sizes count.
    pub(super) unit: usize,
    /// Parts before the first one of this upload.
    pub(super) skipped: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            unit: MIB,
            skipped: 0,
        }
    }
}

impl Plan {
    /// Bytes of the part with this number, from 0, and what it counts against [`MEMORY_MIB`].
    pub(super) fn part(self, number: usize) -> (usize, u32) {
        let mib = part_mib(self.skipped + number);
        (mib * self.unit, weight(mib))
    }
}

/// So many parts of so many MiB each. The length of a stream isn't known beforehand, so small parts come first. Up to
/// 218 GiB everything stays within [`MEMORY_MIB`]; what is larger takes two parts of the last size.
const SIZES_MIB: [(usize, usize); 6] = [
    (1000, 8),
    (1500, 24),
    (1500, 48),
    (1500, 72),
    (1000, 256),
    (3500, 1248),
];

/// Bytes of the part with this number, from 0.
fn part_mib(number: usize) -> usize {
    let mut before = 0;
    for (count, mib) in SIZES_MIB {
        before += count;
        if number < before {
            return mib;
        }
    }
    SIZES_MIB[SIZES_MIB.len() - 1].1
}

/// What a part counts against [`MEMORY_MIB`].
fn weight(mib: usize) -> u32 {
    mib.min(MEMORY_MIB / 2) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_parts_are_enough_for_the_largest_object() {
        let all: u64 = (0..MAX_PARTS).map(|number| (part_mib(number) as u64) << 20).sum();
        assert!(all >= LARGEST_BYTES, "{all}");
        assert_eq!(SIZES_MIB.iter().map(|(count, _)| count).sum::<usize>(), MAX_PARTS);
    }

    #[test]
    fn no_part_is_one_that_s3_refuses() {
        assert!((0..MAX_PARTS).all(|number| (5..=5 * 1024).contains(&part_mib(number))));
    }

    #[test]
    fn two_parts_always_fit_so_that_one_can_be_filled_while_the_other_waits() {
        assert!((0..MAX_PARTS).all(|number| 2 * weight(part_mib(number)) as usize <= MEMORY_MIB));
    }
}
