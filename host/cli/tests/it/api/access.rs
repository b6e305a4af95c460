//! Tokens and browsers: who may use the interface, and what is kept of who changed what.

use std::fs;
use std::io::Write as _;
use std::process::Command;

use backstay_testkit::process::wait_until;
use backstay_testkit::tools::require;
use serde_json::{Value, json};

use super::lab::{Lab, PATIENCE, Reply, read_reply, request};

const LOGIN: &str = "POST /api/v1/session";

/// A browser that is logged in.
struct Browser<'a> {
    lab: &'a Lab,
    cookie: String,
    csrf: String,
    origin: String,
}

impl<'a> Browser<'a> {
    #[track_caller]
    fn log_in(lab: &'a Lab, token: &str) -> Self {
        let origin = format!("http://127.0.0.1:{}", lab.port);
        let headers = [("Origin", &*origin), ("User-Agent", "a browser")];
        let reply = lab.ask(LOGIN, &headers, &json!({ "token": token }).to_string());
        let csrf = reply.json(201)["csrf"].as_str().unwrap().to_owned();
        let cookie = reply.header("set-cookie").unwrap().split(';').next().unwrap();
        let cookie = cookie.to_owned();
        Browser {
            lab,
            cookie,
            csrf,
            origin,
        }
    }

    /// A request of a page of ours.
    #[track_caller]
    fn ask(&self, what: &str) -> Reply {
        self.ask_with(what, &[("Origin", &self.origin), ("X-CSRF-Token", &self.csrf)])
    }

    /// A request with the cookie and these headers.
    #[track_caller]
    fn ask_with(&self, what: &str, headers: &[(&str, &str)]) -> Reply {
        let headers = [&[("Cookie", &*self.cookie)], headers].concat();
        self.lab.ask(what, &headers, "")
    }
}

/// The end of the lines of the audit log, the oldest first.
fn audit(lab: &Lab, count: usize) -> Vec<String> {
    let audit = lab.backstay.json(&["audit"]);
    let entries = audit.as_array().unwrap().iter().take(count).rev();
    let line = |entry: &Value| {
        let text = |key: &str| entry[key].as_str().unwrap().to_owned();
        let [actor, action, subject, outcome] = ["actor", "action", "subject", "outcome"].map(text);
        format!("{actor} {action} {subject}: {outcome}")
    };
    entries.map(line).collect()
}

