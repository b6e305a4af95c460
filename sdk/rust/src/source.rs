//! What a source plugin implements.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::failure::Result;
use crate::{Artifact, Diagnostic, Failure, Previous, Restored, RunInfo, Target, schema_of};

/// Says what to back up. See [`source!`](crate::source!).
///
/// No method is called twice on the same instance: a plugin keeps nothing in memory between calls.
pub trait Source {
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

    /// Makes ready what is backed up and offers it. The newest backup comes first in `previous`.
    ///
    /// # Errors
    /// The source can't be read.
    fn open(config: &Self::Config, run: &RunInfo, previous: &[Previous]) -> Result<Vec<Artifact>>;

    /// Takes back an artifact that this plugin offered once.
    ///
    /// # Errors
    /// It can't be written to the target.
    fn restore(config: &Self::Config, run: &RunInfo, artifact: Artifact, target: &Target)
    -> Result<Restored>;

    /// The shell command that does what `restore` does with the artifact on its standard input, for a
    /// machine without Backstay. `$TARGET` stands for where to restore to.
    ///
    /// # Errors
    /// The metadata isn't what `open` gave.
    fn recovery_command(config: &Self::Config, artifact_name: &str, metadata: &str) -> Result<String>;

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

impl Restored {
    /// What a drill did of an artifact that can't be tried out without touching what is there: the host decodes it instead.
    pub fn untried() -> Self {
        Restored {
            place: String::new(),
            entries: 0,
            bytes: 0,
        }
    }
}

/// Makes a component of a [`Source`], with its manifest inside.
///
/// `source!(MySource, "plugin.json");` names the type and the manifest, a file beside `Cargo.toml`. It
/// fails to compile if the manifest's version isn't the package's.
#[macro_export]
macro_rules! source {
    ($plugin:ty, $manifest:literal) => {
        $crate::__plugin!(
            "source",
            $crate::SourceComponent<$plugin>,
            export_source,
            source,
            $manifest
        );
    };
}

/// Embeds the manifest and exports the component. Not part of the interface.
#[doc(hidden)]
#[macro_export]
macro_rules! __plugin {
    ($kind:literal, $component:ty, $export:ident, $world:ident, $manifest:literal) => {
        const _: () = {
            const MANIFEST: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $manifest));
            $crate::manifest::check(MANIFEST, $kind, env!("CARGO_PKG_VERSION"));

            #[cfg(target_arch = "wasm32")]
            #[used]
            #[unsafe(link_section = "backstay:plugin")]
            static SECTION: [u8; MANIFEST.len()] =
                *include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $manifest));

            // Only a type of the right trait has this.
            type Component = $component;
            const _: fn() -> String = Component::config_schema;

            #[cfg(target_arch = "wasm32")]
    $crate::bindings::$world::$export!(Component with_types_in $crate::bindings::$world);
        };
    };
}
