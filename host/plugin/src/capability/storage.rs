//! `storage`: objects in a place that was granted.

use std::fs::File;
use std::io::{BufReader, BufWriter, Seek as _, SeekFrom, Write};
use std::sync::Arc;

use backstay_model::manifest::Digest;
use backstay_model::secrets::Secrets;
use backstay_model::{Error, Result};
use backstay_storage::object::{Access, LockMode, ObjectLock, RETRIES};
use backstay_storage::{Directory, Key, Place};
use backstay_stream::Recipe;
use backstay_stream::digest::Hasher;
use backstay_stream::tree::{TarRecipe, TreeSpec};
use wasmtime::component::Resource;

use crate::bindings::wit::storage::{self as wit, HostStore, ObjectInfo, RemoteOptions, Space};
use crate::bindings::wit::types::Failure;
use crate::copying::Copying;
use crate::host::{ByteStream, Host, Store, Tree, answer};
use crate::scope::Moved;

/// Hashes an index while it is written to a temporary file.
struct IndexWriter {
    out: BufWriter<File>,
    hasher: Hasher,
}

impl IndexWriter {
    fn new(key: &Key) -> Result<Self> {
        Ok(IndexWriter {
            out: BufWriter::new(tempfile::tempfile().map_err(|e| unwritten(key, e))?),
            hasher: Hasher::default(),
        })
    }

    /// The index from its start, and what it is.
    fn finish(self, key: &Key) -> Result<(File, Digest)> {
        let mut file = self
            .out
            .into_inner()
            .map_err(|e| unwritten(key, e.into_error()))?;
        file.seek(SeekFrom::Start(0)).map_err(|e| unwritten(key, e))?;
        Ok((file, self.hasher.finish()))
    }
}

fn unwritten(key: &Key, error: std::io::Error) -> Error {
    Error::io("write the index of", key.as_str(), error)
}

impl Write for IndexWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

impl Host {
    async fn remote_place(&mut self, name: &str, options: RemoteOptions) -> Result<Place> {
        self.grants.remote(name, &options.prefix)?;
        let (remote, secret) = self.store.open_remote(name).await?;
        self.secrets = self.secrets.and(&Secrets::new(secret.as_deref()));
        let access = Access {
            remote,
            secret,
            prefix: options.prefix,
            storage_class: options.storage_class,
            lock: options.lock.map(|lock| ObjectLock {
                mode: match lock.mode {
                    wit::LockMode::Governance => LockMode::Governance,
                    wit::LockMode::Compliance => LockMode::Compliance,
                },
                days: lock.days,
            }),
            retries: RETRIES,
        };
        let runtime = tokio::runtime::Handle::current();
        self.blocking(move || Place::remote(access, runtime)).await
    }

    fn place(&self, store: &Resource<Store>) -> wasmtime::Result<Arc<Place>> {
        Ok(Arc::clone(&self.table.get(store)?.place))
    }

    fn push_place(&mut self, place: Result<Place>) -> wasmtime::Result<Result<Resource<Store>, Failure>> {
        match place {
            Ok(place) => Ok(Ok(self.table.push(Store {
                place: Arc::new(place),
            })?)),
            Err(error) => answer(Err(error)),
        }
    }

    async fn put_stream(&mut self, place: Arc<Place>, key: &str, stream: ByteStream) -> Result<u64> {
        self.run()?;
        let key = Key::parse(key)?;
        let context = self.scope.context.clone();
        let is_payload = stream.is_payload;
        let seen = place.is_remote().then(|| place.location(&key));
        let transfer = self
            .blocking(move || place.put(&key, stream.recipe, &stream.filters, &context))
            .await?;
        let bytes = transfer.stored.bytes;
        if is_payload {
            self.moved.push(Moved::Stream { transfer, seen });
        }
        Ok(bytes)
    }

