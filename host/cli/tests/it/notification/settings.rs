//! Channels in the settings: what is wrong with them is said, and what is secret stays so.

use std::fs;

use backstay_testkit::receiver::{Answer, Receiver};

use super::Desk;
use crate::abort::paths;

#[test]
fn a_secret_url_is_in_nothing_that_is_kept_or_said_and_no_redirect_is_followed() {
    let (desk, hook, elsewhere) = (Desk::new(), Receiver::start(), Receiver::start());
    let token = "T0kenOfTheHook";
    desk.backstay.secret("hook", &format!("{}/{token}", hook.url()));
    desk.backstay.secret("bot", token);
    desk.settings(&format!(
        "notifications: {{ channels: {{ chat: {{ type: slack, urlSecret: hook }}, bot: {{ type: telegram, chat: \"1\", tokenSecret: bot, server: \"{}\" }} }} }}",
        hook.url()
    ));
    hook.always(Some(Answer::Redirect(format!("{}/{token}", elsewhere.url()))));
    let mut said = String::new();
    for channel in ["chat", "bot"] {
        let output = desk.backstay.run(&["notification", "test", channel]).code(6);
        assert!(output.stderr.contains("not followed"), "{}", output.stderr);
        said.push_str(&output.stderr);
    }
    // It says what it was asked.
    hook.always(Some(Answer::Status(400, format!("no such hook: {token}"))));
    desk.job("flash", "").ok();
    desk.break_source(true);
    for args in [
        &["run", "flash"][..],
        &["notification", "list"],
        &["notification", "log"],
        &["doctor"],
    ] {
        let output = desk.backstay.run(args);
        said.push_str(&output.stdout);
        said.push_str(&output.stderr);
    }
    assert!(said.contains("no such hook: ***"), "{said}");
    assert!(!said.contains(token), "{said}");
    assert!(elsewhere.received().is_empty());
    assert!(
        hook.received()
            .iter()
            .any(|request| request.path == format!("/{token}"))
    );
    for path in paths(&desk.backstay.data_dir()) {
        let bytes = fs::read(&path).unwrap_or_default();
        let is_there = bytes.windows(token.len()).any(|part| part == token.as_bytes());
        assert!(!is_there, "{}", path.display());
    }
}

#[test]
fn wrong_channels_stop_the_service_and_unknown_ones_are_said() {
    let desk = Desk::new();
    desk.settings("notifications: { channels: { ops: { type: ntfy, topic: a, title: \"{{ jobb }}\" }, mail: { type: email, host: h, from: nobody, to: [x] } } }");
    let refused = desk.backstay.run(&["serve"]).code(2).stderr;
    for words in [
        "/notifications/channels/ops/title",
        "/notifications/channels/mail/from",
        "/notifications/channels/mail/to/0",
    ] {
        assert!(refused.contains(words), "{words} is not in\n{refused}");
    }
    // A run goes on without them, and says so.
    desk.job("flash", "notify: [oops]").ok();
    let run = desk.backstay.run(&["run", "flash"]).ok();
    assert!(run.stderr.contains("notifications wait"), "{}", run.stderr);
    desk.settings("notifications: { channels: { ops: { type: ntfy, topic: a } } }");
    let applied = desk.job("flash", "notify: [oops]").ok().stderr;
    assert!(
        applied.contains("there is no channel `oops`") && applied.contains("the settings have: ops"),
        "{applied}"
    );
    let refused = desk
        .job(
            "flash",
            "notify: [{ channel: ops, on: [failed] }, { on: [failure] }]",
        )
        .code(2)
        .stderr;
    for words in ["/notify/0/on/0", "/notify/1/channel"] {
        assert!(refused.contains(words), "{words} is not in\n{refused}");
    }
    let unknown = desk
        .backstay
        .run(&["notification", "test", "oops"])
        .code(2)
        .stderr;
    assert!(unknown.contains("the settings have: ops"), "{unknown}");
}
