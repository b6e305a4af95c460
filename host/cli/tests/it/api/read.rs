//! What the interface shows: the same as the command line, page by page.

use serde_json::Value;

use super::lab::Lab;

#[test]
fn it_shows_what_the_command_line_shows() {
    let lab = Lab::new();
    for name in ["first", "second", "third"] {
        lab.job(name);
    }
    lab.backstay.run(&["run", "first"]).ok();
    lab.backstay.run(&["run", "second"]).ok();
    let same = |what: &str, args: &[&str]| {
        let shown = lab.local(&format!("GET {what}")).json(200);
        let shown = shown.get("items").cloned().unwrap_or(shown);
        assert_eq!(shown, lab.backstay.json(args), "{what}");
    };
    same("/api/v1/jobs", &["job", "list"]);
    same("/api/v1/jobs/first", &["job", "show", "first"]);
    same("/api/v1/runs", &["runs"]);
    same("/api/v1/runs?job=second", &["runs", "second"]);
    same("/api/v1/backups", &["backups"]);
    same("/api/v1/plugins", &["plugin", "list"]);
    same("/api/v1/plugins/zfs", &["plugin", "info", "zfs"]);
    same("/api/v1/audit", &["audit"]);
    let run = lab.local("GET /api/v1/runs?limit=1").json(200)["items"][0].clone();
    let id = run["id"].as_str().unwrap();
    same(&format!("/api/v1/runs/{id}/logs"), &["logs", id]);
    let shown = lab.local(&format!("GET /api/v1/runs/{id}")).json(200);
    assert_eq!(
        (&shown["job"], &shown["status"]),
        (&"second".into(), &"succeeded".into())
    );
    let backup = &shown["backups"][0];
    let listed = lab
        .local(&format!("GET /api/v1/backups/{}", backup["id"].as_str().unwrap()))
        .json(200);
    assert_eq!(
        (&listed["manifest"], &listed["own"]),
        (&backup["manifest"], &true.into())
    );
    let status = lab.local("GET /status").json(200);
    assert_eq!(status["jobs"]["byLastRun"]["succeeded"], 2, "{status}");
    assert_eq!(
        (&status["jobs"]["total"], &status["jobs"]["neverRan"]),
        (&3.into(), &1.into())
    );
    assert_eq!(lab.local("GET /ready").json(200)["status"], "ok");
    let capabilities = lab.local("GET /api/v1/capabilities").json(200);
    assert_eq!(
        capabilities["programs"]["rsync"]["available"], true,
        "{capabilities}"
    );
    let config = lab.local("GET /api/v1/config").json(200);
    assert_eq!(config["api"]["listen"], format!("127.0.0.1:{}", lab.port));
    assert_eq!(
        lab.local("GET /api/v1/queue").json(200)["waiting"],
        serde_json::json!([])
    );
}

#[test]
fn prometheus_reads_with_a_viewers_token_what_the_command_prints() {
    let lab = Lab::new();
    lab.job("documents");
    lab.backstay.run(&["run", "documents"]).ok();
    let token = lab.token("prometheus", "viewer");
    let scraped = lab.ask_as(&token, "GET /metrics");
    assert_eq!(
        (scraped.status, scraped.header("content-type")),
        (200, Some("text/plain; version=0.0.4; charset=utf-8"))
    );
    assert_eq!(scraped.body, lab.backstay.run(&["metrics"]).ok().stdout);
    assert!(
        scraped.body.contains("backup_last_success_timestamp{"),
        "{}",
        scraped.body
    );
    let document = lab.local("GET /api/v1/openapi.json").json(200);
    let answers = &document["paths"]["/metrics"]["get"]["responses"]["200"]["content"];
    assert_eq!(
        answers["text/plain; version=0.0.4; charset=utf-8"]["schema"]["type"], "string",
        "{answers}"
    );
    lab.ask("GET /metrics", &[], "").problem(401, "token");
}

#[test]
fn a_long_list_comes_in_pages_that_follow_each_other() {
    let lab = Lab::new();
    let names = ["a", "b", "c", "d", "e"];
    for name in names {
        lab.job(name);
        lab.backstay.run(&["run", name]).ok();
    }
    for (list, key) in [("jobs", "id"), ("runs", "id"), ("backups", "id"), ("audit", "id")] {
        let whole = lab.local(&format!("GET /api/v1/{list}?limit=100")).json(200);
        let whole: Vec<Value> = whole["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|i| i[key].clone())
            .collect();
        let (mut seen, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page = lab
                .local(&format!("GET /api/v1/{list}?limit=2{cursor}"))
                .json(200);
            let items = page["items"].as_array().unwrap();
            assert!((1..=2).contains(&items.len()), "{page}");
            seen.extend(items.iter().map(|item| item[key].clone()));
            pages += 1;
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen, whole, "{list}");
        assert_eq!(pages, whole.len().div_ceil(2), "{list}");
    }
    for wrong in [
        "limit=0",
        "limit=501",
        "limit=x",
        "cursor=x",
        "limi=2",
        "limit=1&limit=2",
    ] {
        lab.local(&format!("GET /api/v1/runs?{wrong}"))
            .problem(400, "bad-request");
    }
}

#[test]
fn what_is_not_there_is_said_with_what_there_is() {
    let lab = Lab::new();
    lab.job("documents");
    let problem = lab.local("GET /api/v1/jobs/documnets").problem(404, "not-found");
    assert_eq!(problem["hint"], "did you mean documents?");
    let id = "0198c1f4-7c2e-7a10-8f5e-3c1d2b4a5f60";
    for what in [
        "GET /api/v1/jobs/%00",
        "GET /api/v1/plugins/none",
        "GET /api/v1/nothing",
        "GET /",
        &format!("GET /api/v1/runs/{id}"),
        &format!("GET /api/v1/runs/{id}/logs"),
        &format!("POST /api/v1/runs/{id}/cancel"),
        &format!("GET /api/v1/backups/{id}"),
        "POST /api/v1/jobs/none/run",
        "GET /api/v1/runs?job=none",
    ] {
        lab.local(what).problem(404, "not-found");
    }
    lab.local("GET /api/v1/runs/last").problem(400, "bad-request");
    let reply = lab.local("DELETE /api/v1/runs");
    reply.problem(405, "method");
    assert_eq!(reply.header("allow"), Some("GET,HEAD"));
}
