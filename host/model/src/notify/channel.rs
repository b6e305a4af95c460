//! A channel: what it is, what it needs, and what it is told of.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Event;
use crate::diagnostic::Diagnostic;
use crate::secrets::check_name;

/// What speaks at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChannelKind {
    /// E-mail over SMTP.
    Email,
    /// Any HTTP server, which gets JSON.
    Webhook,
    /// ntfy, <https://ntfy.sh> or another server.
    Ntfy,
    /// A Gotify server.
    Gotify,
    /// A Discord channel's webhook.
    Discord,
    /// A Slack incoming webhook, or one of Mattermost or Rocket.Chat.
    Slack,
    /// A Microsoft Teams workflow's webhook.
    Teams,
    /// A Telegram bot.
    Telegram,
    /// Pushover.
    Pushover,
}

impl fmt::Display for ChannelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ChannelKind::Email => "email",
            ChannelKind::Webhook => "webhook",
            ChannelKind::Ntfy => "ntfy",
            ChannelKind::Gotify => "gotify",
            ChannelKind::Discord => "discord",
            ChannelKind::Slack => "slack",
            ChannelKind::Teams => "teams",
            ChannelKind::Telegram => "telegram",
            ChannelKind::Pushover => "pushover",
        })
    }
}

/// How a mail server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SmtpEncryption {
    /// TLS from the first byte, usually on port 465.
    #[default]
    Tls,
    /// TLS after STARTTLS, which the server must offer, usually on port 587.
    Starttls,
    /// None, usually on port 25.
    None,
}

impl SmtpEncryption {
    /// The usual port.
    pub const fn port(self) -> u16 {
        match self {
            SmtpEncryption::Tls => 465,
            SmtpEncryption::Starttls => 587,
            SmtpEncryption::None => 25,
        }
    }
}

/// Where messages go. What is secret is a name of a secret that `backstay secret set` keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Channel {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: ChannelKind,
    /// What it is told of; all but `success` and `cancelled` if absent.
    #[serde(default = "Event::usual")]
    pub on: Vec<Event>,
    /// Whether it is told of jobs that don't say `notify`.
    #[serde(default = "yes")]
    pub default: bool,
    /// Template of the title, instead of the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Template of the text, instead of the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// webhook: template of the whole body, which must be JSON, instead of the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// webhook: where to post to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// webhook, discord, slack, teams: name of the secret with the URL to post to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_secret: Option<String>,
    /// webhook: further headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// ntfy, gotify, telegram, pushover: URL of the server, if it isn't the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// ntfy: the topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// telegram: id of the chat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat: Option<String>,
    /// Name of the secret with the token: of webhook and ntfy the bearer token, of gotify and pushover the application's,
    /// of telegram the bot's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_secret: Option<String>,
    /// pushover: name of the secret with the user or group key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_secret: Option<String>,
    /// email: the mail server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// email: its port, if it isn't the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// email: how it is spoken to; `tls` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<SmtpEncryption>,
    /// email: who signs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// email: name of the secret with the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret: Option<String>,
    /// email: the sender, `name@example.com` or `Name <name@example.com>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// email: the recipients.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
}

fn yes() -> bool {
    true
}

/// Whether a kind has a field, and needs it.
#[derive(Clone, Copy, PartialEq)]
enum Rule {
    Must,
    May,
    No,
}

impl Channel {
    /// The secrets that it names, each with the field that names it.
    pub fn secrets(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [
            ("urlSecret", &self.url_secret),
            ("tokenSecret", &self.token_secret),
            ("userSecret", &self.user_secret),
            ("passwordSecret", &self.password_secret),
        ];
        all.into_iter()
            .filter_map(|(field, name)| Some((field, name.as_deref()?)))
    }

