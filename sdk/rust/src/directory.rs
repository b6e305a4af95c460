//! A directory of this machine that a destination keeps backups in: whether it is the right one, on the mount that is
//! expected, with room left.
//!
//! The plugin's manifest must ask for `write` of the directory, and for `state`, in which the mount of earlier runs is
//! remembered.

mod receipt;

use crate::content::stat;
use crate::failure::Result;
use crate::{Code, Content, Diagnostic, Failure, FileKind, Object, Room, Store, state};

pub use receipt::Receipt;

/// A directory, as a job names it.
#[derive(Debug, Clone, Copy)]
pub struct Directory<'a> {
    /// The field of the configuration that names it, for messages.
    pub field: &'static str,
    /// Its absolute path.
    pub path: &'a str,
    /// The mount point that must hold it, from the field `mount`. Without it, the mount that held it when it was first
    /// used is expected again.
    pub mount: Option<&'a str>,
    /// Bytes that must be free before anything is stored, from the field `minFreeBytes`.
    pub min_free_bytes: u64,
}

impl Directory<'_> {
    /// What is wrong without looking at the machine.
    pub fn check(&self) -> Vec<Diagnostic> {
        let mut diagnostics = Vec::new();
        for (field, path) in [(self.field, Some(self.path)), ("mount", self.mount)] {
            if let Some(path) = path
                && let Some(fault) = fault_of_path(path)
            {
                diagnostics.push(Diagnostic::error(
                    format!("/{field}"),
                    "bad-path",
                    format!("`{path}` {fault}"),
                ));
            }
        }
        let at = format!("/{}", self.field);
        if self.path.trim_end_matches('/').is_empty() {
            let message = "backups can't be kept in the root directory itself";
            diagnostics
                .push(Diagnostic::error(at, "bad-path", message).hint("name a directory of their own"));
        }
        if let Some(mount) = self
            .mount
            .filter(|mount| diagnostics.is_empty() && !holds(mount, self.path))
        {
            let message = format!("`{}` ({}) is not below `mount` ({mount})", self.field, self.path);
            diagnostics.push(Diagnostic::error("/mount", "not-below", message));
        }
        diagnostics
    }

    /// What is wrong on this machine now. A disk that isn't mounted is only a warning: it may be there when the job runs.
    pub fn look(&self) -> Vec<Diagnostic> {
        let Err(failure) = self.mounted_on().and_then(|now| self.check_expected(&now)) else {
            return Vec::new();
        };
        let pointer = if self.mount.is_some() {
            "/mount".to_owned()
        } else {
            format!("/{}", self.field)
        };
        vec![match failure.code {
            Code::Environment => Diagnostic {
                hint: failure.hint,
                ..Diagnostic::warning(pointer, "not-there", failure.message)
            },
            _ => Diagnostic::from_failure(pointer, "unusable-path", failure),
        }]
    }

    /// Where an object is, for a person.
    pub fn location(&self, key: &str) -> String {
        format!("{}/{key}", self.path.trim_end_matches('/'))
    }

    /// The place, after everything that must hold before something is stored in it.
    ///
    /// # Errors
    /// It isn't there, on another mount than before, or full.
    pub fn ready(&self) -> Result<Store> {
        Diagnostic::refuse(self.check())?;
        let now = self.mounted_on()?;
        self.check_expected(&now)?;
        self.remember_mount("", &now)?;
        let store = Store::directory(self.path)?;
        self.refuse_without_room(&store, 0)?;
        Ok(store)
    }

    /// Fails unless there is room for so many bytes besides what must stay free.
    ///
    /// # Errors
    /// [`Code::DiskSpace`], or the system can't tell.
    pub fn refuse_without_room(&self, store: &Store, bytes: u64) -> Result<()> {
        self.refuse_too_little(store.space()?.available, bytes)
    }

    /// As [`Directory::refuse_without_room`], where so many bytes are known to be available.
    ///
    /// # Errors
    /// [`Code::DiskSpace`].
    pub fn refuse_too_little(&self, available: u64, bytes: u64) -> Result<()> {
        if available >= bytes.saturating_add(self.min_free_bytes) {
            return Ok(());
        }
        let needed = if bytes == 0 {
            format!("less than `minFreeBytes` ({})", self.min_free_bytes)
        } else {
            format!(
                "and {bytes} are to be stored, with `minFreeBytes` ({}) to stay free",
                self.min_free_bytes
            )
        };
        let message = format!("{} has {available} bytes left, {needed}", self.path);
        Err(Failure::disk_space(message).hint("make room, shorten the retention, or lower `minFreeBytes`"))
    }

    /// The place, to read from it and to delete in it.
    ///
    /// # Errors
    /// It isn't there, or not on the mount that the job names.
    pub fn open(&self) -> Result<Store> {
        Diagnostic::refuse(self.check())?;
        self.check_expected(&self.mounted_on()?)?;
        Store::directory(self.path)
    }

    /// Refuses to say or do anything about what is missing while the disk of earlier runs is not mounted: it has lost
    /// nothing.
    ///
    /// # Errors
    /// It isn't mounted.
    pub fn refuse_if_unmounted(&self) -> Result<()> {
        self.compare_mount("", &self.mounted_on()?).map(drop)
    }

    /// What a receipt stands for.
    ///
    /// # Errors
    /// It isn't there, or nothing is at the place.
    pub fn content(&self, receipt: &str) -> Result<Content> {
        let (store, receipt) = (self.open()?, Receipt::parse(receipt)?);
        if stat(&self.location(receipt.key()))?.is_none() {
            self.refuse_if_unmounted()?;
            let message = format!("{} is not there", self.location(receipt.key()));
            return Err(Failure::new(Code::Verification, message)
                .hint("was it moved or deleted by hand, or is another disk mounted?"));
        }
        Ok(if receipt.is_tree() {
            Content::Files(store.get_tree(receipt.key())?)
        } else {
            Content::Bytes(store.get(receipt.key())?)
        })
    }

    /// The room at the place.
    ///
    /// # Errors
    /// It isn't there, or the disk that must hold it isn't mounted.
    pub fn room(&self) -> Result<Room> {
        let space = self.open()?.space()?;
        Ok(Room {
            total: Some(space.total),
            available: Some(space.available),
        })
    }

    /// Receipts of all stored objects whose key ends with a suffix.
    ///
    /// # Errors
    /// The place can't be read.
    pub fn list(&self, suffix: &str) -> Result<Vec<String>> {
        let found = self.open()?.find(suffix)?;
        let receipts = found.into_iter().map(|o| {
            if o.is_tree {
                Receipt::tree(o.key)
            } else {
                Receipt::file(o.key)
            }
        });
        Ok(receipts.map(|receipt| receipt.to_string()).collect())
    }

    /// Removes what receipts stand for.
    ///
    /// # Errors
    /// The disk isn't mounted, or something can't be removed.
    pub fn remove(&self, receipts: &[String]) -> Result<()> {
        self.refuse_if_unmounted()?;
        let store = self.open()?;
        for receipt in receipts {
            store.delete(Receipt::parse(receipt)?.key())?;
        }
        Ok(())
    }

    /// Looks at what a receipt stands for without reading it.
    ///
    /// # Errors
    /// The disk isn't mounted, or can't be read.
    pub fn facts(&self, receipt: &str) -> Result<Object> {
        let info = self.open()?.stat(Receipt::parse(receipt)?.key())?;
        if info.is_none() {
            self.refuse_if_unmounted()?;
        }
        Ok(Object {
            found: info.is_some(),
            size: info.map_or(0, |info| info.size),
        })
    }

    /// Compares the mount that holds the directory now with the one of earlier runs, and notes it for later ones. `machine`
    /// is the one that it is on; nothing for this one.
    ///
    /// # Errors
    /// The earlier mount is gone.
    pub fn remember_mount(&self, machine: &str, now: &str) -> Result<()> {
        if self.compare_mount(machine, now)?.as_deref() == Some(now) {
            Ok(())
        } else {
            state::set(&self.note(machine), now)
        }
    }

    /// Compares the mount that holds the directory now with the one of earlier runs, which is returned.
    ///
    /// # Errors
    /// The earlier mount is gone.
    pub fn compare_mount(&self, machine: &str, now: &str) -> Result<Option<String>> {
        let before = state::get(&self.note(machine))?;
        if self.mount.is_none()
            && let Some(before) = &before
        {
            compare(self.path, before, now)?;
        }
        Ok(before)
    }

    /// The name of the note that says which mount held the directory.
    fn note(&self, machine: &str) -> String {
        match machine {
            "" => format!("mounted-on:{}", self.path),
            machine => format!("mounted-on:{machine}:{}", self.path),
        }
    }

    /// The mount that holds the directory.
    fn mounted_on(&self) -> Result<String> {
        let path = self.path;
        match stat(path)? {
            Some(info) if info.kind == FileKind::Directory => Ok(info.mounted_on),
            // What is mounted where it leads would go unseen.
            Some(info) if info.kind == FileKind::Symlink => {
                Err(Failure::storage(format!("{path} is a symbolic link"))
                    .hint(format!("name the directory itself in `{}`", self.field)))
            }
            Some(_) => Err(Failure::storage(format!("{path} is not a directory"))),
            None => Err(match self.mount {
                Some(mount) => Failure::environment(format!(
                    "the directory {path} does not exist; is {mount} mounted?"
                ))
                .hint(format!("mount {mount}, or create the directory there")),
                None => Failure::environment(format!("the directory {path} does not exist"))
                    .hint("mount the disk or share that holds it, or create it"),
            }),
        }
    }

    /// Refuses a directory that is not on the mount that the job names.
    ///
    /// # Errors
    /// Another one holds it now.
    pub fn check_expected(&self, now: &str) -> Result<()> {
        match self.mount {
            Some(mount) if trim(mount) != trim(now) => {
                let path = self.path;
                let message = if trim(now).len() < trim(mount).len() {
                    format!("nothing is mounted at {mount}; {path} is on the filesystem mounted at {now}")
                } else {
                    format!("{path} is on the filesystem mounted at {now}, not on the one at {mount}")
                };
                Err(Failure::environment(message)
                    .hint(format!("mount {mount}, or correct `mount` in the job")))
            }
            _ => Ok(()),
        }
    }
}

