//! Secrets stay on the drive: they are neither in the files nor in the history of a backup, and what is left out for
//! another reason is said.

use std::fs;

use backstay_testkit::flash;
use serde_json::json;

use super::lab::{GitData, Lab, contains, git, objects, warnings};

/// Asserts that no secret is in what a restore of the newest backup gives, nor in git.
#[track_caller]
fn assert_no_secret(lab: &Lab) {
    let files = lab
        .backstay
        .run(&["restore", "latest:flash", "--artifact", "flash", "--to", "-"])
        .ok()
        .stdout_bytes;
    assert!(
        contains(&files, "NAME=\"Tower\""),
        "the search finds nothing at all"
    );
    let (restored, output) = lab.restore(&[]);
    output.ok();
    let mut places = vec![files, objects(&lab.git_dir)];
    if restored.join(".git").exists() {
        places.push(objects(&restored.join(".git")));
    }
    for bytes in places {
        assert!(!contains(&bytes, "sEcReT"), "a secret is in the backup or in git");
    }
    for (name, _) in flash::SECRETS {
        assert!(!restored.join(name).exists(), "{name} is in the backup");
        assert!(lab.drive.join(name).exists(), "{name} is gone from the drive");
    }
}

#[test]
fn the_ignore_list_of_secrets_covers_the_tar_as_well_as_git() {
    let lab = Lab::new(GitData::OnTheDrive);
    for config in [json!({}), json!({ "streamDirect": false })] {
        lab.apply(config);
        let backup = lab.back_up();
        let left_out = backup["manifest"]["artifacts"][0]["metadata"]["leftOut"]
            .as_array()
            .unwrap()
            .clone();
        assert!(left_out.contains(&json!("/config/shadow")), "{left_out:?}");
        if backup["manifest"]["artifacts"][0]["form"] == "tar" {
            assert_no_secret(&lab);
        } else {
            let (restored, output) = lab.restore(&[]);
            output.ok();
            assert!(
                flash::SECRETS
                    .iter()
                    .all(|(name, _)| !restored.join(name).exists())
            );
        }
    }
}

#[test]
fn the_list_is_the_users_to_change() {
    let lab = Lab::new(GitData::Elsewhere);
    lab.apply(json!({ "secrets": ["/config/shadow"], "exclude": ["*.CFG", "logs/"] }));
    lab.back_up();
    let tracked = lab.tracked();
    assert!(tracked.contains(&"config/smbpasswd".to_owned()));
    assert!(
        !tracked
            .iter()
            .any(|name| name.ends_with(".cfg") || name == "config/shadow"),
        "{tracked:?}"
    );
    let (restored, output) = lab.restore(&[]);
    output.ok();
    assert!(restored.join("config/smbpasswd").exists() && !restored.join("config/disk.cfg").exists());
    assert!(!restored.join("logs").exists() && !restored.join("config/shadow").exists());
    lab.apply(json!({ "secrets": [] }));
    lab.back_up();
    assert!(lab.tracked().contains(&"config/shadow".to_owned()));
}

#[test]
fn what_is_ignored_now_is_dropped_from_the_index_and_stays_on_the_drive() {
    let lab = Lab::new(GitData::Elsewhere);
    lab.apply(json!({}));
    lab.back_up();
    assert!(lab.tracked().contains(&"config/super.dat".to_owned()));
    // By the job, by a file on the drive, and by the repository.
    lab.apply(json!({ "exclude": ["/config/go"], "untracked": ["/bz*", "super.dat"] }));
    flash::write(&lab.drive, ".gitignore", b"/config/disk.cfg\n");
    lab.back_up();
    let tracked = lab.tracked();
    for gone in ["config/go", "config/super.dat", "config/disk.cfg"] {
        assert!(!tracked.contains(&gone.to_owned()), "{gone} is still tracked");
        assert!(lab.drive.join(gone).exists(), "{gone} is gone from the drive");
    }
    let (restored, output) = lab.restore(&[]);
    output.ok();
    // Only what the job excludes is not in the files.
    assert!(restored.join("config/super.dat").exists() && restored.join("config/disk.cfg").exists());
    assert!(!restored.join("config/go").exists());
}

