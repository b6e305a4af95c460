//! What a script writes is backed up and comes back.

use std::fs;

use serde_json::{Value, json};

use super::lab::Lab;

#[test]
fn what_a_script_writes_is_backed_up_and_restored() {
    let lab = Lab::new();
    let script = lab.script(
        "dump.sh",
        "set -eu\ncp \"$1/file\" \"$BACKSTAY_OUTPUT_DIR/copy\"\nmkdir \"$BACKSTAY_OUTPUT_DIR/sub\"\n\
         echo \"$TABLE of $BACKSTAY_JOB, $BACKSTAY_EVENT\" > sub/about\necho working\necho careful >&2\n\
         echo backstay:metadata rows=12\n",
    );
    let config = json!({ "scriptArgs": [lab.path("notes")], "read": [lab.path("notes")], "environment": { "TABLE": "users" } });
    lab.apply(
        &script,
        config,
        json!({ "verify": { "level": "restore", "afterRun": true } }),
    );
    let run = lab.run(0);
    let backup = &lab.backstay.json(&["backups"])[0];
    let facts = &backup["manifest"]["artifacts"][0]["metadata"];
    assert_eq!(facts["metadata"], json!({ "rows": "12" }));
    assert_eq!(
        (&facts["entries"], &facts["scriptExitCode"]),
        (&json!(3), &json!(0))
    );
    assert_eq!(facts["scriptDigest"].as_str().unwrap().len(), 64);
    assert_eq!(run["status"], "succeeded");
    let log = lab.log();
    assert!(
        log.contains("info  plugin:script: working") && log.contains("warn  plugin:script: careful"),
        "{log}"
    );
    assert!(!log.contains("rows=12"), "{log}");
    let restored = lab.restore();
    assert_eq!(fs::read_to_string(restored.join("copy")).unwrap(), "content\n");
    assert_eq!(
        fs::read_to_string(restored.join("sub/about")).unwrap(),
        "users of j, source\n"
    );
    lab.assert_clean();
}

#[test]
fn a_script_can_be_backed_up_as_files() {
    let lab = Lab::new();
    let script = lab.script(
        "dump.py",
        "import os\nopen(os.environ['BACKSTAY_OUTPUT_DIR'] + '/a', 'w').write('1')\n",
    );
    lab.apply(&script, json!({ "stream": false }), json!({}));
    let run = lab.run(0);
    assert_eq!(run["stats"]["entries"].as_u64().unwrap(), 2, "{run:#}");
    assert_eq!(fs::read_to_string(lab.restore().join("a")).unwrap(), "1");
}

#[test]
fn what_it_prints_is_never_data() {
    let lab = Lab::new();
    let script = lab.script("dump.sh", "echo all my data\n");
    lab.apply(&script, json!({}), json!({}));
    let reason = lab.reason(4);
    assert!(reason.contains("left no files"), "{reason}");
}

#[test]
fn its_warnings_and_what_was_taken_from_it_are_in_the_manifest() {
    let lab = Lab::new();
    let script = lab.script(
        "dump.sh",
        "echo 1 > kept; ln -s /etc/shadow link; mkfifo pipe; cp /bin/true tool; chmod 4755 tool\n\
         echo 'backstay:warning one table is locked'\n",
    );
    lab.apply(&script, json!({}), json!({}));
    let run = lab.run(1);
    let mut said: Vec<&str> = run["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|warning| warning["message"].as_str().unwrap())
        .collect();
    said.sort_unstable();
    assert_eq!(
        said,
        [
            "link: the script's output can't hold a link that leads out of the output",
            "one table is locked",
            "pipe: the script's output can't hold a named pipe",
            "tool: the script's output can't hold a bit that lends the owner's rights (the file is kept)",
        ]
    );
    let manifest = &lab.backstay.json(&["backups"])[0]["manifest"];
    assert_eq!(manifest["warnings"].as_array().unwrap().len(), 4, "{manifest:#}");
    let mut names: Vec<_> = fs::read_dir(lab.restore())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["kept", "tool"]);
}

