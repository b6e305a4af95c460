//! Scripts before and after a run.

use std::fs;

use serde_json::{Value, json};

use super::lab::Lab;

fn path_source(lab: &Lab) -> Value {
    json!({ "plugin": "path", "config": { "path": lab.path("notes") } })
}

/// The script that prints what it was told, as a part of a job.
fn teller(lab: &Lab) -> Value {
    let script = lab.script(
        "tell.sh",
        "echo \"$BACKSTAY_EVENT of $BACKSTAY_JOB: ${BACKSTAY_STATUS-}/${BACKSTAY_EXIT_CODE-}/${BACKSTAY_ERROR-}\"\n\
         [ ${#BACKSTAY_RUN_ID} = 36 ] && [ -z \"${BACKSTAY_OUTPUT_DIR-}\" ] && ! touch /notes 2>/dev/null\n",
    );
    json!({ "scriptPath": script })
}

#[test]
fn scripts_run_before_and_after_and_are_told_how_it_went() {
    let lab = Lab::new();
    let tell = teller(&lab);
    lab.apply_source(
        path_source(&lab),
        json!({ "before": tell, "after": tell, "onFailure": tell }),
    );
    lab.run(0);
    let log = lab.log();
    let before = log.find("script:before: before of j: //").unwrap();
    let after = log.find("script:after: after of j: succeeded//").unwrap();
    assert!(
        before < log.find("transferring").unwrap() && before < after,
        "{log}"
    );
    assert!(!log.contains("onFailure"), "{log}");
}

#[test]
fn a_failing_before_stops_the_run_before_anything_else_happens() {
    let lab = Lab::new();
    let no = lab.script("no.sh", "echo the array is degraded >&2\nexit 7\n");
    let marker = lab.script("dump.sh", "echo ran; echo 1 > x\n");
    lab.apply(
        &marker,
        json!({}),
        json!({ "before": { "scriptPath": no }, "after": teller(&lab), "onFailure": teller(&lab) }),
    );
    let reason = lab.reason(4);
    assert!(
        reason.contains("no.sh ended with status 7: the array is degraded"),
        "{reason}"
    );
    let log = lab.log();
    assert!(
        !log.contains("plugin:script: ran") && !log.contains("script:after"),
        "{log}"
    );
    assert!(
        log.contains("script:onFailure: onFailure of j: failed/4/"),
        "{log}"
    );
    assert!(log.contains("the array is degraded"), "{log}");
    assert_eq!(fs::read_dir(lab.path("store")).unwrap().count(), 0);
}

#[test]
fn on_failure_hears_the_reason_of_any_failure() {
    let lab = Lab::new();
    lab.apply_source(
        path_source(&lab),
        json!({ "guards": { "minBytes": 1000 }, "onFailure": teller(&lab) }),
    );
    lab.run(4);
    let log = lab.log();
    assert!(log.contains("onFailure of j: failed/4/"), "{log}");
}

#[test]
fn a_failing_after_is_a_warning_and_the_backup_stays() {
    let lab = Lab::new();
    let no = lab.script("no.sh", "echo backstay:warning look here\nexit 3\n");
    lab.apply_source(path_source(&lab), json!({ "after": { "scriptPath": no } }));
    let run = lab.run(1);
    assert_eq!(run["status"], "warning");
    let codes: Vec<&str> = run["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|w| w["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["script", "hook-failed"]);
    assert_eq!(run["backups"].as_array().unwrap().len(), 1);
    assert_eq!(
        fs::read_to_string(lab.restore().join("file")).unwrap(),
        "content\n"
    );
}

#[test]
fn a_hook_sees_what_it_was_granted_and_no_more() {
    let lab = Lab::new();
    let look = lab.script("look.sh", "cat \"$1/notes/file\"; cat \"$1/look.sh\" >/dev/null; ls \"$1\"; cat \"$1/store\" 2>&1 | tail -c 30\n");
    let hook = json!({ "scriptPath": look, "scriptArgs": [lab.path("")], "read": [lab.path("notes")], "workingDirectory": lab.path("notes") });
    lab.apply_source(path_source(&lab), json!({ "before": hook }));
    lab.run(0);
    let log = lab.log();
    let said: Vec<&str> = log
        .lines()
        .filter_map(|line| line.split_once("script:before: "))
        .map(|(_, text)| text)
        .collect();
    assert_eq!(said[..3], ["content", "look.sh", "notes"], "{log}");
    assert!(said[3].ends_with("No such file or directory"), "{log}");
}

#[test]
fn a_hook_that_takes_too_long_is_ended() {
    let lab = Lab::new();
    let slow = lab.script("slow.sh", "sleep 600\n");
    lab.apply_source(
        path_source(&lab),
        json!({ "before": { "scriptPath": slow, "timeout": 1 } }),
    );
    let reason = lab.reason(4);
    assert!(reason.contains("it took longer than 1 s"), "{reason}");
}
