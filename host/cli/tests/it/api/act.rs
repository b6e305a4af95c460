//! What the interface does: jobs are changed and run, each request once, and it is written down who asked.

use std::fs;
use std::thread;

use serde_json::{Value, json};

use super::lab::Lab;

#[test]
fn a_job_is_added_changed_and_removed_and_no_change_of_others_is_lost() {
    let lab = Lab::new();
    let mut spec = lab.spec("documents");
    let added = lab.local_with("POST /api/v1/jobs", &[], &spec.to_string());
    let first = added.header("etag").unwrap().to_owned();
    assert_eq!(added.json(201)["name"], "documents");
    lab.local_with("POST /api/v1/jobs", &[], &spec.to_string())
        .problem(409, "conflict");
    let job = "/api/v1/jobs/documents";
    let put = |etag: Option<&str>, spec: &Value| {
        let headers: Vec<(&str, &str)> = etag.map(|etag| ("If-Match", etag)).into_iter().collect();
        lab.local_with(&format!("PUT {job}"), &headers, &spec.to_string())
    };
    spec["enabled"] = false.into();
    put(None, &spec).problem(428, "if-match");
    let changed = put(Some(&first), &spec);
    assert_eq!(changed.json(200)["enabled"], false);
    let second = changed.header("etag").unwrap().to_owned();
    assert_ne!(first, second);
    spec["enabled"] = true.into();
    let stale = put(Some(&first), &spec).problem(412, "stale");
    assert!(
        stale["detail"]
            .as_str()
            .unwrap()
            .contains(second.trim_matches('"')),
        "{stale}"
    );
    put(Some("\"nonsense\""), &spec).problem(412, "stale");
    assert_eq!(lab.local(&format!("GET {job}")).json(200)["enabled"], false);
    // A run changes what is known about a job, not what somebody wrote.
    lab.backstay.run(&["run", "documents"]).ok();
    assert_eq!(lab.local(&format!("GET {job}")).header("etag"), Some(&*second));
    let renamed = put(Some(&second), &lab.spec("papers")).problem(422, "invalid");
    assert_eq!(renamed["errors"][0]["pointer"], "/name");
    lab.local_with(&format!("DELETE {job}"), &[("If-Match", &first)], "")
        .problem(412, "stale");
    let removed = lab.local_with(&format!("DELETE {job}"), &[("If-Match", &second)], "");
    assert_eq!((removed.status, &*removed.body), (204, ""));
    lab.local(&format!("GET {job}")).problem(404, "not-found");
    let audit = lab.backstay.json(&["audit"]);
    let lines: Vec<String> = audit
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(|entry| {
            assert!(entry["actor"].as_str().unwrap().starts_with("user:"), "{entry}");
            let outcome = entry["outcome"].as_str().unwrap();
            let text = |key: &str| entry[key].as_str().unwrap().to_owned();
            format!(
                "{} {}: {}",
                text("action"),
                text("subject"),
                outcome.split(';').next().unwrap()
            )
        })
        .collect();
    let expected = [
        "token.add first: done",
        "job.create documents: done",
        "job.create documents: there is a job `documents` already",
        "job.change documents: done",
        "job.change documents: the job `documents` is not as If-Match says",
        "job.run documents: done",
        "job.remove documents: the job `documents` is not as If-Match says",
        "job.remove documents: done",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn all_that_is_wrong_with_a_job_is_said_as_on_the_command_line() {
    let lab = Lab::new();
    let wrong = json!({
        "name": "a b", "sorce": {},
        "source": { "plugin": "path", "config": { "path": "relative", "strem": true } },
        "destinations": [{ "plugin": "locl" }],
        "schedule": { "cron": "0 3 * *" },
    });
    let problem = lab
        .local_with("POST /api/v1/jobs", &[], &wrong.to_string())
        .problem(422, "invalid");
    let file = lab.file("wrong.yaml");
    fs::write(&file, wrong.to_string()).unwrap();
    let said = lab
        .backstay
        .run_json(&["job", "validate", "-f", file.to_str().unwrap()])
        .code(2)
        .json();
    assert_eq!(problem["errors"], said["diagnostics"]);
    let pointers: Vec<&str> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["pointer"].as_str().unwrap())
        .collect();
    for pointer in [
        "/name",
        "/sorce",
        "/source/config/strem",
        "/destinations/0/plugin",
    ] {
        assert!(pointers.contains(&pointer), "{pointer} is not in {pointers:?}");
    }
    assert_eq!(
        lab.local_with("POST /api/v1/validate", &[], &wrong.to_string())
            .json(200),
        said
    );
    assert_eq!(lab.local("GET /api/v1/jobs").json(200)["items"], json!([]));
    lab.local_with("POST /api/v1/jobs", &[], "{")
        .problem(400, "bad-request");
}

#[test]
fn a_hundred_requests_to_run_a_job_make_one_run() {
    let lab = Lab::new();
    lab.slow_job("slow");
    let replies: Vec<_> = thread::scope(|scope| {
        let ask = || lab.local("POST /api/v1/jobs/slow/run");
        let asked: Vec<_> = (0..100).map(|_| scope.spawn(ask)).collect();
        asked.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(replies.iter().filter(|reply| reply.status == 202).count(), 1);
    let ids: std::collections::BTreeSet<String> = replies
        .iter()
        .map(|reply| serde_json::from_str::<Value>(&reply.body).unwrap()["id"].to_string())
        .collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(lab.backstay.json(&["runs"]).as_array().unwrap().len(), 1);
    let id = replies[0].json(replies[0].status)["id"]
        .as_str()
        .unwrap()
        .to_owned();
    lab.wait_for_run(&id, "transferring");
    lab.local(&format!("POST /api/v1/runs/{id}/cancel")).json(202);
    let run = lab.wait_for_run(&id, "cancelled");
    assert_eq!(run["error"]["message"], "somebody cancelled it");
    // Asked again, it is as it is.
    lab.local(&format!("POST /api/v1/runs/{id}/cancel")).json(200);
    assert_eq!(
        fs::read_dir(lab.file("place")).unwrap().count(),
        0,
        "something was left"
    );
}

#[test]
fn a_request_with_a_key_is_done_once_also_after_a_crash() {
    let mut lab = Lab::new();
    lab.job("documents");
    lab.job("papers");
    let run = |lab: &Lab, job: &str, key: &str| {
        lab.local_with(
            &format!("POST /api/v1/jobs/{job}/run"),
            &[("Idempotency-Key", key)],
            "",
        )
    };
    let first = run(&lab, "documents", "one").json(202)["id"]
        .as_str()
        .unwrap()
        .to_owned();
    lab.wait_for_run(&first, "succeeded");
    assert_eq!(run(&lab, "documents", "one").json(200)["id"], *first);
    lab.crash();
    assert_eq!(run(&lab, "documents", "one").json(200)["id"], *first);
    run(&lab, "papers", "one").problem(422, "key-reused");
    let second = run(&lab, "documents", "two").json(202)["id"].clone();
    assert_ne!(second, *first);
    run(&lab, "documents", "").problem(400, "bad-request");
    let keyed = |spec: &Value| {
        lab.local_with(
            "POST /api/v1/jobs",
            &[("Idempotency-Key", "job")],
            &spec.to_string(),
        )
    };
    let added = keyed(&lab.spec("third")).json(201);
    assert_eq!(keyed(&lab.spec("third")).json(201)["id"], added["id"]);
    keyed(&lab.spec("fourth")).problem(422, "key-reused");
    // What there is to say against a job by now doesn't matter to one that was added.
    let script = lab.file("before.sh");
    fs::write(&script, "#!/bin/sh\n").unwrap();
    let mut spec = lab.spec("hooked");
    spec["before"] = json!({ "scriptPath": script });
    let ask = |key: &str| {
        let headers = [("Idempotency-Key", key)];
        lab.local_with("POST /api/v1/jobs", &headers, &spec.to_string())
    };
    let hooked = ask("hooked").json(201);
    fs::remove_file(&script).unwrap();
    assert_eq!(ask("hooked").json(201)["id"], hooked["id"]);
    ask("another").problem(422, "invalid");
}

#[test]
fn changes_by_commands_are_written_down_too() {
    let lab = Lab::new();
    lab.job("documents");
    lab.backstay.run(&["run", "documents"]).ok();
    lab.backstay.secret("word", "a text");
    lab.backstay.run(&["secret", "rm", "word"]).ok();
    lab.backstay.run(&["throttle", "10M"]).ok();
    lab.backstay.run(&["throttle", "documents", "5M"]).ok();
    lab.backstay.run(&["prune", "documents"]).ok();
    lab.backstay.run(&["catalog", "rebuild", "documents"]).ok();
    let audit = lab.backstay.json(&["audit"]);
    let entries = audit.as_array().unwrap().iter().rev().skip(3);
    let lines: Vec<String> = entries
        .map(|entry| {
            let text = |key: &str| entry[key].as_str().unwrap().to_owned();
            let subject = text("subject");
            let subject = subject.split(' ').next().unwrap();
            format!("{} {subject}: {}", text("action"), text("outcome"))
        })
        .collect();
    let expected = [
        "secret.set word: done",
        "secret.remove word: done",
        "throttle.change all: done",
        "throttle.change documents: done",
        "job.prune documents: done",
        "catalog.rebuild local: done",
    ];
    assert_eq!(lines, expected);
    assert!(!audit.to_string().contains("a text"), "{audit}");
}
