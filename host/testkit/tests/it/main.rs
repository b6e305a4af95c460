//! The test services themselves, on real systems.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends at the first thing that fails"
)]

mod cli;
mod compare;
mod disk;
mod guests;
mod process;
mod servers;
mod tools;
mod tree;
mod zfs;
