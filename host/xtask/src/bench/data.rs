//! Files to back up: a third each of words, of records with numbers that repeat, and of noise. Always the same ones.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;

use anyhow::{Context, Result};

/// A generator of numbers that look random: xorshift64*.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 16) % limit
    }
}

/// What a file is like.
#[derive(Clone, Copy)]
enum Kind {
    Words,
    Records,
    Noise,
}

const KINDS: [Kind; 3] = [Kind::Words, Kind::Records, Kind::Noise];

/// Bytes that are made at a time.
const PIECE_BYTES: usize = 256 << 10;

/// Makes files of 64 to 256 MB in `directory`, together of `bytes`.
pub(super) fn large_files(directory: &Path, bytes: u64) -> Result<()> {
    std::fs::create_dir_all(directory)?;
    let mut maker = Maker::new();
    let (mut left, mut index) = (bytes, 0);
    while left > 0 {
        let size = (64_000_000 + maker.numbers.below(192_000_000)).min(left);
        maker.file(
            &directory.join(format!("{index:04}.bin")),
            KINDS[index % KINDS.len()],
            size,
        )?;
        left -= size;
        index += 1;
    }
    Ok(())
}

/// Makes `count` files in directories of 100 each: most of a few hundred bytes to a few kilobytes, some of up to
/// 64 KiB. Returns the bytes in them.
pub(super) fn small_files(directory: &Path, count: u64) -> Result<u64> {
    let mut maker = Maker::new();
    let mut total = 0;
    for index in 0..count {
        let below = directory.join(format!("{:02}/{:02}", index / 10_000, index / 100 % 100));
        if index % 100 == 0 {
            std::fs::create_dir_all(&below)?;
        }
        let octave = maker.numbers.below(9);
        let size = (1 << (7 + octave)) + maker.numbers.below(1 << (7 + octave));
        let kind = KINDS[usize::try_from(maker.numbers.below(3))?];
        maker.file(&below.join(format!("file-{index:06}.txt")), kind, size)?;
        total += size;
    }
    Ok(total)
}

/// Makes a directory with one file of one byte.
pub(super) fn one_byte(directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory)?;
    let file = directory.join("byte");
    std::fs::write(&file, "1").with_context(|| format!("can't write {}", file.display()))
}

/// Reads everything once, so that it is in the cache as far as the cache goes.
pub(super) fn warm(directory: &Path) -> Result<()> {
    let mut buffer = vec![0; 1 << 20];
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            warm(&entry.path())?;
        } else {
            // A server that runs removes files of its own.
            match File::open(entry.path()) {
                Ok(mut file) => while file.read(&mut buffer)? > 0 {},
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
    Ok(())
}

/// Bytes of all files below.
pub(super) fn size(directory: &Path) -> Result<u64> {
    let mut total = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        total += if entry.file_type()?.is_dir() {
            size(&entry.path())?
        } else {
            entry.metadata()?.len()
        };
    }
    Ok(total)
}

struct Maker {
    numbers: Numbers,
    words: Vec<Vec<u8>>,
    piece: Vec<u8>,
}

impl Maker {
    fn new() -> Self {
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
        let mut word = || {
            let letters = 2 + numbers.below(9);
            let mut word: Vec<u8> = (0..letters).map(|_| b'a' + (numbers.below(26) as u8)).collect();
            word.push(b' ');
            word
        };
        let words = (0..4096).map(|_| word()).collect();
        Maker {
            numbers,
            words,
            piece: Vec::with_capacity(PIECE_BYTES + 64),
        }
    }

    fn file(&mut self, path: &Path, kind: Kind, bytes: u64) -> Result<()> {
        let failed = || format!("can't write {}", path.display());
        let mut file = File::create(path).with_context(failed)?;
        let mut left = bytes;
        while left > 0 {
            let wanted = usize::try_from(left.min(PIECE_BYTES as u64))?;
            self.fill(kind, wanted);
            file.write_all(&self.piece[..wanted]).with_context(failed)?;
            left -= wanted as u64;
        }
        Ok(())
    }

    /// Makes at least `wanted` bytes.
    fn fill(&mut self, kind: Kind, wanted: usize) {
        self.piece.clear();
        while self.piece.len() < wanted {
            let number = self.numbers.next();
            match kind {
                Kind::Words => {
                    // Frequent words first, as in a language.
                    let rank = (number >> 16) & 0xfff;
                    let word = &self.words[((rank * ((number >> 40) & 0xfff)) >> 12) as usize];
                    self.piece.extend_from_slice(word);
                }
                Kind::Records => {
                    self.piece.extend_from_slice(b"\x01\0\0\0\x10\0\0\0");
                    self.piece.extend_from_slice(&(number >> 40).to_le_bytes());
                    self.piece.extend_from_slice(&(number & 0x0f0f).to_le_bytes());
                }
                Kind::Noise => self.piece.extend_from_slice(&number.to_le_bytes()),
            }
        }
    }
}
