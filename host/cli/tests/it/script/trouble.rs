//! Scripts that fail, mean harm, or are interrupted; and hosts that can't confine them.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::process::Command;
use std::time::Duration;

use backstay_testkit::process::wait_until;
use serde_json::json;

use super::lab::{Lab, is_anywhere};

#[test]
fn a_failing_script_leaves_no_backup_and_its_last_words() {
    let lab = Lab::new();
    let script = lab.script(
        "dump.sh",
        "echo half > half\nprintf 'no \\033[31mroom\\033[0m left\\n' >&2\nexit 3\n",
    );
    lab.apply(&script, json!({}), json!({}));
    let reason = lab.reason(4);
    assert!(
        reason.ends_with("dump.sh ended with status 3: no room left"),
        "{reason}"
    );
}

#[test]
fn limits_of_the_job_hold() {
    let lab = Lab::new();
    for (content, limit, code, words) in [
        (
            "head -c 5M /dev/zero > f",
            json!({ "maxOutputBytes": 1_048_576 }),
            14,
            "wrote more than 1048576 bytes",
        ),
        (
            "for i in 1 2 3 4 5 6 7 8; do sleep 600 & done; wait",
            json!({ "maxProcesses": 8 }),
            4,
            "Cannot fork",
        ),
        ("sleep 600", json!({ "timeout": 1 }), 4, "longer than 1 s"),
    ] {
        let script = lab.script("dump.sh", content);
        lab.apply(&script, limit, json!({}));
        let reason = lab.reason(code);
        assert!(reason.contains(words), "{reason}");
    }
}

#[test]
fn the_hosts_own_data_and_other_jobs_are_out_of_reach() {
    let lab = Lab::new();
    let data = lab.backstay.data_dir();
    // With the first secret there is a key.
    lab.backstay.secret("theirs", "a password");
    fs::create_dir_all(data.join("plugins")).unwrap();
    let script = lab.script(
        "steal.sh",
        "cd \"$1\"; for f in data/backstay.db data/secrets.key data/scratch data/cache; do\n\
         cat data/$f $f 2>/dev/null && echo read $f; ls $f 2>/dev/null && echo listed $f; done\n\
         find / -name backstay.db -not -path '/proc/*' 2>/dev/null | grep . && echo found it\n\
         ls /backstay; cat /etc/shadow 2>/dev/null; echo done > $BACKSTAY_OUTPUT_DIR/done",
    );
    // The directory above the host's own is granted, and so is everything in it but that.
    lab.apply(&script, json!({ "scriptArgs": [lab.path("")], "read": [lab.path("").to_str().unwrap().trim_end_matches('/')] }), json!({}));
    lab.run(0);
    let log = lab.log();
    assert!(!log.contains("AGE-SECRET-KEY") && !log.contains("root:"), "{log}");
    for said in ["read ", "listed ", "found it"] {
        assert!(
            !log.lines()
                .any(|line| line.contains(&format!("plugin:script: {said}"))),
            "{said}: {log}"
        );
    }
    lab.apply(&script, json!({ "read": [data.join("plugins")] }), json!({}));
    assert!(lab.reason(14).contains("belongs to Backstay itself"));
}

#[test]
fn a_cancelled_run_ends_its_script() {
    let lab = Lab::new();
    let script = lab.script(
        "dump.sh",
        "trap 'echo cleaning up; exit 1' TERM\necho x > x\nsleep 4712001 & wait\n",
    );
    lab.apply(&script, json!({}), json!({}));
    let run = lab.backstay.spawn(&["run", "j", "--json"]);
    wait_until("the script to run", Duration::from_secs(30), || {
        is_anywhere("4712001")
    });
    run.terminate();
    let run = run.wait().code(4).json();
    assert_eq!(run["status"], "cancelled");
    assert!(!is_anywhere("4712001"));
    assert!(lab.log().contains("cleaning up"));
    lab.assert_clean();
}

