//! Where a restore goes: a directory, single paths, or back to where it came from, which somebody must ask for.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use super::lab::{Lab, paths, steady};

#[test]
fn single_paths_go_to_a_directory() {
    let lab = Lab::new();
    lab.apply(&steady());
    lab.run().ok();
    let restored = lab.restore(&[
        "etc/pve/nodes/pve1/qemu-server",
        "commands/pve/pveversion.txt",
        "etc/crontab",
    ]);
    let found: Vec<String> = paths(&restored)
        .into_iter()
        .filter(|path| !path.ends_with('/'))
        .collect();
    assert_eq!(
        found,
        [
            "commands/pve/pveversion.txt",
            "etc/crontab",
            "etc/pve/nodes/pve1/qemu-server/100.conf"
        ]
    );
}

#[test]
fn nothing_goes_back_to_its_place_unless_somebody_says_so() {
    let lab = Lab::new();
    lab.apply(&steady());
    lab.run().ok();
    let before = crate::abort::files(&lab.root);
    lab.backstay.run(&["restore", "latest:j"]).code(2);
    // Without --overwrite nothing that is there is touched.
    let said = lab.backstay.run(&["restore", "latest:j", "--in-place"]).code(2);
    assert!(said.stdout.contains("exists already"), "{}", said.stdout);
    assert_eq!(crate::abort::files(&lab.root), before);
    for (path, words) in [
        (
            "commands/pve",
            "is in no place that can be restored to where it was",
        ),
        (
            "etc/passwd",
            "is in no place that can be restored to where it was",
        ),
        ("etc", "is in no place that can be restored to where it was"),
        ("etc/pve/../passwd", ""),
    ] {
        let said = lab
            .backstay
            .run(&["restore", "latest:j", "--in-place", "--overwrite", path]);
        assert!(
            said.code != 0 && said.stdout.contains(words),
            "{path}: {}",
            said.stdout
        );
        assert_eq!(crate::abort::files(&lab.root), before, "{path}");
    }
}

#[test]
fn in_place_the_files_go_back_and_nothing_else_is_touched() {
    let lab = Lab::new();
    lab.apply(&steady());
    lab.run().ok();
    let before = crate::abort::files(&lab.root);
    let etc = lab.root.join("etc");
    fs::set_permissions(&etc, std::os::unix::fs::PermissionsExt::from_mode(0o751)).unwrap();
    fs::remove_dir_all(etc.join("cron.d")).unwrap();
    fs::write(etc.join("pve/user.cfg"), "wrong").unwrap();
    fs::remove_file(etc.join("timezone")).unwrap();
    lab.backstay
        .run(&["restore", "latest:j", "--in-place", "--dry-run", "--overwrite"])
        .ok();
    assert!(!etc.join("cron.d").exists());
    lab.backstay
        .run(&["restore", "latest:j", "--in-place", "etc/cron.d", "etc/timezone"])
        .ok();
    assert!(etc.join("cron.d/job").exists() && etc.join("timezone").exists());
    assert_eq!(fs::read(etc.join("pve/user.cfg")).unwrap(), b"wrong");
    lab.backstay
        .run(&["restore", "latest:j", "--in-place", "--overwrite"])
        .ok();
    assert_eq!(crate::abort::files(&lab.root), before);
    assert_eq!(fs::metadata(&etc).unwrap().mode() & 0o777, 0o751);
    assert!(!lab.root.join("commands").exists() && !lab.root.join("collection.json").exists());
}