    fn fields(&self) -> [(&'static str, bool, Rule); 15] {
        use ChannelKind as K;
        use Rule::{May, Must, No};
        let kind = self.kind;
        let of = |kinds: &[ChannelKind], rule| if kinds.contains(&kind) { rule } else { No };
        let hook = [K::Webhook];
        let mail = [K::Email];
        let token = match kind {
            K::Gotify | K::Telegram | K::Pushover => Must,
            K::Webhook | K::Ntfy => May,
            _ => No,
        };
        let url_secret = match kind {
            K::Discord | K::Slack | K::Teams => Must,
            K::Webhook => May,
            _ => No,
        };
        let server = match kind {
            K::Gotify => Must,
            K::Ntfy | K::Telegram | K::Pushover => May,
            _ => No,
        };
        [
            ("body", self.body.is_some(), of(&hook, May)),
            ("url", self.url.is_some(), of(&hook, May)),
            ("urlSecret", self.url_secret.is_some(), url_secret),
            ("headers", !self.headers.is_empty(), of(&hook, May)),
            ("server", self.server.is_some(), server),
            ("topic", self.topic.is_some(), of(&[K::Ntfy], Must)),
            ("chat", self.chat.is_some(), of(&[K::Telegram], Must)),
            ("tokenSecret", self.token_secret.is_some(), token),
            ("userSecret", self.user_secret.is_some(), of(&[K::Pushover], Must)),
            ("host", self.host.is_some(), of(&mail, Must)),
            ("port", self.port.is_some(), of(&mail, May)),
            ("encryption", self.encryption.is_some(), of(&mail, May)),
            ("user", self.user.is_some(), of(&mail, May)),
            ("from", self.from.is_some(), of(&mail, Must)),
            ("to", !self.to.is_empty(), of(&mail, Must)),
        ]
    }

    /// Adds all that is wrong with it. `at` is its pointer.
    pub fn check(&self, at: &str, found: &mut Vec<Diagnostic>) {
        let kind = self.kind;
        for (field, is_there, rule) in self.fields() {
            let pointer = format!("{at}/{field}");
            match (is_there, rule) {
                (true, Rule::No) => found.push(Diagnostic::error(
                    pointer,
                    "not-of-this-type",
                    format!("a channel of type {kind} has no `{field}`"),
                )),
                (false, Rule::Must) => found.push(
                    Diagnostic::error(
                        pointer,
                        "missing",
                        format!("a channel of type {kind} needs `{field}`"),
                    )
                    .hint(meaning(kind, field)),
                ),
                _ => {}
            }
        }
        if self.on.is_empty() {
            found.push(
                Diagnostic::error(
                    format!("{at}/on"),
                    "empty",
                    "a channel that is told of nothing is no use",
                )
                .hint("leave `on` out for all but success and cancelled"),
            );
        }
        match kind {
            ChannelKind::Webhook => check_address(at, &self.url, &self.url_secret, found),
            ChannelKind::Email => self.check_mail(at, found),
            _ => {}
        }
        if let Some(server) = &self.server {
            found.extend(fault_of_url(server).map(|fault| {
                Diagnostic::error(format!("{at}/server"), "bad-url", format!("`server` {fault}"))
            }));
        }
        for (field, name) in self.secrets() {
            found.extend(fault_of_name(&format!("{at}/{field}"), name));
        }
        for (name, value) in &self.headers {
            let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
            let is_name = !name.is_empty() && name.chars().all(token);
            if !is_name || value.chars().any(|c| c.is_control() || !c.is_ascii()) {
                found.push(Diagnostic::error(
                    format!("{at}/headers"),
                    "bad-header",
                    "a header has a name of letters, digits and `-`, and a value of printable ASCII",
                ));
            } else if name.eq_ignore_ascii_case("authorization") {
                found.push(
                    Diagnostic::error(
                        format!("{at}/headers/{name}"),
                        "secret-in-clear",
                        "what signs in is a secret",
                    )
                    .hint("keep the token with `backstay secret set` and name it in `tokenSecret`"),
                );
            }
        }
    }

    fn check_mail(&self, at: &str, found: &mut Vec<Diagnostic>) {
        if self.user.is_some() != self.password_secret.is_some() {
            found.push(
                Diagnostic::error(
                    format!("{at}/passwordSecret"),
                    "incomplete",
                    "`user` and `passwordSecret` belong together",
                )
                .hint("`backstay secret set NAME` keeps the password"),
            );
        }
        let host = self.host.as_deref().unwrap_or_default();
        let is_here = matches!(host, "localhost" | "127.0.0.1" | "::1");
        if self.encryption == Some(SmtpEncryption::None) && self.user.is_some() && !is_here {
            found.push(
                Diagnostic::error(
                    format!("{at}/encryption"),
                    "not-encrypted",
                    "the password would go over the network in clear text",
                )
                .hint("use tls or starttls"),
            );
        }
        if host.contains("://") || host.chars().any(|c| c.is_whitespace() || c.is_control()) {
            found.push(Diagnostic::error(
                format!("{at}/host"),
                "bad-host",
                "`host` is the name or the address of a server, without a scheme",
            ));
        }
    }
}

/// Checks what names a URL: itself, or the secret with it.
pub(super) fn check_address(
    at: &str,
    url: &Option<String>,
    secret: &Option<String>,
    found: &mut Vec<Diagnostic>,
) {
    match (url, secret) {
        (Some(url), None) => found.extend(
            fault_of_url(url)
                .map(|fault| Diagnostic::error(format!("{at}/url"), "bad-url", format!("`url` {fault}"))),
        ),
        (None, Some(name)) => found.extend(fault_of_name(&format!("{at}/urlSecret"), name)),
        _ => found.push(
            Diagnostic::error(
                format!("{at}/url"),
                "one-of-two",
                "it needs either `url` or `urlSecret`, and not both",
            )
            .hint("a URL that lets everybody in who knows it is a secret: `backstay secret set NAME`, and name it in `urlSecret`"),
        ),
    }
}

fn fault_of_name(at: &str, name: &str) -> Option<Diagnostic> {
    let error = check_name(name).err()?;
    let diagnostic = Diagnostic::error(at, "bad-secret", error.report());
    Some(match error.hint_text() {
        Some(hint) => diagnostic.hint(hint),
        None => diagnostic,
    })
}

/// What is wrong with a URL, as the end of a sentence. It isn't repeated: there may be a password in it.
pub(crate) fn fault_of_url(url: &str) -> Option<&'static str> {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let Some(rest) = rest else {
        return Some("is a URL that begins with https:// or http://");
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Some("must not hold a user or a password: they are secrets");
    }
    if authority.is_empty() || url.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Some("is no URL of a server");
    }
    None
}

fn meaning(kind: ChannelKind, field: &str) -> &'static str {
    match (kind, field) {
        (_, "urlSecret") => {
            "the URL of the webhook lets everybody in who knows it: `backstay secret set NAME`, and name it here"
        }
        (ChannelKind::Telegram, "tokenSecret") => {
            "keep the token that @BotFather gave: `backstay secret set NAME`, and name it here"
        }
        (_, "tokenSecret") => "keep the application's token: `backstay secret set NAME`, and name it here",
        (_, "userSecret") => "keep the user key: `backstay secret set NAME`, and name it here",
        (_, "server") => "such as https://gotify.example.com",
        (_, "topic") => "the topic that the phones follow",
        (_, "chat") => "the id of the chat, as text in quotes",
        (_, "host") => "the mail server, such as smtp.example.com",
        (_, "from") => "the sender, such as backups@example.com",
        _ => "the recipients, such as [me@example.com]",
    }
}
