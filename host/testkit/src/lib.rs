//! Real services and real data for tests: a ZFS pool, containers, PostgreSQL, MariaDB, object stores, restic repositories, an ssh server, a small disk, a
//! hostile tree, an independent comparison, the `backstay` binary with a data directory of its own, and test plugins
//! built on first use.
//!
//! Every service is a value that cleans up when it is dropped, also when several test processes run at once.
//! Nothing here is faked, and nothing is skipped: a tool that is missing fails the test and says how to install it.
//! Tests call this crate as a dev-dependency; it knows no other crate of the host, so that it can't share their
//! mistakes. To add a service, give it a file here, make it undo itself in `Drop`, and test it under `tests/`.
#![expect(
    clippy::panic,
    reason = "a service that can't start, or an answer that can't be read, fails the test"
)]

pub mod azure;
pub mod cli;
pub mod clock;
pub mod compare;
pub mod containers;
pub mod disk;
mod fail;
pub mod flash;
pub mod guests;
pub mod mail;
pub mod mariadb;
pub mod moto;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod rclone;
pub mod receiver;
pub mod restic;
mod server;
pub mod ssh;
pub mod stores;
mod template;
pub mod tools;
pub mod tree;
pub mod turns;
pub mod zfs;

pub use server::free_port;
