//! Stores a stream under a name of its own; it gets its right name when all of it is on the server's disk.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use backstay_model::{Code, Error, Result};
use backstay_stream::{Cancel, Completed};
use openssh_sftp_client::Error as SftpError;
use openssh_sftp_client::file::TokioCompatFile;
use tokio::io::AsyncWriteExt as _;

use super::failure::{Failure, is_missing};
use super::names::partial;
use super::session::Session;
use super::{Shared, elapsed};
use crate::Key;

/// How long the server may take to remove what was begun; what it doesn't is removed when the run is undone.
const ABORT: Duration = Duration::from_secs(10);

/// The far end of a stream.
pub(super) struct Sink {
    shared: Arc<Shared>,
    key: Key,
    /// What it is called until it is complete.
    partial: String,
    cancel: Cancel,
    session: Arc<Session>,
    file: Option<Pin<Box<TokioCompatFile>>>,
}

impl Sink {
    pub(super) fn start(shared: Arc<Shared>, key: Key, cancel: Cancel) -> Result<Self> {
        let (directory, name) = key.split();
        let name = partial(name, &attempt());
        let path = if directory.is_empty() {
            name
        } else {
            format!("{directory}/{name}")
        };
        let (session, file) = shared.wait(&cancel, None, "write", key.as_str(), async {
            let session = shared.connected().await?;
            match begin(&shared, &session, key.as_str(), &path).await {
                Ok(file) => Ok((session, file)),
                Err(failure) => Err(shared.explain(&session, "write", key.as_str(), failure).await),
            }
        })?;
        Ok(Sink {
            shared,
            key,
            partial: path,
            cancel,
            session,
            file: Some(file),
        })
    }

    /// Does something with the connection of this stream.
    fn with<T>(&self, doing: &str, work: impl Future<Output = Result<T, Failure>>) -> Result<T> {
        let key = self.key.as_str();
        self.shared.wait(&self.cancel, None, doing, key, async {
            match work.await {
                Ok(done) => Ok(done),
                Err(failure) => Err(self.shared.explain(&self.session, doing, key, failure).await),
            }
        })
    }

    fn finish(&mut self, bytes: u64) -> Result<()> {
        let Some(mut file) = self.file.take() else {
            return Err(Error::internal("a stream was ended twice"));
        };
        let (shared, session) = (&self.shared, &self.session);
        let (from, to) = (
            shared.names.path(&self.partial),
            shared.names.path(self.key.as_str()),
        );
        self.with("write", async {
            file.flush().await?;
            match file.as_mut().as_mut_file().sync_all().await {
                // Not every server can be told to.
                Err(SftpError::UnsupportedExtension(_)) => {}
                other => other?,
            }
            Ok(())
        })?;
        drop(file);
        self.with("complete", async {
            self.expect(&from, bytes).await?;
            session.sftp.fs().rename(&from, &to).await?;
            self.expect(&to, bytes).await
        })
    }

    /// Fails unless a file is there with so many bytes.
    async fn expect(&self, path: &str, bytes: u64) -> Result<(), Failure> {
        let found = self.shared.size(&self.session, path).await?;
        if found == Some(bytes) {
            return Ok(());
        }
        let shown = self.shared.names.shown(self.key.as_str());
        let message = match found {
            None => format!("{shown} was stored and is not there"),
            Some(found) => format!("{shown} has {found} bytes on the server, and {bytes} were sent"),
        };
        let error = Error::new(Code::Storage, message).hint("is its disk full? look at the server's log");
        Err(Failure::Said(error.retryable()))
    }

    /// Removes what was begun.
    fn give_up(&mut self) -> Result<()> {
        self.file = None;
        let shared = &self.shared;
        shared.wait(&Cancel::default(), Some(ABORT), "remove", &self.partial, async {
            let removed = tokio::select! {
                removed = shared.remove(&self.session, &self.partial) => removed,
                () = elapsed(Some(ABORT / 2)) => Err(SftpError::BackgroundTaskFailure(&"no answer").into()),
            };
            if let Err(failure) = removed {
                // The connection may be what failed.
                drop(failure);
                shared.disconnect().await;
                let session = shared.connected().await?;
                if let Err(failure) = shared.remove(&session, &self.partial).await {
                    return Err(shared.explain(&session, "remove", &self.partial, failure).await);
                }
            }
            Ok(())
        })
    }
}

impl backstay_stream::Sink for Sink {
    type Stored = ();

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(mut file) = self.file.take() else {
            return Err(Error::internal("a stream was written to after its end"));
        };
        let written = self.with("write", async {
            file.write_all(bytes).await?;
            Ok(())
        });
        self.file = Some(file);
        written
    }

    fn commit(mut self, proof: &Completed) -> Result<()> {
        match self.finish(proof.transfer().stored.bytes) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.abort(error)),
        }
    }

    fn abort(mut self, cause: Error) -> Error {
        match self.give_up() {
            Ok(()) => cause,
            Err(e) => cause.hint(format!(
                "what was written so far could not be removed either: {}",
                e.report()
            )),
        }
    }
}

/// Makes the directories that lead to a file, and the file.
async fn begin(
    shared: &Shared,
    session: &Session,
    key: &str,
    path: &str,
) -> Result<Pin<Box<TokioCompatFile>>, Failure> {
    shared.expect_root(session).await?;
    for directory in shared.names.parents(key) {
        match session.sftp.fs().create_dir(&directory).await {
            Ok(()) => {}
            // OpenSSH says no more than that it failed if it is there already.
            Err(error) => match session.sftp.fs().metadata(&directory).await {
                Ok(_) => {}
                Err(missing) if is_missing(&missing) => return Err(error.into()),
                Err(error) => return Err(error.into()),
            },
        }
    }
    let mut options = session.sftp.options();
    let file = options
        .write(true)
        .create_new(true)
        .open(shared.names.path(path))
        .await?;
    Ok(Box::pin(TokioCompatFile::new(file)))
}

/// A word that no other attempt has.
fn attempt() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:x}{:x}", since.as_nanos(), std::process::id())
}
