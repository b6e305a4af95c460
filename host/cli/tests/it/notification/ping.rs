//! Pings of who watches that a job is alive.

use backstay_testkit::receiver::{Answer, Receiver};

use super::{Desk, stop};

#[test]
fn each_run_pings_at_its_start_and_its_end_with_its_exit_code_and_last_words() {
    let (desk, watch) = (Desk::new(), Receiver::start());
    desk.backstay
        .secret("check", &format!("{}/ping/c0ffee", watch.url()));
    desk.job("flash", "ping: { urlSecret: check }").ok();
    desk.backstay.run(&["run", "flash"]).ok();
    desk.break_source(true);
    let failed = desk.backstay.run(&["run", "flash"]);
    let pings = watch.wait_for(4);
    let of = |index: usize| pings[index].path.split_once("?rid=").unwrap();
    let [start, end, second, failure] = [0, 1, 2, 3].map(of);
    assert_eq!((start.0, end.0), ("/ping/c0ffee/start", "/ping/c0ffee"));
    assert_eq!(start.1, end.1, "the same run");
    assert_eq!(
        (second.0, failure.0),
        ("/ping/c0ffee/start", &*format!("/ping/c0ffee/{}", failed.code))
    );
    assert_ne!(start.1, failure.1);
    assert!(
        pings[3].body.contains(desk.file("source").to_str().unwrap()),
        "{}",
        pings[3].body
    );
    assert_eq!(pings.len(), 4);
    let used = desk.backstay.json(&["secret", "list"]);
    assert_eq!(used[0]["jobs"], serde_json::json!(["flash"]));
}

#[test]
fn a_ping_that_waits_gives_way_to_a_newer_one_so_that_the_last_word_is_the_last() {
    let (desk, watch) = (Desk::new(), Receiver::start());
    desk.settings("notifications: { retry: { firstDelay: 100ms, maxDelay: 100ms } }");
    desk.job("flash", &format!("ping: {{ url: \"{}/a?x=y\" }}", watch.url()))
        .ok();
    watch.always(Some(Answer::Status(500, String::new())));
    for _ in 0..2 {
        desk.backstay.run(&["run", "flash"]).ok();
    }
    let before = watch.received().len();
    watch.always(None);
    let service = desk.serve();
    let pings = watch.wait_for(before + 1);
    stop(service);
    assert!(
        pings[before].path.starts_with("/a?rid=") && pings[before].path.ends_with("&x=y"),
        "{pings:#?}"
    );
    assert_eq!(watch.received().len(), before + 1);
    let log = desk.backstay.json(&["notification", "log"]);
    let states: Vec<_> = log
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["sent", "replaced", "replaced", "replaced"]);
}
