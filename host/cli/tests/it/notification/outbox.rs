//! Each thing is told once: after failures of the network, of the service, and of the machine.

use std::process::Command;

use backstay_testkit::cli::Backstay;
use backstay_testkit::clock::Clock;
use backstay_testkit::receiver::{Answer, Receiver};
use backstay_testkit::tools;

use super::{Desk, events, stop};

#[test]
fn a_failed_start_and_the_recovery_are_told_once_each() {
    let (desk, hook) = (Desk::new(), Receiver::start());
    desk.webhook(&hook.url());
    desk.job("flash", "").ok();
    desk.break_source(true);
    let failed = desk.backstay.run(&["run", "flash"]);
    assert!(failed.code != 0, "{}", failed.stderr);
    desk.break_source(false);
    for _ in 0..2 {
        desk.backstay.run(&["run", "flash"]).ok();
    }
    let told = hook.wait_for(2);
    assert_eq!(told.len(), 2, "{told:#?}");
    let [failure, recovery] = [0, 1].map(|index| told[index].json());
    assert_eq!(events(&failure), ["failed-to-start", "failure"]);
    assert_eq!(failure["job"], "flash");
    assert_eq!(failure["run"]["status"], "failed");
    assert_eq!(failure["run"]["exitCode"], failed.code);
    let text = failure["text"].as_str().unwrap();
    assert!(text.contains(desk.file("source").to_str().unwrap()), "{text}");
    assert_eq!(events(&recovery), ["recovered", "success"]);
    assert!(recovery["title"].as_str().unwrap().contains("flash works again"));
    assert_eq!(told[0].path, "/hook");
    assert_eq!(told[0].header("idempotency-key"), failure["id"].as_str());
    let log = desk.backstay.json(&["notification", "log"]);
    let states: Vec<_> = log
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["sent", "sent"]);
}

#[test]
fn what_could_not_be_sent_is_sent_later_under_the_same_id_and_doesnt_change_a_run() {
    let (desk, hook) = (Desk::new(), Receiver::start());
    desk.webhook(&hook.url());
    desk.job("flash", "notify: [{ channel: ops, on: [success] }]")
        .ok();
    hook.always(Some(Answer::Status(503, "come back\n later".to_owned())));
    desk.backstay.run(&["run", "flash"]).ok();
    let waiting = desk.wait_for_channel("ops", |ops| ops["waiting"] == 1);
    let said = waiting["lastError"].as_str().unwrap();
    assert!(
        said.contains("503") && said.contains("come back\\n later"),
        "{said}"
    );
    // The service is killed while it waits for an answer, as by a power loss.
    desk.settings(&format!(
        "notifications: {{ retry: {{ firstDelay: 100ms, maxDelay: 1s }}, channels: {{ ops: {{ type: webhook, url: \"{}/\" }} }} }}",
        hook.url()
    ));
    hook.always(Some(Answer::Silence));
    let before = hook.received().len();
    let mut service = desk.serve();
    // It was to be tried again some seconds later; a clock that was put back far makes it due at once as well.
    hook.wait_for(before + 1);
    service.kill();
    hook.always(None);
    let service = desk.serve();
    desk.wait_for_channel("ops", |ops| ops["waiting"] == 0 && ops["lastSentAt"].is_string());
    stop(service);
    let mut ids: Vec<String> = hook
        .received()
        .iter()
        .map(|r| r.json()["id"].to_string())
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let log = desk.backstay.json(&["notification", "log"]);
    assert_eq!(log.as_array().unwrap().len(), 1, "{log}");
    assert_eq!(log[0]["state"], "sent");
}

