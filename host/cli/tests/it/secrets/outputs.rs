//! Secrets are planted in a service with all that it can show or send, and looked for in everything that it shows, keeps and
//! sends: answers to every GET of its document, events, the audit log, notifications and what their receivers got, pings,
//! metrics, the log, what the system shows of processes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use backstay_testkit::cli::Running;
use backstay_testkit::process::{wait_until, with_descendants};
use backstay_testkit::receiver::{Answer, Receiver};
use serde_json::{Value, json};

use super::lab::{Lab, said};
use crate::abort::paths;

const PATIENCE: Duration = Duration::from_secs(60);

/// What a program is given by its job; no name of a secret, so that it can be told from one.
const OF_JOB: &str = "pl4nted job s3cret!";

/// What lets the service into places, in the URL or beside it: each is for its own receiver.
const OF_HOOK: &str = "pl4nted-hook";
const OF_BEARER: &str = "pl4nted-bearer";
const OF_PING: &str = "pl4nted-ping";
const OF_CLOSED: &str = "pl4nted-closed";

const ALL: [&str; 5] = [OF_JOB, OF_HOOK, OF_BEARER, OF_PING, OF_CLOSED];

/// A place that something is shown at, and what is shown there.
type Shown = BTreeMap<String, Vec<u8>>;

#[track_caller]
fn assert_not_in(shown: &Shown) {
    for (place, bytes) in shown {
        for secret in ALL {
            let is_there = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(
                !is_there,
                "{secret} is in {place}: {}",
                String::from_utf8_lossy(bytes)
            );
        }
    }
}

fn socket(lab: &Lab) -> std::path::PathBuf {
    lab.backstay.data_dir().join("api.sock")
}

/// What comes back, with its head, by the socket.
fn exchange(socket: &Path, what: &str, body: &str) -> Vec<u8> {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let text = format!(
        "{what} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    bytes
}

fn body(bytes: &[u8]) -> Value {
    let at = bytes.windows(4).position(|part| part == b"\r\n\r\n").unwrap();
    let text = String::from_utf8_lossy(&bytes[at..]);
    let (from, to) = (text.find(['{', '[']).unwrap(), text.rfind(['}', ']']).unwrap());
    serde_json::from_str(&text[from..=to]).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// Hears all events until the service ends.
fn listen(socket: &Path) -> JoinHandle<Vec<u8>> {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream
        .write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        bytes
    })
}

fn settings(lab: &Lab, hook: &Receiver, gateway: &Receiver) -> String {
    let dir = lab.backstay.scratch_dir().display();
    let (hook_url, gateway) = (hook.url(), gateway.url());
    lab.backstay.secret("hook", &format!("{hook_url}/{OF_HOOK}"));
    lab.backstay.secret("bearer", OF_BEARER);
    // Nobody listens there: what goes wrong is kept and shown.
    lab.backstay.secret(
        "closed",
        &format!("http://127.0.0.1:1/{OF_CLOSED}?key={OF_CLOSED}"),
    );
    lab.backstay.secret("ping", &format!("{hook_url}/{OF_PING}"));
    lab.backstay.secret("token", OF_JOB);
    format!(
        "log: {{ level: debug, format: json, file: {dir}/log/backstay.log }}\n\
         metrics: {{ textfile: {dir}/backstay.prom, pushgateway: \"{gateway}\", every: 1s }}\n\
         notifications:\n  retry: {{ firstDelay: 100ms, maxDelay: 1s }}\n  channels:\n\
         \x20   hook: {{ type: webhook, urlSecret: hook, tokenSecret: bearer, on: [success, failure] }}\n\
         \x20   closed: {{ type: webhook, urlSecret: closed, on: [failure] }}\n\
         \x20   chat: {{ type: discord, urlSecret: closed, on: [failure] }}\n"
    )
}

/// The service, once it answers, and all that is heard of it from then on.
fn serve(lab: &Lab, settings: &str) -> (Running, JoinHandle<Vec<u8>>) {
    fs::create_dir_all(lab.at("log")).unwrap();
    fs::write(lab.at("config.yaml"), settings).unwrap();
    let service = lab.backstay.spawn(&["serve"]);
    wait_until("the service to answer", PATIENCE, || {
        UnixStream::connect(socket(lab)).is_ok()
    });
    (service, listen(&socket(lab)))
}

