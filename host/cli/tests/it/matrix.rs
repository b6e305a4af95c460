//! Every source with every destination, each plain and compressed with encryption: what comes back is what was there.
//!
//! A new source is a type in `origins` and a word in `sources`, a new destination a type in `destinations::places` and
//! a word in `everywhere`. The table in the documentation is made from what the plugins say of themselves.

mod origins;
mod table;

use backstay_testkit::cli::Backstay;

use crate::destinations::FILTERS;
use crate::destinations::places::{Local, ObjectS3Files, Place, RcloneDisk, ResticDisk, RsyncDisk};
use crate::roundtrip::key;
use origins::Origin;

/// Backs up a source to a place and restores it, in each way that streams are stored.
fn comes_back<P: Place>(origin: &impl Origin, place: &str) {
    let backstay = origin.backstay();
    let own = backstay.scratch_dir().join(format!("at-{place}"));
    std::fs::create_dir(&own).unwrap();
    let there = P::start(&own);
    there.introduce(backstay);
    let key = key(&own, "key.txt");
    for (form, filters) in FILTERS {
        let name = format!("{place}-{form}");
        let filters = filters.replace("RECIPIENT", &key.public);
        let (source, destination) = (origin.source(), there.destination());
        backstay
            .apply(&format!(
                "name: {name}\nsource: {source}\ndestinations: [{destination}]\nfilters: {{ {filters} }}\nretries: {{ attempts: 1 }}\n"
            ))
            .ok();
        backstay.run(&["run", &name]).ok();
        let (backup, identity) = (format!("latest:{name}"), key.file.to_str().unwrap());
        backstay
            .run(&["verify", &backup, "--level", "checksum", "--identity", identity])
            .ok();
        origin.restore(backstay, &name, &[&backup, "--identity", identity]);
    }
}

fn everywhere(origin: &impl Origin) {
    comes_back::<Local>(origin, "local");
    comes_back::<RcloneDisk>(origin, "rclone");
    comes_back::<ObjectS3Files>(origin, "object");
    comes_back::<ResticDisk>(origin, "restic");
    comes_back::<RsyncDisk>(origin, "rsync");
}

macro_rules! sources {
    ($($source:ident: $origin:ty;)*) => {
        $(
            #[test]
            fn $source() {
                everywhere(&<$origin>::start());
            }
        )*

        /// The plugins that stand in a row of the matrix.
        const SOURCES: &[&str] = &[$(<$origin>::PLUGIN),*];
    };
}

sources! {
    path_as_files: origins::Path<false>;
    path_as_a_stream: origins::Path<true>;
    flash: origins::Flash;
    zfs: origins::Zfs;
    script: origins::Script;
    docker: origins::Docker;
    proxmox: origins::Proxmox;
    database: origins::Database;
}

/// The plugins that stand in a column of it.
const DESTINATIONS: &[&str] = &["local", "rclone", "object", "restic", "rsync"];

/// A host for nothing but questions.
fn host() -> Backstay {
    Backstay::new(env!("CARGO_BIN_EXE_backstay"))
}
