//! One entry from its header, pax records and long names.

use std::collections::BTreeMap;
use std::ffi::CString;

use ::tar::Header;
use backstay_model::error::show_bytes;

use crate::tree::entry::{Entry, Kind, Time, Xattr};
use crate::tree::field;
use crate::tree::path::{self, MAX_PATH_BYTES};
use crate::tree::pax;
use crate::tree::sparse::{self, MAX_SEGMENTS, Segment};

/// What came before the header of an entry and belongs to it.
#[derive(Debug, Default)]
pub(crate) struct Extensions {
    pub(crate) pax: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
}

impl Extensions {
    pub(crate) fn is_empty(&self) -> bool {
        self.pax.is_empty() && self.path.is_none() && self.link.is_none()
    }
}

/// Where the map of a file with holes is.
#[derive(Debug)]
pub(crate) enum Map {
    /// It has none.
    None,
    /// It is complete.
    Known(Vec<Segment>),
    /// It begins with these and goes on in blocks after the header.
    Extended(Vec<Segment>),
    /// It is at the start of the content.
    InContent,
}

#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) entry: Entry,
    pub(crate) stored_bytes: u64,
    pub(crate) map: Map,
    pub(crate) foreign: Vec<String>,
}

/// The pax records that count.
#[derive(Debug, Default)]
struct Records {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<Time>,
    xattrs: Vec<Xattr>,
    foreign: Vec<String>,
    sparse_name: Option<Vec<u8>>,
    sparse_size: Option<u64>,
    sparse_version: (Option<u64>, Option<u64>),
    sparse_list: Option<Vec<u8>>,
    sparse_offset: Option<u64>,
    sparse_segments: Option<Vec<Segment>>,
}

type Fault = String;

impl Records {
    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        if let Some(name) = pax::xattr_name(key) {
            let shown = show_bytes(&name);
            let name = CString::new(name).ok().filter(|name| !name.is_empty());
            let name = name.ok_or_else(|| format!("has an attribute with the impossible name `{shown}`"))?;
            self.xattrs.push(Xattr {
                name,
                value: value.to_vec(),
            });
            return Ok(());
        }
        if key.starts_with(b"SCHILY.acl.")
            || key.starts_with(b"LIBARCHIVE.xattr.")
            || key == b"RHT.security.selinux"
        {
            self.foreign.push(show_bytes(key));
            return Ok(());
        }
        let fault = || {
            format!(
                "has the impossible value `{}` for {}",
                show_bytes(value),
                show_bytes(key)
            )
        };
        let number = || {
            if value.is_empty() {
                Ok(None)
            } else {
                pax::decimal(value).map(Some).ok_or_else(fault)
            }
        };
        let id = || {
            number()?
                .map(|id| u32::try_from(id).map_err(|_| fault()))
                .transpose()
        };
        // No value takes back what a global header said.
        let text = || (!value.is_empty()).then(|| value.to_vec());
        match key {
            b"path" => self.path = text(),
            b"linkpath" => self.link = text(),
            b"size" => self.size = number()?,
            b"uid" => self.uid = id()?,
            b"gid" => self.gid = id()?,
            b"mtime" if value.is_empty() => self.mtime = None,
            b"mtime" => self.mtime = Some(Time::parse(value).ok_or_else(fault)?),
            b"GNU.sparse.name" => self.sparse_name = text(),
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => self.sparse_size = number()?,
            b"GNU.sparse.major" => self.sparse_version.0 = number()?,
            b"GNU.sparse.minor" => self.sparse_version.1 = number()?,
            b"GNU.sparse.map" => self.sparse_list = Some(value.to_vec()),
            b"GNU.sparse.offset" => self.sparse_offset = number()?,
            b"GNU.sparse.numbytes" => {
                let bytes = number()?.ok_or_else(fault)?;
                let offset = self.sparse_offset.take().ok_or_else(fault)?;
                let segments = self.sparse_segments.get_or_insert_default();
                if segments.len() == MAX_SEGMENTS {
                    return Err(fault());
                }
                segments.push(Segment { offset, bytes });
            }
            _ => {}
        }
        Ok(())
    }
}

