//! What a destination plugin implements.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::failure::Result;
use crate::{Artifact, Content, Diagnostic, Failure, Object, Room, RunInfo, Stored, schema_of};

/// Says where to put a backup. See [`destination!`](crate::destination!).
///
/// A receipt is the plugin's own text, at most 4 KiB: all that it needs to find one stored artifact
/// again. No method is called twice on the same instance.
pub trait Destination {
    /// The plugin's part of a job. The host checks a job against its JSON Schema, which is derived from
    /// the type (doc comments become descriptions), before any other call.
    type Config: DeserializeOwned + JsonSchema;

    /// The JSON Schema (2020-12) of the configuration, as text. It must not depend on the machine.
    fn config_schema() -> String {
        schema_of::<Self::Config>()
    }

    /// Checks what the schema can't say: rules between fields, and whether what is named exists.
    fn validate(_config: &Self::Config) -> Vec<Diagnostic> {
        Vec::new()
    }

    /// Stores an artifact. Its name is a relative path that is unique at this destination. Its content
    /// must be moved exactly once, by a [`Store`](crate::Store) or as the input of a [`Command`](crate::Command).
    ///
    /// # Errors
    /// It isn't stored. Nothing of it may be visible then.
    fn put(config: &Self::Config, run: &RunInfo, artifact: Artifact) -> Result<Stored>;

    /// Gives a stored artifact back: a stream as it was stored. A tree as its directory, or as a tar stream whose entries
    /// are sorted by the bytes of their names, directories before what is in them.
    ///
    /// # Errors
    /// It isn't there, or can't be read.
    fn open(config: &Self::Config, receipt: &str) -> Result<Content>;

    /// Receipts of all stored artifacts whose name ends with `suffix`, such as `/manifest.json`.
    ///
    /// # Errors
    /// The destination can't be read.
    fn find(config: &Self::Config, suffix: &str) -> Result<Vec<String>>;

    /// Removes stored artifacts. Removing what isn't there is no failure.
    ///
    /// # Errors
    /// One of them can't be removed.
    fn remove(config: &Self::Config, receipts: &[String]) -> Result<()>;

    /// Looks at a stored artifact without reading it.
    ///
    /// # Errors
    /// The destination can't be read. An artifact that isn't there is no failure.
    fn check(config: &Self::Config, receipt: &str) -> Result<Object>;

    /// Room at the place; nothing is known unless the plugin says so.
    ///
    /// # Errors
    /// The destination can't be read.
    fn usage(_config: &Self::Config) -> Result<Room> {
        Ok(Room {
            total: None,
            available: None,
        })
    }

    /// The shell command that writes the artifact as stored to its standard output, for a machine
    /// without Backstay. For a tree, the one that writes its files into the directory `$TARGET`, which exists.
    ///
    /// # Errors
    /// The receipt isn't what `put` gave.
    fn recovery_command(config: &Self::Config, receipt: &str) -> Result<String>;

    /// Undoes an entry of the [journal](crate::journal). Called again for the same entry after a crash, so doing it
    /// twice must be fine.
    ///
    /// # Errors
    /// It can't be undone now; the host tries again later.
    fn undo(_config: &Self::Config, entry: &str) -> Result<()> {
        Err(Failure::internal(format!(
            "this plugin writes no journal, but was asked to undo {entry}"
        )))
    }
}

/// Makes a component of a [`Destination`], with its manifest inside.
///
/// `destination!(MyPlace, "plugin.json");` names the type and the manifest, a file beside `Cargo.toml`.
/// It fails to compile if the manifest's version isn't the package's.
#[macro_export]
macro_rules! destination {
    ($plugin:ty, $manifest:literal) => {
        $crate::__plugin!(
            "destination",
            $crate::DestinationComponent<$plugin>,
            export_destination,
            destination,
            $manifest
        );
    };
}
