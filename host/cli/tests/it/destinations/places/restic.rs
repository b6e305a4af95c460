//! A restic repository, whose files have no names of the host's.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use backstay_testkit::compare::Except;
use backstay_testkit::restic::{PASSWORD, Repository};
use serde_json::Value;

use super::{Disk, Place, Secret};

/// A restic repository in a directory.
pub struct ResticDisk {
    disk: Disk,
    repository: Repository,
}

impl Place for ResticDisk {
    const AWAY: i32 = 5;
    const HAS_DIRECTORIES: bool = false;
    // A snapshot has what is in a directory, and not the directory itself.
    const LOST_BY_HAND: &[Except] = &[Except::Root];

    fn start(directory: &Path) -> Self {
        let disk = Disk::new(directory);
        let repository = Repository::create(&disk.backups());
        ResticDisk { disk, repository }
    }

    fn destination(&self) -> String {
        destination(&self.disk.backups())
    }

    fn files(&self) -> PathBuf {
        self.disk.backups()
    }

    fn stored(&self) -> BTreeSet<String> {
        self.repository.paths()
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

impl ResticDisk {
    /// One more repository on the same disk: the destination, and its directory.
    pub fn another(&self, name: &str) -> (String, PathBuf) {
        let directory = self.disk.0.join(format!("repository-{name}"));
        if !directory.exists() {
            Repository::create(&directory);
        }
        (destination(&directory), directory)
    }

    /// The file that says what the one backup of an object is.
    pub fn snapshot_of(repository: &Path, object: &str) -> PathBuf {
        let (path, tag) = (format!("/{object}"), format!("tree:{object}"));
        let is_of_object = |snapshot: &&Value| {
            let tags = snapshot["tags"].as_array().unwrap();
            snapshot["paths"][0] == path.as_str() || tags.iter().any(|found| *found == tag.as_str())
        };
        let snapshots = Repository::at(repository).snapshots();
        let of_object = snapshots.iter().find(is_of_object).unwrap();
        let id = of_object["id"].as_str().unwrap();
        repository.join("snapshots").join(id)
    }

    /// The file with the data.
    pub fn largest_pack(repository: &Path) -> PathBuf {
        let mut packs = Vec::new();
        for directory in fs::read_dir(repository.join("data")).unwrap() {
            for file in fs::read_dir(directory.unwrap().path()).unwrap() {
                let file = file.unwrap();
                packs.push((file.metadata().unwrap().len(), file.path()));
            }
        }
        packs.into_iter().max().unwrap().1
    }
}

fn destination(repository: &Path) -> String {
    format!(
        "{{ plugin: restic, config: {{ repository: '{}', passwordSecret: restic }} }}",
        repository.display()
    )
}
