//! A directory of an SFTP server as a place, by the system's `ssh` with its files and rules.
//!
//! Only this module and those below it know SFTP. Everything here blocks its thread; the work is done by the runtime whose
//! handle is given. A store holds at most one connection, which ends with it: also when this process is killed, because
//! `ssh` ends with its input.

mod failure;
mod names;
mod probe;
mod read;
mod session;
mod sink;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use backstay_model::filters::Filters;
use backstay_model::secrets::Secrets;
use backstay_model::{Code, Error, Result};
use backstay_stream::pump::pump;
use backstay_stream::{Cancel, Context, Recipe, Transfer};
use futures::StreamExt as _;
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use crate::object::Access;
use crate::{Key, ObjectInfo, recovery};

use names::Names;
use session::Session;

/// How long an operation that moves no data of a backup may take, with its retries.
const PATIENCE: Duration = Duration::from_secs(300);

/// How often it is tried again to connect before anything was moved.
const LOOK_RETRIES: usize = 2;

/// A directory of a server that can be used.
pub struct SftpStore {
    shared: Arc<Shared>,
}

/// What its parts share.
struct Shared {
    access: Access,
    names: Names,
    handle: Handle,
    secrets: Secrets,
    session: Mutex<Option<Arc<Session>>>,
}

impl fmt::Debug for SftpStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SftpStore({})", self.place())
    }
}

impl SftpStore {
    /// Makes ready to use a server. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Code::Configuration`] if the settings or the prefix are not usable.
    pub fn open(access: Access, handle: Handle) -> Result<Self> {
        access.refuse_if_wrong()?;
        Ok(SftpStore {
            shared: Arc::new(Shared {
                names: Names::new(&access),
                secrets: Secrets::new(access.secret.as_deref()),
                access,
                handle,
                session: Mutex::default(),
            }),
        })
    }

    /// The place, for a person.
    pub fn place(&self) -> String {
        self.shared.names.shown("")
    }

    /// Where an object is, for a person.
    pub fn location(&self, key: &Key) -> String {
        self.shared.names.shown(key.as_str())
    }

    /// The command that writes an object to its standard output. `$SECRET` stands for the key, which is not in it.
    pub fn recovery_command(&self, key: &Key) -> String {
        let path = self.shared.names.path(key.as_str());
        let path = path.strip_prefix("./").unwrap_or(&path);
        recovery::command(&self.shared.access.remote, recovery::Form::Stream, path)
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
        if self.stat(key)?.is_some() {
            let message = format!("{} exists already", self.location(key));
            return Err(Error::new(Code::Storage, message));
        }
        let sink = sink::Sink::start(Arc::clone(&self.shared), key.clone(), context.cancel.clone())?;
        pump(recipe, filters, sink, context).map(|(transfer, ())| transfer)
    }

    /// A stored object.
    ///
    /// # Errors
    /// [`Code::Storage`] if there is none.
    pub fn get(&self, key: &Key) -> Result<impl Recipe + 'static> {
        let Some(info) = self.stat(key)? else {
            let message = format!("{} is not there", self.location(key));
            return Err(Error::new(Code::Storage, message));
        };
        let shared = Arc::clone(&self.shared);
        Ok(read::SftpRecipe::new(shared, key.clone(), info.size_bytes))
    }

    /// What is at a key.
    ///
    /// # Errors
    /// The server can't be asked, or the directory of the remote is not there.
    pub fn stat(&self, key: &Key) -> Result<Option<ObjectInfo>> {
        let shared = &self.shared;
        let size = shared.look("look at", key.as_str(), async |session| {
            shared.size(session, &shared.names.path(key.as_str())).await
        })?;
        Ok(size.map(|size_bytes| ObjectInfo {
            key: key.as_str().to_owned(),
            size_bytes,
            is_tree: false,
        }))
    }

    /// All complete objects whose key ends with `suffix`, sorted.
    ///
    /// # Errors
    /// The server can't list them.
    pub fn find(&self, suffix: &str) -> Result<Vec<ObjectInfo>> {
        let shared = &self.shared;
        let mut found = shared.look("list", "", async |session| {
            let (mut found, mut open) = (Vec::new(), vec![String::new()]);
            while let Some(at) = open.pop() {
                for (name, size_bytes) in shared.list(session, &at).await? {
                    let key = if at.is_empty() {
                        name
                    } else {
                        format!("{at}/{name}")
                    };
                    // What isn't complete begins with a dot.
                    if Key::parse(&key).is_err() {
                        continue;
                    }
                    match size_bytes {
                        None => open.push(key),
                        Some(size_bytes) if key.ends_with(suffix) => found.push(ObjectInfo {
                            key,
                            size_bytes,
                            is_tree: false,
                        }),
                        Some(_) => {}
                    }
                }
            }
            Ok(found)
        })?;
        found.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }

    /// Removes an object, and what an interrupted `put` of it left, with the directories that are empty then.
    ///
    /// # Errors
    /// Something can't be removed. What isn't there is no failure.
    pub fn delete(&self, key: &Key) -> Result<()> {
        let shared = &self.shared;
        shared.look("remove", key.as_str(), async |session| {
            shared.remove(session, key.as_str()).await?;
            let (directory, name) = key.split();
            for (found, _) in shared.list(session, directory).await? {
                if names::is_partial_of(name, &found) {
                    let path = format!("{directory}/{found}");
                    shared.remove(session, path.trim_start_matches('/')).await?;
                }
            }
            shared.remove_empty(session, directory).await;
            Ok(())
        })
    }

    pub(crate) fn without_trees(&self) -> Error {
        let message = format!("{} keeps streams, no file trees", self.place());
        Error::new(Code::Configuration, message).hint("store the tree as one tar stream")
    }
}