    async fn put_files(&mut self, place: Arc<Place>, key: &str, tree: Tree) -> Result<u64> {
        self.run()?;
        let key = Key::parse(key)?;
        let context = self.scope.context.clone();
        let (unpacked, (index, digest)) = self
            .blocking(move || {
                let mut index = IndexWriter::new(&key)?;
                let tar: Arc<dyn Recipe> = Arc::new(TarRecipe::new(TreeSpec::clone(&tree.spec)));
                let unpacked = place.put_tree(&key, tar, &mut index, &context)?;
                Ok((unpacked, index.finish(&key)?))
            })
            .await?;
        if tree.is_payload {
            let (content_bytes, entries) = (unpacked.content_bytes, unpacked.entries);
            self.moved.push(Moved::Tree {
                index,
                digest,
                content_bytes,
                carried_bytes: 0,
                entries,
            });
        }
        Ok(unpacked.content_bytes)
    }

    async fn put_copied(&mut self, place: Arc<Place>, key: &str, copying: Copying) -> Result<u64> {
        self.run()?;
        copying.refuse_without_run()?;
        let key = Key::parse(key)?;
        let context = self.scope.context.clone();
        let is_payload = copying.is_payload;
        let (kept, source_bytes, index) = self
            .blocking(move || {
                let copied = copying.copy.finish(&copying.untaken, &context)?;
                let mut index = IndexWriter::new(&key)?;
                let kept = place.end_tree(&key, BufReader::new(copied.index), &mut index, &context)?;
                Ok((kept, copied.size.content_bytes, index.finish(&key)?))
            })
            .await?;
        let (content_bytes, entries) = (kept.content_bytes, kept.entries);
        if is_payload {
            let (index, digest) = index;
            self.moved.push(Moved::Tree {
                index,
                digest,
                content_bytes,
                carried_bytes: content_bytes.saturating_sub(source_bytes),
                entries,
            });
        }
        Ok(content_bytes)
    }
}

fn info(info: backstay_storage::ObjectInfo) -> ObjectInfo {
    ObjectInfo {
        key: info.key,
        size: info.size_bytes,
        is_tree: info.is_tree,
    }
}

impl wit::Host for Host {
    async fn directory(&mut self, path: String) -> wasmtime::Result<Result<Resource<Store>, Failure>> {
        let opened = match self.grants.write(&path) {
            Ok(path) => self.blocking(move || Directory::open(&path)).await,
            Err(error) => Err(error),
        };
        self.push_place(opened.map(Place::Directory))
    }

    async fn remote(
        &mut self,
        name: String,
        options: RemoteOptions,
    ) -> wasmtime::Result<Result<Resource<Store>, Failure>> {
        let opened = self.remote_place(&name, options).await;
        self.push_place(opened)
    }
}

impl HostStore for Host {
    async fn put(
        &mut self,
        this: Resource<Store>,
        key: String,
        content: Resource<ByteStream>,
    ) -> wasmtime::Result<Result<u64, Failure>> {
        let (place, stream) = (self.place(&this)?, self.table.delete(content)?);
        answer(self.put_stream(place, &key, stream).await)
    }

    async fn put_tree(
        &mut self,
        this: Resource<Store>,
        key: String,
        content: Resource<Tree>,
    ) -> wasmtime::Result<Result<u64, Failure>> {
        let (place, tree) = (self.place(&this)?, self.table.delete(content)?);
        answer(self.put_files(place, &key, tree).await)
    }

    async fn begin_tree(
        &mut self,
        this: Resource<Store>,
        key: String,
    ) -> wasmtime::Result<Result<String, Failure>> {
        let place = self.place(&this)?;
        if let Err(error) = self.run() {
            return answer(Err(error));
        }
        answer(self.blocking(move || place.begin_tree(&Key::parse(&key)?)).await)
    }

    async fn put_copied(
        &mut self,
        this: Resource<Store>,
        key: String,
        copied: Resource<Copying>,
    ) -> wasmtime::Result<Result<u64, Failure>> {
        let (place, copying) = (self.place(&this)?, self.table.delete(copied)?);
        answer(self.put_copied(place, &key, copying).await)
    }

    async fn link(
        &mut self,
        this: Resource<Store>,
        key: String,
        target: String,
    ) -> wasmtime::Result<Result<(), Failure>> {
        let place = self.place(&this)?;
        if let Err(error) = self.run() {
            return answer(Err(error));
        }
        answer(
            self.blocking(move || place.link(&Key::parse(&key)?, &Key::parse(&target)?))
                .await,
        )
    }

