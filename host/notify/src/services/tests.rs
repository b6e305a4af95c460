use proptest::prelude::*;

use super::*;

fn channel(settings: Value) -> Channel {
    serde_json::from_value(settings).unwrap()
}

fn message() -> Message {
    let mut message = Message::sample("tower", "2026-05-01T03:00:00Z".parse().unwrap());
    message.text = "line <one> & *two*\n@everyone".to_owned();
    message
}

fn texts() -> Texts {
    [
        ("urlSecret", "https://hooks.example.com/T0KEN"),
        ("tokenSecret", "T0KEN"),
        ("userSecret", "US3R"),
    ]
    .map(|(field, text)| (field, text.to_owned()))
    .into()
}

#[test]
fn each_service_gets_its_own_form() {
    let mut said = Vec::new();
    for settings in [
        json!({ "type": "webhook", "url": "https://example.com/", "headers": { "X-Team": "ops" } }),
        json!({ "type": "webhook", "url": "https://example.com/", "body": "{\"t\": {{ title|tojson }}, \"why\": {{ run.error.message|tojson }}}" }),
        json!({ "type": "ntfy", "topic": "backups" }),
        json!({ "type": "gotify", "server": "https://gotify.example.com/" }),
        json!({ "type": "discord" }),
        json!({ "type": "slack" }),
        json!({ "type": "teams" }),
        json!({ "type": "telegram", "chat": "-100" }),
        json!({ "type": "pushover" }),
    ] {
        let channel = channel(settings);
        let request = request(&channel, &texts(), Uuid::nil(), &message()).unwrap();
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        said.push(format!(
            "{} {}\n{:?}\n{}",
            channel.kind,
            request.url,
            request.headers,
            serde_json::to_string_pretty(&body).unwrap()
        ));
    }
    insta::assert_snapshot!(said.join("\n\n"));
}

#[test]
fn a_template_that_fails_keeps_no_message_back_and_is_told() {
    let wrong = channel(json!({ "type": "ntfy", "topic": "a", "title": "{{ jobb }}", "text": "{% for %}" }));
    let said = crate::templates::apply(&wrong, &message());
    assert_eq!(said.title, message().title);
    assert!(
        said.text.contains("`title`") && said.text.contains("`text`"),
        "{}",
        said.text
    );
    let found = crate::check(&wrong, "/notifications/channels/a", &[message()]);
    let found: Vec<&str> = found.iter().map(|d| d.pointer.as_str()).collect();
    assert_eq!(
        found,
        [
            "/notifications/channels/a/title",
            "/notifications/channels/a/text"
        ]
    );
    let endless = channel(
        json!({ "type": "ntfy", "topic": "a", "text": "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}" }),
    );
    assert_eq!(crate::check(&endless, "", &[message()]).len(), 1);
    let good = channel(json!({ "type": "ntfy", "topic": "a", "title": "{{ job }}\r\n{{ events[0] }}" }));
    assert_eq!(
        crate::templates::apply(&good, &message()).title,
        "example  warning"
    );
}

#[test]
fn a_body_that_real_messages_would_break_is_refused_and_keeps_none_back() {
    let trials = Message::trials("tower", message().at);
    for (body, code) in [
        ("{\"text\": \"{{ text }}\"}", "not-json"),
        ("{\"text\": \"{{ run.error.message }}\"}", "not-json"),
        ("{\"why\": {{ run.status|tojson }}}", "bad-template"),
    ] {
        let hook = channel(json!({ "type": "webhook", "url": "https://example.com/", "body": body }));
        let found = crate::check(&hook, "", &trials);
        let found: Vec<&str> = found.iter().map(|d| d.code.as_str()).collect();
        assert_eq!(found, [code], "{body}");
        let sent = request(&hook, &texts(), Uuid::nil(), &trials[1]).unwrap();
        let sent: Value = serde_json::from_slice(&sent.body).unwrap();
        assert_eq!(sent["job"], "example", "{body}");
        if code == "bad-template" || body.contains("{{ text }}") {
            assert!(
                sent["text"]
                    .as_str()
                    .unwrap()
                    .contains("`body` of this channel failed")
            );
        }
    }
    let good = "{\"text\": {{ (title ~ \"\\n\" ~ text)|tojson }}, \"why\": {{ (run.error.message if run is defined else text)|tojson }}}";
    let hook = channel(json!({ "type": "webhook", "url": "https://example.com/", "body": good }));
    assert_eq!(crate::check(&hook, "", &trials), []);
}

proptest! {
    #[test]
    fn no_text_breaks_a_form_or_its_limit(text in any::<String>(), times in 1..200usize) {
        let mut message = message();
        message.text = text.repeat(times);
        for kind in ["ntfy", "gotify", "discord", "slack", "teams", "telegram", "pushover"] {
            let channel = channel(json!({ "type": kind, "server": "https://example.com", "topic": "t", "chat": "1" }));
            let request = request(&channel, &texts(), Uuid::nil(), &message).unwrap();
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            prop_assert!(body.is_object());
            if kind == "ntfy" {
                prop_assert!(body["message"].as_str().unwrap().len() <= 4_096);
            }
        }
    }
}