/// Compares the mount that held the directory at earlier runs with the one that holds it now. A mount
/// further down is a disk that was added, and is taken.
///
/// # Errors
/// The earlier mount is gone: what is there now is the directory under it.
fn compare(path: &str, before: &str, now: &str) -> Result<()> {
    if trim(now).len() < trim(before).len() {
        let message = format!("{path} was on the filesystem mounted at {before}, which is not mounted now");
        return Err(Failure::environment(message).hint(format!(
            "mount it; if backups now belong here for good, set `mount: {now}` in the job"
        )));
    }
    Ok(())
}

fn trim(path: &str) -> &str {
    path.trim_end_matches('/')
}

/// Whether a directory is `path` or above it. Both are absolute.
fn holds(directory: &str, path: &str) -> bool {
    let names = |path: &str| {
        path.split('/')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    names(path).starts_with(&names(directory))
}

/// What is wrong with a path of a configuration, whatever is there.
pub fn fault_of_path(path: &str) -> Option<&'static str> {
    if !path.starts_with('/') {
        Some("must be an absolute path")
    } else if path.contains('\0') {
        Some("must not contain a NUL character")
    } else if path.split('/').any(|name| name == "..") {
        Some("must not contain `..`")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_expected(mount: Option<&str>, now: &str) -> Result<()> {
        let directory = Directory {
            field: "path",
            path: "/mnt/usb/b",
            mount,
            min_free_bytes: 0,
        };
        directory.check_expected(now)
    }

    #[test]
    fn an_expected_mount_that_is_absent_is_refused() {
        let failure = check_expected(Some("/mnt/usb"), "/").expect_err("absent");
        assert_eq!(failure.code, crate::Code::Environment);
        assert_eq!(
            failure.message,
            "nothing is mounted at /mnt/usb; /mnt/usb/b is on the filesystem mounted at /"
        );
    }

    #[test]
    fn another_filesystem_mounted_below_the_expected_one_is_refused() {
        let failure = check_expected(Some("/mnt"), "/mnt/usb").expect_err("another");
        assert_eq!(
            failure.message,
            "/mnt/usb/b is on the filesystem mounted at /mnt/usb, not on the one at /mnt"
        );
    }

    #[test]
    fn the_expected_mount_is_well_however_it_is_written() {
        assert!(check_expected(Some("/mnt/usb/"), "/mnt/usb").is_ok());
        assert!(check_expected(Some("/"), "/").is_ok());
        assert!(check_expected(None, "/").is_ok());
    }

    #[test]
    fn a_mount_of_earlier_runs_that_is_gone_is_refused() {
        let failure = compare("/mnt/usb/b", "/mnt/usb", "/").expect_err("gone");
        assert_eq!(
            failure.message,
            "/mnt/usb/b was on the filesystem mounted at /mnt/usb, which is not mounted now"
        );
        assert!(failure.hint.is_some_and(|hint| hint.contains("`mount: /`")));
        assert!(compare("/mnt/usb/b", "/", "/mnt/usb").is_ok());
    }
}
