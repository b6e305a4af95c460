//! Trees as archives and back, judged by tools that share no code with ours: GNU tar and Python.
//!
//! Needs root, because owners, devices and trusted attributes can't be made without it, and a
//! `TMPDIR` on a file system with extended attributes, ACLs and holes, such as ext4.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what helps a test fails as a test does"
)]

mod archives;
mod bulk;
mod changes;
mod copies;
mod damage;
mod fetched;
mod index;
mod interchange;
mod meanwhile;
mod mended;
mod patterns;
mod restore;
mod support;
mod trees;
