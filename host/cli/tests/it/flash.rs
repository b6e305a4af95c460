//! A flash drive is committed, backed up and given back, by real git, with its secrets nowhere but on the drive.

mod crash;
mod failures;
mod hostile;
pub(crate) mod lab;
mod patterns;
mod roundtrip;
mod secrets;
mod validation;
