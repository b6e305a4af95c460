//! Makes messages and pings of what happened, and keeps whether something is wrong with a job.

use backstay_model::job::Job;
use backstay_model::notify::{Event, Message, NotificationSettings, Trouble};
use backstay_model::run::{Run, RunKind, RunStatus};
use backstay_model::{Code, Error, Result};
use backstay_store::{Delivery, DeliveryState, TroubleChange, What};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use super::{Courier, FORGET};

/// So many notices are settled before anything is sent.
const AT_ONCE: u32 = 100;

/// For so long messages that were sent or given up are kept.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Why a message was never sent.
const LATE: &str = "it could be sent only after `retry.giveUpAfter`";

/// So many of the last events of a run go with the ping of its failure.
const LAST_EVENTS: u32 = 30;

/// What services of this kind take of a body, in bytes; <https://healthchecks.io/docs/attaching_logs/> says 100 kB, its
/// older versions 10 kB.
const MAX_PING_BYTES: usize = 10_000;

/// What is sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Payload {
    /// To a channel.
    Message(Box<Message>),
    /// To whoever watches that a job is alive.
    Ping(Ping),
}

/// A ping.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ping {
    /// What comes after the URL: `start`, nothing for a success, or the exit code.
    pub(super) signal: String,
    /// So that the start and the end of a run are seen to belong together.
    pub(super) run_id: Uuid,
    /// Why, for people.
    pub(super) text: String,
}

/// What follows from a notice.
#[derive(Default)]
struct Outcome {
    trouble: Option<TroubleChange>,
    deliveries: Vec<Delivery>,
}

impl Courier {
    /// Makes deliveries of what happened. Whether there was something.
    pub(super) async fn settle(&self, settings: &NotificationSettings) -> Result<bool> {
        let notices = self.store.notices(AT_ONCE).await?;
        if notices.is_empty() {
            return Ok(false);
        }
        for (id, what) in notices {
            let outcome = match what {
                Ok(what) => self.outcome(&what, settings).await,
                Err(error) => Err(error),
            };
            let outcome = match outcome {
                Err(error) if error.is_retryable() => return Err(error),
                // It would keep all that happened after it from being told.
                Err(error) => {
                    let why = error.report();
                    tracing::error!("nobody can be told of something that happened: {why}");
                    Outcome::default()
                }
                Ok(outcome) => outcome,
            };
            self.store
                .settle_notice(id, outcome.trouble, &outcome.deliveries)
                .await?;
        }
        self.forget_old().await?;
        Ok(true)
    }

    async fn forget_old(&self) -> Result<()> {
        let now = Instant::now();
        {
            let mut forgot = self
                .forgot
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            if forgot.is_some_and(|at| now.duration_since(at) < FORGET) {
                return Ok(());
            }
            *forgot = Some(now);
        }
        match self.clock.now().checked_sub(KEPT) {
            Ok(before) => self.store.forget_deliveries(before).await,
            Err(_) => Ok(()),
        }
    }

    async fn outcome(&self, what: &What, settings: &NotificationSettings) -> Result<Outcome> {
        match what {
            What::Began(run) => {
                let Some(run) = self.run_of(*run).await? else {
                    return Ok(Outcome::default());
                };
                let job = self.job_of(&run).await?;
                Ok(Outcome {
                    trouble: None,
                    deliveries: self
                        .ping(job.as_ref(), &run, "start", "started")
                        .into_iter()
                        .collect::<Result<_>>()?,
                })
            }
            What::Ended(run, was) => match self.run_of(*run).await? {
                Some(run) => self.ended(&run, *was, settings).await,
                None => Ok(Outcome::default()),
            },
            What::Unable { job, message, at } => {
                let message = Message::of_job(&self.device, job, Some(message), *at);
                self.tell_of_job(&message, settings).await
            }
            What::Able { job, at } => {
                let message = Message::of_job(&self.device, job, None, *at);
                self.tell_of_job(&message, settings).await
            }
        }
    }

    async fn ended(
        &self,
        run: &Run,
        was: Option<RunStatus>,
        settings: &NotificationSettings,
    ) -> Result<Outcome> {
        let at = run.finished_at.unwrap_or(run.started_at);
        let before = self.store.trouble(run.job_id).await?;
        let change = Trouble::after(run.kind, run.status, run.due_at.is_some());
        let trouble = match change {
            Trouble::Begins => Some(TroubleChange::Since(run.job_id, at)),
            Trouble::Ends => Some(TroubleChange::Over(run.job_id)),
            Trouble::Unchanged => None,
        };
        let since = before.filter(|_| change == Trouble::Ends);
        let mut outcome = Outcome {
            trouble,
            deliveries: Vec::new(),
        };
        let job = self.job_of(run).await?;
        if let Some(message) = Message::of_run(&self.device, run, was, since) {
            outcome.deliveries = self.tell(&message, job.as_ref(), settings)?;
        }
        // What nobody could be told of in time is no news any more, but it can be seen.
        if self.clock.now().duration_since(at) > too_old(settings) {
            for delivery in &mut outcome.deliveries {
                let (job, channel) = (&delivery.job_name, &delivery.channel);
                tracing::error!("a message about {job} to {channel} was given up: {LATE}");
                delivery.state = DeliveryState::GivenUp;
                delivery.error = Some(LATE.to_owned());
            }
            return Ok(outcome);
        }
        if run.kind == RunKind::Backup {
            let signal = match run.status {
                // A start that was missed is what silence tells.
                RunStatus::Skipped => None,
                RunStatus::Succeeded | RunStatus::Warning => Some(String::new()),
                _ => Some(run.exit_code().to_string()),
            };
            if let Some(signal) = signal {
                let text = if signal.is_empty() {
                    format!("{}\n", run.status.name())
                } else {
                    self.last_words(run).await?
                };
                let ping = self.ping(job.as_ref(), run, &signal, &text).transpose()?;
                outcome.deliveries.extend(ping);
            }
        }
        Ok(outcome)
    }

