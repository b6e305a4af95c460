//! The header of an age file, read with a bound before anything parses it: what is stored may be hostile.

use std::io::{self, BufRead, BufReader, Cursor, Read, Take};

use age::{DecryptError, Decryptor};

/// Longest header that is read, in bytes. A recipient takes about a hundred.
pub(crate) const MAX_HEADER_BYTES: usize = 64 << 10;

/// What every version of the format begins with.
const MAGIC: &[u8] = b"age-encryption.org/";

/// What the last line of a header begins with.
const LAST_LINE: &[u8] = b"--- ";

/// The last line has so many bytes: its beginning, 32 bytes in Base64, its end.
const LAST_LINE_BYTES: usize = LAST_LINE.len() + 43 + 1;

/// What is decrypted: the header again, then all that follows it.
pub(crate) type Input<R> = io::Chain<Cursor<Vec<u8>>, Take<BufReader<R>>>;

/// Reads the header of an age file.
///
/// # Errors
/// The input can't be read, is no age file, or has a header longer than [`MAX_HEADER_BYTES`].
pub(crate) fn decryptor<R: Read>(input: R) -> Result<Decryptor<Input<R>>, DecryptError> {
    let mut input = BufReader::new(input);
    let mut header = Vec::new();
    let is_whole = loop {
        let start = header.len();
        let room = (MAX_HEADER_BYTES - start) as u64;
        let n = input.by_ref().take(room).read_until(b'\n', &mut header)?;
        if header[start..].starts_with(LAST_LINE) {
            break n == LAST_LINE_BYTES;
        }
        if n == 0 {
            break false;
        }
    };
    if !is_whole && header.len() == MAX_HEADER_BYTES && header.starts_with(MAGIC) {
        let message = format!("its header doesn't end within {} KiB", MAX_HEADER_BYTES >> 10);
        return Err(io::Error::new(io::ErrorKind::InvalidData, message).into());
    }
    // What isn't whole is refused for what it is, and nothing more is read for it.
    let rest = input.take(if is_whole { u64::MAX } else { 0 });
    Decryptor::new_buffered(Cursor::new(header).chain(rest))
}