/// Changes the database behind the service's back.
#[track_caller]
fn change(lab: &Lab, statements: &str) {
    require(&["python3"]);
    let program =
        "import sqlite3,sys; c=sqlite3.connect(sys.argv[1]); c.executescript(sys.argv[2]); c.commit()";
    let ended = Command::new("python3")
        .args(["-c", program])
        .arg(lab.backstay.data_dir().join("backstay.db"))
        .arg(statements)
        .output()
        .unwrap();
    assert!(
        ended.status.success(),
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
}

#[test]
fn an_admin_makes_tokens_and_removes_them_and_nobody_can_read_one_again() {
    let lab = Lab::new();
    let [operator, admin] = ["operator", "admin"].map(|role| lab.token(role, role));
    let add = |token: &str, body: Value| {
        let headers = [("Authorization", &*format!("Bearer {token}"))];
        lab.ask("POST /api/v1/tokens", &headers, &body.to_string())
    };
    let reply = add(
        &admin,
        json!({ "name": "ci", "role": "operator", "expires": "90d" }),
    );
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let made = reply.json(201);
    let text = made["token"].as_str().unwrap();
    assert!(
        made["expiresAt"].is_string() && text.starts_with("bst_"),
        "{made}"
    );
    assert_eq!(
        lab.ask_as(text, "GET /api/v1/session").json(200)["role"],
        "operator"
    );
    assert_eq!(
        add(&admin, json!({ "name": "least" })).json(201)["role"],
        "viewer"
    );

    let listed = lab.ask_as(&admin, "GET /api/v1/tokens");
    assert_eq!(listed.json(200), lab.backstay.json(&["token", "list"]));
    assert!(
        !listed.body.contains(text) && !listed.body.contains("hash"),
        "{}",
        listed.body
    );
    add(&admin, json!({ "name": "ci" })).problem(409, "conflict");
    let wrong = add(
        &admin,
        json!({ "name": "a b", "role": "root", "expires": "soon", "x": 1 }),
    );
    let wrong = wrong.problem(422, "invalid");
    let mut pointers: Vec<&str> = wrong["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["pointer"].as_str().unwrap())
        .collect();
    pointers.sort_unstable();
    assert_eq!(pointers, ["/expires", "/name", "/role", "/x"]);
    let never = add(&admin, json!({ "name": "never", "expires": 0 })).problem(422, "invalid");
    assert_eq!(never["errors"][0]["pointer"], "/expires");
    for what in [
        "GET /api/v1/tokens",
        "POST /api/v1/tokens",
        "DELETE /api/v1/tokens/admin",
    ] {
        lab.ask_as(&operator, what).problem(403, "role");
    }

    assert_eq!(lab.ask_as(&admin, "DELETE /api/v1/tokens/ci").status, 204);
    lab.ask_as(text, "GET /api/v1/session").problem(401, "token");
    let unknown = lab.ask_as(&admin, "DELETE /api/v1/tokens/operater");
    assert_eq!(
        unknown.problem(404, "not-found")["hint"],
        "did you mean operator?"
    );
    assert_eq!(
        audit(&lab, 4),
        [
            "token:admin token.add ci: done",
            "token:admin token.add least: done",
            "token:admin token.add ci: there is a token `ci` already",
            "token:admin token.remove ci: done",
        ]
    );
}

#[test]
fn a_browser_logs_in_with_a_token_and_only_pages_of_ours_change_anything() {
    let lab = Lab::new();
    lab.job("documents");
    let token = lab.token("ann", "operator");
    let reply = lab.ask(LOGIN, &[], &json!({ "token": token }).to_string());
    let identity = reply.json(201);
    assert_eq!(
        (
            &identity["actor"],
            &identity["role"],
            &identity["session"]["address"]
        ),
        (&"token:ann".into(), &"operator".into(), &"127.0.0.1".into())
    );
    let cookie = reply.header("set-cookie").unwrap();
    for part in [
        "backstay=bss_",
        "; Path=/",
        "; HttpOnly",
        "; SameSite=Strict",
        "; Max-Age=604800",
    ] {
        assert!(cookie.contains(part), "{part} is not in {cookie}");
    }
    assert!(!cookie.contains("Secure"), "{cookie}");
    // A proxy in front encrypts: the cookie goes nowhere else.
    let origin = format!("https://127.0.0.1:{}", lab.port);
    let behind = lab.ask(
        LOGIN,
        &[("Origin", &origin)],
        &json!({ "token": token }).to_string(),
    );
    let secure = behind.header("set-cookie").unwrap();
    assert!(
        secure.starts_with("__Host-backstay=bss_") && secure.ends_with("; Secure"),
        "{secure}"
    );
    let text = cookie.split([';', '=']).nth(1).unwrap();
    let files = ["backstay.db", "backstay.db-wal"].map(|name| fs::read(lab.backstay.data_dir().join(name)));
    for bytes in files.into_iter().flatten() {
        let found = bytes.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(!found, "what the cookie holds is in the database");
    }

    let [browser, other] = [(); 2].map(|()| Browser::log_in(&lab, &token));
    browser.ask_with("GET /api/v1/jobs", &[]).json(200);
    let run = "POST /api/v1/jobs/documents/run";
    let origin = ("Origin", &*browser.origin);
    for headers in [
        vec![],
        vec![origin],
        vec![("X-CSRF-Token", &*browser.csrf)],
        vec![origin, ("X-CSRF-Token", "")],
        vec![origin, ("X-CSRF-Token", &*other.csrf)],
    ] {
        browser.ask_with(run, &headers).problem(403, "csrf");
    }
    let foreign = [("Origin", "http://127.0.0.1:1"), ("X-CSRF-Token", &*browser.csrf)];
    browser.ask_with(run, &foreign).problem(403, "origin");
    assert_eq!(lab.backstay.json(&["runs"]), json!([]));
    browser.ask(run).json(202);
    browser.ask("GET /api/v1/tokens").problem(403, "role");
    let shown = browser.ask("GET /api/v1/session").json(200);
    assert_eq!(
        (&shown["csrf"], &shown["session"]["agent"]),
        (&browser.csrf.clone().into(), &"a browser".into())
    );

    let out = browser.ask("DELETE /api/v1/session");
    assert_eq!(out.status, 204);
    assert!(
        out.head.contains("backstay=;") && out.head.contains("Max-Age=0"),
        "{}",
        out.head
    );
    browser.ask_with("GET /api/v1/jobs", &[]).problem(401, "session");
    other.ask_with("GET /api/v1/jobs", &[]).json(200);
    let lines = audit(&lab, 2);
    assert_eq!(lines[0], "token:ann job.run documents: done");
    assert!(lines[1].starts_with("token:ann session.end "), "{lines:?}");
}

#[test]
fn a_browser_is_logged_out_with_its_token_by_an_admin_and_by_its_age() {
    let lab = Lab::new();
    let [viewer, admin] = ["viewer", "admin"].map(|role| lab.token(role, role));
    let [first, second, third] = [(); 3].map(|()| Browser::log_in(&lab, &viewer));
    let id = |browser: &Browser<'_>| {
        let shown = browser.ask("GET /api/v1/session").json(200);
        shown["session"]["id"].as_str().unwrap().to_owned()
    };
    let ids = [id(&first), id(&second), id(&third)];
    first.ask("GET /api/v1/sessions").problem(403, "role");
    let listed = lab.ask_as(&admin, "GET /api/v1/sessions").json(200);
    let of_list: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["id"].as_str().unwrap())
        .collect();
    assert_eq!(of_list, [&ids[2], &ids[1], &ids[0]]);
    // Who listens to events is cut off as well.
    let mut listening = lab.connect();
    let host = format!("127.0.0.1:{}", lab.port);
    let listen = request("GET /api/v1/events", &host, &[("Cookie", &first.cookie)], "");
    listening.write_all(listen.as_bytes()).unwrap();
    let revoke = format!("DELETE /api/v1/sessions/{}", ids[0]);
    assert_eq!(lab.ask_as(&admin, &revoke).status, 204);
    lab.ask_as(&admin, &revoke).problem(404, "not-found");
    first.ask("GET /api/v1/jobs").problem(401, "session");
    let said = read_reply(listening).unwrap().body;
    assert!(said.contains("event: problem"), "{said}");

    change(
        &lab,
        &format!(
            "UPDATE sessions SET seen_at = '2020-01-01T00:00:00Z' WHERE id = '{}'",
            ids[1]
        ),
    );
    second.ask("GET /api/v1/jobs").problem(401, "session");
    third.ask("GET /api/v1/jobs").json(200);
    lab.backstay.run(&["token", "rm", "viewer"]).ok();
    third.ask("GET /api/v1/jobs").problem(401, "session");
    assert_eq!(lab.ask_as(&admin, "GET /api/v1/sessions").json(200), json!([]));
    // A token that isn't a browser's has nothing to log out of.
    lab.ask_as(&admin, "DELETE /api/v1/session")
        .problem(409, "conflict");
}