/// What the system shows of all processes, and what is in the environment of those of the service.
fn processes(service: &Running) -> Shown {
    let mut shown = Shown::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        shown.insert(format!("{}/cmdline", entry.path().display()), line);
    }
    for pid in with_descendants(service.pid()) {
        let file = format!("/proc/{pid}/environ");
        shown.insert(file.clone(), fs::read(file).unwrap_or_default());
    }
    shown
}

#[test]
fn a_service_shows_keeps_and_sends_none_of_them() {
    let (hook, gateway) = (Receiver::start(), Receiver::start());
    // Commands follow the settings of the service.
    let lab = Lab::on(|backstay| {
        let config = backstay.scratch_dir().join("config.yaml");
        fs::write(&config, "").unwrap();
        backstay.env("BACKSTAY_CONFIG", config.to_str().unwrap())
    });
    let (service, events) = serve(&lab, &settings(&lab, &hook, &gateway));
    let socket = socket(&lab);
    let mut shown = Shown::new();

    // A program that has its secret, tells it, and fails; and another that goes well.
    let (started, go) = (lab.at("started"), lab.at("go"));
    let script = format!(
        ": > {}; until test -e {}; do sleep 0.02; done; echo \"no $LAB_SECRET\" >&2; false",
        started.display(),
        go.display()
    );
    let ping = json!({ "ping": { "urlSecret": "ping" } });
    for job in [lab.job("tells", &script, &ping), lab.job("well", "true", &ping)] {
        lab.backstay.apply(&job.to_string()).ok();
    }
    let run = |job: &str| {
        let answer = exchange(&socket, &format!("POST /api/v1/jobs/{job}/run"), "");
        body(&answer)["id"].as_str().unwrap().to_owned()
    };
    let told = run("tells");
    wait_until("the program to start", PATIENCE, || started.exists());
    let mut seen = processes(&service);
    // Who was given it has it: at least there it would be found.
    let granted: Vec<String> = seen
        .iter()
        .filter(|(_, bytes)| bytes.windows(11).any(|part| part == b"LAB_SECRET="))
        .map(|(place, _)| place.clone())
        .collect();
    assert!(
        !granted.is_empty() && granted.iter().all(|place| place.ends_with("/environ")),
        "{granted:?}"
    );
    for place in granted {
        seen.remove(&place);
    }
    assert!(seen.contains_key(&format!("/proc/{}/environ", service.pid())));
    assert_not_in(&seen);
    let limits = fs::read_to_string(format!("/proc/{}/limits", service.pid())).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    assert_eq!(
        core.split_whitespace().collect::<Vec<_>>()[4..6],
        ["0", "0"],
        "{core}"
    );
    fs::write(&go, "").unwrap();
    let well = run("well");
    for id in [&told, &well] {
        wait_until("a run to end", PATIENCE, || {
            body(&exchange(&socket, &format!("GET /api/v1/runs/{id}"), ""))["finishedAt"].is_string()
        });
    }

    // In places where it must not be written, and what is said to that.
    let wrong = lab.job("wrong", "true", &json!({ "source": { "plugin": "lab-source", "config": { "do": "secret", "secret": OF_JOB, "script": "true" } } }));
    for (what, sent) in [
        ("POST /api/v1/validate", wrong.to_string()),
        ("POST /api/v1/jobs", wrong.to_string()),
        ("POST /api/v1/jobs/tells/preview", String::new()),
        ("POST /api/v1/jobs/well/preview", String::new()),
    ] {
        shown.insert(what.to_owned(), exchange(&socket, what, &sent));
    }

    // What receivers got: their own credentials, nothing of others.
    let mut seen_paths = BTreeSet::new();
    wait_until("messages, pings and metrics", PATIENCE, || {
        let paths: BTreeSet<String> = hook.received().into_iter().map(|got| got.path).collect();
        if paths != seen_paths {
            eprintln!("received {paths:?}, and {} metrics", gateway.received().len());
            seen_paths.clone_from(&paths);
        }
        let has = |part: &str| paths.iter().any(|path| path.contains(part));
        has(OF_HOOK)
            && has(&format!("{OF_PING}?rid="))
            && has(&format!("{OF_PING}/4?rid="))
            && !gateway.received().is_empty()
    });
    for (number, got) in hook.received().into_iter().chain(gateway.received()).enumerate() {
        let of = |path: &str| path.replace(OF_HOOK, "own").replace(OF_PING, "own");
        let mut text = format!("{}\n{}\n", of(&got.path), got.body);
        for (name, value) in &got.headers {
            if got.path.contains(OF_HOOK) && name == "authorization" {
                assert_eq!(value, &format!("Bearer {OF_BEARER}"));
            } else {
                text += &format!("{name}: {value}\n");
            }
        }
        shown.insert(
            format!("{} {} ({number})", got.method, of(&got.path)),
            text.into_bytes(),
        );
    }

    // Every GET of the document, for each thing that there is.
    let backup = body(&exchange(&socket, "GET /api/v1/backups", ""))["items"][0]["id"].clone();
    let document = body(&exchange(&socket, "GET /api/v1/openapi.json", ""));
    let (mut places, mut streams) = (0, 0);
    for (path, methods) in document["paths"].as_object().unwrap() {
        if methods.get("get").is_none() {
            continue;
        }
        let ids: Vec<&str> = match path.split('/').nth(3) {
            Some("jobs") => vec!["tells", "well"],
            Some("runs") => vec![&told, &well],
            Some("backups") => vec![backup.as_str().unwrap()],
            Some("plugins") => vec!["lab-source", "local"],
            _ => vec![""],
        };
        for id in ids {
            let path = path.replace("{id}", id);
            if path == "/api/v1/events" {
                // Heard all the time.
                streams += 1;
                continue;
            }
            let answer = exchange(&socket, &format!("GET {path}"), "");
            assert!(
                answer.starts_with(b"HTTP/1.1 200"),
                "{path}: {}",
                String::from_utf8_lossy(&answer)
            );
            streams += usize::from(path.ends_with("/events"));
            shown.insert(format!("GET {path}"), answer);
            places += 1;
        }
    }
    assert!(places > 15 && streams == 3, "{places} {streams}");

    // What commands print of it.
    for args in [
        &["notification", "list"][..],
        &["notification", "log"],
        &["notification", "test", "closed"],
        &["audit"],
        &["metrics"],
        &["logs", "tells"],
        &["runs"],
        &["job", "show", "tells"],
        &["doctor"],
        &["secret", "list"],
        &["recovery-kit", "latest:well"],
    ] {
        for json in [&[][..], &["--json"]] {
            let output = lab.backstay.run(&[args, json].concat());
            shown.insert(format!("backstay {args:?} {json:?}"), said(&output).into_bytes());
        }
    }
    hook.always(Some(Answer::Status(500, format!("{OF_BEARER} is no good"))));
    let echoed = lab.backstay.run(&["notification", "test", "hook"]);
    assert!(
        echoed.code != 0 && said(&echoed).contains("is no good"),
        "{}",
        said(&echoed)
    );
    shown.insert("an answer that repeats it".to_owned(), said(&echoed).into_bytes());

    service.terminate();
    shown.insert(
        "standard output and error".to_owned(),
        said(&service.wait().ok()).into_bytes(),
    );
    let heard = events.join().unwrap();
    let text = String::from_utf8_lossy(&heard);
    assert!(text.contains(&told) && text.contains("no ***"), "{text}");
    shown.insert("the events".to_owned(), heard);
    for path in paths(lab.backstay.scratch_dir()) {
        if path.is_file() {
            shown.insert(path.display().to_string(), fs::read(&path).unwrap());
        }
    }
    for name in ["backstay.db", "backstay.prom"] {
        assert!(shown.keys().any(|place| place.ends_with(name)), "{name}");
    }
    assert!(shown.keys().any(|place| place.contains("/log/backstay.log.")));
    assert_not_in(&shown);
}
