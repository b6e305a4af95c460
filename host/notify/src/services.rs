//! What each service takes: its URL, its headers, and its own form of a message, cut to what it accepts.

use backstay_model::notify::{Channel, ChannelKind, Event, Message};
use backstay_model::{Code, Error, Result};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::Texts;
use crate::http::Request;
use crate::templates::render;

/// What a server is told about how bad it is.
#[derive(Clone, Copy, PartialEq)]
enum Tone {
    Good,
    Attention,
    Bad,
}

fn tone(message: &Message) -> Tone {
    match message.events.first() {
        Some(event) if event.is_good() => Tone::Good,
        Some(Event::Warning | Event::Cancelled) | None => Tone::Attention,
        Some(_) => Tone::Bad,
    }
}

/// A request with the message for a channel that isn't e-mail.
///
/// # Errors
/// A secret that it needs isn't among `texts`.
pub(crate) fn request(channel: &Channel, texts: &Texts, id: Uuid, message: &Message) -> Result<Request> {
    let secret = |field: &str| {
        let text = texts.get(field).map(String::as_str);
        text.ok_or_else(|| Error::internal(format!("`{field}` of a channel was not read")))
    };
    let server = |usual: &str| {
        let server = channel.server.as_deref().unwrap_or(usual);
        server.trim_end_matches('/').to_owned()
    };
    let mut headers = Vec::new();
    let (url, body) = match channel.kind {
        ChannelKind::Email => return Err(Error::internal("e-mail is no HTTP request")),
        ChannelKind::Webhook => {
            let url = match &channel.url {
                Some(url) => url.clone(),
                None => secret("urlSecret")?.to_owned(),
            };
            headers.extend(channel.headers.iter().map(|(k, v)| (k.clone(), v.clone())));
            headers.push(("Idempotency-Key".to_owned(), id.to_string()));
            if let Ok(token) = secret("tokenSecret") {
                headers.push(("Authorization".to_owned(), format!("Bearer {token}")));
            }
            (url, webhook(channel, id, message)?)
        }
        ChannelKind::Ntfy => {
            if let Ok(token) = secret("tokenSecret") {
                headers.push(("Authorization".to_owned(), format!("Bearer {token}")));
            }
            (server("https://ntfy.sh"), ntfy(channel, message))
        }
        ChannelKind::Gotify => {
            headers.push(("X-Gotify-Key".to_owned(), secret("tokenSecret")?.to_owned()));
            (format!("{}/message", server("")), gotify(message))
        }
        ChannelKind::Discord => (secret("urlSecret")?.to_owned(), discord(message)),
        ChannelKind::Slack => (secret("urlSecret")?.to_owned(), slack(message)),
        ChannelKind::Teams => (secret("urlSecret")?.to_owned(), teams(message)),
        ChannelKind::Telegram => {
            let token = secret("tokenSecret")?;
            let server = server("https://api.telegram.org");
            (
                format!("{server}/bot{token}/sendMessage"),
                telegram(channel, message),
            )
        }
        ChannelKind::Pushover => {
            let (token, user) = (secret("tokenSecret")?, secret("userSecret")?);
            let server = server("https://api.pushover.net");
            (
                format!("{server}/1/messages.json"),
                pushover(token, user, message),
            )
        }
    };
    headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
    let is_plain = |(name, value): &(String, String)| {
        !name.is_empty() && !value.chars().any(|c| c.is_control() || !c.is_ascii())
    };
    if !headers.iter().all(is_plain) {
        return Err(Error::new(
            Code::Configuration,
            "the token is no text that can stand in a header",
        )
        .hint("give it again: `backstay secret set`"));
    }
    Ok(Request {
        url,
        headers,
        body: body.to_string().into_bytes(),
    })
}

fn webhook(channel: &Channel, id: Uuid, message: &Message) -> Result<Value> {
    let mut message = message.clone();
    if let Some(template) = &channel.body {
        let made = render(template, &message)
            .and_then(|text| serde_json::from_str(&text).map_err(|e| format!("it makes no JSON: {e}")));
        match made {
            Ok(value) => return Ok(value),
            Err(error) => message.text.push_str(&format!(
                "\n(the template `body` of this channel failed: {error})"
            )),
        }
    }
    let mut value = serde_json::to_value(&message)
        .map_err(|e| Error::internal("cannot write a message as JSON").because(e))?;
    value["id"] = json!(id);
    Ok(value)
}