impl Shared {
    /// Does an operation on the runtime, until it is done, cancelled, or took too long.
    fn wait<T>(
        &self,
        cancel: &Cancel,
        patience: Option<Duration>,
        doing: &str,
        path: &str,
        work: impl Future<Output = Result<T>>,
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
                () = elapsed(patience) => Err(failure::silent(doing, &self.names.shown(path))),
                done = work => done,
            }
        })
    }

    /// Does something that may be done twice, over a new connection if the one that there was is gone.
    fn look<T>(
        &self,
        doing: &str,
        path: &str,
        work: impl AsyncFn(&Session) -> Result<T, failure::Failure>,
    ) -> Result<T> {
        let retries = self.access.retries.min(LOOK_RETRIES);
        self.wait(&Cancel::default(), Some(PATIENCE), doing, path, async {
            let mut tried = 0;
            loop {
                let done = match self.connected().await {
                    Ok(session) => match work(&session).await {
                        Ok(done) => return Ok(done),
                        Err(failure) => Err(self.explain(&session, doing, path, failure).await),
                    },
                    Err(error) => Err(error),
                };
                match done {
                    Err(error) if error.is_retryable() && tried < retries => {
                        self.disconnect().await;
                        tokio::time::sleep(Duration::from_secs(1 << tried)).await;
                        tried += 1;
                    }
                    other => return other,
                }
            }
        })
    }

    /// The connection, made if there is none.
    async fn connected(&self) -> Result<Arc<Session>> {
        let mut kept = self.session.lock().await;
        if let Some(session) = &*kept {
            return Ok(Arc::clone(session));
        }
        let session = Arc::new(Session::start(&self.access, &self.names, &self.secrets).await?);
        *kept = Some(Arc::clone(&session));
        Ok(session)
    }

    /// Forgets the connection, which ends when nobody uses it any more.
    async fn disconnect(&self) {
        *self.session.lock().await = None;
    }

    async fn explain(&self, session: &Session, doing: &str, path: &str, failure: failure::Failure) -> Error {
        let doing = format!("{doing} {}", self.names.shown(path));
        failure::explain(&self.access.remote, &self.secrets, session, &doing, failure).await
    }

    /// How long the file at a path is; nothing if there is none in a directory of the remote that is there.
    async fn size(&self, session: &Session, path: &str) -> Result<Option<u64>, failure::Failure> {
        match session.sftp.fs().metadata(path).await {
            Ok(meta) => Ok(meta.len()),
            Err(error) if failure::is_missing(&error) => {
                self.expect_root(session).await?;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Fails if the directory of the remote isn't there: then what is missing in it is not known to be lost.
    async fn expect_root(&self, session: &Session) -> Result<(), failure::Failure> {
        match session.sftp.fs().metadata(self.names.root()).await {
            Ok(_) => Ok(()),
            Err(error) if failure::is_missing(&error) => {
                Err(failure::Failure::NoRoot(self.names.root().to_owned()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What is in a directory: files with their sizes, and directories. Nothing if it isn't there.
    async fn list(
        &self,
        session: &Session,
        directory: &str,
    ) -> Result<Vec<(String, Option<u64>)>, failure::Failure> {
        let opened = session.sftp.fs().open_dir(self.names.path(directory)).await;
        let mut entries = match opened {
            Ok(opened) => Box::pin(opened.read_dir()),
            Err(error) if failure::is_missing(&error) => {
                self.expect_root(session).await?;
                return Ok(Vec::new());
            }
            Err(error) => return Err(error.into()),
        };
        let mut found = Vec::new();
        while let Some(entry) = entries.next().await {
            let entry = entry?;
            // A name that isn't text is none of ours.
            let Some(name) = entry
                .filename()
                .to_str()
                .filter(|name| !matches!(*name, "." | ".."))
            else {
                continue;
            };
            match entry.file_type() {
                Some(kind) if kind.is_dir() => found.push((name.to_owned(), None)),
                Some(kind) if kind.is_file() => {
                    found.push((name.to_owned(), Some(entry.metadata().len().unwrap_or(0))));
                }
                _ => {}
            }
        }
        Ok(found)
    }

    /// Removes a file, if it is there.
    async fn remove(&self, session: &Session, path: &str) -> Result<(), failure::Failure> {
        match session.sftp.fs().remove_file(self.names.path(path)).await {
            Err(error) if failure::is_missing(&error) => self.expect_root(session).await,
            other => other.map_err(Into::into),
        }
    }

    /// Removes directories that are empty, from the innermost outwards.
    async fn remove_empty(&self, session: &Session, directory: &str) {
        let mut directory = directory;
        while !directory.is_empty() {
            // One that isn't empty is refused, and is none to remove.
            if session
                .sftp
                .fs()
                .remove_dir(self.names.path(directory))
                .await
                .is_err()
            {
                return;
            }
            directory = directory.rsplit_once('/').map_or("", |(parent, _)| parent);
        }
    }
}

async fn elapsed(patience: Option<Duration>) {
    match patience {
        Some(patience) => tokio::time::sleep(patience).await,
        None => std::future::pending().await,
    }
}
