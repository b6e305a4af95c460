//! What stands between the host's calls and a plugin's trait: it reads the configuration, and turns what
//! can't be read into a failure, never into a trap.

use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::bindings::backstay::plugin::types::Descriptor;
use crate::bindings::destination::exports::backstay::plugin::destination_plugin::Guest as DestinationGuest;
use crate::bindings::source::exports::backstay::plugin::source_plugin::Guest as SourceGuest;
use crate::failure::Result;
use crate::{
    Artifact, Content, Destination, Diagnostic, Failure, Object, Previous, Restored, Room, RunInfo, Source,
    Stored, Target,
};

/// The JSON Schema (2020-12) of a type, as text.
pub fn schema_of<T: JsonSchema>() -> String {
    schemars::schema_for!(T).as_value().to_string()
}

fn read<C: DeserializeOwned>(config: &str) -> Result<C> {
    serde_json::from_str(config)
        .map_err(|e| Failure::configuration(format!("the plugin can't read its configuration: {e}")))
}

fn diagnose<C: DeserializeOwned>(config: &str, validate: fn(&C) -> Vec<Diagnostic>) -> Vec<Diagnostic> {
    match read(config) {
        Ok(config) => validate(&config),
        Err(failure) => vec![Diagnostic::from_failure("", "bad-config", failure)],
    }
}

/// A [`Source`] as the host calls it.
#[derive(Debug)]
pub struct SourceComponent<S>(PhantomData<S>);

impl<S: Source> SourceComponent<S> {
    /// The JSON Schema of the configuration.
    pub fn config_schema() -> String {
        S::config_schema()
    }
}

impl<S: Source> SourceGuest for SourceComponent<S> {
    fn describe() -> Descriptor {
        Descriptor {
            config_schema: S::config_schema(),
        }
    }

    fn validate(config: String) -> Vec<Diagnostic> {
        diagnose(&config, S::validate)
    }

    fn open(config: String, run: RunInfo, previous: Vec<Previous>) -> Result<Vec<Artifact>> {
        S::open(&read(&config)?, &run, &previous)
    }

    fn restore(config: String, run: RunInfo, artifact: Artifact, target: Target) -> Result<Restored> {
        S::restore(&read(&config)?, &run, artifact, &target)
    }

    fn recovery_command(config: String, artifact_name: String, metadata: String) -> Result<String> {
        S::recovery_command(&read(&config)?, &artifact_name, &metadata)
    }

    fn undo(config: String, entry: String) -> Result<()> {
        S::undo(&read(&config)?, &entry)
    }
}

/// A [`Destination`] as the host calls it.
#[derive(Debug)]
pub struct DestinationComponent<D>(PhantomData<D>);

impl<D: Destination> DestinationComponent<D> {
    /// The JSON Schema of the configuration.
    pub fn config_schema() -> String {
        D::config_schema()
    }
}

impl<D: Destination> DestinationGuest for DestinationComponent<D> {
    fn describe() -> Descriptor {
        Descriptor {
            config_schema: D::config_schema(),
        }
    }

    fn validate(config: String) -> Vec<Diagnostic> {
        diagnose(&config, D::validate)
    }

    fn put(config: String, run: RunInfo, artifact: Artifact) -> Result<Stored> {
        D::put(&read(&config)?, &run, artifact)
    }

    fn open(config: String, receipt: String) -> Result<Content> {
        D::open(&read(&config)?, &receipt)
    }

    fn find(config: String, suffix: String) -> Result<Vec<String>> {
        D::find(&read(&config)?, &suffix)
    }

    fn remove(config: String, receipts: Vec<String>) -> Result<()> {
        D::remove(&read(&config)?, &receipts)
    }

    fn check(config: String, receipt: String) -> Result<Object> {
        D::check(&read(&config)?, &receipt)
    }

    fn usage(config: String) -> Result<Room> {
        D::usage(&read(&config)?)
    }

    fn recovery_command(config: String, receipt: String) -> Result<String> {
        D::recovery_command(&read(&config)?, &receipt)
    }

    fn undo(config: String, entry: String) -> Result<()> {
        D::undo(&read(&config)?, &entry)
    }
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::Deserialize;
    use serde_json::{Value, json};

    use super::*;

    struct Fixture;

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Config {
        /// The pool or dataset.
        #[schemars(regex(pattern = "^[a-z]+$"))]
        pool_name: String,
    }

    impl Source for Fixture {
        type Config = Config;

        fn open(_: &Config, _: &RunInfo, _: &[Previous]) -> Result<Vec<Artifact>> {
            Ok(Vec::new())
        }

        fn restore(_: &Config, _: &RunInfo, _: Artifact, _: &Target) -> Result<Restored> {
            Err(Failure::internal("not part of the test"))
        }

        fn recovery_command(config: &Config, name: &str, metadata: &str) -> Result<String> {
            Ok(format!("{} {name} {metadata}", config.pool_name))
        }
    }

    type Component = SourceComponent<Fixture>;

    #[test]
    fn a_wrong_configuration_is_a_failure_with_the_cause() {
        let failure =
            Component::undo(r#"{"pool":"x"}"#.to_owned(), "{}".to_owned()).expect_err("unknown key");
        assert_eq!(failure.code, crate::Code::Configuration);
        assert!(
            failure.message.contains("unknown field `pool`"),
            "{}",
            failure.message
        );
    }

    #[test]
    fn a_wrong_configuration_is_one_diagnostic_of_validate() {
        let diagnostics = Component::validate("not json".to_owned());
        assert_eq!(diagnostics.len(), 1);
        assert_eq!(diagnostics[0].code, "bad-config");
        assert_eq!(Component::validate(r#"{"poolName":"x"}"#.to_owned()).len(), 0);
    }

    #[test]
    fn the_schema_says_what_the_type_and_its_comments_say() {
        let schema: Value = serde_json::from_str(&Component::describe().config_schema).expect("JSON");
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(
            schema["properties"]["poolName"]["description"],
            "The pool or dataset."
        );
        assert_eq!(schema["properties"]["poolName"]["pattern"], "^[a-z]+$");
        assert_eq!(schema["additionalProperties"], json!(false));
        assert_eq!(schema["required"], json!(["poolName"]));
    }

    #[test]
    fn undo_without_a_journal_is_a_defect_and_says_so() {
        let failure =
            Component::undo(r#"{"poolName":"x"}"#.to_owned(), "{}".to_owned()).expect_err("no journal");
        assert_eq!(failure.code, crate::Code::Internal);
    }
}
