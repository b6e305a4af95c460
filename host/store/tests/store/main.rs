//! The store's behaviour, through its interface, on real files.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends at its first surprise"
)]

mod access;
mod backups;
mod catalogue;
mod crash;
mod fixtures;
mod jobs;
mod journal;
mod opening;
mod outbox;
mod places;
mod queue;
mod remotes;
mod runs;
mod speed;
mod state;
