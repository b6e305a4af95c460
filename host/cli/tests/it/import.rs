//! Configurations of other tools become jobs, and what can't is said.

use std::fs;

use backstay_testkit::cli::Backstay;
use backstay_testkit::restic::{PASSWORD, Repository};
use serde_json::json;

/// What stands for all passwords in the files.
const PLANTED: &str = "pl4nted";

#[test]
fn each_tools_file_becomes_jobs_that_are_accepted_and_a_report_without_its_secrets() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/import");
    let to = "{ plugin: local, config: { path: DIR } }";
    let to_restic = "{ plugin: restic, config: { repository: DIR/restic, passwordSecret: nas } }";
    for (tool, file, more) in [
        ("backrest", "backrest.json", &[][..]),
        ("resticprofile", "resticprofile.yaml", &[]),
        ("borgmatic", "borgmatic.yaml", &["--destination", to]),
        ("proxsave", "backup.env", &[]),
        ("relica", "relica.json", &["--destination", to_restic]),
    ] {
        let backstay = Backstay::new(env!("CARGO_BIN_EXE_backstay"));
        let dir = backstay.scratch_dir().to_str().unwrap().to_owned();
        let more: Vec<String> = more.iter().map(|text| text.replace("DIR", &dir)).collect();
        let file = format!("{directory}/{file}");
        let jobs = format!("{dir}/jobs.yaml");
        let mut args = vec!["import", tool, &file, "--output", &jobs];
        args.extend(more.iter().map(String::as_str));
        let output = backstay.run(&args).code(1);
        let made = fs::read_to_string(&jobs).unwrap();
        assert!(
            !made.contains(PLANTED) && !output.stderr.contains(PLANTED),
            "{made}{}",
            output.stderr
        );
        let mut settings = insta::Settings::clone_current();
        settings.add_filter(&dir, "DIR");
        settings.bind(|| insta::assert_snapshot!(tool, format!("{}\n{made}", output.stderr)));
        // Nothing is wrong with the jobs but what this machine lacks.
        let checked = backstay.run_json(&["job", "validate", "--file", &jobs]).json();
        for diagnostic in checked["diagnostics"].as_array().unwrap() {
            let code = diagnostic["code"].as_str().unwrap();
            let is_of_the_shape = [
                "unknown-key",
                "missing",
                "wrong-type",
                "invalid",
                "out-of-range",
                "recipient",
                "plain-secret",
            ];
            assert!(!is_of_the_shape.contains(&code), "{tool}: {diagnostic}");
        }
        // What somebody may have edited is not written over.
        assert!(backstay.run(&args).code != 0);
    }
}

#[test]
fn what_is_no_such_file_is_refused_without_repeating_it() {
    let backstay = Backstay::new(env!("CARGO_BIN_EXE_backstay"));
    let file = backstay.scratch_dir().join("file");
    let file = file.to_str().unwrap();
    for (tool, text, says) in [
        ("backrest", "{ \"plans\": [] }", "nothing to back up"),
        ("backrest", "password: [pl4nted", "not valid YAML or JSON"),
        ("resticprofile", "a: \"{{ .Env.HOME }} pl4nted\"", "has templates"),
        ("borgmatic", "source_directories: [/etc]", "--destination"),
        ("relica", "[]", "--destination"),
        ("proxsave", "pl4nted", "no list of KEY=value"),
        ("proxsave", "BACKUP_PATH=${NOWHERE}/pl4nted", "BACKUP_PATH"),
    ] {
        fs::write(file, text).unwrap();
        let said = backstay.run(&["import", tool, file]).code(2).stderr;
        assert!(said.contains(says) && !said.contains(PLANTED), "{tool}: {said}");
    }
}

