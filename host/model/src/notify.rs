//! Notifications: the channels that messages go to, what they tell of, and what jobs say about both.

mod channel;
mod message;
mod trouble;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::diagnostic::Diagnostic;
use crate::span::Span;

pub(crate) use channel::fault_of_url;
pub use channel::{Channel, ChannelKind, SmtpEncryption};
pub use message::{MAX_TEXT_CHARS, Message, Subject};
pub use trouble::Trouble;

/// What a message tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A backup was made.
    Success,
    /// A backup was made, with something to look at.
    Warning,
    /// A run that makes or deletes backups failed, or the host went away during it.
    Failure,
    /// A run failed before any data moved, or a job can't be started at all.
    FailedToStart,
    /// A start that was due was missed, and isn't made up for.
    Missed,
    /// A backup was made after something of the above went wrong.
    Recovered,
    /// Somebody cancelled a run.
    Cancelled,
    /// A backup isn't what it should be, or could not be checked.
    VerificationFailed,
    /// A backup can't be restored.
    DrillFailed,
}

impl Event {
    /// All there are.
    pub const ALL: [Event; 9] = [
        Event::Success,
        Event::Warning,
        Event::Failure,
        Event::FailedToStart,
        Event::Missed,
        Event::Recovered,
        Event::Cancelled,
        Event::VerificationFailed,
        Event::DrillFailed,
    ];

    /// The word used in settings, jobs and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Event::Success => "success",
            Event::Warning => "warning",
            Event::Failure => "failure",
            Event::FailedToStart => "failed-to-start",
            Event::Missed => "missed",
            Event::Recovered => "recovered",
            Event::Cancelled => "cancelled",
            Event::VerificationFailed => "verification-failed",
            Event::DrillFailed => "drill-failed",
        }
    }

    /// What a channel hears of if its settings don't say: all but what went as planned.
    pub fn usual() -> Vec<Event> {
        let planned = [Event::Success, Event::Cancelled];
        Event::ALL
            .into_iter()
            .filter(|event| !planned.contains(event))
            .collect()
    }

    /// Whether nothing is wrong.
    pub const fn is_good(self) -> bool {
        matches!(self, Event::Success | Event::Recovered)
    }
}

/// Where messages go, and how often sending is tried.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NotificationSettings {
    /// How often sending is tried.
    pub retry: RetrySettings,
    /// The channels by name.
    pub channels: BTreeMap<String, Channel>,
}

/// How often sending a message is tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RetrySettings {
    /// The wait after the first attempt that failed; it doubles from then on.
    pub first_delay: Span,
    /// The longest wait.
    pub max_delay: Span,
    /// A message that could not be sent for this long is given up.
    pub give_up_after: Span,
}

impl Default for RetrySettings {
    fn default() -> Self {
        RetrySettings {
            first_delay: Span::seconds(10),
            max_delay: Span::seconds(3_600),
            give_up_after: Span::seconds(86_400),
        }
    }
}

impl NotificationSettings {
    /// Adds all that is wrong. `at` is the pointer of these settings.
    pub fn check(&self, at: &str, found: &mut Vec<Diagnostic>) {
        for (name, channel) in &self.channels {
            let at = format!("{at}/channels/{}", name.replace('~', "~0").replace('/', "~1"));
            if !is_name(name) {
                found.push(Diagnostic::error(
                    &at,
                    "bad-name",
                    "a channel's name has 1 to 64 letters, digits, `.`, `_` or `-`, and begins with a letter or digit",
                ));
            }
            channel.check(&at, found);
        }
        let retry = &self.retry;
        if retry.first_delay.limit().is_none() || retry.max_delay < retry.first_delay {
            found.push(
                Diagnostic::error(
                    format!("{at}/retry"),
                    "out-of-range",
                    "`firstDelay` must be more than 0, and `maxDelay` not less than it",
                )
                .hint("the defaults are 10s and 1h"),
            );
        }
        if retry.give_up_after.limit().is_none() {
            found.push(
                Diagnostic::error(
                    format!("{at}/retry/giveUpAfter"),
                    "out-of-range",
                    "a message that waits for ever is never looked at",
                )
                .hint("the default is 1d"),
            );
        }
    }

