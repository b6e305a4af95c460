//! Scripts on this machine's kernel: what they may do works, and whatever else they try does nothing to anybody.
//!
//! Needs root, as the host has it where it backs up a whole machine; what a host without root does is tested with
//! the program.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod grants;
mod hostile;
mod lab;
mod limits;
