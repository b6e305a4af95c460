//! Volumes and bind mounts of real containers are backed up and restored, and the containers run again afterwards.

mod crash;
mod engine;
pub(crate) mod lab;
mod quiet;
mod restore;
mod round_trip;
mod traps;
mod validation;