#[test]
fn a_history_that_holds_secrets_is_left_out_with_a_warning() {
    let lab = Lab::new(GitData::Elsewhere);
    lab.apply(json!({ "secrets": [] }));
    lab.back_up();
    lab.apply(json!({}));
    let run = lab.run(1);
    assert_eq!(warnings(&run), ["history-left-out"]);
    let message = run["warnings"][0]["message"].as_str().unwrap();
    assert!(
        message.contains("config/plugins/community.applications/"),
        "{message}"
    );
    assert!(message.contains("includeGitHistory: false"), "{message}");
    let (restored, output) = lab.restore(&[]);
    output.ok();
    assert!(!restored.join(".git").exists() && !restored.join("config/shadow").exists());
    assert!(restored.join("config/ident.cfg").exists());
    lab.apply(json!({ "includeGitHistory": false }));
    lab.back_up();
}

#[test]
fn what_nothing_refers_to_any_more_and_the_repositorys_settings_stay_here() {
    let lab = Lab::new(GitData::OnTheDrive);
    lab.apply(json!({}));
    lab.back_up();
    // Somebody added a secret by hand and thought better of it; and a remote has a password.
    lab.git(&["add", "--force", "config/shadow"]);
    lab.git(&["reset", "--quiet"]);
    lab.git(&[
        "remote",
        "add",
        "origin",
        "https://anna:sEcReT-token@example.org/x.git",
    ]);
    fs::create_dir_all(lab.git_dir.join("hooks")).unwrap();
    fs::write(lab.git_dir.join("hooks/post-checkout"), "#!/bin/sh\n").unwrap();
    assert!(contains(&objects(&lab.git_dir), "sEcReT"));
    lab.back_up();
    let (restored, output) = lab.restore(&[]);
    output.ok();
    assert!(!contains(&objects(&restored.join(".git")), "sEcReT"));
    assert!(
        !fs::read_to_string(restored.join(".git/config"))
            .unwrap()
            .contains("sEcReT")
    );
    assert!(!restored.join(".git/hooks").exists());
    // What git doesn't track is new to it: four images with their sums, logs and the former system. No more is.
    let status = git(&restored.join(".git"), &restored, &["status", "--short"]);
    assert_eq!(
        status.lines().filter(|line| line.starts_with("?? ")).count(),
        10,
        "{status}"
    );
    assert_eq!(status.lines().count(), 10, "{status}");
}

#[test]
fn a_large_file_is_kept_and_named_once() {
    let lab = Lab::new(GitData::Elsewhere);
    lab.apply(json!({ "largeFileBytes": 100_000 }));
    flash::write(&lab.drive, "config/plugins/big.cfg", &vec![b'x'; 200_000]);
    let run = lab.run(1);
    assert_eq!(warnings(&run), ["large-file"]);
    let warning = &run["warnings"][0];
    assert_eq!(warning["path"], "config/plugins/big.cfg");
    assert_eq!(
        warning["message"],
        "git now keeps each version of config/plugins/big.cfg, which has 200000 bytes; to keep it in the backup \
         alone, add it to `untracked`"
    );
    assert!(lab.tracked().contains(&"config/plugins/big.cfg".to_owned()));
    flash::write(&lab.drive, "config/go", b"another\n");
    lab.back_up();
    lab.apply(json!({ "largeFileBytes": 100_000, "untracked": ["/bz*", "big.cfg"] }));
    lab.back_up();
    assert!(!lab.tracked().contains(&"config/plugins/big.cfg".to_owned()));
    let (restored, output) = lab.restore(&["config/plugins/big.cfg"]);
    output.ok();
    assert!(restored.join("config/plugins/big.cfg").exists());
}
