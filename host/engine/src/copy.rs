//! Stores one artifact at one destination, trying again what may pass next time.

use std::sync::Arc;

use backstay_model::filters::Filters;
use backstay_model::job::Retries;
use backstay_model::manifest::{Digest, Form, StoredArtifact, StoredIndex};
use backstay_model::plugin::ContentKind;
use backstay_model::{Code, Error, Result};
use backstay_plugin::{Content, Moved, Offered, Plugin, Scope, StoreRequest, StoredObject};
use backstay_stream::recipe::FileRecipe;
use backstay_stream::tree::{TarRecipe, TreeSpec};
use backstay_stream::{Recipe, Transfer};

use crate::Engine;
use crate::attempts::Attempts;
use crate::recorder::Recorder;

/// Media type of a tar stream.
pub(crate) const TAR: &str = "application/x-tar";

/// Where an artifact goes.
#[derive(Clone)]
pub(crate) struct Way<'a> {
    pub(crate) plugin: &'a Plugin,
    pub(crate) scope: Scope,
    /// `JOB/BACKUP`, below which its objects are named.
    pub(crate) prefix: String,
    pub(crate) retries: &'a Retries,
    pub(crate) recorder: &'a Recorder,
}

/// What of an artifact is stored, and under which name.
pub(crate) struct Shape {
    pub(crate) form: Form,
    pub(crate) content: Content,
    pub(crate) object: String,
}

impl Way<'_> {
    /// How an artifact is kept there: as files where that is possible, else as a stream.
    ///
    /// # Errors
    /// It can't be kept there.
    pub(crate) fn shape(&self, artifact: &Offered) -> Result<Shape> {
        let takes = &self.plugin.manifest().content;
        let filters = &self.scope.filters;
        let (form, content) = match &artifact.content {
            Content::Tree(spec) if takes.contains(&ContentKind::Tree) && !filters.change_bytes() => {
                (Form::Tree, Content::Tree(Arc::clone(spec)))
            }
            Content::Tree(spec) => (
                Form::Tar,
                Content::Stream(Arc::new(TarRecipe::new(TreeSpec::clone(spec)))),
            ),
            Content::Stream(recipe) if artifact.media_type == TAR => {
                (Form::Tar, Content::Stream(Arc::clone(recipe)))
            }
            Content::Stream(recipe) => (Form::Stream, Content::Stream(Arc::clone(recipe))),
        };
        if form != Form::Tree && !takes.contains(&ContentKind::Stream) {
            return Err(Error::new(
                Code::Configuration,
                format!("{} takes only file trees", self.plugin.manifest().id),
            )
            .hint("remove the filters, or choose a destination that takes streams"));
        }
        let object = format!("{}/{}{}", self.prefix, artifact.name, ending(form, filters));
        Ok(Shape {
            form,
            content,
            object,
        })
    }
}

impl Engine {
    /// Stores an artifact and says what was stored.
    pub(crate) async fn copy(&self, way: &Way<'_>, artifact: &Offered) -> Result<StoredArtifact> {
        let Shape {
            form,
            content,
            object,
        } = way.shape(artifact)?;
        let stored = self.put(way, &object, &artifact.media_type, content).await?;
        let is_named = stored.location.ends_with(&object);
        let blank = blank(artifact, form, object, &stored);
        match stored.moved {
            // A destination may keep a tree as its tar stream.
            Moved::Stream { transfer, .. } if form == Form::Tree => Ok(StoredArtifact {
                form: Form::Tar,
                object: match is_named {
                    true => blank.object.clone(),
                    false => format!("{}{}", blank.object, ending(Form::Tar, &way.scope.filters)),
                },
                ..of_stream(blank, transfer)
            }),
            Moved::Stream { transfer, .. } => Ok(of_stream(blank, transfer)),
            Moved::Tree {
                index,
                digest,
                content_bytes,
                carried_bytes,
                entries,
            } => {
                let object = format!("{}.index", blank.object);
                let recipe = Arc::new(FileRecipe::opened(index, &object));
                let index = self
                    .put(way, &object, "application/jsonl", Content::Stream(recipe))
                    .await?;
                let Moved::Stream { transfer, .. } = index.moved else {
                    return Err(Error::internal("an index was stored as a tree"));
                };
                let index = StoredIndex {
                    object,
                    receipt: index.receipt,
                    stored: transfer.stored,
                };
                Ok(StoredArtifact {
                    stored: digest.clone(),
                    raw: digest,
                    content_bytes,
                    carried_bytes,
                    entries,
                    index: Some(index),
                    ..blank
                })
            }
        }
    }

