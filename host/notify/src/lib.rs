//! Sends messages: e-mail over SMTP, and HTTP requests to webhooks and to services such as ntfy or Telegram.
//!
//! It makes one attempt and says how it went. It keeps nothing, tries nothing again and reads no settings by itself: the
//! engine does. A request goes to where the settings say and nowhere else: redirects are not followed, certificates are
//! verified against what the system trusts, and what an error says never holds a secret.
//!
//! A service that takes an HTTP request is a function in `services.rs`; another way to send is a file of its own.

mod http;
mod mail;
mod services;
mod templates;

use std::collections::BTreeMap;
use std::time::Duration;

use backstay_model::diagnostic::Diagnostic;
use backstay_model::notify::{Channel, ChannelKind, Message};
use backstay_model::secrets::Secrets;
use backstay_model::{Error, Result};
use uuid::Uuid;

pub use http::Http;

/// An attempt that takes longer has failed.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// The texts of the secrets that a channel names, by the field that names them.
pub type Texts = BTreeMap<&'static str, String>;

/// Sends one message to a channel, once. `id` is the same for each attempt, so that the other end may recognise a message
/// that it has taken before.
///
/// # Errors
/// It wasn't taken, and why, without the secrets.
pub async fn send(http: &Http, channel: &Channel, texts: &Texts, id: Uuid, message: &Message) -> Result<()> {
    let message = templates::apply(channel, message);
    let sent = match channel.kind {
        ChannelKind::Email => mail::send(channel, texts, id, &message).await,
        _ => match services::request(channel, texts, id, &message) {
            Ok(request) => http.post(request).await,
            Err(error) => Err(error),
        },
    };
    sent.map_err(|error| without(&error, texts))
}

/// All that is wrong with the templates and the addresses of a channel, tried on messages such as
/// [`Message::trials`]. `at` is the channel's pointer.
pub fn check(channel: &Channel, at: &str, trials: &[Message]) -> Vec<Diagnostic> {
    let mut found = templates::check(channel, at, trials);
    found.extend(mail::check(channel).into_iter().map(|(field, error)| {
        let diagnostic = Diagnostic::error(format!("{at}/{field}"), "bad-address", error.report());
        match error.hint_text() {
            Some(hint) => diagnostic.hint(hint),
            None => diagnostic,
        }
    }));
    found
}

/// What must not be repeated of secret texts. Of a URL that is also each part of its path and its query: a server that says no
/// often repeats one.
pub fn hidden<'a>(texts: impl IntoIterator<Item = &'a str>) -> Secrets {
    /// A part that is shorter is a word.
    const LEAST_BYTES: usize = 8;
    let mut all = Vec::new();
    for text in texts {
        all.push(text);
        if let Some((_, rest)) = text.split_once("://") {
            let parts = rest.split(['/', '?', '&', '=', '#']).skip(1);
            all.extend(parts.filter(|part| part.len() >= LEAST_BYTES));
        }
    }
    Secrets::new(all)
}

/// The error without the secrets. What caused it is in its text: a chain could hold them too.
fn without(error: &Error, texts: &Texts) -> Error {
    let secrets = hidden(texts.values().map(String::as_str));
    let clean = Error::new(error.code(), secrets.redact(&error.report()));
    match error.hint_text() {
        Some(hint) => clean.hint(hint),
        None => clean,
    }
}
