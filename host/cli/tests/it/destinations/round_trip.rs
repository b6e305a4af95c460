//! What comes back is what was there.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use backstay_testkit::{compare, tools};

use super::desk::{Desk, FILTERS, noise};
use super::places::Place;

/// Names and kinds of files that stores without directories or with names of their own could lose.
fn plant(root: &Path) {
    fs::create_dir_all(root.join("empty")).unwrap();
    fs::create_dir_all(root.join("sub/ü and blanks")).unwrap();
    fs::write(root.join("sub/ü and blanks/a'b\"c\\d$e"), "content").unwrap();
    fs::write(root.join("sub/run.sh"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(root.join("sub/run.sh"), fs::Permissions::from_mode(0o750)).unwrap();
    fs::write(root.join("zero"), "").unwrap();
    fs::write(root.join("noise"), noise(300_000)).unwrap();
    fs::hard_link(root.join("noise"), root.join("sub/same")).unwrap();
    std::os::unix::fs::symlink("nowhere", root.join("link")).unwrap();
}

pub fn a_tree_comes_back<P: Place>() {
    let desk = Desk::<P>::new();
    let source = desk.at("source");
    plant(&source);
    for (name, filters) in FILTERS {
        desk.tree_job(&source, filters);
        desk.run().ok();
        let target = desk.at(name);
        desk.restore(target.to_str().unwrap()).ok();
        compare::trees(&source, &target).unwrap();
    }
}

pub fn the_printed_commands_restore_it<P: Place>() {
    tools::require(&["bash", "tar", "zstd", "age", "sha256sum"]);
    let desk = Desk::<P>::new();
    let source = desk.at("source");
    plant(&source);
    for (name, filters) in FILTERS {
        desk.tree_job(&source, filters);
        desk.run().ok();
        let kit = desk.backstay.run(&["recovery-kit", "latest:j"]).ok();
        let (script, target) = (desk.at(&format!("{name}.sh")), desk.at(name));
        fs::write(&script, kit.stdout_bytes).unwrap();
        let hidden = desk.backstay.data_dir().with_extension("hidden");
        fs::rename(desk.backstay.data_dir(), &hidden).unwrap();
        let secrets = desk.place.secrets();
        let done = Command::new("bash")
            .arg(&script)
            .arg(&target)
            .arg(&desk.key.file)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .envs(secrets.iter().map(|secret| (secret.variable, &secret.text)))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        fs::rename(&hidden, desk.backstay.data_dir()).unwrap();
        assert!(
            done.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        let lost = if filters.is_empty() { P::LOST_BY_HAND } else { &[] };
        compare::trees_except(&source, &target, lost).unwrap();
    }
}
