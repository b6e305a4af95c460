//! Checks a JSON value against a JSON Schema and says all that is wrong, in words for people.

use jsonschema::error::ValidationErrorKind as Kind;
use serde_json::Value;

use crate::diagnostic::Diagnostic;
use crate::error::{Error, Result};
use crate::job::JobSpec;

/// The JSON Schema of the part of a job that people write.
pub fn job_schema() -> Value {
    schemars::schema_for!(JobSpec).to_value()
}

/// The schema with every "this or null" replaced by "this".
///
/// In a file that people write, absent is absent; errors below the alternative then have a place of their own.
fn without_null(schema: &Value) -> Value {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Array(branches)) = object.get("anyOf")
                && let [only] = branches
                    .iter()
                    .filter(|b| b.get("type") != Some(&"null".into()))
                    .collect::<Vec<_>>()[..]
            {
                return without_null(only);
            }
            Value::Object(object.iter().map(|(k, v)| (k.clone(), without_null(v))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_null).collect()),
        other => other.clone(),
    }
}

/// Everything in `value` that `schema` doesn't allow. Pointers start with `at`.
///
/// # Errors
/// The schema itself is not a valid JSON Schema.
pub fn against_schema(schema: &Value, value: &Value, at: &str) -> Result<Vec<Diagnostic>> {
    let schema = &without_null(schema);
    let validator = jsonschema::validator_for(schema)
        .map_err(|e| Error::internal(format!("a configuration schema is not a JSON Schema: {e}")))?;
    let mut found = Vec::new();
    for error in validator.iter_errors(value) {
        let pointer = format!("{at}{}", error.instance_path());
        match error.kind() {
            Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
                let known = known_keys(schema, error.schema_path().as_str());
                for key in unexpected {
                    found.push(unknown_key(&pointer, key, &known));
                }
            }
            Kind::Required { property } => {
                let name = property.as_str().unwrap_or("?");
                found.push(
                    Diagnostic::error(
                        format!("{pointer}/{}", escape(name)),
                        "missing",
                        format!("`{name}` is missing"),
                    )
                    .hint(format!(
                        "add `{name}`{}",
                        description(schema, error.schema_path().as_str(), name)
                    )),
                );
            }
            Kind::Type { .. } => {
                found.push(Diagnostic::error(pointer, "wrong-type", error.to_string()));
            }
            Kind::OneOfNotValid { .. } | Kind::Enum { .. } | Kind::AnyOf { .. } => {
                let words = allowed_words(schema, error.schema_path().as_str());
                if words.is_empty() {
                    found.push(Diagnostic::error(pointer, "invalid", error.to_string()));
                } else {
                    let given = error.instance().as_str().unwrap_or_default();
                    let message = format!("{} is not one of: {}", error.instance(), words.join(", "));
                    let near = words
                        .iter()
                        .min_by_key(|w| distance(w, given))
                        .filter(|w| distance(w, given) <= 2);
                    let diagnostic = Diagnostic::error(pointer, "invalid", message);
                    found.push(match near {
                        Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
                        None => diagnostic,
                    });
                }
            }
            Kind::Pattern { .. } => {
                let diagnostic = Diagnostic::error(
                    pointer,
                    "invalid",
                    format!("{} is not allowed here", error.instance()),
                );
                let meant = object_schema(schema, error.schema_path().as_str())
                    .and_then(|s| s.get("description")?.as_str());
                found.push(match meant {
                    Some(meant) => diagnostic.hint(format!("it must be: {}", meant.replace('\n', " "))),
                    None => diagnostic.hint(error.to_string()),
                });
            }
            _ => found.push(Diagnostic::error(pointer, "invalid", error.to_string())),
        }
    }
    Ok(found)
}

fn unknown_key(pointer: &str, key: &str, known: &[String]) -> Diagnostic {
    let diagnostic = Diagnostic::error(
        format!("{pointer}/{}", escape(key)),
        "unknown-key",
        format!("`{key}` is not known here"),
    );
    match known
        .iter()
        .min_by_key(|k| distance(k, key))
        .filter(|k| distance(k, key) <= 3.max(key.len() / 3))
    {
        Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
        None if known.is_empty() => diagnostic,
        None => diagnostic.hint(format!("known here: {}", known.join(", "))),
    }
}

