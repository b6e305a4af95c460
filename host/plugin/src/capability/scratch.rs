//! `scratch`: a directory of the call's own, in the journal before it is made.

use std::time::Duration;

use backstay_model::journal::{HostEntry, Owner, UndoWhen};
use backstay_model::{Code, Error, Result};
use backstay_stream::process::{self, Bounds};
use backstay_stream::tree::{FETCH_BYTES, FetchRecipe, Fetching, TreeSpec};
use wasmtime::component::Resource;

use super::process::bytes_of_words;
use crate::bindings::wit::data::TreeOptions;
use crate::bindings::wit::process::{Command, Meaning};
use crate::bindings::wit::scratch::{self as wit, Copied, HostDirectory, Recorded};
use crate::bindings::wit::types::Failure;
use crate::call::Flood;
use crate::host::{ByteStream, Host, Tree, answer};
use crate::scratch::Scratch;

impl Host {
    async fn make_scratch(&mut self) -> Result<Scratch> {
        let place = self.scratch_place.take().ok_or_else(|| {
            Error::new(
                Code::Security,
                format!(
                    "plugin {} asked for a scratch directory that it can't have",
                    self.plugin
                ),
            )
            .hint("each call that is part of a run gets one, and no other call gets any")
        })?;
        let path = place
            .to_str()
            .ok_or_else(|| Error::new(Code::Configuration, "the data directory's path is not UTF-8"))?
            .to_owned();
        let entry = serde_json::to_string(&HostEntry::EmptyDirectory { path, remove: true })
            .map_err(|e| Error::internal("cannot write a journal entry").because(e))?;
        let run = self.run()?;
        {
            let _busy = self.busy.enter();
            run.store
                .record_entry(run.run_id, &Owner::Host, UndoWhen::Always, &entry)
                .await?;
        }
        self.blocking(move || Scratch::make(&place)).await
    }

    fn scratch(&mut self, this: &Resource<Scratch>) -> wasmtime::Result<Scratch> {
        Ok(self.table.get(this)?.clone())
    }

    /// Counts a name in the scratch directory.
    fn use_name(&mut self, name: &str) -> wasmtime::Result<()> {
        self.used.scratch_names += 1;
        if self.used.scratch_names > self.scope.limits.scratch_names {
            return Err(Flood::error("it filled its scratch directory without end"));
        }
        self.keep(name.len())
    }

    /// Bytes that may still be written.
    fn scratch_room(&self) -> u64 {
        self.scope
            .limits
            .scratch_bytes
            .saturating_sub(self.used.scratch_bytes)
    }

    async fn record_in(
        &mut self,
        scratch: Scratch,
        name: String,
        command: Command,
        bounds: wit::Bounds,
    ) -> Result<Recorded> {
        let most = self.scope.limits.scratch_run;
        let time = Duration::from_secs(bounds.seconds.into());
        if time.is_zero() || time > most {
            return Err(Error::new(
                Code::Internal,
                format!(
                    "plugin {} gave `{}` {} s",
                    self.plugin, command.program, bounds.seconds
                ),
            )
            .hint(format!("1 to {} s can be given", most.as_secs())));
        }
        let spec = self.granted(command, Code::Collection).await?;
        let bounds = Bounds {
            time,
            bytes: bounds.bytes.min(self.scratch_room()),
        };
        let context = self.scope.context.clone();
        let recorded = self
            .blocking(move || {
                let file = scratch.create(&name)?;
                process::record(&spec, file, bounds, &context)
            })
            .await?;
        self.used.scratch_bytes += recorded.bytes;
        Ok(Recorded {
            status: recorded.status,
            bytes: recorded.bytes,
            stderr: recorded.stderr,
            timed_out: recorded.timed_out,
            truncated: recorded.truncated,
        })
    }

    async fn copy_in(
        &mut self,
        scratch: Scratch,
        path: &str,
        name: String,
        options: TreeOptions,
    ) -> Result<Copied> {
        let spec = self.tree_at(path, Some(&name), options)?;
        let (room, context) = (self.scratch_room(), self.scope.context.clone());
        let copied = self
            .blocking(move || scratch.copy(spec, &name, room, &context))
            .await?;
        self.used.scratch_bytes += copied.taken_bytes;
        Ok(Copied {
            files: copied.done.entries - copied.done.directories,
            directories: copied.done.directories,
            bytes: copied.done.content_bytes,
            failed: copied.failed,
        })
    }

