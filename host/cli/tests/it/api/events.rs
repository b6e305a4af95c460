//! What happens, as it happens: nothing is lost and nothing comes twice, whatever becomes of the connection.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;

use serde_json::Value;

use super::lab::{Lab, PATIENCE, request};

/// A client that listens.
struct Listener(BufReader<UnixStream>);

/// One thing that it hears.
#[derive(Debug, Default)]
struct Heard {
    kind: String,
    id: Option<i64>,
    data: Value,
}

impl Lab {
    #[track_caller]
    fn listen(&self, path: &str, headers: &[(&str, &str)]) -> Listener {
        let mut stream = UnixStream::connect(self.backstay.data_dir().join("api.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let ask = request(&format!("GET {path}"), "localhost", headers, "");
        stream.write_all(ask.as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0, "it hung up: {head}");
        }
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(
            head.to_lowercase().contains("content-type: text/event-stream"),
            "{head}"
        );
        Listener(reader)
    }
}

impl Iterator for Listener {
    type Item = Heard;

    /// The next event; nothing when the connection has ended.
    fn next(&mut self) -> Option<Heard> {
        let mut heard = Heard::default();
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).unwrap_or(0) == 0 {
                return None;
            }
            // Sizes of chunks stand between; none of them has a colon.
            match line.trim_end().split_once(": ") {
                Some(("event", kind)) => heard.kind = kind.to_owned(),
                Some(("id", id)) => heard.id = Some(id.parse().unwrap()),
                Some(("data", data)) => heard.data = serde_json::from_str(data).unwrap(),
                _ if line == "\n" && !heard.kind.is_empty() => return Some(heard),
                _ => {}
            }
        }
    }
}

#[test]
fn a_run_is_heard_from_begin_to_end_also_across_a_break() {
    let lab = Lab::new();
    lab.job("documents");
    let run = lab.local("POST /api/v1/jobs/documents/run").json(202);
    let path = format!("/api/v1/runs/{}/events", run["id"].as_str().unwrap());
    let whole: Vec<Heard> = lab.listen(&path, &[]).collect();
    let (end, events) = whole.split_last().unwrap();
    assert_eq!((&*end.kind, &end.data["status"]), ("end", &"succeeded".into()));
    assert_eq!(end.data["backups"].as_array().unwrap().len(), 1);
    let statuses: Vec<&str> = events
        .iter()
        .filter(|heard| heard.kind == "status")
        .map(|heard| heard.data["status"].as_str().unwrap())
        .collect();
    assert_eq!(
        (statuses[0], *statuses.last().unwrap()),
        ("queued", "succeeded"),
        "{statuses:?}"
    );
    let ids: Vec<i64> = events.iter().filter_map(|heard| heard.id).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    for (at, id) in ids.iter().enumerate() {
        let rest = lab.listen(&path, &[("Last-Event-ID", &id.to_string())]);
        let rest: Vec<i64> = rest.filter_map(|heard| heard.id).collect();
        assert_eq!(rest, ids[at + 1..], "after {id}");
    }
    lab.local_with(&format!("GET {path}"), &[("Last-Event-ID", "x")], "")
        .problem(400, "bad-request");
    lab.local(&format!("GET {path}?after=-1"))
        .problem(400, "bad-request");
}

#[test]
fn all_runs_are_heard_those_of_other_processes_too_and_a_crash_loses_none() {
    let mut lab = Lab::new();
    lab.slow_job("slow");
    lab.job("documents");
    let mut all = lab.listen("/api/v1/events", &[]);
    let run = lab.local("POST /api/v1/jobs/slow/run").json(202);
    let id = run["id"].as_str().unwrap().to_owned();
    let (mut last, mut statuses, mut has_progress) = (0, Vec::new(), false);
    for heard in all.by_ref() {
        assert_eq!(heard.data["runId"], *id, "{heard:?}");
        last = heard.id.unwrap_or(last);
        has_progress |= heard.kind == "progress" && heard.data["bytes"].is_u64();
        if heard.kind == "status" {
            statuses.push(heard.data["status"].clone());
        }
        if has_progress && statuses.last() == Some(&"transferring".into()) {
            break;
        }
    }
    assert_eq!(statuses[0], "queued");
    assert!(lab.local(&format!("GET /api/v1/runs/{id}")).json(200)["progress"]["rate"].is_u64());
    let mut silent: Vec<_> = (0..20).map(|_| lab.listen("/api/v1/events", &[])).collect();
    lab.crash();
    assert!(all.by_ref().all(|heard| heard.kind != "end"), "it ended well");
    // Another process, which the service knows nothing about.
    lab.backstay.run(&["run", "documents", "--accept-shrink"]).ok();
    let again = lab.listen("/api/v1/events", &[("Last-Event-ID", &last.to_string())]);
    let mut ends = Vec::new();
    for heard in again {
        assert!(heard.id.is_none_or(|id| id > last), "{heard:?} came twice");
        let status = heard.data["status"].as_str().unwrap_or_default();
        if ["interrupted", "succeeded"].contains(&status) {
            ends.push(status.to_owned());
        }
        if ends.len() == 2 {
            break;
        }
    }
    assert_eq!(ends, ["interrupted", "succeeded"]);
    assert!(
        silent
            .iter_mut()
            .all(|listener| listener.next().is_none_or(|heard| heard.kind != "end"))
    );
}

#[test]
fn more_listeners_than_there_is_room_for_are_told_to_come_again() {
    let lab = Lab::new();
    let mut listeners: Vec<_> = (0..512).map(|_| lab.listen("/api/v1/events", &[])).collect();
    let reply = lab.local("GET /api/v1/events");
    reply.problem(503, "unavailable");
    assert!(reply.header("retry-after").is_some());
    lab.local("GET /status").json(200);
    // And they hold up nobody who wants to end it.
    lab.service.terminate();
    let Lab { service, .. } = lab;
    service.wait().ok();
    assert!(listeners.iter_mut().all(|listener| listener.next().is_none()));
}

#[test]
fn many_who_listen_hear_the_same_and_nothing_twice() {
    let lab = Lab::new();
    lab.job("documents");
    let mut listeners: Vec<_> = (0..50).map(|_| lab.listen("/api/v1/events", &[])).collect();
    for _ in 0..2 {
        let run = lab.local("POST /api/v1/jobs/documents/run").json(202);
        lab.wait_for_run(run["id"].as_str().unwrap(), "succeeded");
    }
    let runs = lab.local("GET /api/v1/runs").json(200);
    let mut expected = Vec::new();
    for run in runs["items"].as_array().unwrap() {
        let path = format!("GET /api/v1/runs/{}/logs", run["id"].as_str().unwrap());
        let logs = lab.local(&path).json(200);
        let ids = logs["items"].as_array().unwrap().iter();
        expected.extend(ids.map(|event| event["id"].as_i64().unwrap()));
    }
    expected.sort_unstable();
    for listener in &mut listeners {
        let ids = listener.filter_map(|heard| heard.id);
        let heard: Vec<i64> = ids.take(expected.len()).collect();
        assert_eq!(heard, expected);
    }
}

#[test]
fn who_listens_with_a_token_that_is_removed_hears_no_more() {
    let lab = Lab::new();
    let token = format!("Bearer {}", lab.token("viewer", "viewer"));
    let listener = lab.listen("/api/v1/events", &[("Authorization", &token)]);
    lab.backstay.run(&["token", "rm", "viewer"]).ok();
    let heard: Vec<Heard> = listener.collect();
    assert_eq!(heard.last().unwrap().data["status"], 401, "{heard:?}");
}