/// The words of an enumeration, which a schema lists as `enum` or as alternatives with a `const` each.
fn allowed_words(schema: &Value, schema_path: &str) -> Vec<String> {
    let Some(here) = object_schema(schema, schema_path) else {
        return Vec::new();
    };
    let alternatives = ["oneOf", "anyOf"]
        .iter()
        .filter_map(|k| here.get(*k)?.as_array())
        .flatten();
    let consts = alternatives.filter_map(|a| a.get("const"));
    let nested = ["oneOf", "anyOf"]
        .iter()
        .filter_map(|k| here.get(*k)?.as_array())
        .flatten();
    let enums = nested
        .chain([here])
        .filter_map(|a| a.get("enum")?.as_array())
        .flatten();
    consts
        .chain(enums)
        .filter_map(|v| v.as_str().map(str::to_owned))
        .collect()
}

/// The keys of the object schema whose `additionalProperties` is at `schema_path`.
fn known_keys(schema: &Value, schema_path: &str) -> Vec<String> {
    object_schema(schema, schema_path)
        .and_then(|s| s.get("properties"))
        .and_then(Value::as_object)
        .map(|p| p.keys().cloned().collect())
        .unwrap_or_default()
}

fn description(schema: &Value, schema_path: &str, name: &str) -> String {
    object_schema(schema, schema_path)
        .and_then(|s| s.pointer(&format!("/properties/{}/description", escape(name))))
        .and_then(Value::as_str)
        .map(|d| format!(": {}", d.lines().next().unwrap_or_default()))
        .unwrap_or_default()
}

/// Follows a validator's path (which may pass `$ref`) to the object schema that holds the keyword.
fn object_schema<'a>(schema: &'a Value, schema_path: &str) -> Option<&'a Value> {
    let mut here = schema;
    let parts: Vec<&str> = schema_path.split('/').skip(1).collect();
    for part in parts.iter().take(parts.len().saturating_sub(1)) {
        here = match *part {
            "$ref" => schema.pointer(here.get("$ref")?.as_str()?.trim_start_matches('#'))?,
            part => match here {
                Value::Array(items) => items.get(part.parse::<usize>().ok()?)?,
                other => other.get(part.replace("~1", "/").replace("~0", "~"))?,
            },
        };
    }
    if let Some(target) = here.get("$ref").and_then(Value::as_str) {
        return schema.pointer(target.trim_start_matches('#'));
    }
    Some(here)
}

fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Levenshtein distance, case ignored.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_lowercase(), b.to_lowercase());
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(value: Value) -> Vec<String> {
        against_schema(&job_schema(), &value, "")
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let said = check(json!({
            "name": "bad name", "enabeld": true,
            "source": { "config": {} },
            "destinations": [{ "plugin": "local", "optinal": true }],
            "filters": { "compression": { "algorithm": "zst" } },
            "timeouts": { "prepare": "soon" },
            "retries": { "attempts": "3" },
        }));
        insta::assert_snapshot!(said.join("\n"));
    }

    #[test]
    fn a_complete_job_has_nothing_wrong() {
        let job = json!({
            "name": "flash", "enabled": true,
            "schedule": { "cron": "0 3 * * *", "timezone": "Europe/Berlin", "missed": "run-once", "grace": "5m", "jitter": "0s" },
            "source": { "plugin": "path", "config": { "path": "/srv" } },
            "destinations": [{ "plugin": "local", "config": { "path": "/mnt" } }],
            "filters": { "compression": { "algorithm": "zstd", "level": 3, "threads": 0 }, "encryption": { "recipients": ["age1x"] } },
            "timeouts": { "prepare": "300s", "transfer": 0, "stall": "30s" },
            "retries": { "attempts": 3, "firstDelay": "1s", "maxDelay": "30s" },
            "retention": { "keepLast": 7, "keepDaily": 14, "keepWeekly": 8, "keepMonthly": 12, "keepYearly": 3, "maxAge": "400d" },
            "guards": { "minBytes": 1, "maxShrinkPercent": 50 },
            "verify": { "level": "checksum", "afterRun": true, "every": "7d" },
            "cleanupOnFailure": true, "notify": ["ops"],
        });
        assert_eq!(check(job.clone()), Vec::<String>::new());
        let spec: JobSpec = serde_json::from_value(job).unwrap();
        assert!(
            crate::job::rules::check(&spec).iter().all(|d| !d.is_error()),
            "{:?}",
            crate::job::rules::check(&spec)
        );
    }
}
