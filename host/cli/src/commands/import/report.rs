//! What became of each part of a configuration: whatever nobody has taken is said to be left behind. No value is ever
//! repeated, because it could be a password.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// What there is to say.
#[derive(Debug, Default)]
pub struct Report {
    left: Vec<(String, String)>,
    notes: Vec<(String, String)>,
    secrets: BTreeMap<String, String>,
    /// What each secret was to be named.
    wanted: BTreeMap<String, String>,
}

impl Report {
    /// Something was not carried over.
    pub fn left(&mut self, at: &str, why: impl Into<String>) {
        self.left.push((at.to_owned(), why.into()));
    }

    /// Something is another way now.
    pub fn note(&mut self, at: &str, what: impl Into<String>) {
        self.notes.push((at.to_owned(), what.into()));
    }

    /// A secret that the jobs name and somebody must give. Returns its name.
    pub fn secret(&mut self, wanted: &str, what: &str) -> String {
        let plain = super::job_name(wanted);
        let is_known = |name: &str, wanted: &str| self.wanted.get(name).is_some_and(|by| by != wanted);
        let mut name = plain.clone();
        let mut number = 2;
        while is_known(&name, wanted) {
            name = format!("{plain}-{number}");
            number += 1;
        }
        self.wanted.insert(name.clone(), wanted.to_owned());
        self.secrets.insert(name.clone(), what.to_owned());
        name
    }

    /// How much was left behind so far.
    pub fn left_count(&self) -> usize {
        self.left.len()
    }

    /// Retention with all its rules, or none: with fewer it would delete what the other tool keeps.
    pub fn whole_retention(
        &mut self,
        at: &str,
        left_before: usize,
        kept: Map<String, Value>,
        job: &mut Value,
    ) {
        if kept.is_empty() {
            return;
        }
        if self.left.len() > left_before {
            self.left(
                at,
                "no `retention` was written, because with a part of the rules more would be deleted",
            );
            return;
        }
        self.note(
            at,
            "`retention` deletes by itself after each backup that went well",
        );
        job["retention"] = Value::Object(kept);
    }

    /// Whether everything was carried over.
    pub fn is_complete(&self) -> bool {
        self.left.is_empty()
    }

    /// For people, one line each.
    pub fn lines(&self) -> Vec<String> {
        let place = |at: &str| {
            if at.is_empty() {
                "(file)".to_owned()
            } else {
                at.to_owned()
            }
        };
        let left = self
            .left
            .iter()
            .map(|(at, why)| format!("left behind: {}: {why}", place(at)));
        let notes = self
            .notes
            .iter()
            .map(|(at, what)| format!("note: {}: {what}", place(at)));
        let secrets = self
            .secrets
            .iter()
            .map(|(name, what)| format!("needed: `backstay secret set {name}`: {what}"));
        left.chain(notes).chain(secrets).collect()
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let list = |all: &[(String, String)]| -> Vec<Value> {
            all.iter()
                .map(|(at, message)| json!({ "pointer": at, "message": message }))
                .collect()
        };
        let secrets: Vec<Value> = self
            .secrets
            .iter()
            .map(|(name, what)| json!({ "name": name, "is": what }))
            .collect();
        json!({ "left": list(&self.left), "notes": list(&self.notes), "secrets": secrets })
    }
}

/// A part of a configuration, of which things are taken until nothing should be left.
#[derive(Debug)]
pub struct Part {
    at: String,
    map: Map<String, Value>,
}

impl Part {
    /// An object at a pointer; what isn't one is left behind.
    pub fn new(at: impl Into<String>, value: &Value, report: &mut Report) -> Part {
        let at = at.into();
        let map = match value {
            Value::Object(map) => map.clone(),
            Value::Null => Map::new(),
            _ => {
                report.left(&at, "it is no list of settings");
                Map::new()
            }
        };
        Part { at, map }
    }

    /// Its pointer.
    pub fn at(&self) -> &str {
        &self.at
    }