/// <https://docs.ntfy.sh/publish/#publish-as-json>; a message of more than 4,096 bytes becomes an attachment.
fn ntfy(channel: &Channel, message: &Message) -> Value {
    let (priority, tag) = match tone(message) {
        Tone::Good => (3, "white_check_mark"),
        Tone::Attention => (3, "warning"),
        Tone::Bad => (4, "rotating_light"),
    };
    json!({
        "topic": channel.topic, "title": message.title, "message": cut_bytes(&message.text, 4_000),
        "priority": priority, "tags": [tag],
    })
}

/// <https://gotify.net/docs/pushmsg>
fn gotify(message: &Message) -> Value {
    let priority = match tone(message) {
        Tone::Good => 3,
        Tone::Attention => 5,
        Tone::Bad => 8,
    };
    json!({ "title": message.title, "message": message.text, "priority": priority })
}

/// <https://discord.com/developers/docs/resources/webhook#execute-webhook>: a title of 256 and a description of 4,096
/// characters. Nobody is mentioned, whatever stands in the text.
fn discord(message: &Message) -> Value {
    let color = match tone(message) {
        Tone::Good => 0x2e_a0_43,
        Tone::Attention => 0xd2_99_22,
        Tone::Bad => 0xda_36_33,
    };
    json!({
        "embeds": [{
            "title": message.title, "description": cut(&escaped(&message.text, &['\\', '*', '_', '~', '`', '|', '>', '[']), 4_000),
            "color": color, "timestamp": message.at.to_string(),
        }],
        "allowed_mentions": { "parse": [] },
    })
}

/// <https://api.slack.com/messaging/webhooks>: `&`, `<` and `>` are the only characters with a meaning; a section holds
/// 3,000 characters.
fn slack(message: &Message) -> Value {
    let safe = |text: &str| {
        text.replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
    };
    let title = safe(&message.title);
    // Where blocks aren't known, as in Mattermost, the text is all there is.
    json!({
        "text": format!("*{title}*\n{}", safe(&cut(&message.text, 2_900))),
        "blocks": [
            { "type": "section", "text": { "type": "mrkdwn", "text": format!("*{title}*") } },
            { "type": "section", "text": { "type": "plain_text", "text": cut(&message.text, 2_900) } },
        ],
    })
}

/// An adaptive card, as a workflow's webhook takes it; 28 KiB at most.
fn teams(message: &Message) -> Value {
    let color = match tone(message) {
        Tone::Good => "good",
        Tone::Attention => "warning",
        Tone::Bad => "attention",
    };
    let line = |text: &str| json!({ "type": "TextRun", "text": text });
    let lines = cut(&message.text, 6_000);
    let lines = lines
        .lines()
        .map(|text| json!({ "type": "RichTextBlock", "inlines": [line(text)] }));
    let title = json!({ "type": "TextBlock", "size": "large", "weight": "bolder", "wrap": true, "color": color, "text": message.title });
    let body: Vec<Value> = std::iter::once(title).chain(lines).collect();
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard",
                "version": "1.4", "body": body,
            },
        }],
    })
}

/// <https://core.telegram.org/bots/api#sendmessage>: 4,096 characters, taken as they are.
fn telegram(channel: &Channel, message: &Message) -> Value {
    json!({
        "chat_id": channel.chat, "text": cut(&format!("{}\n\n{}", message.title, message.text), 4_000),
        "disable_web_page_preview": true, "disable_notification": tone(message) == Tone::Good,
    })
}

/// <https://pushover.net/api>: 250 characters of a title, 1,024 of a message.
fn pushover(token: &str, user: &str, message: &Message) -> Value {
    let priority = i32::from(tone(message) == Tone::Bad);
    json!({
        "token": token, "user": user, "title": message.title, "message": cut(&message.text, 1_000),
        "priority": priority, "timestamp": message.at.as_second(),
    })
}

/// At most so many characters.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// At most so many bytes and a little.
fn cut_bytes(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(most)])
}

/// With a backslash before each of these characters.
fn escaped(text: &str, special: &[char]) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if special.contains(&c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests;
