use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::run::{Run, RunError, RunKind, RunStatus};
use crate::settings::Settings;

#[test]
fn each_type_needs_its_own_fields_and_what_is_secret_is_named() {
    let good = json!({ "notifications": { "channels": {
        "mail": { "type": "email", "host": "smtp.example.com", "user": "me", "passwordSecret": "smtp", "from": "a@example.com", "to": ["b@example.com"] },
        "hook": { "type": "webhook", "url": "http://nas:8080/hook", "headers": { "X-Team": "ops" } },
        "phone": { "type": "ntfy", "topic": "backups", "on": ["failure", "recovered"], "default": false },
        "chat": { "type": "discord", "urlSecret": "discord" },
    }}});
    let settings = Settings::read(&good).unwrap().notifications;
    assert_eq!(settings.channels["hook"].on, Event::usual());
    let wrong = json!({ "notifications": {
        "retry": { "firstDelay": "0s", "giveUpAfter": 0 },
        "channels": {
            "_bad": { "type": "slack" },
            "gotify": { "type": "gotify", "server": "gotify.example.com", "chat": "1" },
            "hook": { "type": "webhook", "url": "https://me:pass@example.com/", "headers": { "Authorization": "Bearer x", "a b": "c" } },
            "mail": { "type": "email", "host": "smtp://x", "user": "me", "encryption": "none", "to": ["b@example.com"], "on": [] },
            "push": { "type": "pushover", "tokenSecret": "this is the token itself", "userSecret": "user" },
        },
    }});
    let misspelt = json!({ "notifications": { "channels": { "a": { "type": "discrod", "on": ["failed"], "urlSecrt": "x" } } } });
    let said = |value: &Value| Settings::read(value).unwrap_err().report();
    insta::assert_snapshot!([said(&wrong), said(&misspelt)].join("\n\n"));
}

#[test]
fn a_job_chooses_its_channels_and_events() {
    let settings = Settings::read(&json!({ "notifications": { "channels": {
        "all": { "type": "ntfy", "topic": "a" },
        "quiet": { "type": "ntfy", "topic": "b", "default": false, "on": ["drill-failed"] },
    }}}))
    .unwrap()
    .notifications;
    let check = |notify: Value, expected: &[(&str, usize)]| {
        let notify: Option<Vec<NotifyTo>> = serde_json::from_value(notify).unwrap();
        let of = settings.channels_of(notify.as_deref());
        let of: Vec<(&str, usize)> = of.iter().map(|(name, _, on)| (*name, on.len())).collect();
        assert_eq!(of, expected);
        let again: Option<Vec<NotifyTo>> =
            serde_json::from_value(serde_json::to_value(&notify).unwrap()).unwrap();
        assert_eq!(again, notify);
    };
    check(Value::Null, &[("all", 7)]);
    check(json!([]), &[]);
    check(json!(["quiet"]), &[("quiet", 1)]);
    check(
        json!([{ "channel": "quiet", "on": ["success", "failure"] }, "gone"]),
        &[("quiet", 2)],
    );
}

fn run(kind: RunKind, status: RunStatus, due: bool) -> Run {
    let at: jiff::Timestamp = "2026-05-01T03:00:00Z".parse().unwrap();
    Run {
        id: Uuid::nil(),
        job_id: Uuid::nil(),
        job_name: "flash".to_owned(),
        kind,
        status,
        reason: crate::run::RunReason::Schedule,
        due_at: due.then_some(at),
        started_at: at,
        finished_at: Some(at),
        error: None,
        warnings: Vec::new(),
        stats: crate::run::Stats::default(),
    }
}

#[test]
fn each_end_of_a_run_tells_its_own() {
    use RunKind::{Backup, Drill, Prune, Restore, Verify};
    use RunStatus::{Cancelled, Failed, Interrupted, Preparing, Skipped, Succeeded, Transferring};
    let since = Some("2026-04-30T03:00:00Z".parse().unwrap());
    let mut said = String::new();
    for (run, was, since) in [
        (run(Backup, Succeeded, true), Some(Transferring), None),
        (run(Backup, RunStatus::Warning, true), Some(Transferring), since),
        (run(Backup, Succeeded, true), Some(Transferring), since),
        (run(Backup, Failed, true), Some(Preparing), None),
        (run(Backup, Failed, true), Some(Transferring), None),
        (run(Backup, Interrupted, true), Some(Preparing), None),
        (run(Backup, Skipped, true), None, None),
        (run(Backup, Skipped, false), None, None),
        (run(Backup, Cancelled, false), None, None),
        (run(Prune, Failed, false), None, None),
        (run(Verify, Failed, false), None, None),
        (run(Verify, Succeeded, false), None, None),
        (run(Drill, Failed, false), None, None),
        (run(Restore, Failed, false), None, None),
    ] {
        let told = Message::of_run("tower", &run, was, since);
        let told = told.map_or("-".to_owned(), |m| {
            let events: Vec<&str> = m.events.iter().map(|event| event.name()).collect();
            format!("{} [{}]", m.title, events.join(" "))
        });
        said.push_str(&format!("{:?} {}: {told}\n", run.kind, run.status.name()));
    }
    insta::assert_snapshot!(said);
}

#[test]
fn the_text_says_why_and_what_to_do() {
    let mut run = run(RunKind::Backup, RunStatus::Failed, true);
    run.error = Some(RunError {
        code: crate::Code::DiskSpace,
        message: "the disk is full".to_owned(),
        hint: Some("make room".to_owned()),
    });
    run.stats.source_bytes = 3 << 30;
    run.warnings = vec![
        crate::run::Warning {
            code: "unreadable".to_owned(),
            message: "can't read a".to_owned(),
            path: None
        };
        12
    ];
    let message = Message::of_run("tower", &run, Some(RunStatus::Transferring), None).unwrap();
    insta::assert_snapshot!(message.text);
}

proptest! {
    #[test]
    fn no_name_or_error_gets_a_control_character_into_a_message(device in any::<String>(), error in any::<String>()) {
        let mut run = run(RunKind::Backup, RunStatus::Failed, true);
        run.error = Some(RunError { code: crate::Code::Internal, message: error, hint: None });
        let message = Message::of_run(&device, &run, None, None).unwrap();
        prop_assert!(!message.title.chars().any(char::is_control));
        prop_assert!(!message.text.chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
        prop_assert!(message.text.chars().count() <= MAX_TEXT_CHARS);
    }
}