#[test]
fn no_job_protects_less_or_deletes_more_than_before() {
    let backstay = Backstay::new(env!("CARGO_BIN_EXE_backstay"));
    let file = backstay.scratch_dir().join("file");
    let file = file.to_str().unwrap();
    let to = ["--destination", "{ plugin: local, config: { path: /mnt } }"];
    let import = |tool: &str, text: &str, more: &[&str]| {
        fs::write(file, text).unwrap();
        let mut args = vec!["import", tool, file];
        args.extend(more);
        backstay.run(&args)
    };
    // Encrypted before, so never stored in clear.
    let made = import(
        "proxsave",
        "BACKUP_PATH=/mnt\nENCRYPT_ARCHIVE=true\nAGE_RECIPIENT_FILE=/root/key\nBACKUP_ZFS_CONFIG=false\n",
        &[],
    )
    .code(1);
    assert!(made.stdout.contains("recipients: []"), "{}", made.stdout);
    assert!(made.stderr.contains("BACKUP_ZFS_CONFIG"), "{}", made.stderr);
    // Without a limit stays without one; what can't be carried over stops the rest.
    let one = "source_directories: [/etc]\nkeep_daily: 7\n";
    let made = import("borgmatic", &format!("{one}keep_yearly: -1\n"), &to);
    assert!(made.stdout.contains("keepYearly: 4294967295"), "{}", made.stdout);
    for rules in ["keep_within: 3m\n", "keep_hourly: 24\n"] {
        let made = import("borgmatic", &format!("{one}{rules}"), &to).code(1);
        assert!(!made.stdout.contains("keepDaily"), "{}", made.stdout);
    }
    let profile = |retention: &str| {
        format!(
            "p:\n  repository: /r\n  backup: {{ source: [/etc] }}\n  retention: {{ {retention}keep-daily: 7 }}\n"
        )
    };
    let kept = import("resticprofile", &profile("after-backup: true, "), &[]);
    assert!(kept.stdout.contains("keepDaily: 7"), "{}", kept.stdout);
    for more in [
        "",
        "after-backup: false, ",
        "after-backup: true, keep-within: 30d, ",
    ] {
        let left = import("resticprofile", &profile(more), &[]).code(1);
        assert!(!left.stdout.contains("keepDaily"), "{}", left.stdout);
    }
    // The success of one job doesn't hide the failure of another.
    let ping = "healthchecks: { ping_url: https://hc-ping.com/x }\n";
    let made = import("borgmatic", &format!("source_directories: [/etc]\n{ping}"), &to);
    assert!(made.stdout.contains("healthchecks-url"), "{}", made.stdout);
    let made = import(
        "borgmatic",
        &format!("source_directories: [/etc, /home]\n{ping}"),
        &to,
    )
    .code(1);
    assert!(!made.stdout.contains("ping:"), "{}", made.stdout);
}

#[test]
fn what_relica_left_in_a_repository_goes_on_in_it_as_before() {
    let backstay = Backstay::new(env!("CARGO_BIN_EXE_backstay"));
    let at = |name: &str| backstay.scratch_dir().join(name).to_str().unwrap().to_owned();
    for path in ["photos", "letters", "old"] {
        fs::create_dir(at(path)).unwrap();
        fs::write(at(&format!("{path}/one")), path).unwrap();
    }
    fs::write(at("photos/cache"), "nothing").unwrap();
    let repository = Repository::create(at("repository").as_ref());
    let tag = "backup:4ee4a64e-4a4c-4a53-9f3b-36dd0d6be5dd,backup_name=My things,origin=tower,account_id=7";
    let backup = |paths: &[&str]| {
        let mut args = vec!["backup", "--tag", tag, "--exclude", "cache"];
        args.extend(paths);
        repository.run(&args);
    };
    // What it no longer backs up doesn't come back.
    backup(&[&at("photos"), &at("old")]);
    backup(&[&at("photos"), &at("letters")]);
    repository.run(&["backup", &at("letters")]);
    let listed = repository.run(&["snapshots", "--json"]).stdout;
    fs::write(at("relica.json"), listed).unwrap();
    let to = format!(
        "{{ plugin: restic, config: {{ repository: {}, passwordSecret: nas }} }}",
        at("repository")
    );
    let args = ["import", "relica", &at("relica.json"), "--destination", &to];
    let made = backstay.run(&args).code(1);
    for part in [
        "of Backstay: 1",
        "/old`, which the newest snapshot",
        "`schedule` and `retention`",
        "became 2 jobs",
    ] {
        assert!(made.stderr.contains(part), "{}", made.stderr);
    }
    backstay.secret("nas", PASSWORD);
    backstay.apply(&made.stdout).ok();
    backstay.run(&["run", "My-things-photos"]).ok();
    let snapshots = repository.snapshots();
    let new = snapshots.iter().find(|s| {
        let tags = s["tags"].as_array();
        tags.is_some_and(|tags| tags.contains(&json!("backup_name=My-things-photos")))
    });
    let tags = new.unwrap()["tags"].as_array().unwrap();
    assert!(tags.contains(&json!("origin=tower")) && tags.contains(&json!("account_id=7")));
    // What Backstay has made there meanwhile is none of Relica's.
    let listed = repository.run(&["snapshots", "--json"]).stdout;
    fs::write(at("relica.json"), listed).unwrap();
    let again = backstay.run(&args).code(1);
    assert_eq!(again.stdout, made.stdout);
    backstay
        .run(&["restore", "latest:My-things-photos", "--to", &at("restored")])
        .ok();
    assert_eq!(fs::read_to_string(at("restored/one")).unwrap(), "photos");
    assert!(!fs::exists(at("restored/cache")).unwrap());
    for other in [PLANTED, "[{ \"time\": \"pl4nted\" }]"] {
        fs::write(at("relica.json"), other).unwrap();
        let said = backstay.run(&args).code(2).stderr;
        assert!(
            said.contains("no list of restic's snapshots") && !said.contains(PLANTED),
            "{said}"
        );
    }
}
