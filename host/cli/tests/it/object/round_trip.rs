//! What comes back from a store is what was sent to it.

use std::fs;
use std::process::Command;

use backstay_testkit::compare;
use backstay_testkit::stores::{Protocol, SECRET};
use backstay_testkit::tools;
use backstay_testkit::tree::{self, Size};

use super::lab::{Lab, noise};
use crate::roundtrip::key;

const BOTH: [Protocol; 2] = [Protocol::S3, Protocol::WebDav];

#[test]
fn a_tree_comes_back_as_it_was() {
    for protocol in BOTH {
        let lab = Lab::new(protocol);
        fs::create_dir(lab.at("source").join("tree")).unwrap();
        tree::hostile(&lab.at("source").join("tree"), Size::default());
        lab.apply("");
        let backup = lab.back_up();
        let location = backup["manifest"]["artifacts"][0]["location"].as_str();
        assert!(
            location.is_none_or(|at| at.contains("/nas/one/data/")),
            "{location:?}"
        );
        lab.assert_only_whole_backups();
        for level in ["size", "checksum", "archive"] {
            lab.backstay
                .run(&["verify", "latest:data", "--level", level])
                .ok();
        }
        compare::trees(&lab.at("source"), &lab.restore("target", &[])).unwrap();
    }
}

#[test]
fn more_than_one_part_is_put_together_compressed_and_encrypted() {
    for protocol in BOTH {
        let lab = Lab::new(protocol);
        lab.write("noise", &noise(20 << 20));
        let key = key(lab.backstay.scratch_dir(), "key.txt");
        lab.apply(&format!(
            "filters: {{ compression: {{ algorithm: zstd, level: 1 }}, encryption: {{ recipients: [{}] }} }}",
            key.public
        ));
        lab.back_up();
        let parts = lab
            .proxy
            .seen()
            .iter()
            .filter(|line| line.contains("partNumber="))
            .count();
        assert_eq!(parts, if protocol == Protocol::S3 { 3 } else { 0 });
        lab.assert_only_whole_backups();
        let identity = ["--identity", key.file.to_str().unwrap()];
        let verify = ["verify", "latest:data", "--level", "archive"];
        lab.backstay.run(&[&verify[..], &identity].concat()).ok();
        compare::trees(&lab.at("source"), &lab.restore("target", &identity)).unwrap();
    }
}

#[test]
fn the_recovery_kit_needs_only_rclone_and_the_secret() {
    tools::require(&["bash", "rclone", "sha256sum", "tar"]);
    for protocol in BOTH {
        let lab = Lab::new(protocol);
        lab.write("it's", b"content");
        lab.apply("");
        lab.back_up();
        let kit = lab.backstay.run(&["recovery-kit", "latest:data"]).ok().stdout;
        assert!(!kit.contains(SECRET), "{kit}");
        let file = lab.at("kit.sh");
        fs::write(&file, kit).unwrap();
        let target = lab.at("target");
        let run = |secret: Option<&str>| {
            let mut bash = Command::new("bash");
            bash.arg(&file).arg(&target).env_remove("SECRET");
            bash.envs(secret.map(|secret| ("SECRET", secret)));
            bash.output().unwrap()
        };
        let without = run(None);
        let said = String::from_utf8_lossy(&without.stderr).into_owned();
        assert!(
            !without.status.success() && said.contains("set it to the "),
            "{said}"
        );
        let with = run(Some(SECRET));
        assert!(with.status.success(), "{}", String::from_utf8_lossy(&with.stderr));
        compare::trees(&lab.at("source"), &target).unwrap();
    }
}
