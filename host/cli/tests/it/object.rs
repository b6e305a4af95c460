//! The destination `object`, against real servers and through a network that misbehaves.

mod faults;
mod lab;
mod lock;
mod remotes;
mod round_trip;
mod secrets;
mod sftp;
mod trees;
