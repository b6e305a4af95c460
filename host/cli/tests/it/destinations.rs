//! What every destination does, one test for each destination and behaviour.
//!
//! A new destination is a type in `places` and a line at the end of this file. A new behaviour is a function over any
//! place, and a line in `behaviours`. What a test looks at is what lies at the place, seen by other means than the plugin.

mod desk;
mod gone;
pub(crate) mod places;
mod round_trip;
mod secrets;
mod trial;
mod trouble;

pub use desk::{FILTERS, noise};

/// Each behaviour as a test of its own.
macro_rules! behaviours {
    ($place:ty: $($group:ident::$behaviour:ident)*) => {
        $(
            #[test]
            fn $behaviour() {
                super::$group::$behaviour::<$place>();
            }
        )*
    };
}

macro_rules! destinations {
    ($($name:ident: $place:ty;)*) => {
        $(
            mod $name {
                behaviours! { $place:
                    trial::it_does_what_a_destination_must
                    round_trip::a_tree_comes_back
                    round_trip::the_printed_commands_restore_it
                    trouble::a_killed_host_leaves_nothing_after_the_next_start
                    trouble::what_is_gone_already_is_removed
                    gone::a_place_that_is_away_is_no_damage
                    secrets::no_secret_is_seen
                }
            }
        )*
    };
}

/// What the printed commands bring of such a tree isn't all of it.
mod object_s3_files {
    behaviours! { super::places::ObjectS3Files:
        trial::it_does_what_a_destination_must
        round_trip::a_tree_comes_back
        trouble::a_killed_host_leaves_nothing_after_the_next_start
        trouble::what_is_gone_already_is_removed
        gone::a_place_that_is_away_is_no_damage
    }
}

destinations! {
    local: super::places::Local;
    rclone_disk: super::places::RcloneDisk;
    rclone_s3: super::places::RcloneS3;
    rclone_webdav: super::places::RcloneWebDav;
    object_s3: super::places::ObjectS3;
    object_azure: super::places::ObjectAzure;
    object_sftp: super::places::ObjectSftp;
    restic_disk: super::places::ResticDisk;
    rsync_disk: super::places::RsyncDisk;
}
