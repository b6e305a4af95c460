//! Which sources only stream, as far as the plugins are known.

use std::collections::HashSet;

use backstay_model::plugin::ContentKind;
use backstay_plugin::Plugins;
use backstay_store::Store;

/// The sources that only stream. Reading the manifests of all plugins takes a while, so it is done again only when others are
/// installed.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// The digests of the installed plugins that it holds for; nothing before it was read.
    of: Option<Vec<String>>,
    ids: HashSet<String>,
}

impl Streams {
    /// Whether the source `plugin` only streams. If that can't be found out it doesn't.
    pub(super) async fn contains(&mut self, plugin: &str, plugins: &Plugins, store: &Store) -> bool {
        let installed = match store.plugins().await {
            Ok(installed) => installed,
            Err(error) => {
                tracing::debug!("which sources only stream can't be found out: {}", error.report());
                return false;
            }
        };
        let digests: Vec<String> = installed.into_iter().map(|plugin| plugin.digest).collect();
        if self.of.as_ref() != Some(&digests) {
            self.of = Some(digests);
            self.ids = match plugins.list().await {
                Ok(all) => all
                    .into_iter()
                    .filter(|(manifest, _)| manifest.content == [ContentKind::Stream])
                    .map(|(manifest, _)| manifest.id)
                    .collect(),
                Err(error) => {
                    tracing::warn!(
                        "which sources only stream can't be found out, so their runs wait as long as it takes: {}",
                        error.report()
                    );
                    HashSet::new()
                }
            };
        }
        self.ids.contains(plugin)
    }
}
