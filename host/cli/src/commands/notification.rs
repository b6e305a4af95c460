//! `backstay notification`: the channels, and the messages on their way to them.

use std::path::PathBuf;
use std::time::Duration;

use backstay_model::Result;
use backstay_model::notify::{Channel, Event};
use backstay_store::{ChannelState, Delivery, DeliveryState};
use serde_json::{Value, json};

use crate::args::Notification;
use crate::commands::outbox;
use crate::output::{Output, table};
use crate::wire;

/// How long `send` goes on.
const LIMIT: Duration = Duration::from_secs(120);

/// Runs the command.
///
/// # Errors
/// The settings can't be used, there is no such channel, or the message wasn't taken.
pub async fn run(command: Notification, data_dir: Option<PathBuf>, output: Output) -> Result<u8> {
    let engine = wire::engine(data_dir).await?;
    match command {
        Notification::List { settings } => {
            let settings = outbox::read_settings(settings.config)?.notifications;
            let states = engine.store.channel_states().await?;
            let of = |name: &str| states.get(name).cloned().unwrap_or_default();
            let mut rows: Vec<(String, Option<&Channel>, ChannelState)> = settings
                .channels
                .iter()
                .map(|(name, channel)| (name.clone(), Some(channel), of(name)))
                .collect();
            // What is on its way to a channel that the settings don't have any more would else be seen nowhere.
            let gone = states.iter().filter(|(name, state)| {
                !settings.channels.contains_key(*name) && state.waiting + state.given_up > 0
            });
            rows.extend(gone.map(|(name, state)| (name.clone(), None, state.clone())));
            let values: Vec<Value> = rows.iter().map(channel_json).collect();
            output.print(&values, || channels_text(&rows))?;
        }
        Notification::Test { channel, settings } => {
            let settings = outbox::read_settings(settings.config)?.notifications;
            outbox::refuse_wrong(&engine, &settings)?;
            outbox::courier(&engine, settings)?.test(&channel).await?;
            output.print(&json!({ "channel": channel, "sent": true }), || {
                format!("{channel} has taken the test message")
            })?;
        }
        Notification::Log { limit } => {
            let deliveries = engine.store.deliveries(limit).await?;
            let values = deliveries.iter().map(delivery_json).collect::<Vec<Value>>();
            output.print(&values, || deliveries_text(&deliveries))?;
        }
        Notification::Send { settings } => {
            let settings = outbox::read_settings(settings.config)?.notifications;
            outbox::refuse_wrong(&engine, &settings)?;
            outbox::send_now(&outbox::courier(&engine, settings)?, LIMIT).await?;
            let states = engine.store.channel_states().await?;
            let waiting: u64 = states.values().map(|state| state.waiting).sum();
            output.print(&json!({ "waiting": waiting }), || match waiting {
                0 => "nothing is left to send".to_owned(),
                left => format!("{left} messages still wait: `backstay notification log` says why"),
            })?;
        }
    }
    Ok(0)
}

fn words(events: &[Event]) -> Vec<&'static str> {
    events.iter().map(|event| event.name()).collect()
}

fn channel_json((name, channel, state): &(String, Option<&Channel>, ChannelState)) -> Value {
    json!({
        "name": name,
        "type": channel.map(|channel| channel.kind.to_string()),
        "on": channel.map(|channel| words(&channel.on)),
        "default": channel.map(|channel| channel.default),
        "waiting": state.waiting,
        "givenUp": state.given_up,
        "lastSentAt": state.last_sent_at,
        "lastError": state.last_error,
    })
}

fn channels_text(rows: &[(String, Option<&Channel>, ChannelState)]) -> String {
    if rows.is_empty() {
        return "no channels yet: they are in the settings, below `notifications.channels`".to_owned();
    }
    let cells = rows.iter().map(|(name, channel, state)| {
        vec![
            name.clone(),
            channel.map_or("not in the settings".to_owned(), |channel| {
                channel.kind.to_string()
            }),
            state.waiting.to_string(),
            state.given_up.to_string(),
            state
                .last_sent_at
                .map_or("-".to_owned(), |at| at.strftime("%F %H:%MZ").to_string()),
            state.last_error.clone().unwrap_or_default(),
        ]
    });
    table(
        &[
            "channel",
            "type",
            "waiting",
            "given up",
            "last sent",
            "last error",
        ],
        &cells.collect::<Vec<_>>(),
    )
}

fn delivery_json(delivery: &Delivery) -> Value {
    json!({
        "id": delivery.id,
        "channel": delivery.channel,
        "job": delivery.job_name,
        "event": delivery.event,
        "state": delivery.state,
        "createdAt": delivery.created_at,
        "attempts": delivery.attempts,
        "at": delivery.at,
        "error": delivery.error,
    })
}

fn deliveries_text(deliveries: &[Delivery]) -> String {
    if deliveries.is_empty() {
        return "nobody was told of anything yet".to_owned();
    }
    let rows = deliveries.iter().map(|delivery| {
        let state = match delivery.state {
            DeliveryState::Waiting if delivery.attempts == 0 => "waits".to_owned(),
            DeliveryState::Waiting => format!("next at {}", delivery.at.strftime("%H:%M:%SZ")),
            DeliveryState::Sent => "sent".to_owned(),
            DeliveryState::GivenUp => "given up".to_owned(),
            DeliveryState::Replaced => "replaced".to_owned(),
        };
        vec![
            delivery.created_at.strftime("%F %H:%M:%SZ").to_string(),
            delivery.job_name.clone(),
            delivery.event.clone(),
            match delivery.channel.starts_with("ping/") {
                true => "ping".to_owned(),
                false => delivery.channel.clone(),
            },
            state,
            delivery.attempts.to_string(),
            delivery.error.clone().unwrap_or_default(),
        ]
    });
    table(
        &["at", "job", "event", "channel", "state", "tries", "last error"],
        &rows.collect::<Vec<_>>(),
    )
}
