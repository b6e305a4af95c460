//! An object store as a place: S3 and its compatibles, Google Cloud Storage, Azure Blob Storage, B2, WebDAV.
//!
//! Only this module and those below it know OpenDAL. Everything here blocks its thread; the work is done by the
//! runtime whose handle is given. Secrets are in here and never come out: not in errors, and not in `Debug`.

mod connect;
mod failure;
mod leftover;
mod list;
mod lock;
mod parts;
mod probe;
mod read;
mod repeat;
mod request;
mod sign;
mod tree;
mod upload;
mod whole;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use backstay_model::filters::Filters;
use backstay_model::remote::{Remote, RemoteKind};
use backstay_model::secrets::Secrets;
use backstay_model::{Code, Error, Result};
use backstay_stream::pump::pump;
use backstay_stream::{Cancel, Context, Recipe, Transfer};
use opendal::{ErrorKind, Operator};
use tokio::runtime::Handle;

use crate::{Key, ObjectInfo, recovery};

pub use lock::{LockMode, ObjectLock};
pub use probe::Probed;
pub use read::ObjectRecipe;

/// How to reach an object store, and what applies to all that is stored through it.
#[derive(Clone)]
pub struct Access {
    /// Its settings.
    pub remote: Remote,
    /// Its secret, where it needs one.
    pub secret: Option<String>,
    /// Directory within the remote, below which all keys are; empty for none.
    pub prefix: String,
    /// Storage class of new objects, where the store has classes.
    pub storage_class: Option<String>,
    /// How long new objects can't be deleted, where the store can see to that.
    pub lock: Option<ObjectLock>,
    /// How often an operation that may pass next time is tried again.
    pub retries: usize,
}

impl Access {
    /// Fails with what is wrong with it without looking at the store.
    pub(crate) fn refuse_if_wrong(&self) -> Result<()> {
        let prefix = self.prefix.trim_matches('/');
        if !prefix.is_empty() {
            Key::parse(prefix).map_err(|e| e.with_code(Code::Configuration))?;
        }
        let (kind, name) = (self.remote.kind, &self.remote.name);
        if self.storage_class.is_some() && !matches!(kind, RemoteKind::S3 | RemoteKind::Gcs) {
            return Err(Error::new(
                Code::Configuration,
                format!("the remote `{name}` is of type {kind}, which has no storage classes"),
            )
            .hint("leave out the storage class"));
        }
        if let Some(lock) = &self.lock {
            if kind != RemoteKind::S3 {
                return Err(Error::new(
                    Code::Configuration,
                    format!(
                        "the remote `{name}` is of type {kind}: objects can be locked in an `s3` one only"
                    ),
                )
                .hint("leave out the object lock, and see what the store itself has for that"));
            }
            lock.refuse_if_wrong()?;
        }
        Ok(())
    }
}

/// Tries again for about two minutes in all: 1, 2, 4, 8, 16, 30 and 30 seconds, each with jitter.
pub const RETRIES: usize = 7;

/// How often it is tried again to look at a store before anything was moved: three seconds, each with jitter. A person
/// waits for the answer, and nothing is lost by starting again.
const LOOK_RETRIES: usize = 2;

/// How long an operation that moves no data of a backup may take, with its retries.
const PATIENCE: Duration = Duration::from_secs(300);

/// An object store that can be used.
pub struct ObjectStore {
    shared: Arc<Shared>,
}

/// What its parts share.
pub(crate) struct Shared {
    access: Access,
    operator: Operator,
    /// The same, of less patience.
    looks: Operator,
    handle: Handle,
    secrets: Secrets,
}

impl fmt::Debug for ObjectStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectStore({})", self.place())
    }
}

impl ObjectStore {
    /// Makes ready to use a store. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Code::Configuration`] if the settings or the prefix are not usable.
    pub fn open(access: Access, handle: Handle) -> Result<Self> {
        access.refuse_if_wrong()?;
        let secrets = Secrets::new(access.secret.as_deref());
        let operator = |retries| {
            connect::operator(&access, retries)
                .map_err(|e| failure::explain(&access.remote, &secrets, "use", &e))
        };
        let (looks, operator) = (
            operator(access.retries.min(LOOK_RETRIES))?,
            operator(access.retries)?,
        );
        Ok(ObjectStore {
            shared: Arc::new(Shared {
                access,
                operator,
                looks,
                handle,
                secrets,
            }),
        })
    }

    /// The place, for a person.
    pub fn place(&self) -> String {
        self.shared.location("")
    }

    /// Where an object is, for a person.
    pub fn location(&self, key: &Key) -> String {
        self.shared.location(key.as_str())
    }

    /// The command that writes an object to its standard output. `$SECRET` stands for the secret, which is not in it.
    pub fn recovery_command(&self, key: &Key) -> String {
        recovery::command(
            &self.shared.access.remote,
            recovery::Form::Stream,
            &self.path(key),
        )
    }

    /// The command that writes the files of a tree into `$TARGET`.
    pub fn tree_recovery_command(&self, key: &Key) -> String {
        recovery::command(&self.shared.access.remote, recovery::Form::Tree, &self.path(key))
    }

    /// Where an object is, from the top of the remote.
    fn path(&self, key: &Key) -> String {
        let Access { remote, prefix, .. } = &self.shared.access;
        let parts = [
            remote.bucket.as_deref().unwrap_or_default(),
            remote.root.as_deref().unwrap_or_default().trim_matches('/'),
            prefix.trim_matches('/'),
            key.as_str(),
        ];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        parts.join("/")
    }

