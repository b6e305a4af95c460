//! The verbs of a destination plugin.

use std::sync::Arc;

use backstay_model::job::Metadata;
use backstay_model::{Code, Diagnostic, Error, Result};
use backstay_stream::Recipe;
use serde_json::Value;
use wasmtime::Store;

use crate::bindings::destination::{Destination, DestinationPre};
use crate::bindings::wit::data;
use crate::call;
use crate::guest_error;
use crate::host::{ByteStream, Host, Tree};
use crate::plugins::Plugin;
use crate::scope::{Content, Moved, Scope};
use crate::source::{run_info, text};

/// What a destination is to store.
#[derive(Debug, Clone)]
pub struct StoreRequest {
    /// Relative path, unique at the destination.
    pub name: String,
    /// Media type.
    pub media_type: String,
    /// The data.
    pub content: Content,
}

/// Where a destination stored something, and what the host moved there.
#[derive(Debug)]
pub struct StoredObject {
    /// The destination's own words, for finding it again.
    pub receipt: String,
    /// The place, for people.
    pub location: String,
    /// Measured by the host.
    pub moved: Moved,
    /// What the destination says about how it stored it.
    pub statistics: Metadata,
}

/// What a destination knows about an object without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectFacts {
    /// Whether it is there.
    pub found: bool,
    /// Bytes stored.
    pub size_bytes: u64,
}

/// Room at a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// In all, if known.
    pub total_bytes: Option<u64>,
    /// To be had, if known.
    pub available_bytes: Option<u64>,
}

struct Call {
    store: Store<Host>,
    guest: Destination,
}

impl Plugin {
    async fn destination(&self, scope: &Scope) -> Result<Call> {
        let mut store = call::store(self, scope);
        let pre =
            DestinationPre::new(self.instance.clone()).map_err(|e| self.other_world("destination", &e))?;
        let busy = store.data().busy.clone();
        // A module may compute as it starts.
        let started = call::watch(self, "start", scope, busy, pre.instantiate_async(&mut store)).await?;
        match started {
            Ok(guest) => Ok(Call { store, guest }),
            Err(e) => Err(call::trapped(self, "start", &e, &store)),
        }
    }

    /// The JSON Schema of a destination's configuration.
    ///
    /// # Errors
    /// The plugin fails or gives something else.
    pub async fn destination_schema(&self, scope: &Scope) -> Result<Value> {
        let mut call = self.destination(scope).await?;
        let busy = call.store.data().busy.clone();
        let exports = call.guest.backstay_plugin_destination_plugin();
        let result = call::watch(
            self,
            "describe",
            scope,
            busy,
            exports.call_describe(&mut call.store),
        )
        .await?;
        let descriptor = result.map_err(|e| call::trapped(self, "describe", &e, &call.store))?;
        self.schema(&descriptor.config_schema)
    }

    /// What a destination has to say about a configuration of the right shape. Pointers start with `at`.
    ///
    /// # Errors
    /// The plugin fails.
    pub async fn validate_destination(&self, scope: &Scope, at: &str) -> Result<Vec<Diagnostic>> {
        let mut call = self.destination(scope).await?;
        let busy = call.store.data().busy.clone();
        let exports = call.guest.backstay_plugin_destination_plugin();
        let config = text(&scope.config);
        let result = call::watch(
            self,
            "validate",
            scope,
            busy,
            exports.call_validate(&mut call.store, &config),
        )
        .await?;
        let found = result.map_err(|e| call::trapped(self, "validate", &e, &call.store))?;
        Ok(guest_error::diagnostics(
            found,
            at,
            scope.limits.diagnostics,
            &call.store.data().secrets,
        ))
    }

