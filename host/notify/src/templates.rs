//! Templates that people write for their channels, in the language of Jinja.

use backstay_model::diagnostic::Diagnostic;
use backstay_model::notify::{Channel, Message};
use minijinja::{Environment, UndefinedBehavior};

/// So many steps a template may take: enough for each list that a message has, and an end for a loop that has none.
const FUEL: u64 = 50_000;

/// Longest outcome of a template, in bytes.
const MAX_BYTES: usize = 64 << 10;

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(50);
    // Nothing is HTML; JSON is written by `tojson`.
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment
}

/// A template filled in.
///
/// # Errors
/// What is wrong with it, in one line.
pub(crate) fn render(template: &str, message: &Message) -> Result<String, String> {
    let text = environment()
        .render_str(template, message)
        .map_err(|e| e.to_string())?;
    if text.len() > MAX_BYTES {
        return Err(format!("it makes {} bytes, more than {MAX_BYTES}", text.len()));
    }
    Ok(text)
}

/// The message with the channel's own title and text. A template that fails at this message doesn't keep it back.
pub(crate) fn apply(channel: &Channel, message: &Message) -> Message {
    let mut said = message.clone();
    let mut failed = Vec::new();
    if let Some(template) = &channel.title {
        match render(template, message) {
            Ok(title) => {
                let title: String = title
                    .chars()
                    .map(|c| if c.is_control() { ' ' } else { c })
                    .collect();
                said.title = title.trim().chars().take(200).collect();
            }
            Err(error) => failed.push(("title", error)),
        }
    }
    if let Some(template) = &channel.text {
        match render(template, message) {
            Ok(text) => said.text = text,
            Err(error) => failed.push(("text", error)),
        }
    }
    for (field, error) in failed {
        said.text.push_str(&format!(
            "\n(the template `{field}` of this channel failed: {error})"
        ));
    }
    said
}

/// What is wrong with the templates of a channel, tried on these messages. `at` is the channel's pointer.
pub(crate) fn check(channel: &Channel, at: &str, trials: &[Message]) -> Vec<Diagnostic> {
    let templates = [
        ("title", &channel.title),
        ("text", &channel.text),
        ("body", &channel.body),
    ];
    let templates = templates.into_iter();
    templates
        .filter_map(|(field, template)| {
            let template = template.as_deref()?;
            trials
                .iter()
                .find_map(|trial| fault(field, template, &format!("{at}/{field}"), channel, trial))
        })
        .collect()
}

fn fault(
    field: &str,
    template: &str,
    pointer: &str,
    channel: &Channel,
    trial: &Message,
) -> Option<Diagnostic> {
    // The body knows the channel's own title and text.
    let said = if field == "body" {
        apply(channel, trial)
    } else {
        trial.clone()
    };
    match render(template, &said) {
        Err(error) => Some(
            Diagnostic::error(pointer, "bad-template", format!("the template can't be used: {error}"))
                .hint("it knows events, title, text, device, job, jobId, at and run; without a run, `run` is nothing: {% if run is defined %}"),
        ),
        Ok(text) if field == "body" => {
            let error = serde_json::from_str::<serde_json::Value>(&text).err()?;
            Some(
                Diagnostic::error(pointer, "not-json", format!("what the template makes is not JSON: {error}"))
                    .hint("write texts as {{ title|tojson }}, with the quotes made by `tojson`"),
            )
        }
        Ok(_) => None,
    }
}
