//! What a destination must do when all goes well.

use std::collections::BTreeSet;
use std::io::BufReader;
use std::sync::Arc;

use backstay_model::plugin::ContentKind;
use backstay_model::{Code, Error, Result};
use backstay_plugin::{Content, Moved};
use backstay_stream::recipe::{FileRecipe, TextRecipe};
use backstay_stream::tree::{self, MendedRecipe, TreeSpec};
use backstay_stream::{Context, Recipe};

use super::attempt::Kept;
use super::recipe::{End, Noise};
use super::{Seen, Trial, wrong};
use crate::verify::{blocking, index_of, walk_tar};

/// Larger than what any destination sends at once.
const STREAM_BYTES: usize = (17 << 20) + 1;

/// What is skipped of one that keeps no streams.
const NO_STREAMS: &str = "it takes no streams";

impl Trial<'_> {
    pub(super) async fn stream(&self) -> Seen {
        if !self.takes(ContentKind::Stream) {
            return Ok(Some(NO_STREAMS.to_owned()));
        }
        let noise = Noise {
            bytes: STREAM_BYTES,
            end: End::Well,
        };
        let kept = self.keep("stream/data", Arc::new(noise)).await?;
        self.expect_whole(&kept).await?;
        self.remove(&[&kept.receipt]).await?;
        Ok(None)
    }

    pub(super) async fn empty(&self) -> Seen {
        if !self.takes(ContentKind::Stream) {
            return Ok(Some(NO_STREAMS.to_owned()));
        }
        let kept = match self.keep("empty/data", text("")).await {
            Ok(kept) => kept,
            // One that says so, and leaves nothing, has lost nothing.
            Err(error) if error.code() == Code::Storage && error.report().contains("empty") => {
                self.expect_listed(&self.before).await?;
                return Ok(Some(error.report()));
            }
            Err(error) => return Err(error),
        };
        self.expect_whole(&kept).await?;
        self.remove(&[&kept.receipt]).await?;
        Ok(None)
    }

    pub(super) async fn tree(&self) -> Seen {
        if !self.takes(ContentKind::Tree) {
            return Ok(Some(
                "it takes no trees: the host gives it tar streams".to_owned(),
            ));
        }
        let failed = |e| Error::internal("cannot make a tree to store").because(e);
        let root = tempfile::tempdir_in(self.engine.data_dir()).map_err(failed)?;
        plant(root.path()).map_err(failed)?;
        let spec = Arc::new(TreeSpec::all(root.path())?);
        let attempt = self.begin().await?;
        let content = Content::Tree(Arc::clone(&spec));
        let stored = match self
            .store(&attempt, "tree/data", content, Context::default())
            .await
        {
            Ok(stored) => stored,
            Err(error) => {
                self.end(attempt, false).await?;
                return Err(error);
            }
        };
        self.end(attempt, true).await?;
        let Moved::Tree {
            content_bytes, index, ..
        } = stored.moved
        else {
            self.remove(&[&stored.receipt]).await?;
            return Ok(Some("it stored the tree as its tar stream".to_owned()));
        };
        if self.facts(&stored.receipt).await? != Some(content_bytes) {
            return Err(wrong(format!(
                "`check` doesn't say the {content_bytes} bytes of the tree's files"
            )));
        }
        let scope = self.looking();
        let fetched = self.plugin.fetch(&scope, &stored.receipt).await?;
        match fetched {
            Content::Tree(fetched) => {
                let differences = blocking(move || {
                    let context = Context::default();
                    let (expected, actual) = (index_of(&spec, &context)?, index_of(&fetched, &context)?);
                    tree::compare_index(BufReader::new(expected), BufReader::new(actual))
                })
                .await?;
                if !differences.is_empty() {
                    let what = differences.join("; ");
                    return Err(wrong(format!("what comes back is not what was stored: {what}")));
                }
            }
            Content::Stream(tar) => {
                let index = Arc::new(FileRecipe::opened(index, "the index"));
                let mended = MendedRecipe::new(index, tar, &stored.location);
                walk_tar(Arc::new(mended), &Context::default()).await?;
            }
        }
        self.remove(&[&stored.receipt]).await?;
        Ok(None)
    }

    pub(super) async fn listing(&self) -> Seen {
        if !self.takes(ContentKind::Stream) {
            return Ok(Some(NO_STREAMS.to_owned()));
        }
        let mut kept = Vec::new();
        // The name of one is the beginning or the end of another's.
        for name in [
            "list-1/data",
            "list-1/data.index",
            "list-2/data",
            "list-2/other-data",
        ] {
            kept.push(self.keep(name, text(name)).await?);
        }
        let expected: BTreeSet<String> = [&kept[0], &kept[2]].map(|k| k.receipt.clone()).into();
        let ours: BTreeSet<&str> = kept.iter().map(|k| k.receipt.as_str()).collect();
        let mut found = self.listed("/data").await?;
        found.retain(|receipt| ours.contains(receipt.as_str()));
        if found != expected {
            return Err(wrong(format!(
                "`find` with `/data` gives {found:?}, and {expected:?} are there"
            )));
        }
        self.expect_all(&kept).await?;
        self.remove(&receipts(&kept)).await?;
        Ok(None)
    }

    pub(super) async fn taken(&self) -> Seen {
        if !self.takes(ContentKind::Stream) {
            return Ok(Some(NO_STREAMS.to_owned()));
        }
        let first = self.keep("taken/data", text("what was there first")).await?;
        let second = self.keep("taken/data", text("what comes later")).await;
        // Names are unique; a place that tells two of one name apart has lost nothing either.
        if let Ok(second) = second {
            if second.receipt == first.receipt {
                return Err(wrong("two streams were stored under one name"));
            }
            self.expect_whole(&second).await?;
            self.remove(&[&second.receipt]).await?;
        }
        self.expect_whole(&first).await?;
        self.remove(&[&first.receipt]).await?;
        Ok(None)
    }

    pub(super) async fn removal(&self) -> Seen {
        if !self.takes(ContentKind::Stream) {
            return Ok(Some(NO_STREAMS.to_owned()));
        }
        let mut kept = Vec::new();
        for name in ["remove/data", "remove/data.more", "remove/manifest.json"] {
            kept.push(self.keep(name, text(name)).await?);
        }
        let stays = kept.split_off(1);
        for time in ["the first", "the second"] {
            let removed = self.remove(&receipts(&kept)).await;
            removed.map_err(|e| wrong(format!("it can't be removed {time} time")).because(e))?;
        }
        let gone = &kept[0].receipt;
        if self.facts(gone).await?.is_some() {
            return Err(wrong("`check` says that it is there after it was removed"));
        }
        if self.listed("").await?.contains(gone) {
            return Err(wrong("`find` gives it after it was removed"));
        }
        if self.expect_whole(&kept[0]).await.is_ok() {
            return Err(wrong("`open` gives it after it was removed"));
        }
        self.expect_all(&stays).await?;
        self.remove(&receipts(&stays)).await?;
        Ok(None)
    }

    async fn expect_all(&self, kept: &[Kept]) -> Result<()> {
        for kept in kept {
            self.expect_whole(kept).await?;
        }
        Ok(())
    }
}

fn receipts(kept: &[Kept]) -> Vec<&str> {
    kept.iter().map(|kept| kept.receipt.as_str()).collect()
}

fn text(text: &str) -> Arc<dyn Recipe> {
    Arc::new(TextRecipe::new(text.as_bytes().to_vec()))
}

/// Names and kinds of files that a place could lose.
fn plant(root: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    std::fs::create_dir_all(root.join("sub/ü and blanks"))?;
    std::fs::create_dir(root.join("empty"))?;
    std::fs::write(root.join("sub/ü and blanks/a'b\"c\\d$e"), "content")?;
    std::fs::write(root.join("zero"), "")?;
    std::fs::write(root.join("run.sh"), "#!/bin/sh\n")?;
    std::fs::set_permissions(root.join("run.sh"), std::fs::Permissions::from_mode(0o750))?;
    std::fs::write(root.join("large"), vec![b'x'; 3 << 20])?;
    std::fs::hard_link(root.join("large"), root.join("sub/same"))?;
    symlink("nowhere", root.join("link"))
}
