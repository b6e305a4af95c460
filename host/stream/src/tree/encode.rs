//! Entries as headers of a POSIX pax archive.

use ::tar::{EntryType, Header};

use crate::tree::entry::{Entry, Kind, ROOT};
use crate::tree::field;
use crate::tree::path;
use crate::tree::pax;
use crate::tree::sparse::{self, Segment};

/// Bytes of a block, of which an archive is made.
pub(crate) const BLOCK: usize = 512;

/// What an archive ends with.
pub(crate) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// The largest numbers that octal has room for.
const OCTAL_7: i64 = 0o7_777_777;
const OCTAL_11: i64 = 0o77_777_777_777;

/// Bytes of a name that a header has room for.
const NAME_BYTES: usize = 100;

/// Appends all that comes before the content of an entry: pax header, header, and the map of a file
/// with holes. Returns how many bytes of content follow.
pub(crate) fn encode(entry: &Entry, segments: Option<&[Segment]>, out: &mut Vec<u8>) -> u64 {
    let map = segments.map(|segments| {
        let mut map = sparse::encode(segments);
        map.resize(map.len().next_multiple_of(BLOCK), 0);
        map
    });
    let content_bytes = match segments {
        Some(segments) => sparse::data_bytes(segments),
        None => entry.size,
    };
    let stored = number(content_bytes + map.as_ref().map_or(0, |m| m.len() as u64));
    let mut name = if entry.path == ROOT {
        b"./".to_vec()
    } else {
        entry.path.clone()
    };
    if entry.kind == Kind::Directory && entry.path != ROOT {
        name.push(b'/');
    }
    let (_, base) = path::split(&entry.path);

    let mut records = Vec::new();
    if map.is_some() {
        pax::append(&mut records, b"GNU.sparse.major", b"1");
        pax::append(&mut records, b"GNU.sparse.minor", b"0");
        pax::append(&mut records, b"GNU.sparse.name", &name);
        pax::append(
            &mut records,
            b"GNU.sparse.realsize",
            entry.size.to_string().as_bytes(),
        );
        name = [b"GNUSparseFile.0/", base].concat();
    } else if name.len() > NAME_BYTES {
        pax::append(&mut records, b"path", &name);
    }
    if entry.link.len() > NAME_BYTES {
        pax::append(&mut records, b"linkpath", &entry.link);
    }
    if stored > OCTAL_11 {
        pax::append(&mut records, b"size", stored.to_string().as_bytes());
    }
    for (key, id) in [(b"uid", entry.uid), (b"gid", entry.gid)] {
        if i64::from(id) > OCTAL_7 {
            pax::append(&mut records, key, id.to_string().as_bytes());
        }
    }
    if entry.mtime.nanoseconds != 0 || !(0..=OCTAL_11).contains(&entry.mtime.seconds) {
        pax::append(&mut records, b"mtime", entry.mtime.to_string().as_bytes());
    }
    for xattr in &entry.xattrs {
        pax::append_xattr(&mut records, xattr.name.to_bytes(), &xattr.value);
    }

    if !records.is_empty() {
        let name = [b"PaxHeaders.0/", base].concat();
        let head = Fields {
            name: &name,
            mode: 0o644,
            size: records.len() as i64,
            ..Fields::default()
        };
        out.extend_from_slice(head.header(EntryType::XHeader).as_bytes());
        out.extend_from_slice(&records);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
    }
    let head = Fields {
        name: &name,
        link: &entry.link,
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        size: stored,
        mtime: entry.mtime.seconds,
        device: entry.device,
    };
    out.extend_from_slice(head.header(type_of(entry.kind)).as_bytes());
    out.extend_from_slice(map.as_deref().unwrap_or_default());
    content_bytes
}

/// Zeros that fill the last block of some bytes.
pub(crate) fn padding_bytes(content_bytes: u64) -> usize {
    let over = content_bytes % BLOCK as u64;
    if over == 0 { 0 } else { BLOCK - over as usize }
}

/// The checksum that a header must have: the sum of its bytes, with spaces for the checksum itself.
pub(crate) fn checksum(header: &[u8; BLOCK]) -> i64 {
    let sum = |bytes: &[u8]| bytes.iter().map(|b| u32::from(*b)).sum::<u32>();
    i64::from(sum(&header[..148]) + 8 * u32::from(b' ') + sum(&header[156..]))
}

fn type_of(kind: Kind) -> EntryType {
    match kind {
        Kind::File => EntryType::Regular,
        Kind::Directory => EntryType::Directory,
        Kind::Symlink => EntryType::Symlink,
        Kind::Hardlink => EntryType::Link,
        Kind::Fifo => EntryType::Fifo,
        Kind::Character => EntryType::Char,
        Kind::Block => EntryType::Block,
    }
}

fn number(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[derive(Default)]
struct Fields<'a> {
    name: &'a [u8],
    link: &'a [u8],
    mode: u32,
    uid: u32,
    gid: u32,
    size: i64,
    mtime: i64,
    device: (u32, u32),
}

impl Fields<'_> {
    fn header(&self, entry_type: EntryType) -> Header {
        let mut header = Header::new_ustar();
        let old = header.as_old_mut();
        copy(&mut old.name, self.name);
        copy(&mut old.linkname, self.link);
        field::put(&mut old.mode, i64::from(self.mode));
        field::put(&mut old.uid, i64::from(self.uid));
        field::put(&mut old.gid, i64::from(self.gid));
        field::put(&mut old.size, self.size);
        field::put(&mut old.mtime, self.mtime);
        if let Some(ustar) = header.as_ustar_mut() {
            field::put(&mut ustar.dev_major, i64::from(self.device.0));
            field::put(&mut ustar.dev_minor, i64::from(self.device.1));
        }
        header.set_entry_type(entry_type);
        let sum = checksum(header.as_bytes());
        header
            .as_old_mut()
            .cksum
            .copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        header
    }
}

/// Copies as much as there is room for: what is longer has a pax record.
fn copy(field: &mut [u8], value: &[u8]) {
    let n = value.len().min(field.len());
    field[..n].copy_from_slice(&value[..n]);
}
