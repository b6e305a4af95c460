//! A disk that isn't there is no damage.

use std::fs;
use std::process::Command;

use backstay_testkit::cli::Backstay;
use backstay_testkit::tools;
use serde_json::Value;

#[test]
fn a_disk_that_is_not_mounted_now_has_lost_nothing() {
    tools::require(&["mount", "umount"]);
    tools::require_root("to mount a file system");
    let backstay = Backstay::new(env!("CARGO_BIN_EXE_backstay"));
    let [source, place] = ["source", "place"].map(|name| backstay.scratch_dir().join(name));
    fs::create_dir(&source).unwrap();
    fs::create_dir(&place).unwrap();
    fs::write(source.join("a"), "a").unwrap();
    let mount = |program: &str, args: &[&str]| {
        let status = Command::new(program).args(args).arg(&place).status().unwrap();
        assert!(status.success());
    };
    backstay
        .apply(&format!(
            "name: j\nsource: {{ plugin: path, config: {{ path: {} }} }}\ndestinations: [{{ plugin: local, config: {{ path: {} }} }}]\n",
            source.display(),
            place.display()
        ))
        .ok();
    mount("mount", &["-t", "tmpfs", "backstay-test"]);
    let run = backstay.run(&["run", "j"]);
    mount("umount", &["--lazy"]);
    run.ok();
    let target = backstay.scratch_dir().join("target");
    for command in [
        ["verify", "latest:j", "--level", "size"],
        ["restore", "latest:j", "--to", target.to_str().unwrap()],
    ] {
        let output = backstay.run(&command).code(3);
        assert!(
            output.stdout.contains("which is not mounted now"),
            "{}",
            output.stdout
        );
    }
    assert_eq!(backstay.json(&["backups"])[0]["verifiedOk"], Value::Null);
}