    async fn get(
        &mut self,
        this: Resource<Store>,
        key: String,
    ) -> wasmtime::Result<Result<Resource<ByteStream>, Failure>> {
        let place = self.place(&this)?;
        match self.blocking(move || place.get(&Key::parse(&key)?)).await {
            Ok(recipe) => Ok(Ok(self.push_stream(ByteStream::plain(recipe))?)),
            Err(error) => answer(Err(error)),
        }
    }

    async fn get_tree(
        &mut self,
        this: Resource<Store>,
        key: String,
    ) -> wasmtime::Result<Result<Resource<Tree>, Failure>> {
        let place = self.place(&this)?;
        match self
            .blocking(move || TreeSpec::all(place.get_tree(&Key::parse(&key)?)?))
            .await
        {
            Ok(spec) => Ok(Ok(self.push_tree(Arc::new(spec))?)),
            Err(error) => answer(Err(error)),
        }
    }

    async fn get_files(
        &mut self,
        this: Resource<Store>,
        key: String,
    ) -> wasmtime::Result<Result<Resource<ByteStream>, Failure>> {
        let place = self.place(&this)?;
        match self.blocking(move || place.get_files(&Key::parse(&key)?)).await {
            Ok(recipe) => Ok(Ok(self.push_stream(ByteStream::plain(recipe))?)),
            Err(error) => answer(Err(error)),
        }
    }

    async fn stat(
        &mut self,
        this: Resource<Store>,
        key: String,
    ) -> wasmtime::Result<Result<Option<ObjectInfo>, Failure>> {
        let place = self.place(&this)?;
        let seen = self.seen.clone();
        let look = move || {
            let key = Key::parse(&key)?;
            match seen {
                Some((location, size_bytes)) if location == place.location(&key) => {
                    let key = key.as_str().to_owned();
                    Ok(Some(backstay_storage::ObjectInfo {
                        key,
                        size_bytes,
                        is_tree: false,
                    }))
                }
                _ => place.stat(&key),
            }
        };
        answer(self.blocking(look).await.map(|found| found.map(info)))
    }

    async fn find(
        &mut self,
        this: Resource<Store>,
        suffix: String,
    ) -> wasmtime::Result<Result<Vec<ObjectInfo>, Failure>> {
        let place = self.place(&this)?;
        answer(
            self.blocking(move || Ok(place.find(&suffix)?.into_iter().map(info).collect()))
                .await,
        )
    }

    async fn delete(&mut self, this: Resource<Store>, key: String) -> wasmtime::Result<Result<(), Failure>> {
        let place = self.place(&this)?;
        if let Err(error) = self.run() {
            return answer(Err(error));
        }
        // What the host has seen there is there no more.
        for moved in &mut self.moved {
            if let Moved::Stream { seen, .. } = moved {
                *seen = None;
            }
        }
        self.seen = None;
        answer(self.blocking(move || place.delete(&Key::parse(&key)?)).await)
    }

    async fn location(
        &mut self,
        this: Resource<Store>,
        key: String,
    ) -> wasmtime::Result<Result<String, Failure>> {
        let place = self.place(&this)?;
        answer(Key::parse(&key).map(|key| place.location(&key)))
    }

    async fn recovery_command(
        &mut self,
        this: Resource<Store>,
        key: String,
    ) -> wasmtime::Result<Result<String, Failure>> {
        let place = self.place(&this)?;
        answer(Key::parse(&key).map(|key| place.recovery_command(&key)))
    }

    async fn tree_recovery_command(
        &mut self,
        this: Resource<Store>,
        key: String,
    ) -> wasmtime::Result<Result<String, Failure>> {
        let place = self.place(&this)?;
        answer(Key::parse(&key).and_then(|key| place.tree_recovery_command(&key)))
    }

    async fn space(&mut self, this: Resource<Store>) -> wasmtime::Result<Result<Space, Failure>> {
        let place = self.place(&this)?;
        let space = self.blocking(move || place.space()).await;
        answer(space.map(|s| Space {
            total: s.total_bytes,
            available: s.available_bytes,
        }))
    }

    async fn drop(&mut self, this: Resource<Store>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
