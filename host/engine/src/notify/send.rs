//! Sends what is due, each channel by itself, and keeps what became of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use backstay_model::clock::Clock;
use backstay_model::notify::{Channel, Message, NotificationSettings, RetrySettings};
use backstay_model::{Code, Error, Result};
use backstay_notify::{Http, TIMEOUT, Texts, hidden};
use backstay_store::{Delivery, DeliveryState, Store};
use jiff::{SignedDuration, Timestamp};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use uuid::Uuid;

use super::make::{Payload, Ping, deadline};
use super::{Courier, Deadline, no_channel};

/// So many messages are sent before what happened meanwhile is looked at.
const AT_ONCE: u32 = 100;

/// An attempt that takes longer has failed, whatever it waits for.
const LIMIT: Duration = Duration::from_secs(60);

/// The channels that something is being sent to, each by itself: one that is slow keeps no other waiting. Tasks, because each
/// holds the database's only writer at times, and would keep it if nobody looked after it while that is waited for.
#[derive(Default)]
pub(super) struct Sending {
    under_way: JoinSet<Result<()>>,
    busy: HashMap<Id, String>,
}

impl Sending {
    /// Waits until one channel is through; nothing if there is none.
    pub(super) async fn ended(&mut self) -> Option<Result<()>> {
        let ended = self.under_way.join_next_with_id().await?;
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        self.busy.remove(&id);
        Some(match ended {
            Ok((_, sent)) => sent,
            Err(error) => Err(Error::internal("sending to a channel ended in the middle").because(error)),
        })
    }
}

/// What it takes to send something.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) store: Store,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) http: Http,
}

pub(super) fn is_reached(deadline: &Deadline) -> bool {
    match *deadline.borrow() {
        Some(at) => Instant::now() >= at,
        None => deadline.has_changed().is_err(),
    }
}

async fn reached(mut deadline: Deadline) {
    let at = match deadline.wait_for(Option::is_some).await {
        Ok(at) => *at,
        Err(_) => None,
    };
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
}

impl Courier {
    /// Begins to send what is due to channels that nothing is being sent to. Whether there was something.
    pub(super) async fn send_due(
        &self,
        settings: &NotificationSettings,
        sending: &mut Sending,
        deadline: &Deadline,
    ) -> Result<bool> {
        if is_reached(deadline) {
            return Ok(false);
        }
        let now = self.clock.now();
        let longest = signed(settings.retry.max_delay.duration());
        // A clock that was put back must not keep a message for years.
        let latest = now.checked_add(longest + longest).unwrap_or(Timestamp::MAX);
        let due = self
            .store
            .due_deliveries(now, latest, &sending.busy.values().cloned().collect(), AT_ONCE)
            .await?;
        let mut channels: BTreeMap<String, Vec<Delivery>> = BTreeMap::new();
        for delivery in due {
            channels
                .entry(delivery.channel.clone())
                .or_default()
                .push(delivery);
        }
        let is_something = !channels.is_empty();
        for (channel, deliveries) in channels {
            let (sender, settings, deadline) = (self.sender(), settings.clone(), deadline.clone());
            let task = sending
                .under_way
                .spawn(async move { sender.send_to_one(&deliveries, &settings, &deadline).await });
            sending.busy.insert(task.id(), channel);
        }
        Ok(is_something)
    }
}

impl Sender {
    /// Sends what there is for one channel, in order, until the deadline.
    async fn send_to_one(
        &self,
        deliveries: &[Delivery],
        settings: &NotificationSettings,
        deadline: &Deadline,
    ) -> Result<()> {
        for (index, delivery) in deliveries.iter().enumerate() {
            if is_reached(deadline) {
                break;
            }
            // A start that is told after the end would look like a run under way.
            let is_overtaken = delivery.channel.starts_with("ping/") && index + 1 < deliveries.len();
            self.deliver(delivery, is_overtaken, settings, deadline).await?;
        }
        Ok(())
    }

    async fn deliver(
        &self,
        delivery: &Delivery,
        is_overtaken: bool,
        settings: &NotificationSettings,
        until: &Deadline,
    ) -> Result<()> {
        // However it ends, it was tried: else it would be sent again and again to who takes it slowly.
        let result = tokio::select! {
            result = self.attempt(delivery, settings) => result,
            () = tokio::time::sleep(LIMIT) => Err(Error::new(
                Code::Network,
                format!("it took longer than {} s", LIMIT.as_secs()),
            )),
            () = reached(until.clone()) => Err(Error::new(
                Code::Network,
                "there was no answer before Backstay had to end",
            )),
        };
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
                    // It may only have been misspelt in an edit, so the message waits.
                    no_channel(name, settings)
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
        let sent = backstay_notify::send(&self.http, channel, &texts, id, message);
        // A mail server that waits for TLS, or for none, says nothing, and only the connection has a limit there.
        tokio::time::timeout(TIMEOUT, sent).await.unwrap_or_else(|_| {
            let what = format!("there was no answer within {} s", TIMEOUT.as_secs());
            Err(Error::new(Code::Network, what)
                .hint("check the address; of a mail server also `port` and `encryption`"))
        })
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