/// Puts an entry together.
///
/// # Errors
/// What is wrong with it, to be said after "it".
pub(crate) fn decode(
    header: &Header,
    size: u64,
    global: &BTreeMap<Vec<u8>, Vec<u8>>,
    extensions: Extensions,
) -> Result<Decoded, Fault> {
    let mut records = Records::default();
    let local = extensions.pax.iter().map(|(key, value)| (key, value));
    for (key, value) in global.iter().chain(local) {
        records.take(key, value)?;
    }
    // Of several with one name the last counts.
    records.xattrs.reverse();
    records.xattrs.sort_by(|a, b| a.name.cmp(&b.name));
    records.xattrs.dedup_by(|a, b| a.name == b.name);
    let named = (records.sparse_name.take())
        .or(records.path.take())
        .or(extensions.path)
        .unwrap_or_else(|| header.path_bytes().into_owned());
    let path = path::normalise(&named).map_err(|why| refused("a path", &named, why))?;
    let kind = kind(header, &named)?;
    let old = header.as_old();

    let link = match kind {
        Kind::Symlink | Kind::Hardlink => (records.link.take())
            .or(extensions.link)
            .or_else(|| header.link_name_bytes().map(|link| link.into_owned()))
            .unwrap_or_default(),
        _ => Vec::new(),
    };
    let link = match kind {
        Kind::Hardlink => {
            path::normalise(&link).map_err(|why| refused("a hard link's target", &link, why))?
        }
        Kind::Symlink if link.is_empty() || link.contains(&0) || link.len() > MAX_PATH_BYTES => {
            return Err(refused("a symbolic link's target", &link, "can't be one"));
        }
        _ => link,
    };

    // A hard link has no content, whatever its header says.
    let stored_bytes = if kind == Kind::Hardlink {
        0
    } else {
        records.size.unwrap_or(size)
    };
    if stored_bytes > i64::MAX as u64 - 1024 {
        return Err("has an entry of impossible size".to_owned());
    }
    let (map, real_size) = if kind == Kind::File {
        map(header, &mut records)?
    } else {
        (Map::None, None)
    };
    let file_bytes = real_size.unwrap_or(stored_bytes);
    if i64::try_from(file_bytes).is_err() {
        return Err("has an entry of impossible size".to_owned());
    }
    let device = match kind {
        Kind::Character | Kind::Block => device(header)?,
        _ => (0, 0),
    };
    let entry = Entry {
        path,
        kind,
        mode: number::<u32>(&old.mode, "mode")? & 0o7777,
        uid: owner(records.uid, &old.uid)?,
        gid: owner(records.gid, &old.gid)?,
        mtime: match records.mtime {
            Some(mtime) => mtime,
            None => Time {
                seconds: number(&old.mtime, "time")?,
                nanoseconds: 0,
            },
        },
        size: if kind == Kind::File { file_bytes } else { 0 },
        link,
        device,
        xattrs: records.xattrs,
    };
    Ok(Decoded {
        entry,
        stored_bytes,
        map,
        foreign: records.foreign,
    })
}

fn kind(header: &Header, named: &[u8]) -> Result<Kind, Fault> {
    Ok(match header.as_old().linkflag[0] {
        // Archives from before there were types tell directories by their slash.
        b'0' | 0 | b'7' if named.ends_with(b"/") => Kind::Directory,
        b'0' | 0 | b'7' | b'S' => Kind::File,
        b'1' => Kind::Hardlink,
        b'2' => Kind::Symlink,
        b'3' => Kind::Character,
        b'4' => Kind::Block,
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        other => {
            return Err(format!(
                "has an entry of the unknown type `{}`",
                show_bytes(&[other])
            ));
        }
    })
}

/// The map of a file with holes, and its size.
fn map(header: &Header, records: &mut Records) -> Result<(Map, Option<u64>), Fault> {
    let damaged = || "has a damaged map of holes".to_owned();
    if header.as_old().linkflag[0] == b'S' {
        let gnu = header.as_gnu().ok_or_else(damaged)?;
        let mut segments = Vec::new();
        sparse::parse_old(&gnu.sparse, &mut segments).ok_or_else(damaged)?;
        let size = Some(number(&gnu.realsize, "size")?);
        return Ok((
            if gnu.is_extended() {
                Map::Extended(segments)
            } else {
                Map::Known(segments)
            },
            size,
        ));
    }
    let size = records.sparse_size;
    let map = match (
        records.sparse_version,
        records.sparse_list.take(),
        records.sparse_segments.take(),
    ) {
        ((Some(1), Some(0)), None, None) => Map::InContent,
        ((None, None) | (Some(0), _), Some(list), None) => {
            Map::Known(sparse::parse_list(&list).ok_or_else(damaged)?)
        }
        ((None, None) | (Some(0), _), None, Some(segments)) => Map::Known(segments),
        ((None, None), None, None) if size.is_none() => return Ok((Map::None, None)),
        _ => return Err("has a map of holes in an unknown form".to_owned()),
    };
    if size.is_none() {
        return Err(damaged());
    }
    Ok((map, size))
}

fn device(header: &Header) -> Result<(u32, u32), Fault> {
    match (header.as_ustar(), header.as_gnu()) {
        (Some(ustar), _) => Ok((
            number(&ustar.dev_major, "device")?,
            number(&ustar.dev_minor, "device")?,
        )),
        (_, Some(gnu)) => Ok((
            number(&gnu.dev_major, "device")?,
            number(&gnu.dev_minor, "device")?,
        )),
        _ => Err("has a device without numbers".to_owned()),
    }
}

/// A user or a group. The largest number means "nobody" to the system calls.
fn owner(record: Option<u32>, field: &[u8]) -> Result<u32, Fault> {
    let id = match record {
        Some(id) => id,
        None => number(field, "owner")?,
    };
    if id == u32::MAX {
        Err("has an entry of impossible owner".to_owned())
    } else {
        Ok(id)
    }
}

fn number<T: TryFrom<i64>>(field: &[u8], what: &str) -> Result<T, Fault> {
    field::get(field)
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| format!("has an entry of impossible {what}"))
}

fn refused(what: &str, path: &[u8], why: &str) -> Fault {
    let mut shown = show_bytes(&path[..path.len().min(200)]);
    if path.len() > 200 {
        shown.push('…');
    }
    format!("names {what} that {why}: `{shown}`")
}
