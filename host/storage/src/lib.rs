//! Places that keep objects, as ends of streams. An object is under its key complete and durable, or not at all.
//!
//! This crate knows keys and bytes, never jobs or plugins. A [`Place`] is a [`Directory`] of this machine or an
//! [`ObjectStore`] or a directory of an SFTP server ([`SftpStore`]); a further kind is a module of its own with the same verbs: `put`, `put_tree`, `get`,
//! `get_tree`, `stat`, `find`, `delete`, `space`.

mod direct;
pub mod directory;
pub mod key;
pub mod object;
mod place;
mod recovery;
pub mod sftp;
mod sink;
mod writeback;

pub use directory::Directory;
pub use key::Key;
pub use object::ObjectStore;
pub use place::Place;
pub use sftp::SftpStore;

/// What is at a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// The key.
    pub key: String,
    /// Bytes stored; for a tree, of all its files.
    pub size_bytes: u64,
    /// Whether it is a tree.
    pub is_tree: bool,
}

/// Room in a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// In all.
    pub total_bytes: u64,
    /// To be had by this process.
    pub available_bytes: u64,
}