#[test]
fn what_nobody_takes_is_given_up_where_it_can_be_seen_and_keeps_no_other_waiting() {
    let (desk, silent, broken, well) = (
        Desk::new(),
        Receiver::start(),
        Receiver::start(),
        Receiver::start(),
    );
    let hook = |hook: &Receiver| format!("{{ type: webhook, on: [success], url: \"{}\" }}", hook.url());
    desk.settings(&format!(
        "notifications:\n  retry: {{ firstDelay: 100ms, maxDelay: 100ms, giveUpAfter: 1s }}\n  channels: {{ a-silent: {}, broken: {}, well: {} }}",
        hook(&silent),
        hook(&broken),
        hook(&well)
    ));
    silent.always(Some(Answer::Silence));
    broken.always(Some(Answer::Status(500, String::new())));
    desk.job("flash", "").ok();
    let service = desk.serve();
    // The service tells of it: the command waits for nobody.
    desk.backstay.run(&["run", "flash"]).ok();
    well.wait_for(1);
    silent.wait_for(1);
    let mut service = service;
    service.kill();
    desk.settings(&format!(
        "notifications:\n  retry: {{ firstDelay: 100ms, maxDelay: 100ms, giveUpAfter: 1s }}\n  channels: {{ broken: {} }}",
        hook(&broken)
    ));
    let service = desk.serve();
    let given_up = desk.wait_for_channel("broken", |channel| channel["givenUp"] == 1);
    assert!(
        given_up["lastError"].as_str().unwrap().contains("500"),
        "{given_up}"
    );
    // That of a channel that is gone is still seen.
    let gone = desk.wait_for_channel("a-silent", |channel| channel["givenUp"] == 1);
    assert!(
        gone["lastError"]
            .as_str()
            .unwrap()
            .contains("there is no channel"),
        "{gone}"
    );
    let log = stop(service);
    assert!(log.contains("given up"), "{log}");
}

#[test]
fn a_missed_start_is_told_once_and_so_is_its_end() {
    let hook = Receiver::start();
    let (backstay, clock) = Clock::of(Backstay::new(env!("CARGO_BIN_EXE_backstay")));
    clock.set("2026-05-01 12:00:00");
    let desk = Desk::of(backstay);
    desk.webhook(&hook.url());
    desk.job(
        "nightly",
        "schedule: { cron: \"0 3 * * *\", timezone: UTC, missed: skip }",
    )
    .ok();
    for _ in 0..2 {
        clock.set("2026-05-04 09:00:00");
        let service = desk.serve();
        let told = hook.wait_for(1);
        stop(service);
        assert_eq!(events(&told[0].json()), ["missed"]);
        assert_eq!(told[0].json()["run"]["dueAt"], "2026-05-04T03:00:00Z");
    }
    desk.backstay.run(&["run", "nightly"]).ok();
    let told = hook.wait_for(2);
    assert_eq!(told.len(), 2, "{told:#?}");
    assert_eq!(events(&told[1].json()), ["recovered", "success"]);
}

#[test]
fn a_job_that_cant_be_started_at_all_is_told_once() {
    tools::require(&["sqlite3"]);
    let (desk, hook) = (Desk::new(), Receiver::start());
    desk.webhook(&hook.url());
    let daily = "schedule: { cron: \"0 0 29 2 *\", timezone: Europe/Berlin }";
    desk.job("flash", daily).ok();
    let sql = "UPDATE jobs SET spec = replace(spec, 'Europe/Berlin', 'Europe/Atlantis')";
    let database = desk.backstay.data_dir().join("backstay.db");
    let done = Command::new("sqlite3").arg(database).arg(sql).status().unwrap();
    assert!(done.success());
    for _ in 0..2 {
        let service = desk.serve();
        let told = hook.wait_for(1);
        assert_eq!(events(&told[0].json()), ["failed-to-start"]);
        assert!(told[0].json()["text"].as_str().unwrap().contains("Atlantis"));
        stop(service);
    }
    let service = desk.serve();
    desk.job("flash", daily).ok();
    let told = hook.wait_for(2);
    stop(service);
    assert_eq!(told.len(), 2, "{told:#?}");
    assert_eq!(events(&told[1].json()), ["recovered"]);
}

#[test]
fn a_drill_and_a_check_that_fail_are_told() {
    let (desk, hook) = (Desk::new(), Receiver::start());
    desk.webhook(&hook.url());
    desk.job("flash", "").ok();
    desk.backstay.run(&["run", "flash"]).ok();
    let files = crate::abort::paths(&desk.file("place"));
    let data = files
        .iter()
        .filter(|path| path.is_file() && !path.ends_with("manifest.json"));
    for path in data {
        std::fs::write(path, "damaged").unwrap();
    }
    let checked = desk.backstay.run(&["verify", "latest:flash"]);
    let drilled = desk.backstay.run(&["drill", "flash"]);
    assert!(checked.code != 0 && drilled.code != 0);
    let told = hook.wait_for(2);
    assert_eq!(events(&told[0].json()), ["verification-failed"]);
    assert_eq!(events(&told[1].json()), ["drill-failed"]);
}
