//! Which object stores may be used, and where in them.

use backstay_model::plugin::{StorageRequest, config_field};
use serde_json::Value;

use super::Values;

/// A directory in a remote, with all below it.
#[derive(Debug, Clone)]
pub(super) struct StorageGrant {
    pub(super) remote: String,
    /// Names of the directories from the top of the remote; none for all of it.
    prefix: Vec<String>,
}

impl StorageGrant {
    /// Nothing if the job names no remote, or a prefix that is none.
    pub(super) fn new(request: &StorageRequest, values: Values<'_>) -> Option<Self> {
        let prefix = match &request.prefix {
            None => Vec::new(),
            Some(text) => {
                let (field, otherwise) = config_field(text)?;
                match values.config.get(field) {
                    None | Some(Value::Null) => names(otherwise.unwrap_or_default())?,
                    Some(Value::String(prefix)) => names(prefix)?,
                    Some(_) => return None,
                }
            }
        };
        Some(StorageGrant {
            remote: values.fill(&request.remote)?,
            prefix: prefix.into_iter().map(str::to_owned).collect(),
        })
    }

    /// Whether it covers a prefix in a remote.
    pub(super) fn covers(&self, remote: &str, prefix: &str) -> bool {
        self.remote == remote && names(prefix).is_some_and(|names| names.starts_with(&self.borrowed()))
    }

    fn borrowed(&self) -> Vec<&str> {
        self.prefix.iter().map(String::as_str).collect()
    }
}

/// The directories of a prefix, whatever slashes there are between and around them. Nothing if one of them leads
/// elsewhere.
fn names(prefix: &str) -> Option<Vec<&str>> {
    let names: Vec<&str> = prefix.split('/').filter(|name| !name.is_empty()).collect();
    let is_elsewhere = names.iter().any(|name| *name == "." || *name == "..");
    (!is_elsewhere).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn covers(request: Value, config: Value, remote: &str, prefix: &str) -> bool {
        let request: StorageRequest = serde_json::from_value(request).unwrap();
        let values = Values {
            config: config.as_object().unwrap(),
            target: None,
            scratch: None,
        };
        StorageGrant::new(&request, values).is_some_and(|grant| grant.covers(remote, prefix))
    }

    fn named() -> Value {
        json!({ "remote": "{config.remote}", "prefix": "{config.prefix}", "reason": "x" })
    }

    #[test]
    fn a_job_with_a_prefix_grants_that_directory_and_what_is_below() {
        for of_job in ["nas/a", "/nas//a/"] {
            let config = json!({ "remote": "main", "prefix": of_job });
            let covered = |prefix| covers(named(), config.clone(), "main", prefix);
            for prefix in ["nas/a", "nas/a/", "/nas/a", "nas//a", "nas/a/b", "nas/a/b..c"] {
                assert!(covered(prefix), "{prefix}");
            }
            for prefix in [
                "",
                "/",
                "nas",
                "nas/",
                "nas/ab",
                "nas/b",
                "a",
                "x/nas/a",
                "nas/a/..",
                "nas/a/../b",
                "nas/./a",
            ] {
                assert!(!covered(prefix), "{prefix}");
            }
            assert!(!covers(named(), config, "other", "nas/a"));
        }
    }

    #[test]
    fn a_job_without_a_prefix_grants_the_whole_remote() {
        for config in [
            json!({ "remote": "main" }),
            json!({ "remote": "main", "prefix": null }),
            json!({ "remote": "main", "prefix": "" }),
        ] {
            assert!(covers(named(), config.clone(), "main", "") && covers(named(), config, "main", "a/b"));
        }
        let all = json!({ "remote": "{config.remote}", "reason": "x" });
        assert!(covers(
            all,
            json!({ "remote": "main", "prefix": "a" }),
            "main",
            ""
        ));
    }

    #[test]
    fn a_default_holds_where_the_job_names_no_prefix() {
        let request = json!({ "remote": "{config.remote}", "prefix": "{config.prefix:-own}", "reason": "x" });
        let config = json!({ "remote": "main" });
        assert!(covers(request.clone(), config.clone(), "main", "own/a"));
        assert!(!covers(request, config, "main", ""));
    }

    #[test]
    fn what_is_no_prefix_grants_nothing() {
        for prefix in [json!(1), json!(true), json!(["a"]), json!("a/../b"), json!("..")] {
            let config = json!({ "remote": "main", "prefix": prefix });
            assert!(!covers(named(), config.clone(), "main", ""), "{config}");
        }
    }

    #[test]
    fn only_the_job_names_the_directory() {
        let parse = |prefix: &str| {
            let manifest = json!({
                "id": "x", "version": "1.0.0", "kind": "destination", "api": "0.1.0", "summary": "x", "license": "MIT",
                "content": ["stream"],
                "capabilities": { "storage": [{ "remote": "{config.remote}", "prefix": prefix, "reason": "x" }] },
            });
            backstay_model::plugin::PluginManifest::parse(manifest.to_string().as_bytes())
        };
        assert!(parse("{config.prefix}").is_ok() && parse("{config.prefix:-own}").is_ok());
        for prefix in [
            "",
            "nas",
            "{config.a}/{config.b}",
            "{config.}",
            "{target}",
            "x{config.a}",
        ] {
            let refused = parse(prefix).unwrap_err().to_string();
            assert!(
                refused.contains("the job names the directory"),
                "{prefix}: {refused}"
            );
        }
    }
}
