//! Retention, through the binary: old backups go to policy, and nothing goes that somebody may need.

mod crash;
mod lab;
mod policy;
mod refusals;
mod strangers;
mod zfs;
