//! Sends what is due, each channel by itself, and keeps what became of it.

use std::collections::BTreeMap;
use std::time::Duration;

use backstay_model::notify::{Channel, Message, NotificationSettings, RetrySettings};
use backstay_model::{Code, Error, Result};
use backstay_notify::{Texts, hidden};
use backstay_store::{Delivery, DeliveryState};
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::make::{Payload, Ping, deadline};
use super::{Courier, no_channel};

/// So many messages are sent before what happened meanwhile is looked at.
const AT_ONCE: u32 = 100;

/// An attempt that takes longer has failed, whatever it waits for.
const LIMIT: Duration = Duration::from_secs(60);

impl Courier {
    /// Sends what is due. Whether there was something.
    pub(super) async fn send_due(&self, settings: &NotificationSettings) -> Result<bool> {
        let now = self.clock.now();
        let longest = signed(settings.retry.max_delay.duration());
        // A clock that was put back must not keep a message for years.
        let latest = now.checked_add(longest + longest).unwrap_or(Timestamp::MAX);
        let due = self.store.due_deliveries(now, latest, AT_ONCE).await?;
        if due.is_empty() {
            return Ok(false);
        }
        let mut channels: BTreeMap<String, Vec<Delivery>> = BTreeMap::new();
        for delivery in due {
            channels
                .entry(delivery.channel.clone())
                .or_default()
                .push(delivery);
        }
        // One that is slow keeps no other waiting.
        let each = channels.values().map(|deliveries| async move {
            for (index, delivery) in deliveries.iter().enumerate() {
                // A start that is told after the end would look like a run under way.
                let is_overtaken = delivery.channel.starts_with("ping/") && index + 1 < deliveries.len();
                self.deliver(delivery, is_overtaken, settings).await?;
            }
            Ok(())
        });
        join_all(each).await.into_iter().collect::<Result<()>>()?;
        Ok(true)
    }

    async fn deliver(
        &self,
        delivery: &Delivery,
        is_overtaken: bool,
        settings: &NotificationSettings,
    ) -> Result<()> {
        let attempt = tokio::time::timeout(LIMIT, self.attempt(delivery, settings)).await;
        let result = attempt.unwrap_or_else(|_| {
            Err(Error::new(
                Code::Network,
                format!("it took longer than {} s", LIMIT.as_secs()),
            ))
        });
        let now = self.clock.now();
        let (state, at, error) = match result {
            Ok(()) => (DeliveryState::Sent, now, None),
            Err(error) if is_overtaken => (DeliveryState::Replaced, now, Some(error.report())),
            Err(error) => {
                let end = deadline(delivery.created_at, settings);
                let said = error.report();
                let job = &delivery.job_name;
                let channel = name_of(delivery);
                if now >= end || error.code() == Code::Skipped {
                    tracing::error!("a message about {job} to {channel} was given up: {said}");
                    (DeliveryState::GivenUp, now, Some(said))
                } else {
                    if delivery.error.as_ref() != Some(&said) {
                        tracing::warn!("a message about {job} to {channel} waits: {said}");
                    }
                    let next = next_attempt(now, delivery.attempts, &settings.retry).min(end);
                    (DeliveryState::Waiting, next, Some(said))
                }
            }
        };
        self.store
            .record_attempt(delivery.id, state, at, error.as_deref())
            .await
    }

    async fn attempt(&self, delivery: &Delivery, settings: &NotificationSettings) -> Result<()> {
        let payload: Payload = serde_json::from_str(&delivery.payload)
            .map_err(|e| Error::new(Code::Skipped, "the message can't be read").because(e))?;
        match payload {
            Payload::Message(message) => {
                let name = &delivery.channel;
                let channel = settings.channels.get(name).ok_or_else(|| {
                    // It may only have been misspelt in an edit, but nobody is there to be told.
                    no_channel(name, settings).with_code(Code::Skipped)
                })?;
                self.send_to(channel, delivery.id, &message).await
            }
            Payload::Ping(ping) => self.send_ping(&delivery.channel, &ping).await,
        }
    }

    /// Sends a message to a channel, once.
    pub(super) async fn send_to(&self, channel: &Channel, id: Uuid, message: &Message) -> Result<()> {
        let mut texts = Texts::new();
        for (field, name) in channel.secrets() {
            texts.insert(field, self.store.secret(name).await?);
        }
        backstay_notify::send(&self.http, channel, &texts, id, message).await
    }

    async fn send_ping(&self, channel: &str, ping: &Ping) -> Result<()> {
        let job = channel.strip_prefix("ping/").unwrap_or(channel);
        let job = match self.store.job(job).await {
            Ok(job) => job,
            Err(error) if error.code() == Code::Configuration => {
                return Err(Error::new(Code::Skipped, "its job was removed"));
            }
            Err(error) => return Err(error),
        };
        let spec = job
            .spec
            .ping
            .ok_or_else(|| Error::new(Code::Skipped, "its job has no `ping` any more"))?;
        let url = match (&spec.url, &spec.url_secret) {
            (Some(url), _) => url.clone(),
            (None, Some(name)) => self.store.secret(name).await?,
            (None, None) => return Err(Error::new(Code::Skipped, "its job has a `ping` without a URL")),
        };
        let (base, query) = url.split_once('?').unwrap_or((&url, ""));
        let mut target = base.trim_end_matches('/').to_owned();
        if !ping.signal.is_empty() {
            target.push_str(&format!("/{}", ping.signal));
        }
        target.push_str(&format!("?rid={}", ping.run_id));
        if !query.is_empty() {
            target.push_str(&format!("&{query}"));
        }
        self.http.post_text(&target, &ping.text).await.map_err(|error| {
            let secrets = hidden([url.as_str(), base]);
            Error::new(error.code(), secrets.redact(&error.report()))
        })
    }
}

/// For people.
fn name_of(delivery: &Delivery) -> &str {
    if delivery.channel.starts_with("ping/") {
        "its ping"
    } else {
        &delivery.channel
    }
}

/// When it is tried again: the first delay, doubled with each attempt, at most the longest.
fn next_attempt(now: Timestamp, attempts: u32, retry: &RetrySettings) -> Timestamp {
    let factor = 2_u32.saturating_pow(attempts);
    let delay = retry.first_delay.duration().saturating_mul(factor);
    let delay = delay.min(retry.max_delay.duration());
    now.checked_add(signed(delay)).unwrap_or(Timestamp::MAX)
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use backstay_model::span::Span;

    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_never_overflow() {
        let retry = RetrySettings {
            first_delay: Span::seconds(10),
            max_delay: Span::seconds(60),
            give_up_after: Span::seconds(600),
        };
        let now: Timestamp = "2026-05-01T03:00:00Z".parse().unwrap();
        let waits = [0, 1, 2, 3, 40, u32::MAX]
            .map(|attempts| next_attempt(now, attempts, &retry).duration_since(now).as_secs());
        assert_eq!(waits, [10, 20, 40, 60, 60, 60]);
    }
}
