//! Builds a tree that breaks careless backup tools. Needs root, for device nodes, owners and `trusted.*` attributes.
//!
//! Two trees of one [`Size`] are alike but for the times that aren't set on purpose. It holds no sockets: nothing
//! can restore those.

mod metadata;
mod places;

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::fail::OrFail;
use crate::tools;

/// How big the hostile tree gets. The default is quick to make: 20 small files, a 10 GiB sparse file that stores
/// about 12 KiB, a path of 4000 bytes and 300 levels.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    small_files: u32,
    sparse_bytes: u64,
    path_bytes: usize,
    depth: usize,
}

impl Default for Size {
    fn default() -> Self {
        Size {
            small_files: 20,
            sparse_bytes: 10 << 30,
            path_bytes: 4000,
            depth: 300,
        }
    }
}

impl Size {
    /// How many small files of up to 5000 bytes there are, 100 to a directory.
    pub fn small_files(self, count: u32) -> Self {
        Size {
            small_files: count,
            ..self
        }
    }

    /// The length of the big sparse file, at least 1 MiB.
    pub fn sparse_bytes(self, bytes: u64) -> Self {
        Size {
            sparse_bytes: bytes.max(1 << 20),
            ..self
        }
    }

    /// The length of the longest path, relative to the tree's root. It may be above the kernel's 4096 for one call.
    pub fn path_bytes(self, bytes: usize) -> Self {
        Size {
            path_bytes: bytes,
            ..self
        }
    }

    /// How many directories lie in one another.
    pub fn depth(self, levels: usize) -> Self {
        Size {
            depth: levels,
            ..self
        }
    }
}

/// Fills `directory`, which must exist and be empty, with the hostile tree.
///
/// # Panics
/// Not root, `setfacl` is missing, or the file system can't hold such a tree.
#[track_caller]
pub fn hostile(directory: &Path, size: Size) {
    tools::require_root("to make device nodes, owners and trusted.* attributes");
    tools::require(&["setfacl"]);
    names(directory);
    places::long_path(directory, size.path_bytes);
    places::deep_path(directory, size.depth);
    contents(directory, size.sparse_bytes);
    places::links(directory);
    places::special_files(directory);
    small_files(directory, size.small_files);
    // Last, because adding an entry changes a directory's time.
    metadata::all(directory);
}

/// The odd names of the hostile tree: each is a file in the directory `names`, and each second one a directory too.
pub const NAMES: [&[u8]; 24] = [
    b"with space",
    b" leading and trailing ",
    b"new\nline",
    b"\n",
    b"tab\tand\x01control\x7f",
    b"not-utf8-\xff\xfe\x80",
    b"\xc3\x28",
    b"-rf",
    b"--help",
    b"-",
    b"--",
    b"--exclude=*",
    b"@file",
    b"'single' \"double\" `true` $(true) $HOME",
    b"; true | true & true",
    b"*?[a-z]{x,y}!#",
    b"back\\slash\\n",
    b".hidden",
    b"...",
    b"trailing-dot.",
    b"C:colon",
    "composed-\u{fc}".as_bytes(),
    "decomposed-u\u{308}".as_bytes(),
    &[b'n'; 255],
];

fn names(root: &Path) {
    let directory = directory(root, b"names");
    for name in NAMES {
        file(&directory, name, name);
    }
    let nested = self::directory(root, b"-names of directories\n\xff");
    for name in NAMES.iter().step_by(2) {
        file(&self::directory(&nested, name), name, b"in an odd directory");
    }
}

fn contents(root: &Path, sparse_bytes: u64) {
    file(root, b"empty", b"");
    file(root, b"one-byte", b"x");
    file(root, b"block-exactly", &noise(4096, 1));
    file(root, b"tar-block-exactly", &noise(512, 2));
    file(root, b"megabyte-and-one", &noise((1 << 20) + 1, 3));
    file(root, b"zeros-written", &[0; 100_000]);
    directory(root, b"empty-directory");

    let sparse = sparse_file(root, b"sparse-big", sparse_bytes);
    for offset in [0, sparse_bytes / 2 / 4096 * 4096, sparse_bytes - 5000] {
        sparse
            .write_all_at(&noise(4096, offset), offset)
            .or_fail("write into a sparse file");
    }
    sparse_file(root, b"sparse-hole-only", 1 << 30);
    let many = sparse_file(root, b"sparse-many", 200 << 16);
    for piece in 0..200 {
        many.write_all_at(&noise(4096, piece), piece << 16)
            .or_fail("write into a sparse file");
    }
}

fn small_files(root: &Path, count: u32) {
    let all = directory(root, b"small");
    for start in (0..count).step_by(100) {
        let hundred = directory(&all, format!("{start:07}").as_bytes());
        for number in start..count.min(start + 100) {
            let bytes = usize::try_from(u64::from(number) * 7919 % 5000).or_fail("size a small file");
            file(
                &hundred,
                format!("file-{number:07}").as_bytes(),
                &noise(bytes, number.into()),
            );
        }
    }
}

fn sparse_file(parent: &Path, name: &[u8], bytes: u64) -> File {
    let path = path(parent, name);
    let file = File::create(&path).or_fail(format!("make {}", path.display()));
    file.set_len(bytes).or_fail("set the length of a sparse file");
    file
}

fn path(parent: &Path, name: &[u8]) -> PathBuf {
    parent.join(OsStr::from_bytes(name))
}

fn file(parent: &Path, name: &[u8], content: &[u8]) -> PathBuf {
    let path = path(parent, name);
    std::fs::write(&path, content).or_fail(format!("write {}", path.display()));
    path
}

fn directory(parent: &Path, name: &[u8]) -> PathBuf {
    let path = path(parent, name);
    std::fs::create_dir(&path).or_fail(format!("make {}", path.display()));
    path
}

/// Bytes that don't compress, the same for the same seed (xorshift64).
pub(crate) fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(bytes);
    out
}
