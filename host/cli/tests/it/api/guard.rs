//! Whom the interface lets in.

use std::os::unix::fs::PermissionsExt;

use super::lab::{Lab, request};

#[test]
fn without_a_token_nothing_but_health_answers() {
    let lab = Lab::new();
    assert_eq!(lab.ask("GET /health", &[], "").json(200)["status"], "ok");
    for what in [
        "GET /ready",
        "GET /status",
        "GET /api/v1/jobs",
        "GET /api/v1/openapi.json",
        "POST /api/v1/jobs/x/run",
        "GET /nothing",
        "DELETE /health",
    ] {
        let reply = lab.ask(what, &[], "");
        if what == "DELETE /health" {
            reply.problem(405, "method");
        } else {
            reply.problem(401, "token");
            assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
        }
    }
    let first = std::fs::read_to_string(lab.backstay.data_dir().join("first-token")).unwrap();
    let mode = std::fs::metadata(lab.backstay.data_dir().join("first-token"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    lab.ask_as("bst_wrong", "GET /status").problem(401, "token");
    assert!(lab.backstay.data_dir().join("first-token").exists());
    lab.ask_as(first.trim(), "GET /status").json(200);
    // Whoever used it has it elsewhere.
    assert!(!lab.backstay.data_dir().join("first-token").exists());
    lab.ask_as(first.trim(), "GET /status").json(200);
    let listed = lab.backstay.json(&["token", "list"]);
    assert_eq!(
        (&listed[0]["name"], &listed[0]["role"]),
        (&"first".into(), &"admin".into())
    );
    assert!(listed[0]["expiresAt"].is_string(), "{listed}");
    let database = std::fs::read(lab.backstay.data_dir().join("backstay.db")).unwrap();
    let log = std::fs::read(lab.backstay.data_dir().join("backstay.db-wal")).unwrap_or_default();
    let text = first.trim().as_bytes();
    assert!(
        [database, log]
            .iter()
            .all(|bytes| !bytes.windows(text.len()).any(|part| part == text)),
        "the token is in the database"
    );
}

#[test]
fn a_token_allows_what_its_role_may_until_it_expires_or_is_removed() {
    let lab = Lab::new();
    lab.job("documents");
    let [viewer, operator, admin] = ["viewer", "operator", "admin"].map(|role| lab.token(role, role));
    let job = lab.spec("more").to_string();
    let create = |token: &str| {
        lab.ask(
            "POST /api/v1/jobs",
            &[("Authorization", &format!("Bearer {token}"))],
            &job,
        )
    };
    lab.ask_as(&viewer, "GET /api/v1/jobs").json(200);
    let problem = lab
        .ask_as(&viewer, "POST /api/v1/jobs/documents/run")
        .problem(403, "role");
    assert_eq!(
        problem["detail"],
        "it takes the role operator, and token:viewer is viewer"
    );
    lab.ask_as(&operator, "POST /api/v1/jobs/documents/run").json(202);
    create(&operator).problem(403, "role");
    // Plugins start programs and use the secrets that the job names.
    let preview = "POST /api/v1/jobs/documents/preview";
    lab.ask_as(&viewer, preview).problem(403, "role");
    lab.ask_as(&operator, preview).json(200);
    for token in [&viewer, &operator] {
        lab.ask_as(token, "POST /api/v1/validate").problem(403, "role");
    }
    lab.ask_as(&operator, "GET /api/v1/audit").problem(403, "role");
    create(&admin).json(201);
    let audit = lab.ask_as(&admin, "GET /api/v1/audit").json(200);
    let of = |action: &str| {
        let entries = audit["items"].as_array().unwrap();
        entries
            .iter()
            .find(|e| e["action"] == action)
            .map(|e| e["actor"].clone())
    };
    assert_eq!(of("job.run"), Some("token:operator".into()));
    assert_eq!(of("job.create"), Some("token:admin".into()));
    // By the socket a token counts too.
    let header = format!("Bearer {viewer}");
    lab.local_with("POST /api/v1/jobs", &[("Authorization", &header)], &job)
        .problem(403, "role");

    lab.backstay.run(&["token", "rm", "admin"]).ok();
    lab.ask_as(&admin, "GET /api/v1/jobs").problem(401, "token");
    let short = lab.backstay.json(&["token", "add", "short", "--expires", "1s"]);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    lab.ask_as(short["token"].as_str().unwrap(), "GET /api/v1/jobs")
        .problem(401, "token");
    let again = lab.backstay.run(&["token", "add", "viewer"]).code(2);
    assert!(
        again.stderr.contains("there is a token `viewer` already"),
        "{}",
        again.stderr
    );
    let unknown = lab.backstay.run(&["token", "rm", "viwer"]).code(2);
    assert!(
        unknown.stderr.contains("did you mean viewer?"),
        "{}",
        unknown.stderr
    );
}

#[test]
fn who_guesses_has_to_wait_and_those_who_know_dont() {
    let lab = Lab::new();
    let token = lab.token("viewer", "viewer");
    for _ in 0..10 {
        lab.ask_as("bst_wrong", "GET /status").problem(401, "token");
    }
    let reply = lab.ask_as("bst_wrong", "GET /status");
    reply.problem(429, "too-many-attempts");
    assert!(reply.header("retry-after").unwrap().parse::<u32>().unwrap() <= 61);
    lab.ask_as(&token, "GET /status").json(200);
}

#[test]
fn other_hosts_foreign_pages_and_tokens_in_addresses_are_refused() {
    let lab = Lab::with("  hosts: [backup.example.org]");
    let token = format!("Bearer {}", lab.token("viewer", "viewer"));
    let from = |host: &str, headers: &[(&str, &str)]| {
        let headers = [&[("Authorization", &*token)], headers].concat();
        lab.send(request("GET /status", host, &headers, "").as_bytes())
    };
    for host in [
        "localhost",
        "127.0.0.1:1",
        "[::1]:80",
        "backup.example.org",
        "192.0.2.1",
    ] {
        from(host, &[]).json(200);
    }
    for host in [
        "evil.example",
        "localhost.evil.example",
        "backup.example.org.evil.example:1201",
    ] {
        from(host, &[]).problem(421, "host");
    }
    let health = lab.send(request("GET /health", "evil.example", &[], "").as_bytes());
    health.problem(421, "host");
    lab.send(b"GET /health HTTP/1.0\r\n\r\n")
        .problem(400, "bad-request");
    lab.send(b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n")
        .problem(400, "bad-request");
    lab.send(b"GET http://evil.example/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .problem(400, "bad-request");
    from("localhost", &[("Origin", "http://localhost")]).json(200);
    for origin in [
        "http://evil.example",
        "null",
        "http://localhost.evil.example",
        "http://localhost:81",
    ] {
        from("localhost", &[("Origin", origin)]).problem(403, "origin");
    }
    from("localhost", &[("Sec-Fetch-Site", "cross-site")]).problem(403, "origin");
    from("localhost", &[("Sec-Fetch-Site", "same-origin")]).json(200);
    for query in ["token=x", "limit=1&access_token=x", "ACCESS_TOKEN=x"] {
        let problem = lab
            .ask(
                &format!("GET /api/v1/runs?{query}"),
                &[("Authorization", &token)],
                "",
            )
            .problem(400, "bad-request");
        assert!(
            problem["detail"]
                .as_str()
                .unwrap()
                .contains("token in the address"),
            "{problem}"
        );
    }
}

#[test]
fn the_socket_is_for_its_user_alone() {
    let lab = Lab::new();
    let socket = lab.backstay.data_dir().join("api.sock");
    assert_eq!(
        std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777,
        0o600
    );
    lab.local("GET /status").json(200);
    // Somebody opens all the doors by mistake.
    std::fs::set_permissions(&socket, PermissionsExt::from_mode(0o777)).unwrap();
    for directory in [lab.backstay.data_dir(), lab.backstay.scratch_dir().to_owned()] {
        std::fs::set_permissions(directory, PermissionsExt::from_mode(0o755)).unwrap();
    }
    backstay_testkit::tools::require(&["setpriv", "python3"]);
    backstay_testkit::tools::require_root("to become another user");
    let program = "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); \
                   s.sendall(b'GET /health HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n'); sys.exit(len(s.recv(99)))";
    let ended = std::process::Command::new("setpriv")
        .args([
            "--reuid",
            "65534",
            "--regid",
            "65534",
            "--clear-groups",
            "/usr/bin/python3",
            "-c",
            program,
        ])
        .arg(&socket)
        .current_dir("/")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(
        ended.status.success() || said.contains("ConnectionResetError") || said.contains("BrokenPipeError"),
        "{said}"
    );
}
