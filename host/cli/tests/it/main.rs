//! The `backstay` program as its users meet it: real data, real tools, real crashes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

mod abort;
mod api;
mod catalog;
mod configuration;
mod container;
mod crash;
mod damage;
mod database;
mod destinations;
mod docker;
mod drill;
mod fan_out;
mod flash;
mod guards;
mod hostile_plugins;
mod import;
mod matrix;
mod metrics;
mod notification;
mod object;
mod plugin_test;
mod preview;
mod proxmox;
mod prune;
mod rclone;
mod restic;
mod roundtrip;
mod rsync;
mod schedule;
mod scratch;
mod script;
mod secrets;
mod serve;
mod throttle;
mod verification;
mod words;
mod zfs;