    /// Stores what a recipe gives, filtered, under a key that is free.
    ///
    /// # Errors
    /// The root cause; then nothing is there.
    pub fn put(
        &self,
        key: &Key,
        recipe: Arc<dyn Recipe>,
        filters: &Filters,
        context: &Context,
    ) -> Result<Transfer> {
        let shared = &self.shared;
        if self.size(key)?.is_some() {
            return Err(self.taken(key));
        }
        let cancel = context.cancel.clone();
        shared.refuse_without_lock(&cancel)?;
        let moved = if shared.is_whole() {
            let sink = whole::Sink::start(Arc::clone(shared), key.clone(), cancel)?;
            pump(recipe, filters, sink, context)
        } else {
            let sink = upload::Sink::start(Arc::clone(shared), key.clone(), cancel)?;
            pump(recipe, filters, sink, context)
        };
        moved.map(|(transfer, ())| transfer)
    }

    /// A stored object.
    ///
    /// # Errors
    /// [`Code::Storage`] if there is none.
    pub fn get(&self, key: &Key) -> Result<ObjectRecipe> {
        let Some(size_bytes) = self.size(key)? else {
            let message = format!("{} is not there", self.shared.location(key.as_str()));
            return Err(Error::new(Code::Storage, message));
        };
        Ok(ObjectRecipe::new(
            Arc::clone(&self.shared),
            key.clone(),
            size_bytes,
        ))
    }

    /// Bytes of an object; nothing if it isn't there.
    fn size(&self, key: &Key) -> Result<Option<u64>> {
        let shared = &self.shared;
        shared.size(&shared.looks, key.as_str(), &Cancel::default())
    }

    /// That something is at a key already.
    fn taken(&self, key: &Key) -> Error {
        let message = format!("{} exists already", self.shared.location(key.as_str()));
        Error::new(Code::Storage, message)
    }

    /// What is at a key.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn stat(&self, key: &Key) -> Result<Option<ObjectInfo>> {
        match self.size(key)? {
            Some(size_bytes) => Ok(Some(ObjectInfo {
                key: key.as_str().to_owned(),
                size_bytes,
                is_tree: false,
            })),
            None => self.stat_tree(key),
        }
    }

    /// All complete objects whose key ends with `suffix`, sorted.
    ///
    /// # Errors
    /// The store can't be listed.
    pub fn find(&self, suffix: &str) -> Result<Vec<ObjectInfo>> {
        list::find(&self.shared, suffix)
    }

    /// Removes an object or a tree, and what an interrupted `put` of it left.
    ///
    /// # Errors
    /// Something can't be removed. What isn't there is no failure.
    pub fn delete(&self, key: &Key) -> Result<()> {
        let shared = &self.shared;
        // Servers that keep objects as files have a directory of the tree's name, until it is empty.
        self.delete_tree(key)?;
        shared.remove(key.as_str())?;
        if shared.is_whole() {
            shared.remove(&key.partial())?;
        }
        shared.abort_uploads(key)
    }

    pub(crate) fn without_directories(&self) -> Error {
        let message = format!("{} keeps no directories", self.place());
        Error::new(Code::Configuration, message).hint("store the tree as files, or as one tar stream")
    }
}

impl Shared {
    /// Whether the store takes an object only as one request, so that it is written under a temporary name first.
    fn is_whole(&self) -> bool {
        self.access.remote.kind == RemoteKind::Webdav
    }

    /// Where an object is, for a person.
    fn location(&self, path: &str) -> String {
        let prefix = self.access.prefix.trim_matches('/');
        let parts = [&self.access.remote.place(), prefix, path];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        parts.join("/")
    }

    fn failed(&self, doing: &str, path: &str, error: &opendal::Error) -> Error {
        let doing = format!("{doing} {}", self.location(path));
        failure::explain(&self.access.remote, &self.secrets, &doing, error)
    }

    /// Does an operation on the runtime, until it is done, cancelled, or took too long.
    fn wait<T>(
        &self,
        cancel: &Cancel,
        patience: Option<Duration>,
        doing: &str,
        path: &str,
        work: impl Future<Output = opendal::Result<T>>,
    ) -> Result<T> {
        let (sender, stopped) = tokio::sync::oneshot::channel::<()>();
        let _hook = cancel.on_cancel(move || {
            // Whoever waited may be gone.
            let _ = sender.send(());
        });
        self.handle.block_on(async {
            tokio::select! {
                biased;
                Ok(()) = stopped => Err(cancel.reason()),
                () = elapsed(patience) => Err(Error::new(
                    Code::Network,
                    format!("cannot {doing} {}: no answer", self.location(path)),
                )
                .hint("is the server overloaded, or does something on the way swallow its answers?")
                .retryable()),
                done = work => done.map_err(|e| self.failed(doing, path, &e)),
            }
        })
    }

    fn size(&self, operator: &Operator, path: &str, cancel: &Cancel) -> Result<Option<u64>> {
        self.wait(cancel, Some(PATIENCE), "look at", path, async {
            match operator.stat(path).await {
                Ok(meta) => Ok(meta.is_file().then(|| meta.content_length())),
                Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
                Err(e) => Err(e),
            }
        })
    }

    fn remove(&self, path: &str) -> Result<()> {
        self.wait(
            &Cancel::default(),
            Some(PATIENCE),
            "remove",
            path,
            self.looks.delete(path),
        )
    }
}

async fn elapsed(patience: Option<Duration>) {
    match patience {
        Some(patience) => tokio::time::sleep(patience).await,
        None => std::future::pending().await,
    }
}
