//! Hashes of content from the run before, so that a file which hasn't changed need not be read again.
//!
//! One file for each tree, in the order of a walk: so it is read and written from start to end, and takes no memory.
//! It proves itself by a hash at its end. If it is damaged, of another version or gone, all is read again.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Seek as _, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use backstay_model::{Error, Result};
use blake3::{Hash, Hasher};

use crate::tree::compare::order;
use crate::tree::copy::state::State;
use crate::tree::path::MAX_PATH_BYTES;

/// What the file begins with.
const HEAD: &[u8; 16] = b"backstay-hashes1";

/// Bytes of a hash.
const HASH_BYTES: u64 = 32;

/// A file that changed so shortly before it was read may change again and show the same time, in nanoseconds. The
/// coarsest times in use are those of FAT, which count two seconds.
const RECENT: u64 = 3_000_000_000;

/// Hashes that are known from the run before.
pub(super) struct Known {
    records: Option<BufReader<std::io::Take<File>>>,
    next: Option<Record>,
}

struct Record {
    path: Vec<u8>,
    state: State,
    hash: Hash,
}

impl Known {
    /// Opens what was remembered. What can't be used is as if it wasn't there.
    pub(super) fn open(path: Option<&Path>) -> Self {
        let records = path.and_then(|path| proved(path).ok().flatten());
        let mut known = Known { records, next: None };
        known.advance();
        known
    }

    /// The hash of a file that is what it was. Paths must come in the order of a walk.
    pub(super) fn find(&mut self, path: &[u8], state: &State) -> Option<Hash> {
        use std::cmp::Ordering;
        while let Some(next) = &self.next {
            match order(&next.path, path) {
                Ordering::Less => self.advance(),
                Ordering::Equal => return (next.state == *state).then_some(next.hash),
                Ordering::Greater => return None,
            }
        }
        None
    }

    fn advance(&mut self) {
        self.next = self.records.as_mut().and_then(|records| record(records).ok());
    }
}

/// The records of a file that is whole.
fn proved(path: &Path) -> std::io::Result<Option<BufReader<std::io::Take<File>>>> {
    let mut file = File::open(path)?;
    let Some(bytes) = file.metadata()?.len().checked_sub(HASH_BYTES) else {
        return Ok(None);
    };
    let mut hasher = Hasher::new();
    hasher.update_reader((&mut file).take(bytes))?;
    let mut said = [0; HASH_BYTES as usize];
    file.read_exact(&mut said)?;
    let mut head = [0; HEAD.len()];
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut head)?;
    let is_whole = Hash::from_bytes(said) == hasher.finalize() && head == *HEAD;
    let records = bytes.checked_sub(HEAD.len() as u64).filter(|_| is_whole);
    Ok(records.map(|bytes| BufReader::new(file.take(bytes))))
}

fn record(from: &mut impl Read) -> std::io::Result<Record> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_PATH_BYTES {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    let mut path = vec![0; length];
    from.read_exact(&mut path)?;
    let state = State::read(from)?;
    let mut hash = [0; HASH_BYTES as usize];
    from.read_exact(&mut hash)?;
    Ok(Record {
        path,
        state,
        hash: Hash::from_bytes(hash),
    })
}

/// Hashes for the next run.
pub(super) struct Remembered(Option<Writing>);

struct Writing {
    out: BufWriter<File>,
    hasher: Hasher,
    partial: PathBuf,
    path: PathBuf,
    /// What changed since then isn't remembered.
    before: u64,
}

impl Remembered {
    pub(super) fn create(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else {
            return Ok(Remembered(None));
        };
        let partial = path.with_extension("partial");
        let create = || {
            if let Some(directory) = path.parent() {
                fs::create_dir_all(directory)?;
            }
            let mut options = fs::OpenOptions::new();
            let options = options.write(true).create(true).truncate(true).mode(0o600);
            let file = options.open(&partial)?;
            file.set_modified(std::time::UNIX_EPOCH)?;
            let now = file.metadata()?;
            let now = u64::try_from(now.ctime())
                .unwrap_or(0)
                .saturating_mul(1_000_000_000);
            Ok((file, now.saturating_sub(RECENT)))
        };
        let (file, before) = create().map_err(|e| Error::io("write hashes to", &partial, e))?;
        let mut writing = Writing {
            out: BufWriter::new(file),
            hasher: Hasher::new(),
            partial,
            path: path.to_owned(),
            before,
        };
        writing
            .push(HEAD)
            .map_err(|e| Error::io("write hashes to", path, e))?;
        Ok(Remembered(Some(writing)))
    }

    /// Paths must come in the order of a walk. If it fails, the next run reads more than it must.
    pub(super) fn put(&mut self, path: &[u8], state: &State, hash: &Hash) {
        let Some(writing) = self.0.as_mut().filter(|writing| state.changed() < writing.before) else {
            return;
        };
        if writing.record(path, state, hash).is_err() {
            // What is left of it is written over next time.
            let _ = fs::remove_file(&writing.partial);
            self.0 = None;
        }
    }

    /// Keeps what is known of all that comes after the last path.
    pub(super) fn keep(&mut self, mut known: Known) {
        while let Some(Record { path, state, hash }) = known.next.take() {
            self.put(&path, &state, &hash);
            known.advance();
        }
    }

    /// Puts them where the next run finds them. If that fails, the next run reads more than it must.
    pub(super) fn finish(self) {
        let Some(Writing {
            mut out,
            hasher,
            partial,
            path,
            ..
        }) = self.0
        else {
            return;
        };
        let written = out
            .write_all(hasher.finalize().as_bytes())
            .and_then(|()| out.flush());
        if written.and_then(|()| fs::rename(&partial, &path)).is_err() {
            // What is left of it is written over next time.
            let _ = fs::remove_file(&partial);
        }
    }
}

impl Writing {
    fn record(&mut self, path: &[u8], state: &State, hash: &Hash) -> std::io::Result<()> {
        let length = u32::try_from(path.len()).map_err(|_| std::io::ErrorKind::InvalidInput)?;
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend_from_slice(path);
        state.write(&mut bytes)?;
        bytes.extend_from_slice(hash.as_bytes());
        self.push(&bytes)
    }

    fn push(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.hasher.update(bytes);
        self.out.write_all(bytes)
    }
}
