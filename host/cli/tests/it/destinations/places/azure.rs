//! A container of Azure Blob Storage, by a remote of the host's own.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use backstay_testkit::azure::{ACCOUNT, Azurite, CONTAINER, KEY};
use backstay_testkit::cli::Backstay;

use super::{Place, Secret};

const PREFIX: &str = "my/backups";

/// A container.
pub struct ObjectAzure(Azurite);

impl Place for ObjectAzure {
    const AWAY: i32 = 6;
    const HAS_DIRECTORIES: bool = false;

    fn start(_: &Path) -> Self {
        ObjectAzure(Azurite::start())
    }

    fn introduce(&self, backstay: &Backstay) {
        let file = backstay.scratch_dir().join("key-of-the-account");
        fs::write(&file, KEY).unwrap();
        let endpoint = self.0.endpoint();
        let remote = [
            "remote",
            "add",
            "store",
            "--type",
            "azure",
            "--container",
            CONTAINER,
        ];
        let server = ["--endpoint", &endpoint, "--account", ACCOUNT];
        let secret = ["--secret-from-file", file.to_str().unwrap()];
        backstay.run(&[&remote[..], &server, &secret].concat()).ok();
        fs::remove_file(file).unwrap();
    }

    fn destination(&self) -> String {
        format!("{{ plugin: object, config: {{ remote: store, prefix: {PREFIX} }} }}")
    }

    fn files(&self) -> PathBuf {
        self.0.directory().to_owned()
    }

    fn stored(&self) -> BTreeSet<String> {
        self.0.blobs(PREFIX).into_iter().collect()
    }

    fn lose_all(&self) -> bool {
        self.0.delete(PREFIX);
        true
    }

    fn name(&self) -> String {
        format!("azure+{}/{ACCOUNT}/{CONTAINER}/{PREFIX}", self.0.endpoint())
    }

    fn leave(&mut self) {
        self.0.stop();
    }

    fn come_back(&mut self) {
        self.0.restart();
    }

    // Nobody can list blocks of what isn't a blob yet, and none need to be given up: they go by themselves.
    fn has_got_some(&self, _: &BTreeSet<String>) -> bool {
        self.0.kept_bytes() > 8 << 20
    }

    fn secrets(&self) -> Vec<Secret> {
        vec![Secret {
            name: "store",
            variable: "SECRET",
            text: KEY.to_owned(),
        }]
    }

    fn hidden(&self) -> Vec<String> {
        vec![KEY.to_owned()]
    }
}
