//! Sends e-mail over SMTP.

use backstay_model::notify::{Channel, Message, SmtpEncryption};
use backstay_model::{Code, Error, Result};
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::AsyncSmtpTransport;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncTransport as _, Tokio1Executor};
use uuid::Uuid;

use crate::{TIMEOUT, Texts};

/// Sends a message to all recipients of a channel at once.
pub(crate) async fn send(channel: &Channel, texts: &Texts, id: Uuid, message: &Message) -> Result<()> {
    let wrong = |what: &str| Error::new(Code::Configuration, what.to_owned());
    let host = channel
        .host
        .as_deref()
        .ok_or_else(|| wrong("`host` is missing"))?;
    let from = channel
        .from
        .as_deref()
        .ok_or_else(|| wrong("`from` is missing"))?;
    let from = mailbox(from)?;
    let domain = from.email.domain().to_owned();
    let mut builder = lettre::Message::builder()
        .from(from)
        // The same for each attempt: whoever got it twice sees it once.
        .message_id(Some(format!("<{id}@{domain}>")))
        .subject(&message.title);
    for to in &channel.to {
        builder = builder.to(mailbox(to)?);
    }
    let mail = builder
        .header(ContentType::TEXT_PLAIN)
        .body(message.text.clone())
        .map_err(|e| wrong("the e-mail can't be written").because(e))?;
    let encryption = channel.encryption.unwrap_or_default();
    let parameters = || {
        TlsParameters::new(host.to_owned())
            .map_err(|e| Error::new(Code::Environment, "the system's certificates can't be used").because(e))
    };
    let tls = match encryption {
        SmtpEncryption::Tls => Tls::Wrapper(parameters()?),
        SmtpEncryption::Starttls => Tls::Required(parameters()?),
        SmtpEncryption::None => Tls::None,
    };
    let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
        .port(channel.port.unwrap_or(encryption.port()))
        .tls(tls)
        .timeout(Some(TIMEOUT));
    if let (Some(user), Some(password)) = (&channel.user, texts.get("passwordSecret")) {
        transport = transport.credentials(Credentials::new(user.clone(), password.clone()));
    }
    let sent = transport.build().send(mail).await;
    sent.map(drop).map_err(|error| {
        let what = if error.is_timeout() {
            "the mail server did not answer in time"
        } else if error.is_permanent() || error.is_transient() {
            "the mail server refused it"
        } else {
            "the mail server can't be reached"
        };
        Error::new(Code::Network, what).because(error)
    })
}

fn mailbox(text: &str) -> Result<Mailbox> {
    text.parse().map_err(|e: lettre::address::AddressError| {
        Error::new(Code::Configuration, format!("`{text}` is no e-mail address"))
            .because(e)
            .hint("write name@example.com, or Name <name@example.com>")
    })
}

/// What is wrong with the addresses, each with its field.
pub(crate) fn check(channel: &Channel) -> Vec<(String, Error)> {
    let from = channel.from.iter().map(|from| ("from".to_owned(), from));
    let to = channel.to.iter().enumerate();
    let to = to.map(|(index, to)| (format!("to/{index}"), to));
    from.chain(to)
        .filter_map(|(field, address)| Some((field, mailbox(address).err()?)))
        .collect()
}
