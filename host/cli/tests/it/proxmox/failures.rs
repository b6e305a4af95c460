//! Whatever is missing, fails, hangs or is too much is a warning that names it, and the rest is backed up.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use backstay_testkit::process::{is_alive, wait_until};
use backstay_testkit::tools;
use serde_json::{Value, json};

use super::lab::{Lab, facts, steady, warnings};

/// A run that must end as a warning with exactly these lines, in the run and in the manifest.
#[track_caller]
fn warns(lab: &Lab) -> (Value, String) {
    let run = lab.run().code(1).json();
    assert_eq!(run["status"], "warning", "{run:#}");
    assert_eq!(run["warnings"], run["backups"][0]["manifest"]["warnings"]);
    let statistics = &facts(&run)["statistics"];
    assert_eq!(statistics["warnings"], run["warnings"].as_array().unwrap().len());
    let text = warnings(&run)
        .join("\n")
        .replace(lab.root.to_str().unwrap(), "ROOT");
    (run, text)
}

#[test]
fn every_command_that_goes_wrong_is_named() {
    let lab = Lab::new();
    let mark = lab.backstay.scratch_dir().join("mark");
    lab.uninstall("pveversion");
    lab.behave(&format!(
        r#"case "$called" in
        "pvecm status") echo partial; echo "Cannot initialize CMAP service" >&2; exit 2 ;;
        "pvecm nodes") exit 3 ;;
        "pvenode "*) head -c 100000000 /dev/zero; exit 0 ;;
        "pvesh get /cluster/ha/status") trap '' TERM; sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait ;;
        "proxmox-backup-manager user list") kill -9 $$ ;;
        esac"#,
        mark.display()
    ));
    let mut config = steady();
    config["commandTimeoutSeconds"] = json!(2);
    config["maxOutputBytes"] = json!(100_000);
    // Its length depends on the machine.
    config["system"]["packages"] = json!(false);
    lab.apply(&config);
    let (run, text) = warns(&lab);
    insta::assert_snapshot!(text);
    let statistics = &facts(&run)["statistics"];
    assert_eq!(
        (&statistics["commandsFailed"], &statistics["filesFailed"]),
        (&json!(7), &json!(0))
    );
    insta::assert_json_snapshot!(facts(&run)["errors"][0]);
    let restored = lab.restore(&[]);
    let said = |name: &str| fs::read(restored.join("commands").join(name)).unwrap();
    assert_eq!(said("pve/pvecm-status.txt"), b"partial\n");
    assert_eq!(said("pve/pvenode-config.txt").len(), 100_000);
    assert_eq!(said("pbs/acl-list.txt"), b"proxmox-backup-manager acl list\n");
    assert!(!restored.join("commands/pve/pvesh-disks.txt").exists());
    let child: u32 = fs::read_to_string(mark).unwrap().trim().parse().unwrap();
    wait_until("the end of the whole group", Duration::from_secs(10), || {
        !is_alive(child)
    });
    lab.is_clean("after a run with warnings");
}

#[test]
fn every_file_that_is_missing_or_closed_is_named() {
    tools::require(&["setpriv"]);
    let directory = tempfile::tempdir().unwrap();
    let weak = directory.path().join("backstay");
    let capabilities = "-dac_override,-dac_read_search";
    let text = format!(
        "#!/bin/sh\nexec setpriv --bounding-set={capabilities} --inh-caps={capabilities} {} \"$@\"\n",
        env!("CARGO_BIN_EXE_backstay")
    );
    fs::write(&weak, text).unwrap();
    fs::set_permissions(&weak, Permissions::from_mode(0o755)).unwrap();
    let lab = Lab::with_program(&weak);
    for path in [
        "etc/pve/priv/shadow.cfg",
        "etc/pve/nodes/pve1/priv/note",
        "etc/crontab",
    ] {
        fs::set_permissions(lab.root.join(path), Permissions::from_mode(0o000)).unwrap();
    }
    for path in [
        "etc/vzdump.conf",
        "etc/timezone",
        "etc/resolv.conf",
        "etc/pve/corosync.conf",
    ] {
        fs::remove_file(lab.root.join(path)).unwrap();
    }
    std::os::unix::fs::symlink("nowhere", lab.root.join("etc/resolv.conf")).unwrap();
    lab.apply(&steady());
    let (run, text) = warns(&lab);
    insta::assert_snapshot!(text);
    assert_eq!(facts(&run)["statistics"]["filesFailed"], 5);
    let absent = format!("{:#}", facts(&run)["absent"]).replace(lab.root.to_str().unwrap(), "ROOT");
    insta::assert_snapshot!(absent);
    let restored = lab.restore(&[]);
    assert!(restored.join("etc/pve/user.cfg").exists() && restored.join("etc/pve/nodes/pve1/priv").is_dir());
}

#[test]
fn a_cluster_file_system_that_is_not_mounted_is_named() {
    let lab = Lab::new();
    lab.apply(&steady());
    lab.run().ok();
    fs::remove_dir_all(lab.root.join("etc/pve")).unwrap();
    fs::create_dir(lab.root.join("etc/pve")).unwrap();
    let (_, text) = warns(&lab);
    insta::assert_snapshot!(text);
    // Gone altogether, it would be no Proxmox VE any more: that is said as well.
    fs::remove_dir(lab.root.join("etc/pve")).unwrap();
    let (run, text) = warns(&lab);
    insta::assert_snapshot!(text);
    assert_eq!(facts(&run)["collectors"], json!(["pbs", "system"]));
    lab.run().ok();
}

#[test]
fn a_run_that_collects_nothing_fails() {
    let lab = Lab::new();
    lab.behave("exit 1");
    fs::remove_dir_all(lab.root.join("etc")).unwrap();
    fs::remove_dir_all(lab.root.join("var")).unwrap();
    lab.apply(&json!({ "pve": { "collect": "always" }, "system": { "collect": "never" } }));
    let run = lab.run().code(9).json();
    assert_eq!(run["error"]["message"], "nothing at all could be collected");
    lab.is_clean("after a run that failed");
}