    /// Stores an object, from its start each time, as often as the job allows, and looks whether all of it is there.
    pub(crate) async fn put(
        &self,
        way: &Way<'_>,
        object: &str,
        media_type: &str,
        content: Content,
    ) -> Result<StoredObject> {
        let run = way
            .scope
            .run
            .as_ref()
            .ok_or_else(|| Error::internal("a backup without a run"))?;
        let cancel = &way.scope.context.cancel;
        let mut attempts = Attempts::new(run, way.retries, cancel, way.recorder);
        loop {
            attempts.begin(self).await?;
            let request = StoreRequest {
                name: object.to_owned(),
                media_type: media_type.to_owned(),
                content: content.clone(),
            };
            match way.plugin.store(&way.scope, request).await {
                Ok(stored) => return is_all_there(way, stored).await,
                Err(error) => attempts.failed(self, error).await?,
            }
        }
    }
}

/// What is known of a stored artifact before what was moved is looked at.
fn blank(artifact: &Offered, form: Form, object: String, stored: &StoredObject) -> StoredArtifact {
    StoredArtifact {
        name: artifact.name.clone(),
        form,
        media_type: artifact.media_type.clone(),
        receipt: stored.receipt.clone(),
        location: stored.location.clone(),
        object,
        raw: Digest::default(),
        stored: Digest::default(),
        content_bytes: 0,
        carried_bytes: 0,
        entries: 0,
        compression: None,
        encryption: None,
        index: None,
        metadata: artifact.metadata.clone(),
        statistics: stored.statistics.clone(),
        base: artifact.base,
    }
}

fn of_stream(blank: StoredArtifact, transfer: Transfer) -> StoredArtifact {
    let Transfer {
        raw,
        stored,
        content_bytes,
        entries,
        compression,
        encryption,
    } = transfer;
    StoredArtifact {
        raw,
        stored,
        content_bytes,
        entries,
        compression,
        encryption,
        ..blank
    }
}

/// A stored artifact that was moved as a stream.
///
/// # Errors
/// It wasn't.
pub(crate) fn stored_stream(
    artifact: &Offered,
    form: Form,
    object: String,
    stored: StoredObject,
) -> Result<StoredArtifact> {
    let blank = blank(artifact, form, object, &stored);
    match stored.moved {
        Moved::Stream { transfer, .. } => Ok(of_stream(blank, transfer)),
        Moved::Tree { .. } => Err(Error::internal("a stream was stored as a tree")),
    }
}

/// Compares what a destination says of an object with what the host moved there: some lose a part of a stream and say
/// nothing. Files of a tree are as many as were written, so only a stream is looked at.
pub(crate) async fn is_all_there(way: &Way<'_>, stored: StoredObject) -> Result<StoredObject> {
    let Moved::Stream { transfer, .. } = &stored.moved else {
        return Ok(stored);
    };
    let facts = way.plugin.check_stored(&way.scope, &stored).await?;
    let (moved, place) = (transfer.stored.bytes, &stored.location);
    let what = if !facts.found {
        "is not there".to_owned()
    } else if facts.size_bytes != moved {
        format!("has {} bytes", facts.size_bytes)
    } else {
        return Ok(stored);
    };
    let id = &way.plugin.manifest().id;
    Err(Error::new(
        Code::Verification,
        format!("{id} stored {moved} bytes at {place}, but it {what} there"),
    )
    .hint("nothing counts as backed up; the place loses data, so look for what is wrong with it"))
}

/// What an object's name ends with, so that a person knows how to open it.
fn ending(form: Form, filters: &Filters) -> String {
    let mut ending = String::from(if form == Form::Tar { ".tar" } else { "" });
    if form != Form::Tree {
        ending.push_str(filters.compression.as_ref().map_or("", |c| c.algorithm.suffix()));
        if filters.encryption.is_some() {
            ending.push_str(".age");
        }
    }
    ending
}

/// Turns what a destination gave back into the stored bytes of a stream.
pub(crate) fn as_stream(content: Content, object: &str) -> Result<Arc<dyn Recipe>> {
    match content {
        Content::Stream(recipe) => Ok(recipe),
        Content::Tree(_) => Err(Error::new(
            Code::Verification,
            format!("{object} is a file tree now; it was stored as a stream"),
        )),
    }
}