    async fn tell_of_job(&self, message: &Message, settings: &NotificationSettings) -> Result<Outcome> {
        // Its own words can't be read, perhaps.
        let job = self.found(self.store.job(&message.job).await)?;
        Ok(Outcome {
            trouble: None,
            deliveries: self.tell(message, job.as_ref(), settings)?,
        })
    }

    /// A delivery for each channel that is told of one of the message's events. One that the settings don't have gets one
    /// too, which waits for it and is given up where that can be seen.
    fn tell(
        &self,
        message: &Message,
        job: Option<&Job>,
        settings: &NotificationSettings,
    ) -> Result<Vec<Delivery>> {
        let notify = job.and_then(|job| job.spec.notify.as_deref());
        let mut names: Vec<&str> = Vec::new();
        for (name, _, on) in settings.channels_of(notify) {
            if !names.contains(&name) && message.events.iter().any(|event| on.contains(event)) {
                names.push(name);
            }
        }
        let usual = Event::usual();
        for to in notify.unwrap_or_default() {
            let name = to.channel.as_str();
            let on = to.on.as_deref().unwrap_or(&usual);
            if !settings.channels.contains_key(name)
                && !names.contains(&name)
                && message.events.iter().any(|event| on.contains(event))
            {
                names.push(name);
            }
        }
        let event = message.events.first().copied().unwrap_or(Event::Failure);
        names
            .into_iter()
            .map(|name| {
                self.delivery(
                    name.to_owned(),
                    &message.job,
                    event.name(),
                    &Payload::Message(Box::new(message.clone())),
                )
            })
            .collect()
    }

    fn ping(&self, job: Option<&Job>, run: &Run, signal: &str, text: &str) -> Option<Result<Delivery>> {
        let job = job.filter(|job| job.spec.ping.is_some())?;
        let ping = Ping {
            signal: signal.to_owned(),
            run_id: run.id,
            text: text.to_owned(),
        };
        let event = match signal {
            "" => "ping",
            "start" => "ping start",
            _ => "ping failure",
        };
        Some(self.delivery(
            format!("ping/{}", job.id),
            &run.job_name,
            event,
            &Payload::Ping(ping),
        ))
    }

    fn delivery(&self, channel: String, job: &str, event: &str, payload: &Payload) -> Result<Delivery> {
        let now = self.clock.now();
        Ok(Delivery {
            id: Uuid::now_v7(),
            channel,
            job_name: job.to_owned(),
            event: event.to_owned(),
            payload: serde_json::to_string(payload)
                .map_err(|e| Error::internal("cannot write a message as JSON").because(e))?,
            created_at: now,
            state: DeliveryState::Waiting,
            attempts: 0,
            at: now,
            error: None,
        })
    }

    /// Why a run ended so, and what was said last in it.
    async fn last_words(&self, run: &Run) -> Result<String> {
        let mut text = format!("{}\n", run.status.name());
        if let Some(error) = &run.error {
            text.push_str(&format!("{}\n", error.message));
        }
        for event in self.store.last_events(run.id, LAST_EVENTS).await? {
            text.push_str(&format!("{} {}: {}\n", event.at, event.origin, event.message));
        }
        // What is last is what matters.
        if text.len() > MAX_PING_BYTES {
            let from = text.ceil_char_boundary(text.len() - MAX_PING_BYTES);
            text.drain(..from);
        }
        Ok(text)
    }

    async fn run_of(&self, id: Uuid) -> Result<Option<Run>> {
        match self.store.run(id).await {
            Ok(run) => Ok(Some(run)),
            Err(error) if error.code() == Code::Configuration => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn job_of(&self, run: &Run) -> Result<Option<Job>> {
        self.found(self.store.job(&run.job_id.to_string()).await)
    }

    /// The job if there is one that can be read. One that can't be is told of on the channels for jobs that don't say.
    fn found(&self, job: Result<Job>) -> Result<Option<Job>> {
        match job {
            Ok(job) => Ok(Some(job)),
            Err(error) if error.is_retryable() => Err(error),
            Err(error) => {
                tracing::debug!("a message can't be as its job says: {}", error.report());
                Ok(None)
            }
        }
    }
}

/// After so long nobody is told any more.
pub(super) fn too_old(settings: &NotificationSettings) -> SignedDuration {
    SignedDuration::try_from(settings.retry.give_up_after.duration()).unwrap_or(SignedDuration::MAX)
}

/// The last moment at which a message of this time is sent.
pub(super) fn deadline(created_at: Timestamp, settings: &NotificationSettings) -> Timestamp {
    created_at
        .checked_add(too_old(settings))
        .unwrap_or(Timestamp::MAX)
}