    /// Has a destination store something, once and whole.
    ///
    /// # Errors
    /// It was not stored, or the plugin says that it was although the host didn't move all of it exactly once.
    pub async fn store(&self, scope: &Scope, request: StoreRequest) -> Result<StoredObject> {
        let mut call = self.destination(scope).await?;
        let run = run_info(scope).await?;
        let host = call.store.data_mut();
        let full = |e: wasmtime::component::ResourceTableError| {
            Error::internal("cannot hand data to a plugin").because(e)
        };
        let content = match request.content {
            Content::Stream(recipe) => {
                let stream = ByteStream {
                    recipe,
                    filters: scope.filters.clone(),
                    is_payload: true,
                };
                data::Content::Bytes(host.table.push(stream).map_err(full)?)
            }
            Content::Tree(spec) => data::Content::Files(
                host.table
                    .push(Tree {
                        spec,
                        is_payload: true,
                    })
                    .map_err(full)?,
            ),
        };
        let name = request.name;
        let artifact = data::Artifact {
            name: name.clone(),
            media_type: request.media_type,
            content,
            metadata: "{}".to_owned(),
            base: None,
        };
        let busy = call.store.data().busy.clone();
        let exports = call.guest.backstay_plugin_destination_plugin();
        let config = text(&scope.config);
        let result = call::watch(
            self,
            "put",
            scope,
            busy,
            exports.call_put(&mut call.store, &config, &run, &artifact),
        )
        .await;
        call::release(&mut call.store).await;
        let stored = self.settle(result?, "put", &call.store)?;
        let id = &self.manifest().id;
        if stored.receipt.len() > scope.limits.receipt_bytes {
            return Err(Error::new(
                Code::Security,
                format!(
                    "plugin {id} gave a receipt of {} bytes for {name}",
                    stored.receipt.len()
                ),
            )
            .hint(format!("{} are the most", scope.limits.receipt_bytes)));
        }
        let mut moved = std::mem::take(&mut call.store.data_mut().moved);
        let (Some(only), true) = (moved.pop(), moved.is_empty()) else {
            return Err(Error::new(
                Code::Storage,
                format!("plugin {id} says that it stored {name}, but its content was not moved exactly once"),
            )
            .hint("this is a defect of the plugin; nothing counts as backed up"));
        };
        Ok(StoredObject {
            receipt: stored.receipt,
            location: call.store.data().words(&stored.location),
            moved: only,
            statistics: std::mem::take(&mut call.store.data_mut().statistics),
        })
    }

    /// A stored object.
    ///
    /// # Errors
    /// It isn't there, or the plugin fails.
    pub async fn fetch(&self, scope: &Scope, receipt: &str) -> Result<Content> {
        let mut call = self.destination(scope).await?;
        let busy = call.store.data().busy.clone();
        let exports = call.guest.backstay_plugin_destination_plugin();
        let config = text(&scope.config);
        let result = call::watch(
            self,
            "open",
            scope,
            busy,
            exports.call_open(&mut call.store, &config, receipt),
        )
        .await?;
        let content = self.settle(result, "open", &call.store)?;
        let table = &mut call.store.data_mut().table;
        let gone = |e: wasmtime::component::ResourceTableError| {
            Error::internal("a plugin gave back a handle that isn't one").because(e)
        };
        Ok(match content {
            data::Content::Bytes(stream) => {
                let recipe: Arc<dyn Recipe> = table.delete(stream).map_err(gone)?.recipe;
                Content::Stream(recipe)
            }
            data::Content::Files(tree) => Content::Tree(table.delete(tree).map_err(gone)?.spec),
        })
    }

    /// Receipts of all stored objects whose name ends with `suffix`.
    ///
    /// # Errors
    /// The destination can't be listed.
    pub async fn find(&self, scope: &Scope, suffix: &str) -> Result<Vec<String>> {
        let mut call = self.destination(scope).await?;
        let busy = call.store.data().busy.clone();
        let exports = call.guest.backstay_plugin_destination_plugin();
        let config = text(&scope.config);
        let result = call::watch(
            self,
            "find",
            scope,
            busy,
            exports.call_find(&mut call.store, &config, suffix),
        )
        .await?;
        self.settle(result, "find", &call.store)
    }

