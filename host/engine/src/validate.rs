//! Everything wrong with a job, at once: its shape, the host's rules, each plugin's schema, each plugin's own word.

use backstay_model::job::{JobSpec, check, rules};
use backstay_model::plugin::{ContentKind, PluginKind};
use backstay_model::secrets::{Secrets, check_name};
use backstay_model::{Diagnostic, Error, Result};
use backstay_plugin::Plugin;
use backstay_stream::Context;
use serde_json::{Map, Value};
use std::sync::Arc;

use crate::Engine;
use crate::recorder::Unheard;

/// A job that was looked at.
#[derive(Debug)]
pub struct Checked {
    /// The job, if its shape is right.
    pub spec: Option<JobSpec>,
    /// All there is to say, errors first.
    pub diagnostics: Vec<Diagnostic>,
}

impl Checked {
    /// The job, if nothing stops it.
    ///
    /// # Errors
    /// All that is wrong, in one error.
    pub fn accept(self) -> Result<JobSpec> {
        if let Some(error) = backstay_model::diagnostic::into_error(&self.diagnostics) {
            return Err(error);
        }
        self.spec
            .ok_or_else(|| Error::internal("a job without errors could not be read"))
    }
}

impl Engine {
    /// A scope in which a plugin may only look.
    pub fn looking(&self, config: Map<String, Value>) -> backstay_plugin::Scope {
        self.scope(config, None, Context::default(), Arc::new(Unheard))
    }

    /// Checks a job as somebody wrote it.
    ///
    /// # Errors
    /// Only what keeps it from being checked; what is wrong with the job is in the result.
    pub async fn validate(&self, job: &Value) -> Result<Checked> {
        let mut found = check::against_schema(&check::job_schema(), job, "")?;
        let spec = if found.iter().any(Diagnostic::is_error) {
            None
        } else {
            match serde_json::from_value::<JobSpec>(job.clone()) {
                Ok(spec) => Some(spec),
                Err(e) => {
                    found.push(Diagnostic::error("", "invalid", e.to_string()));
                    None
                }
            }
        };
        if let Some(spec) = &spec {
            found.extend(rules::check(spec));
            found.extend(check_recipients(spec));
            found.extend(crate::hooks::check(spec));
        }
        let source = self
            .check_end(job.pointer("/source"), "/source", PluginKind::Source, &mut found)
            .await?;
        let drill_to = spec.as_ref().and_then(|spec| spec.verify.drill_to.as_deref());
        if let (Some(source), Some(place)) = (&source, drill_to) {
            found.extend(check_drill(source, place));
        }
        let destinations = job
            .pointer("/destinations")
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        for (index, end) in destinations.iter().enumerate() {
            let at = format!("/destinations/{index}");
            let destination = self
                .check_end(Some(end), &at, PluginKind::Destination, &mut found)
                .await?;
            if let (Some(source), Some(destination)) = (&source, &destination) {
                found.extend(check_pair(source, destination, &at));
            }
        }
        found.sort_by_key(|d| d.severity);
        Ok(Checked {
            spec,
            diagnostics: found,
        })
    }

    pub(crate) async fn check_end(
        &self,
        end: Option<&Value>,
        at: &str,
        kind: PluginKind,
        found: &mut Vec<Diagnostic>,
    ) -> Result<Option<Plugin>> {
        let Some(id) = end.and_then(|e| e.get("plugin")).and_then(Value::as_str) else {
            return Ok(None);
        };
        let empty = Map::new();
        let config = match end.and_then(|e| e.get("config")) {
            None => &empty,
            Some(Value::Object(config)) => config,
            Some(_) => return Ok(None),
        };
        let plugin = match self.plugins.get(id, kind).await {
            Ok(plugin) => plugin,
            Err(error) => {
                found.push(problem(format!("{at}/plugin"), "plugin", &error));
                return Ok(None);
            }
        };
        let scope = self.looking(config.clone());
        let schema = match kind {
            PluginKind::Source => plugin.source_schema(&scope).await,
            PluginKind::Destination => plugin.destination_schema(&scope).await,
        };
        let at = format!("{at}/config");
        let wrong =
            schema.and_then(|schema| check::against_schema(&schema, &Value::Object(config.clone()), &at));
        let wrong = match wrong {
            Ok(wrong) if wrong.is_empty() => match kind {
                PluginKind::Source => plugin.validate_source(&scope, &at).await,
                PluginKind::Destination => plugin.validate_destination(&scope, &at).await,
            },
            other => other,
        };
        match wrong {
            Ok(mut wrong) => {
                if let Some(error) = hide_misplaced(&plugin.secrets(config), &mut wrong) {
                    found.push(problem(at, "bad-secret", &error));
                }
                found.extend(wrong);
            }
            Err(error) => found.push(problem(at, "plugin-failed", &error)),
        }
        Ok(Some(plugin))
    }
}