    /// The pointer of a key.
    pub fn pointer(&self, key: &str) -> String {
        format!("{}/{}", self.at, key.replace('~', "~0").replace('/', "~1"))
    }

    /// Takes a value as it is.
    pub fn take(&mut self, key: &str) -> Option<Value> {
        self.map.remove(key).filter(|value| !value.is_null())
    }

    /// Takes a text or a number as a text.
    pub fn text(&mut self, key: &str, report: &mut Report) -> Option<String> {
        let text = text_of(&self.take(key)?);
        if text.is_none() {
            report.left(&self.pointer(key), "it is no text");
        }
        text.filter(|text| !text.is_empty())
    }

    /// Takes a whole number that is more than nothing. As text, too: some tools write their numbers so. What stands for no
    /// limit (`unlimited`, -1) is the largest number that a job can have.
    pub fn count(&mut self, key: &str, report: &mut Report) -> Option<u64> {
        let value = self.take(key)?;
        let text = value.as_str().map(str::trim);
        if value.as_i64() == Some(-1) || matches!(text, Some("unlimited" | "-1")) {
            return Some(u64::from(u32::MAX));
        }
        let number = value.as_u64().or_else(|| text?.parse().ok());
        if number.is_none() {
            report.left(&self.pointer(key), "it is no whole number");
        }
        number.filter(|number| *number > 0)
    }

    /// Takes yes or no.
    pub fn flag(&mut self, key: &str, report: &mut Report) -> bool {
        match self.take(key) {
            None => false,
            Some(Value::Bool(is_so)) => is_so,
            Some(_) => {
                report.left(&self.pointer(key), "it is neither true nor false");
                false
            }
        }
    }

    /// Takes a list of texts, or a single one.
    pub fn texts(&mut self, key: &str, report: &mut Report) -> Vec<String> {
        let values = match self.take(key) {
            None => return Vec::new(),
            Some(Value::Array(values)) => values,
            Some(one) => vec![one],
        };
        let mut texts = Vec::new();
        for (index, value) in values.iter().enumerate() {
            match text_of(value) {
                Some(text) => texts.push(text),
                None => report.left(&format!("{}/{index}", self.pointer(key)), "it is no text"),
            }
        }
        texts
    }

    /// Takes an object.
    pub fn part(&mut self, key: &str, report: &mut Report) -> Option<Part> {
        let at = self.pointer(key);
        Some(Part::new(at, &self.take(key)?, report))
    }

    /// Takes a list of objects.
    pub fn parts(&mut self, key: &str, report: &mut Report) -> Vec<Part> {
        let at = self.pointer(key);
        let values = match self.take(key) {
            None => return Vec::new(),
            Some(Value::Array(values)) => values,
            Some(one) => vec![one],
        };
        let each = values.iter().enumerate();
        each.map(|(index, value)| Part::new(format!("{at}/{index}"), value, report))
            .collect()
    }

    /// Its keys.
    pub fn keys(&self) -> Vec<String> {
        self.map.keys().cloned().collect()
    }

    /// Leaves keys behind that mean nothing here, without a word.
    pub fn ignore(&mut self, keys: &[&str]) {
        for key in keys {
            self.map.remove(*key);
        }
    }

    /// Leaves a key behind for a reason.
    pub fn leave(&mut self, key: &str, why: &str, report: &mut Report) {
        if let Some(value) = self.take(key)
            && !is_nothing(&value)
        {
            report.left(&self.pointer(key), why);
        }
    }

    /// Whatever nobody has taken is left behind.
    pub fn finish(self, report: &mut Report) {
        for (key, value) in &self.map {
            if !is_nothing(value) {
                report.left(&self.pointer(key), "there is nothing like it here");
            }
        }
    }
}

/// What a tool writes for a setting that isn't set.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(all) => all.iter().all(is_nothing),
        Value::Object(map) => map.values().all(is_nothing),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Bool(true) => false,
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(is_so) => Some(is_so.to_string()),
        _ => None,
    }
}
