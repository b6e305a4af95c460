//! `process.copy`: trees that programs copy by themselves.

use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use backstay_model::manifest::Digest;
use backstay_model::rate::Rate;
use backstay_model::{Code, Result};
use backstay_stream::digest::Hasher;
use backstay_stream::process::{Inside, run_inside};
use backstay_stream::read::read;
use backstay_stream::tree::{CopyOptions, TreeCopy, TreeSpec, Untaken};
use wasmtime::component::Resource;

use super::data::readable;
use crate::bindings::wit::process::{self as wit, Command, CopySize, HostTreeCopy, Listing, Output};
use crate::bindings::wit::types::Failure;
use crate::copying::{Copying, hashes};
use crate::grants::Within;
use crate::host::{ByteStream, Host, Tree, answer};
use crate::scope::Moved;

impl Host {
    /// Walks a tree for programs that copy it.
    pub(super) async fn begin_copy(
        &mut self,
        tree: Tree,
        wanted: &wit::CopyOptions,
        earlier: Option<ByteStream>,
    ) -> Result<Copying> {
        let mut spec = TreeSpec::clone(&tree.spec).leaving_out(&wanted.exclude, "destination's exclude")?;
        if !wanted.hard_links {
            spec = spec.with_separate_names();
        }
        let options = CopyOptions {
            hashes: Some(hashes(&self.scope.data_dir, Host::run(self)?, spec.root())),
            at_rest: wanted.at_rest,
            carries: wanted.carry_over,
        };
        let context = self.scope.context.clone();
        let earlier = earlier.map(readable).transpose()?;
        let copy = self.blocking(move || match earlier {
            None => TreeCopy::scan(spec, &options, None, &context),
            Some(index) => {
                let mut reading = BufReader::new(read(index, &context.uncounted())?);
                let scanned = TreeCopy::scan(spec, &options, Some(&mut reading), &context);
                let reading = reading.into_inner();
                match scanned {
                    Ok(copy) => reading.finish().map(|_| copy),
                    Err(error) => Err(reading.fail(error)),
                }
            }
        });
        Ok(Copying {
            copy: Arc::new(copy.await?),
            is_payload: tree.is_payload,
            was_run: false,
            untaken: Vec::new(),
            counted: None,
        })
    }

    async fn run_copy(
        &mut self,
        copying: &Copying,
        command: Command,
        input: Listing,
        progress: Option<String>,
    ) -> Result<Output> {
        Host::run(self)?;
        let spec = self.granted_within(Within::Tree, command, Code::Storage).await?;
        let (copy, context) = (Arc::clone(&copying.copy), self.scope.context.clone());
        let output = self.blocking(move || {
            let input = match input {
                Listing::Taken => copy.taken()?,
                Listing::Carried => copy.carried()?,
                Listing::LeftOut => copy.left_out(&context)?,
                Listing::Files => copy.files()?,
                Listing::Unchanged => copy.unchanged()?,
                Listing::Nothing => std::fs::File::open("/dev/null")
                    .map_err(|e| backstay_model::Error::io("open", "/dev/null", e))?,
            };
            let directory = copy.directory();
            let inside = Inside {
                directory,
                input,
                progress: progress.as_deref(),
            };
            run_inside(&spec, inside, &context)
        });
        let output = output.await?;
        Ok(Output {
            status: output.status,
            stdout: output.stdout,
            stderr: output.stderr,
        })
    }

    async fn finish_copy(&mut self, copying: Copying) -> Result<u64> {
        Host::run(self)?;
        copying.refuse_without_run()?;
        let context = self.scope.context.clone();
        let is_payload = copying.is_payload;
        let (copied, digest) = self
            .blocking(move || {
                let mut copied = copying.copy.finish(&copying.untaken, &context)?;
                copying.refuse_fewer_than(copied.files)?;
                let digest = digest_of(&mut copied.index)?;
                Ok((copied, digest))
            })
            .await?;
        let content_bytes = copied.size.content_bytes;
        if is_payload {
            self.moved.push(Moved::Tree {
                index: copied.index,
                digest,
                content_bytes,
                carried_bytes: 0,
                entries: copied.size.entries,
            });
        }
        Ok(content_bytes)
    }
}

/// The hashes of a file, which is then at its start again.
fn digest_of(file: &mut std::fs::File) -> Result<Digest> {
    use std::io::{Read as _, Seek as _};
    let failed = |e| backstay_model::Error::io("read", "an index", e);
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => break,
            n => hasher.update(&buffer[..n]),
        }
    }
    file.rewind().map_err(failed)?;
    Ok(hasher.finish())
}

impl HostTreeCopy for Host {
    async fn size(&mut self, this: Resource<Copying>) -> wasmtime::Result<CopySize> {
        let size = self.table.get(&this)?.copy.size();
        Ok(CopySize {
            entries: size.entries,
            bytes: size.content_bytes,
            allocated: size.allocated_bytes,
            carried: size.carried,
            unchanged: size.unchanged,
            is_directory: size.is_directory,
            beyond_pax: size.beyond_pax,
        })
    }

    async fn limit(&mut self, _: Resource<Copying>) -> wasmtime::Result<Option<u64>> {
        let (own, host) = self.scope.context.throttle.limits();
        Ok(own.into_iter().chain(host).map(Rate::bytes_per_second).min())
    }

    async fn run(
        &mut self,
        this: Resource<Copying>,
        command: Command,
        input: Listing,
        progress: Option<String>,
    ) -> wasmtime::Result<Result<Output, Failure>> {
        let copying = self.table.get(&this)?.clone();
        let output = self.run_copy(&copying, command, input, progress).await;
        if output.is_ok() && matches!(input, Listing::Taken | Listing::LeftOut | Listing::Files) {
            self.table.get_mut(&this)?.was_run = true;
        }
        answer(output)
    }

    async fn untaken(&mut self, this: Resource<Copying>, path: String, why: String) -> wasmtime::Result<()> {
        self.keep(path.len() + why.len())?;
        let why = self.words(&why);
        self.table.get_mut(&this)?.untaken.push(Untaken { path, why });
        Ok(())
    }

    async fn takes(
        &mut self,
        this: Resource<Copying>,
        path: String,
    ) -> wasmtime::Result<Result<bool, Failure>> {
        let copy = Arc::clone(&self.table.get(&this)?.copy);
        answer(self.blocking(move || copy.takes(Path::new(&path))).await)
    }

    async fn counted(&mut self, this: Resource<Copying>, files: u64) -> wasmtime::Result<()> {
        self.table.get_mut(&this)?.counted = Some(files);
        Ok(())
    }

    async fn finish(&mut self, this: Resource<Copying>) -> wasmtime::Result<Result<u64, Failure>> {
        let copying = self.table.get(&this)?.clone();
        answer(self.finish_copy(copying).await)
    }

    async fn drop(&mut self, this: Resource<Copying>) -> wasmtime::Result<()> {
        let copying = self.table.delete(this)?;
        // Whatever reads the tree still ends before anybody goes on.
        let ended = self.blocking(move || {
            drop(copying);
            Ok(())
        });
        ended.await.map_err(Into::into)
    }
}
