//! What the interface withstands: large, slow, silent and numerous clients, crashes, and a database that can't be used.

use std::io::{Read as _, Write as _};
use std::process::Command;

use backstay_testkit::process::wait_until;

use super::lab::{Lab, PATIENCE, request};

#[test]
fn what_is_too_large_is_refused_before_it_takes_room() {
    let lab = Lab::new();
    let token = format!("Bearer {}", lab.token("admin", "admin"));
    let large = format!("\"{}\"", "x".repeat(10 << 20));
    lab.ask("POST /api/v1/validate", &[("Authorization", &token)], &large)
        .problem(413, "too-large");
    // Without a token nobody looks at it at all.
    lab.ask("POST /api/v1/validate", &[], &large)
        .problem(401, "token");
    let long = "x".repeat(100 << 10);
    assert_eq!(lab.ask("GET /health", &[("X-Long", &long)], "").status, 431);
    let many: Vec<(String, String)> = (0..200).map(|n| (format!("X-{n}"), "x".to_owned())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(lab.ask("GET /health", &many, "").status, 431);
    let text = "POST /api/v1/validate HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n\
                Content-Type: text/plain\r\n";
    let reply = lab.send(format!("{text}Authorization: {token}\r\n\r\n{{}}").as_bytes());
    reply.problem(415, "media-type");
    let deep = "[".repeat(200_000);
    lab.ask("POST /api/v1/validate", &[("Authorization", &token)], &deep)
        .problem(400, "bad-request");
    assert_eq!(lab.ask("GET /health", &[], "").status, 200);
}

#[test]
fn clients_that_send_nothing_or_read_nothing_hinder_nobody() {
    let lab = Lab::new();
    let token = lab.token("viewer", "viewer");
    lab.job("documents");
    let mut silent = Vec::new();
    for n in 0..100 {
        let mut stream = lab.connect();
        if n % 2 == 0 {
            stream
                .write_all(b"GET /status HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
                .unwrap();
        }
        silent.push(stream);
    }
    let host = format!("127.0.0.1:{}", lab.port);
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", &*bearer)];
    let ask = request("GET /api/v1/openapi.json", &host, &headers, "").replace("close", "keep-alive");
    for _ in 0..20 {
        let mut stream = lab.connect();
        stream.set_nonblocking(true).unwrap();
        // As often as there is room for it; nobody reads what comes back.
        while stream.write_all(ask.as_bytes()).is_ok() {}
        silent.push(stream);
    }
    lab.ask_as(&token, "GET /status").json(200);
    lab.backstay.run(&["run", "documents"]).ok();
    let status = std::fs::read_to_string(format!("/proc/{}/status", lab.service.pid())).unwrap();
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let kilobytes: u64 = resident.split_whitespace().next().unwrap().parse().unwrap();
    assert!(kilobytes < 400_000, "the service takes {kilobytes} kB");
}

#[test]
fn a_database_that_cant_be_used_is_no_defect() {
    let lab = Lab::new();
    lab.job("documents");
    let database = lab.backstay.data_dir().join("backstay.db");
    backstay_testkit::tools::require(&["python3"]);
    let holder = "import sqlite3,sys,time; c=sqlite3.connect(sys.argv[1],isolation_level=None); \
                  c.execute('BEGIN IMMEDIATE'); print('held',flush=True); time.sleep(60)";
    let mut holder = Command::new("python3")
        .args(["-c", holder])
        .arg(&database)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut held = [0; 4];
    holder.stdout.as_mut().unwrap().read_exact(&mut held).unwrap();
    let reply = lab.local("POST /api/v1/jobs/documents/run");
    let problem = reply.problem(503, "unavailable");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("in use by another process"),
        "{problem}"
    );
    assert!(reply.header("retry-after").is_some());
    // What only reads goes on.
    lab.local("GET /api/v1/jobs/documents").json(200);
    holder.kill().unwrap();
    holder.wait().unwrap();
    lab.local("POST /api/v1/jobs/documents/run").json(202);
}

#[test]
fn when_it_ends_it_answers_what_it_was_asked_and_no_more() {
    let lab = Lab::with("runs: { shutdownTimeout: 60s }");
    lab.slow_job("slow");
    let run = lab.local("POST /api/v1/jobs/slow/run").json(202);
    let id = run["id"].as_str().unwrap();
    lab.wait_for_run(id, "transferring");
    lab.job("documents");
    lab.local("GET /ready").json(200);
    lab.service.terminate();
    wait_until("the service to be about to end", PATIENCE, || {
        lab.local("GET /ready").status == 503
    });
    // Nothing new begins, and it is said when to ask again.
    let spec = lab.spec("papers").to_string();
    for what in [
        "POST /api/v1/jobs/documents/run",
        "POST /api/v1/jobs",
        "PUT /api/v1/jobs/documents",
        "DELETE /api/v1/jobs/documents",
        "POST /api/v1/jobs/documents/preview",
    ] {
        let reply = lab.local_with(what, &[("If-Match", "*")], &spec);
        reply.problem(503, "ending");
        assert!(reply.header("retry-after").is_some(), "{what}: {}", reply.head);
    }
    lab.local("GET /ready").problem(503, "ending");
    // Who waits at a terminal gets a backup all the same.
    let alone = lab.backstay.run(&["run", "documents"]).ok();
    assert!(
        alone.stderr.contains("this process runs the job itself"),
        "{}",
        alone.stderr
    );
    // While a run ends, it can be asked about, and cancelled.
    lab.ask("GET /health", &[], "").json(200);
    assert_eq!(
        lab.local(&format!("GET /api/v1/runs/{id}")).json(200)["status"],
        "transferring"
    );
    lab.local(&format!("POST /api/v1/runs/{id}/cancel")).json(202);
    let Lab {
        backstay,
        service,
        port,
    } = lab;
    service.wait().ok();
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    let runs = backstay.json(&["runs"]);
    let ended = runs.as_array().unwrap().iter().find(|run| run["id"] == id);
    assert_eq!(ended.unwrap()["status"], "cancelled");
}