    /// How files are brought into the scratch directory.
    async fn fetching(
        &mut self,
        scratch: &Scratch,
        many: Command,
        one: Command,
        meanings: Vec<Meaning>,
    ) -> Result<Fetching> {
        Ok(Fetching {
            many: self.granted_explained(many, meanings.clone()).await?,
            one: self.granted_explained(one, meanings).await?,
            into: scratch.path().to_owned(),
            bytes: FETCH_BYTES,
        })
    }
}

impl wit::Host for Host {
    async fn make(&mut self) -> wasmtime::Result<Result<Resource<Scratch>, Failure>> {
        match self.make_scratch().await {
            Ok(scratch) => Ok(Ok(self.table.push(scratch)?)),
            Err(error) => answer(Err(error)),
        }
    }
}

impl HostDirectory for Host {
    async fn path(&mut self, this: Resource<Scratch>) -> wasmtime::Result<String> {
        let scratch = self.scratch(&this)?;
        Ok(scratch.path().to_string_lossy().into_owned())
    }

    async fn write(
        &mut self,
        this: Resource<Scratch>,
        name: String,
        text: String,
    ) -> wasmtime::Result<Result<(), Failure>> {
        let scratch = self.scratch(&this)?;
        self.use_name(&name)?;
        self.keep(text.len())?;
        self.used.scratch_bytes += text.len() as u64;
        answer(self.blocking(move || scratch.write(&name, &text)).await)
    }

    async fn record(
        &mut self,
        this: Resource<Scratch>,
        name: String,
        command: Command,
        bounds: wit::Bounds,
    ) -> wasmtime::Result<Result<Recorded, Failure>> {
        let scratch = self.scratch(&this)?;
        self.use_name(&name)?;
        answer(self.record_in(scratch, name, command, bounds).await)
    }

    async fn copy(
        &mut self,
        this: Resource<Scratch>,
        path: String,
        name: String,
        options: TreeOptions,
    ) -> wasmtime::Result<Result<Copied, Failure>> {
        let scratch = self.scratch(&this)?;
        self.use_name(&name)?;
        answer(self.copy_in(scratch, &path, name, options).await)
    }

    async fn file(
        &mut self,
        this: Resource<Scratch>,
        name: String,
    ) -> wasmtime::Result<Result<Resource<ByteStream>, Failure>> {
        let scratch = self.scratch(&this)?;
        match self.blocking(move || scratch.file(&name)).await {
            Ok(file) => Ok(Ok(self.push_stream(ByteStream::plain(std::sync::Arc::new(file)))?)),
            Err(error) => answer(Err(error)),
        }
    }

    async fn tree(
        &mut self,
        this: Resource<Scratch>,
        options: TreeOptions,
    ) -> wasmtime::Result<Result<Resource<Tree>, Failure>> {
        let scratch = self.scratch(&this)?;
        let TreeOptions {
            include,
            exclude,
            one_file_system,
        } = options;
        match TreeSpec::new(scratch.path(), &include, &exclude, one_file_system) {
            Ok(spec) => Ok(Ok(self.push_tree(std::sync::Arc::new(spec))?)),
            Err(error) => answer(Err(error)),
        }
    }

    async fn fetch(
        &mut self,
        this: Resource<Scratch>,
        many: Command,
        one: Command,
        meanings: Vec<Meaning>,
    ) -> wasmtime::Result<Result<Resource<ByteStream>, Failure>> {
        let scratch = self.scratch(&this)?;
        self.keep(bytes_of_words(&many, &meanings) + bytes_of_words(&one, &meanings))?;
        match self.fetching(&scratch, many, one, meanings).await {
            Ok(fetching) => {
                let recipe = std::sync::Arc::new(FetchRecipe::new(fetching));
                Ok(Ok(self.push_stream(ByteStream::plain(recipe))?))
            }
            Err(error) => answer(Err(error)),
        }
    }

    async fn drop(&mut self, this: Resource<Scratch>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
