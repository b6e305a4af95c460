//! A ZFS dataset is backed up, restored and cleaned up after, on a real pool served by zfs-fuse.

mod chain;
mod crash;
mod drill;
pub(crate) mod lab;
mod leftovers;
mod rebuilt;
mod recursive;
mod refusals;