    /// What a job hears from where: each channel with the events that it is told of, by what the job says, or by the
    /// channels' own settings.
    pub fn channels_of<'a>(
        &'a self,
        notify: Option<&'a [NotifyTo]>,
    ) -> Vec<(&'a str, &'a Channel, &'a [Event])> {
        match notify {
            None => {
                let usual = self.channels.iter().filter(|(_, channel)| channel.default);
                usual
                    .map(|(name, channel)| (name.as_str(), channel, &channel.on[..]))
                    .collect()
            }
            Some(chosen) => chosen
                .iter()
                .filter_map(|to| {
                    let (name, channel) = self.channels.get_key_value(&to.channel)?;
                    let on = to.on.as_deref().unwrap_or(&channel.on);
                    Some((name.as_str(), channel, on))
                })
                .collect(),
        }
    }

    /// A warning for each channel that a job names and that isn't here.
    pub fn missing(&self, notify: Option<&[NotifyTo]>) -> Vec<Diagnostic> {
        let named = notify.unwrap_or_default().iter().enumerate();
        let missing = named.filter(|(_, to)| !self.channels.contains_key(&to.channel));
        let names: Vec<&str> = self.channels.keys().map(String::as_str).collect();
        let hint = if names.is_empty() {
            "the settings have no channels: `notifications.channels`".to_owned()
        } else {
            format!("the settings have: {}", names.join(", "))
        };
        missing
            .map(|(index, to)| {
                Diagnostic::warning(
                    format!("/notify/{index}"),
                    "unknown-channel",
                    format!("there is no channel `{}`, so nobody is told", to.channel),
                )
                .hint(hint.clone())
            })
            .collect()
    }
}

fn is_name(name: &str) -> bool {
    crate::secrets::check_name(name).is_ok() && !name.starts_with('_')
}

/// A channel that a job names: its name alone, or also which events it is told of.
#[derive(Debug, Clone, PartialEq)]
pub struct NotifyTo {
    /// Its name in the settings.
    pub channel: String,
    /// What it is told of; nothing means what the channel's own settings say.
    pub on: Option<Vec<Event>>,
}

#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Written {
    Name(String),
    Choice(Choice),
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Choice {
    channel: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on: Option<Vec<Event>>,
}

impl<'de> Deserialize<'de> for NotifyTo {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Written::deserialize(deserializer)? {
            Written::Name(channel) => NotifyTo { channel, on: None },
            Written::Choice(Choice { channel, on }) => NotifyTo { channel, on },
        })
    }
}

impl Serialize for NotifyTo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.on {
            None => Written::Name(self.channel.clone()),
            on => Written::Choice(Choice {
                channel: self.channel.clone(),
                on: on.clone(),
            }),
        }
        .serialize(serializer)
    }
}

impl JsonSchema for NotifyTo {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "NotifyTo".into()
    }

    // One schema for both forms, so that what is wrong with either has a place and a word of its own.
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let event = generator.subschema_for::<Event>();
        schemars::json_schema!({
            "type": ["string", "object"],
            "description": "the name of a channel, or an object with `channel` and `on`",
            "minLength": 1,
            "properties": {
                "channel": { "type": "string", "description": "the name of a channel", "minLength": 1 },
                "on": { "type": "array", "items": event, "description": "what it is told of" },
            },
            "required": ["channel"],
            "additionalProperties": false,
        })
    }
}

/// Who is told that a job is alive, in the manner of healthchecks.io: a URL that is asked at the start and at the end
/// of each run. Who keeps it raises the alarm when nothing comes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PingSpec {
    /// The URL of the check, such as `https://hc-ping.com/UUID`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Instead: name of the secret with the URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_secret: Option<String>,
}

impl PingSpec {
    /// All that is wrong. `at` is the pointer of this.
    pub fn check(&self, at: &str) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        channel::check_address(at, &self.url, &self.url_secret, &mut found);
        found
    }
}

#[cfg(test)]
mod tests;