#[test]
fn who_guesses_at_the_door_has_to_wait_and_who_is_in_stays_in() {
    let lab = Lab::new();
    let token = lab.token("ann", "viewer");
    let browser = Browser::log_in(&lab, &token);
    let guess = || lab.ask(LOGIN, &[], &json!({ "token": "bst_wrong" }).to_string());
    let wrong = lab
        .ask(LOGIN, &[], &json!({ "tokn": 1 }).to_string())
        .problem(422, "invalid");
    assert_eq!(wrong["errors"].as_array().unwrap().len(), 2, "{wrong}");
    // An old cookie is no guess.
    let old = || lab.ask("GET /status", &[("Cookie", "backstay=bss_old")], "");
    for _ in 0..12 {
        old().problem(401, "session");
    }
    for _ in 0..10 {
        guess().problem(401, "token");
    }
    let reply = guess();
    reply.problem(429, "too-many-attempts");
    assert!(reply.header("retry-after").is_some());
    browser.ask("GET /status").json(200);
    Browser::log_in(&lab, &token);
    // But not without end.
    let refused = (0..3_000).map(|_| old()).find(|reply| reply.status != 401);
    refused.unwrap().problem(429, "too-many-attempts");
    browser.ask("GET /status").json(200);
    Browser::log_in(&lab, &token).ask("GET /status").json(200);
}

#[test]
fn a_token_that_got_out_cant_fill_the_disk_with_log_ins() {
    let lab = Lab::new();
    let (token, other) = (lab.token("ann", "viewer"), lab.token("bob", "viewer"));
    let log_in = || lab.ask(LOGIN, &[], &json!({ "token": token }).to_string());
    for _ in 0..20 {
        assert_eq!(log_in().status, 201);
    }
    log_in().problem(429, "too-many-attempts");
    Browser::log_in(&lab, &other).ask("GET /status").json(200);
}

#[test]
fn who_changed_what_cant_be_deleted_and_what_is_too_old_goes_with_a_note() {
    let mut lab = Lab::new();
    let admin = lab.token("admin", "admin");
    for what in [
        "DELETE /api/v1/audit",
        "DELETE /api/v1/audit/1",
        "PUT /api/v1/audit",
    ] {
        let status = lab.ask_as(&admin, what).status;
        assert!([404, 405].contains(&status), "{what}: {status}");
    }
    lab.service.kill();
    change(
        &lab,
        "INSERT INTO audit (id, at, actor, action, subject, outcome) VALUES \
         (-2, '2020-01-01T00:00:00.000000000Z', 'token:old', 'job.run', 'old', 'done'), \
         (-1, strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-399 days'), 'token:young', 'job.run', 'young', 'done')",
    );
    lab.crash();
    wait_until("the note", PATIENCE, || {
        audit(&lab, 1)[0].starts_with("host audit.expire 1 entries")
    });
    let all = lab.backstay.json(&["audit"]).to_string();
    assert!(!all.contains("token:old") && all.contains("token:young"), "{all}");
    assert!(all.contains("token.add"), "{all}");
}