#[test]
fn a_script_dies_with_a_killed_host_and_the_next_start_clears_away() {
    let lab = Lab::new();
    let script = lab.script(
        "dump.sh",
        "echo x > x\nsetsid sleep 4712002 &\ntrap '' TERM HUP\nsleep 4712002 & wait\n",
    );
    lab.apply(&script, json!({}), json!({}));
    let mut run = lab.backstay.spawn(&["run", "j"]);
    wait_until("the script to run", Duration::from_secs(30), || {
        is_anywhere("4712002")
    });
    run.kill();
    wait_until("the script to die", Duration::from_secs(10), || {
        !is_anywhere("4712002")
    });
    assert_eq!(lab.backstay.json(&["runs"])[0]["status"], "interrupted");
    lab.assert_clean();
}

#[test]
fn where_scripts_can_not_be_confined_none_is_run() {
    let lab = Lab::new();
    let script = lab.script("dump.sh", "echo 4712003 > x\n");
    lab.apply(&script, json!({}), json!({ "after": { "scriptPath": script } }));
    let binary = env!("CARGO_BIN_EXE_backstay");
    let hidden = |program: &str| {
        format!("mount --bind /dev/null $(readlink -f $(command -v {program})) && exec {binary} run j --json")
    };
    for (what, wrapper) in [
        (
            "install bubblewrap",
            vec![
                "unshare".to_owned(),
                "-m".into(),
                "sh".into(),
                "-c".into(),
                hidden("bwrap"),
            ],
        ),
        (
            "install util-linux",
            vec![
                "unshare".to_owned(),
                "-m".into(),
                "sh".into(),
                "-c".into(),
                hidden("setpriv"),
            ],
        ),
        (
            "no script is run free",
            [
                "setpriv",
                "--bounding-set=-sys_admin",
                "--inh-caps=-sys_admin",
                binary,
                "run",
                "j",
                "--json",
            ]
            .map(str::to_owned)
            .into(),
        ),
    ] {
        let output = Command::new(&wrapper[0])
            .args(&wrapper[1..])
            .env("BACKSTAY_DATA_DIR", lab.backstay.data_dir())
            .output()
            .unwrap();
        let run: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(3), "{run:#}");
        assert!(run["error"]["hint"].as_str().unwrap().contains(what), "{run:#}");
        assert_eq!(run["backups"], json!([]));
    }
    lab.assert_clean();
}

#[test]
fn a_host_without_root_confines_as_well() {
    const USER: u32 = 54_321;
    let lab = Lab::new();
    let home = lab.path("home");
    fs::create_dir_all(home.join("store")).unwrap();
    for path in [home.clone(), home.join("store")] {
        chown(&path, Some(USER), Some(USER)).unwrap();
    }
    fs::write(home.join("mine"), "secret\n").unwrap();
    chown(home.join("mine"), Some(USER), Some(USER)).unwrap();
    let script = lab.script(
        "dump.sh",
        &format!(
            "cat {0}/mine 2>/dev/null && echo read it\ntouch / /dev/x /usr/x 2>/dev/null && echo wrote it\n\
             unshare -U true 2>/dev/null && echo unshared\ngrep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status | tr -d '\\t' | tr '\\n' ' '\n\
             echo 1 > out; mkdir -m 000 closed; ln -s /x link",
            home.display()
        ),
    );
    fs::set_permissions(&script, fs::Permissions::from_mode(0o644)).unwrap();
    let job = json!({ "name": "j", "source": { "plugin": "script", "config": { "scriptPath": script } },
        "destinations": [{ "plugin": "local", "config": { "path": home.join("store"), "minFreeBytes": 0 } }] });
    let file = lab.script("job.json", &job.to_string());
    let backstay = |args: &[&str]| {
        let output = Command::new("setpriv")
            .args([
                &format!("--reuid={USER}"),
                &format!("--regid={USER}"),
                "--clear-groups",
                "--inh-caps=-all",
            ])
            .arg(env!("CARGO_BIN_EXE_backstay"))
            .args(args)
            .env("BACKSTAY_DATA_DIR", home.join("backstay"))
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let (code, said) = backstay(&["apply", "-f", file.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = backstay(&["run", "j"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("CapEff:0000000000000000 NoNewPrivs:1 Seccomp:2"),
        "{said}"
    );
    assert!(said.contains("link: the script's output can't hold"), "{said}");
    for word in ["read it", "wrote it", "unshared"] {
        assert!(!said.contains(word), "{said}");
    }
}