    /// Removes stored objects.
    ///
    /// # Errors
    /// One of them can't be removed.
    pub async fn remove(&self, scope: &Scope, receipts: &[String]) -> Result<()> {
        let mut call = self.destination(scope).await?;
        let busy = call.store.data().busy.clone();
        let exports = call.guest.backstay_plugin_destination_plugin();
        let config = text(&scope.config);
        let result = call::watch(
            self,
            "remove",
            scope,
            busy,
            exports.call_remove(&mut call.store, &config, receipts),
        )
        .await?;
        self.settle(result, "remove", &call.store)
    }

    /// Looks at a stored object without reading it.
    ///
    /// # Errors
    /// The destination can't tell.
    pub async fn check(&self, scope: &Scope, receipt: &str) -> Result<ObjectFacts> {
        self.look(scope, receipt, None).await
    }

    /// The same of what was stored just now. What the host has seen in a remote isn't asked of that again: some read a whole
    /// object to say how large it is. Whether the receipt leads there is up to the plugin.
    ///
    /// # Errors
    /// As [`Plugin::check`].
    pub async fn check_stored(&self, scope: &Scope, stored: &StoredObject) -> Result<ObjectFacts> {
        let seen = match &stored.moved {
            Moved::Stream { transfer, seen } => seen.clone().map(|place| (place, transfer.stored.bytes)),
            Moved::Tree { .. } => None,
        };
        self.look(scope, &stored.receipt, seen).await
    }

    async fn look(&self, scope: &Scope, receipt: &str, seen: Option<(String, u64)>) -> Result<ObjectFacts> {
        let mut call = self.destination(scope).await?;
        call.store.data_mut().seen = seen;
        let busy = call.store.data().busy.clone();
        let exports = call.guest.backstay_plugin_destination_plugin();
        let config = text(&scope.config);
        let result = call::watch(
            self,
            "check",
            scope,
            busy,
            exports.call_check(&mut call.store, &config, receipt),
        )
        .await?;
        let object = self.settle(result, "check", &call.store)?;
        Ok(ObjectFacts {
            found: object.found,
            size_bytes: object.size,
        })
    }

    /// Room at a destination.
    ///
    /// # Errors
    /// The destination can't tell.
    pub async fn usage(&self, scope: &Scope) -> Result<Usage> {
        let mut call = self.destination(scope).await?;
        let busy = call.store.data().busy.clone();
        let exports = call.guest.backstay_plugin_destination_plugin();
        let config = text(&scope.config);
        let result = call::watch(
            self,
            "usage",
            scope,
            busy,
            exports.call_usage(&mut call.store, &config),
        )
        .await?;
        let usage = self.settle(result, "usage", &call.store)?;
        Ok(Usage {
            total_bytes: usage.total,
            available_bytes: usage.available,
        })
    }

    /// The shell command that gives a stored object on its standard output, or writes a stored tree's files into `$TARGET`.
    ///
    /// # Errors
    /// The plugin fails.
    pub async fn destination_recovery(&self, scope: &Scope, receipt: &str) -> Result<String> {
        let mut call = self.destination(scope).await?;
        let busy = call.store.data().busy.clone();
        let exports = call.guest.backstay_plugin_destination_plugin();
        let config = text(&scope.config);
        let work = exports.call_recovery_command(&mut call.store, &config, receipt);
        let result = call::watch(self, "recovery-command", scope, busy, work).await?;
        self.settle(result, "recovery-command", &call.store)
    }

    /// Has a destination undo a journal entry of its own.
    ///
    /// # Errors
    /// It can't; the entry must stay.
    pub async fn undo_destination(&self, scope: &Scope, entry: &str) -> Result<()> {
        let mut call = self.destination(scope).await?;
        let busy = call.store.data().busy.clone();
        let exports = call.guest.backstay_plugin_destination_plugin();
        let config = text(&scope.config);
        let result = call::watch(
            self,
            "undo",
            scope,
            busy,
            exports.call_undo(&mut call.store, &config, entry),
        )
        .await?;
        self.settle(result, "undo", &call.store)
    }
}