/// Takes what stands in the place of a secret's name, and can be none, out of all that is said: it may be the secret
/// itself. Gives what is wrong with it, if nobody has said that.
fn hide_misplaced(names: &[String], said: &mut [Diagnostic]) -> Option<Error> {
    let wrong = names.iter().filter(|name| check_name(name).is_err());
    let texts: Vec<String> = wrong
        .flat_map(|text| [text.clone(), text.escape_debug().to_string()])
        .collect();
    let hidden = Secrets::new(texts.iter().map(String::as_str));
    for diagnostic in said.iter_mut() {
        diagnostic.message = hidden.redact(&diagnostic.message);
    }
    // A plugin that asks for the secret says so itself, and knows where it stands.
    if said.iter().any(|diagnostic| diagnostic.code == "bad-secret") {
        return None;
    }
    names.iter().find_map(|name| check_name(name).err())
}

fn problem(at: String, code: &str, error: &Error) -> Diagnostic {
    let diagnostic = Diagnostic::error(at, code, error.report());
    match error.hint_text() {
        Some(hint) => diagnostic.hint(hint),
        None => diagnostic,
    }
}

fn check_recipients(spec: &JobSpec) -> Vec<Diagnostic> {
    let Some(encryption) = &spec.filters.encryption else {
        return Vec::new();
    };
    let each = encryption.recipients.iter().enumerate();
    each.filter_map(|(index, recipient)| {
        let error = backstay_stream::codec::key::parse_recipients(std::slice::from_ref(recipient)).err()?;
        Some(problem(
            format!("/filters/encryption/recipients/{index}"),
            "recipient",
            &error,
        ))
    })
    .collect()
}

/// Why a source can't restore for a drill to where the job says.
fn check_drill(source: &Plugin, place: &str) -> Option<Diagnostic> {
    const AT: &str = "/verify/drillTo";
    if place.trim().is_empty() {
        return Some(
            Diagnostic::error(AT, "empty", "`drillTo` is empty")
                .hint("name a place as in `restore --to`, or leave it out"),
        );
    }
    (!source.manifest().drills).then(|| {
        let message = format!("{} restores nothing for drills", source.manifest().id);
        Diagnostic::error(AT, "cannot-be", message).hint(
            "leave `drillTo` out: drills restore files to a scratch place of their own, and decode the rest",
        )
    })
}

/// What will happen between a source and a destination, or why nothing can.
fn check_pair(source: &Plugin, destination: &Plugin, at: &str) -> Option<Diagnostic> {
    let (offers, takes) = (&source.manifest().content, &destination.manifest().content);
    if takes.contains(&ContentKind::Stream) {
        let only_trees = !offers.contains(&ContentKind::Stream) && !takes.contains(&ContentKind::Tree);
        return only_trees.then(|| {
            Diagnostic::info(
                format!("{at}/plugin"),
                "tar",
                "the file tree is stored as one tar stream",
            )
        });
    }
    (!offers.contains(&ContentKind::Tree)).then(|| {
        Diagnostic::error(
            format!("{at}/plugin"),
            "cannot-be",
            format!(
                "{} offers a stream and {} takes only file trees",
                source.manifest().id,
                destination.manifest().id
            ),
        )
        .hint("choose a destination that takes streams")
    })
}
