//! Extended attributes, ACLs among them, of anything that has a name.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use rustix::fs::{
    XattrFlags, fgetxattr, fgetxattr_query, flistxattr, fremovexattr, fsetxattr, lgetxattr, lgetxattr_query,
    llistxattr, lremovexattr, lsetxattr,
};
use rustix::io::Errno;

use crate::tree::entry::Xattr;

/// The ACL of an entry.
pub(crate) const ACCESS_ACL: &CStr = c"system.posix_acl_access";

/// The ACL that a directory gives to what is made in it.
pub(crate) const DEFAULT_ACL: &CStr = c"system.posix_acl_default";

/// Most bytes of all attributes of an entry, so that they fit into a pax header with room for its other records.
const MAX_BYTES: usize = 15 << 20;

/// Linux' limit for the names of an entry's attributes, and for the value of one.
const LIMIT_BYTES: usize = 64 << 10;

/// Whose attributes are meant.
#[derive(Debug)]
pub(crate) enum Owner<'a> {
    /// Something that is open.
    Open(BorrowedFd<'a>),
    /// Something that can't be opened: the path of its directory's descriptor, and its name.
    Named(CString),
}

impl<'a> Owner<'a> {
    pub(crate) fn open(file: BorrowedFd<'a>) -> Self {
        Owner::Open(file)
    }

    /// What has this name in a directory; a symbolic link itself.
    pub(crate) fn named(directory: BorrowedFd<'_>, name: &CStr) -> Self {
        let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
        path.extend_from_slice(name.to_bytes());
        // Neither part holds a zero byte.
        Owner::Named(CString::new(path).unwrap_or_default())
    }

    fn get(&self, name: &CStr, value: &mut [u8]) -> rustix::io::Result<usize> {
        match self {
            Owner::Open(file) => fgetxattr(file, name, value),
            Owner::Named(path) => lgetxattr(path.as_c_str(), name, value),
        }
    }

    fn list(&self, names: &mut [u8]) -> rustix::io::Result<usize> {
        match self {
            Owner::Open(file) => flistxattr(file, names),
            Owner::Named(path) => llistxattr(path.as_c_str(), names),
        }
    }

    /// Sets an attribute.
    pub(crate) fn set(&self, xattr: &Xattr) -> rustix::io::Result<()> {
        match self {
            Owner::Open(file) => fsetxattr(file, xattr.name.as_c_str(), &xattr.value, XattrFlags::empty()),
            Owner::Named(path) => lsetxattr(
                path.as_c_str(),
                xattr.name.as_c_str(),
                &xattr.value,
                XattrFlags::empty(),
            ),
        }
    }

    /// Removes an attribute that may not be there.
    pub(crate) fn remove(&self, name: &CStr) -> rustix::io::Result<()> {
        let removed = match self {
            Owner::Open(file) => fremovexattr(file, name),
            Owner::Named(path) => lremovexattr(path.as_c_str(), name),
        };
        match removed {
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
            other => other,
        }
    }

    /// Whether there is an attribute of this name that isn't empty.
    pub(crate) fn has(&self, name: &CStr) -> bool {
        let size = match self {
            Owner::Open(file) => fgetxattr_query(file, name),
            Owner::Named(path) => lgetxattr_query(path.as_c_str(), name),
        };
        size.is_ok_and(|bytes| bytes > 0)
    }
}

/// Reads attributes; keeps its memory from one entry to the next.
#[derive(Debug)]
pub(crate) struct XattrReader {
    names: Vec<u8>,
    value: Vec<u8>,
}

impl XattrReader {
    pub(crate) fn new() -> Self {
        XattrReader {
            names: vec![0; LIMIT_BYTES],
            value: vec![0; LIMIT_BYTES],
        }
    }

    /// The attributes that can be read, sorted by name, and what kept others from it. None where the
    /// file system has none.
    pub(crate) fn read(&mut self, owner: &Owner<'_>) -> (Vec<Xattr>, Option<io::Error>) {
        let length = match owner.list(&mut self.names) {
            Ok(length) => length,
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => 0,
            Err(error) => return (Vec::new(), Some(error.into())),
        };
        let mut xattrs = Vec::new();
        let mut failure = None;
        let mut total = 0;
        for name in self.names[..length].split_inclusive(|b| *b == 0) {
            let Ok(name) = CStr::from_bytes_with_nul(name) else {
                continue;
            };
            let size = match owner.get(name, &mut self.value) {
                Ok(size) => size,
                // It was removed since the list was made.
                Err(Errno::NODATA) => continue,
                Err(error) => {
                    failure = Some(error.into());
                    continue;
                }
            };
            total += size + name.to_bytes().len() * 3 + 40;
            if total > MAX_BYTES {
                failure = Some(io::Error::new(
                    io::ErrorKind::FileTooLarge,
                    "they have more than 15 MiB",
                ));
                break;
            }
            xattrs.push(Xattr {
                name: name.to_owned(),
                value: self.value[..size].to_vec(),
            });
        }
        xattrs.sort_unstable();
        (xattrs, failure)
    }
}
