//! A restic repository, whose files have no names of the host's.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use backstay_testkit::restic::{PASSWORD, Repository};

use super::{Damage, Disk, Place, Secret};

/// A restic repository in a directory.
pub struct ResticDisk {
    disk: Disk,
    repository: Repository,
}

impl Place for ResticDisk {
    const AWAY: i32 = 5;
    const HAS_DIRECTORIES: bool = false;
    const TAKES_EMPTY_STREAMS: bool = false;
    // After a file of the repository that is gone or too short restic 0.14 looks for most of a minute.
    const DAMAGE: &[Damage] = &[Damage::Changed, Damage::Deleted];

    fn start(directory: &Path) -> Self {
        let disk = Disk::new(directory);
        let repository = Repository::create(&disk.backups());
        ResticDisk { disk, repository }
    }

    fn destination(&self) -> String {
        format!(
            "{{ plugin: restic, config: {{ repository: '{}', passwordSecret: restic }} }}",
            self.name()
        )
    }

    fn files(&self) -> PathBuf {
        self.disk.backups()
    }

    fn stored(&self) -> BTreeSet<String> {
        self.repository.paths()
    }

    /// A snapshot is deleted as a whole; its data is in the largest file.
    fn file_of(&self, object: &str, damage: Damage) -> PathBuf {
        if damage == Damage::Deleted {
            let path = format!("/{object}");
            let snapshots = self.repository.snapshots();
            let of_object = snapshots.iter().find(|s| s["paths"][0] == path.as_str()).unwrap();
            return self
                .files()
                .join("snapshots")
                .join(of_object["id"].as_str().unwrap());
        }
        let mut packs = Vec::new();
        for directory in fs::read_dir(self.files().join("data")).unwrap() {
            for file in fs::read_dir(directory.unwrap().path()).unwrap() {
                let file = file.unwrap();
                packs.push((file.metadata().unwrap().len(), file.path()));
            }
        }
        packs.into_iter().max().unwrap().1
    }

    fn lose_all(&self) -> bool {
        for directory in ["snapshots", "index", "data", "locks"] {
            fs::remove_dir_all(self.files().join(directory)).unwrap();
            fs::create_dir(self.files().join(directory)).unwrap();
        }
        true
    }

    fn name(&self) -> String {
        self.disk.backups().display().to_string()
    }

    fn leave(&mut self) {
        self.disk.leave();
    }

    fn come_back(&mut self) {
        self.disk.come_back();
    }

    fn unfinished(&self) -> Vec<String> {
        self.repository.locks()
    }

    fn secrets(&self) -> Vec<Secret> {
        vec![Secret {
            name: "restic",
            variable: "RESTIC_PASSWORD",
            text: PASSWORD.to_owned(),
        }]
    }

    fn hidden(&self) -> Vec<String> {
        vec![PASSWORD.to_owned()]
    }
}