#[test]
fn everything_wrong_with_a_script_is_said_at_once() {
    let lab = Lab::new();
    let wrong = json!({
        "name": "j", "destinations": [lab.destination()],
        "source": { "plugin": "script", "config": {
            "scriptPath": "/nowhere/dump.exe", "scriptArgs": ["--fine", "x; rm -rf /", "a|b"], "workingDirectory": "/srv/..",
            "read": ["data"], "environment": { "PATH": "/x" },
        } },
        "before": { "scriptPath": "/nowhere/before.sh", "timeout": "2h" },
        "after": { "scriptPath": "relative.sh", "scriptArgs": ["&"] },
        "onFailure": { "scriptPath": "/nowhere/x.rb", "environment": { "A-B": "" }, "shell": true },
    });
    insta::assert_snapshot!("wrong_shape", words(&lab.diagnostics(&wrong).code(2).json()));
    let wrong = json!({
        "name": "j", "destinations": [lab.destination()],
        "source": { "plugin": "script", "config": { "scriptPath": "/nowhere/dump.sh" } },
        "before": { "scriptPath": "/nowhere/before.sh", "timeout": "2h" },
        "onFailure": { "scriptPath": "/nowhere/x.rb", "environment": { "A-B": "" }, "scriptArgs": ["&"] },
    });
    insta::assert_snapshot!("wrong_rules", words(&lab.diagnostics(&wrong).code(2).json()));
}

/// Each diagnostic on a line, with its hint.
fn words(said: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let each = said["diagnostics"].as_array().unwrap().iter();
    each.filter(|d| d["severity"] == "error")
        .map(|d| {
            format!(
                "{}: {} ({})\n",
                text(&d["pointer"]),
                text(&d["message"]),
                text(&d["hint"])
            )
        })
        .collect()
}

#[test]
fn it_shows_what_it_asks_for_and_the_machine_what_it_has() {
    let lab = Lab::new();
    let said = lab.backstay.run(&["plugin", "info", "script"]).ok().stdout;
    let asks = "run the script {config.scriptPath}, confined, which may read {config.read}, {config.workingDirectory}, with the secrets {config.secretEnvironment}, with the network if {config.network}";
    assert!(said.contains(asks), "{said}");
    let doctor = lab.backstay.json(&["doctor"]);
    let checks = doctor["checks"].as_array().unwrap();
    let confinement = checks
        .iter()
        .find(|check| check["check"] == "confinement of scripts")
        .unwrap();
    assert_eq!(confinement["ok"], true, "{confinement}");
}

#[test]
fn a_secret_reaches_the_script_and_nobody_else() {
    let lab = Lab::new();
    lab.backstay.secret("api", "hunter-22\n");
    let script = lab.script(
        "dump.sh",
        "[ \"$TOKEN\" = hunter-22 ] && echo 1 > ok; echo \"using $TOKEN\"; echo \"backstay:warning $TOKEN expires\"\n\
         ps axww | grep -c hunter-2[2] || true\n",
    );
    lab.apply(
        &script,
        json!({ "secretEnvironment": { "TOKEN": "api" } }),
        json!({}),
    );
    let run = lab.run(1);
    assert_eq!(run["warnings"][0]["message"], "*** expires");
    let log = lab.log();
    assert!(
        log.contains("plugin:script: using ***")
            && log.contains("plugin:script: 0")
            && !log.contains("hunter"),
        "{log}"
    );
    assert!(!lab.backstay.json(&["backups"]).to_string().contains("hunter"));
    lab.apply(
        &script,
        json!({ "secretEnvironment": { "TOKEN": "other" } }),
        json!({}),
    );
    assert!(lab.reason(3).contains("there is no secret `other`"));
}

/// The first block of the documentation that is marked with this language.
fn block(page: &str, language: &str) -> String {
    let (_, rest) = page.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

#[test]
fn the_example_of_the_documentation_runs_as_printed() {
    let lab = Lab::new();
    let page = include_str!("../../../../docs/sources/script.md");
    let here = |text: String| {
        let places = [
            ("/srv/scripts/export.sh", "export.sh"),
            ("/srv/notes", "notes"),
            ("/mnt/backup", "store"),
        ];
        places.into_iter().fold(text, |text, (there, name)| {
            text.replace(there, lab.path(name).to_str().unwrap())
        })
    };
    lab.script("export.sh", &block(page, "sh"));
    lab.backstay.apply(&here(block(page, "yaml"))).ok();
    lab.backstay.run(&["run", "notes"]).ok();
    let backup = &lab.backstay.json(&["backups"])[0];
    assert_eq!(
        backup["manifest"]["artifacts"][0]["metadata"]["metadata"],
        json!({ "files": "1" })
    );
    let target = lab.path("restored");
    lab.backstay
        .run(&["restore", "latest:notes", "--to", target.to_str().unwrap()])
        .ok();
    assert!(target.join("notes.tar.gz").metadata().unwrap().len() > 50);
}
