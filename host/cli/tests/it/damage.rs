//! Damage at the destination: each kind is found at the level that the documentation says, the damaged object is named,
//! and nothing of it is ever restored as if it were whole.
//!
//! What can happen, to which part, at which destination, and what finds it, is data in `harm`; the tests and the table in
//! the documentation are made from it. A new destination is an implementation of `Damageable` and a line below.

mod harm;
mod keys;
mod lab;
mod manifest;
mod mounted;
mod page;

use crate::destinations::places::{Local, ObjectS3Files, RcloneDisk, ResticDisk, RsyncDisk};

macro_rules! destinations {
    ($($name:ident: $place:ty;)*) => {
        $(
            #[test]
            fn $name() {
                lab::everything_is_found::<$place>();
            }
        )*

        /// The plugins that stand in a column of the table.
        const DESTINATIONS: &[&str] = &[$(stringify!($name)),*];
    };
}

destinations! {
    local: Local;
    object: ObjectS3Files;
    rclone: RcloneDisk;
    restic: ResticDisk;
    rsync: RsyncDisk;
}
