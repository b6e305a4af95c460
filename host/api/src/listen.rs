//! The socket in the data directory, and who may use it; the address on the network.

use std::fs::{File, Permissions};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backstay_model::settings::ApiSettings;
use backstay_model::{Code, Error, Result};
use tokio::net::{TcpListener, UnixListener, UnixStream};

use crate::SOCKET;

/// The longest path that a socket's address has room for on all systems, in bytes.
const LONGEST: usize = 100;

/// Between two tries to connect to a daemon that is busy.
const BUSY: Duration = Duration::from_millis(100);

/// Makes the socket in the data directory, in place of one that a crash left. Whoever calls this holds the lock of the
/// data directory, so no other daemon uses that.
///
/// # Errors
/// It can't be made.
pub fn socket(data_dir: &Path) -> Result<UnixListener> {
    let path = data_dir.join(SOCKET);
    let failed = |e| Error::io("make the socket", &path, e);
    match std::fs::remove_file(&path) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(Error::io("remove the old socket", &path, e)),
    }
    let (_open, short) = shorten(data_dir)?;
    let listener = StdListener::bind(short.join(SOCKET)).map_err(failed)?;
    // The directory is for this user only; this is for those who made it another.
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    UnixListener::from_std(listener).map_err(failed)
}

/// Connects to the daemon of a data directory, if one is there. Waits while others keep it too busy.
///
/// # Errors
/// There is one, and this user may not use it.
pub async fn connect(data_dir: &Path) -> Result<Option<UnixStream>> {
    use std::io::ErrorKind::{ConnectionRefused, NotFound, WouldBlock};
    let path = data_dir.join(SOCKET);
    if !path.exists() {
        return Ok(None);
    }
    let (_open, short) = shorten(data_dir)?;
    loop {
        match UnixStream::connect(short.join(SOCKET)).await {
            Ok(stream) => return Ok(Some(stream)),
            Err(e) if matches!(e.kind(), ConnectionRefused | NotFound) => return Ok(None),
            // Too many are waiting for it to take them.
            Err(e) if e.kind() == WouldBlock => tokio::time::sleep(BUSY).await,
            Err(e) => {
                return Err(Error::io_as(
                    Code::Environment,
                    "connect to the service at",
                    &path,
                    e,
                ));
            }
        }
    }
}

/// A short path of a directory, good for as long as the file is open.
fn shorten(directory: &Path) -> Result<(Option<File>, PathBuf)> {
    if directory.join(SOCKET).as_os_str().len() <= LONGEST {
        return Ok((None, directory.to_owned()));
    }
    let open = File::open(directory).map_err(|e| Error::io("open", directory, e))?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd()));
    Ok((Some(open), path))
}

/// The user at the other end, if they may use the socket: root, and the one that the daemon runs as.
pub fn user_of(stream: &UnixStream) -> Option<u32> {
    let uid = stream.peer_cred().ok()?.uid();
    (uid == 0 || uid == rustix::process::geteuid().as_raw()).then_some(uid)
}

/// Listens on the network, if the settings say so.
///
/// # Errors
/// The address is in use, or none of this machine.
pub async fn network(settings: &ApiSettings) -> Result<Option<TcpListener>> {
    let Some(address) = settings.listen.address() else {
        return Ok(None);
    };
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(Some(listener)),
        Err(e) => Err(
            Error::new(Code::Environment, format!("cannot listen on {address}"))
                .because(e)
                .hint("`api.listen` in the settings says where: choose an address of this machine and a port that is free, or `none` for nothing but the socket"),
        ),
    }
}
