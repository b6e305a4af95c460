//! The source `proxmox` on a fixture with stand-ins for Proxmox's own programs, and on the real machine for the rest.

mod crash;
mod failures;
pub(crate) mod lab;
mod refusals;
mod restore;
mod roundtrip;
mod switches;
