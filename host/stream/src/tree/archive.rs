//! Reads the headers and contents of a tar archive, and believes nothing it says.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read};

use ::tar::Header;
use backstay_model::error::{from_io, show_bytes};
use backstay_model::{Code, Error, Result};

use crate::context::Context;
use crate::tree::encode::{BLOCK, checksum, padding_bytes};
use crate::tree::entry::Entry;
use crate::tree::field;
use crate::tree::path::MAX_PATH_BYTES;
use crate::tree::pax::{self, MAX_PAX_BYTES};
use crate::tree::sparse::{self, MapReader, Segment};

mod decode;

use decode::{Extensions, Map};

/// Bytes to ask the reader for at a time.
const READ_BYTES: usize = 128 << 10;

/// Most bytes of records for all entries, against archives that make each small entry cost much time.
const MAX_GLOBAL_BYTES: usize = 64 << 10;

/// An entry of an archive.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) entry: Entry,
    /// Where the data of a file with holes is.
    pub(crate) segments: Option<Vec<Segment>>,
    /// Names of attributes that the archive has in a form that can't be restored.
    pub(crate) foreign: Vec<String>,
}

/// An archive that is being read.
pub(crate) struct Archive<'a, R> {
    reader: BufReader<R>,
    context: &'a Context,
    /// Of the content at hand.
    unread_bytes: u64,
    padding_bytes: usize,
    global: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The entry at hand, for messages.
    place: String,
}

impl<'a, R: Read> Archive<'a, R> {
    pub(crate) fn new(reader: R, context: &'a Context) -> Self {
        Archive {
            reader: BufReader::with_capacity(READ_BYTES, reader),
            context,
            unread_bytes: 0,
            padding_bytes: 0,
            global: BTreeMap::new(),
            place: "its start".to_owned(),
        }
    }

    /// The next entry; nothing once the archive's end was found and the reader was read to its own.
    ///
    /// # Errors
    /// [`Code::Archive`], naming the entry at hand: the archive ends early, is damaged, or has something
    /// in it that no honest archive has.
    pub(crate) fn next(&mut self) -> Result<Option<Member>> {
        self.skip_content()?;
        let mut extensions = Extensions::default();
        loop {
            self.context.cancel.check()?;
            let header = self.header()?;
            let Some(header) = header else {
                if !extensions.is_empty() {
                    return Err(self.fault("ends after a header that announces an entry"));
                }
                return self.end();
            };
            let type_flag = header.as_old().linkflag[0];
            let size = field::get(&header.as_old().size)
                .and_then(|size| u64::try_from(size).ok())
                .ok_or_else(|| self.fault("has an entry of impossible size"))?;
            match type_flag {
                b'x' => {
                    let records = self.extension(size, MAX_PAX_BYTES)?;
                    extensions.pax = self.records(&records)?;
                }
                b'g' => {
                    let records = self.extension(size, MAX_GLOBAL_BYTES as u64)?;
                    self.global.extend(self.records(&records)?);
                    let held: usize = self
                        .global
                        .iter()
                        .map(|(key, value)| key.len() + value.len())
                        .sum();
                    if held > MAX_GLOBAL_BYTES {
                        return Err(self.fault("has global headers that are too large"));
                    }
                }
                b'L' => extensions.path = Some(self.long_name(size)?),
                b'K' => extensions.link = Some(self.long_name(size)?),
                // The label of a volume.
                b'V' => {
                    self.set_content(size);
                    self.skip_content()?;
                }
                _ => return self.member(&header, size, extensions).map(Some),
            }
        }
    }

    /// Reads on in the content of the entry that [`Archive::next`] gave; 0 at its end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let wanted = usize::try_from(self.unread_bytes)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let n = self.read_some(&mut buffer[..wanted])?;
        if n == 0 && wanted > 0 {
            return Err(self.truncated());
        }
        self.unread_bytes -= n as u64;
        Ok(n)
    }

    /// Shows that something moves.
    ///
    /// # Errors
    /// Somebody cancelled.
    pub(crate) fn check(&self) -> Result<()> {
        self.context.meter.tick();
        self.context.cancel.check()
    }

    fn member(&mut self, header: &Header, size: u64, extensions: Extensions) -> Result<Member> {
        let mut decoded =
            decode::decode(header, size, &self.global, extensions).map_err(|why| self.fault(&why))?;
        self.place = show_bytes(&decoded.entry.path);
        self.set_content(decoded.stored_bytes);
        let segments = match std::mem::replace(&mut decoded.map, Map::None) {
            Map::None => None,
            Map::Known(segments) => Some(segments),
            Map::Extended(segments) => Some(self.old_map(segments)?),
            Map::InContent => Some(self.map_in_content()?),
        };
        if let Some(segments) = &segments
            && !sparse::is_sound(segments, decoded.entry.size, self.unread_bytes)
        {
            return Err(self.fault("has a map of holes that contradicts itself"));
        }
        Ok(Member {
            entry: decoded.entry,
            segments,
            foreign: decoded.foreign,
        })
    }

    /// The blocks of a map that come after a header in GNU's old format.
    fn old_map(&mut self, mut segments: Vec<Segment>) -> Result<Vec<Segment>> {
        loop {
            let mut block = [0; BLOCK];
            if self.read_full(&mut block)? < BLOCK {
                return Err(self.truncated());
            }
            let extension = sparse::old_extension(&block);
            sparse::parse_old(extension.sparse(), &mut segments)
                .ok_or_else(|| self.fault("has a damaged map of holes"))?;
            if !extension.is_extended() {
                return Ok(segments);
            }
        }
    }

    /// The map at the start of the content in GNU's format 1.0.
    fn map_in_content(&mut self) -> Result<Vec<Segment>> {
        let mut map = MapReader::default();
        loop {
            let mut block = [0; BLOCK];
            self.unread_bytes = (self.unread_bytes.checked_sub(BLOCK as u64))
                .ok_or_else(|| self.fault("has a map of holes that is longer than the entry"))?;
            if self.read_full(&mut block)? < BLOCK {
                return Err(self.truncated());
            }
            match map.take(&block) {
                None => return Err(self.fault("has a damaged map of holes")),
                Some(true) => return Ok(map.finish()),
                Some(false) => {}
            }
        }
    }

    fn set_content(&mut self, bytes: u64) {
        self.unread_bytes = bytes;
        self.padding_bytes = padding_bytes(bytes);
    }

    fn skip_content(&mut self) -> Result<()> {
        let mut scratch = vec![0; READ_BYTES.min(usize::try_from(self.unread_bytes).unwrap_or(usize::MAX))];
        while self.unread_bytes > 0 {
            self.read(&mut scratch)?;
        }
        let mut padding = [0; BLOCK];
        let bytes = std::mem::take(&mut self.padding_bytes);
        if self.read_full(&mut padding[..bytes])? < bytes {
            return Err(self.truncated());
        }
        Ok(())
    }

    /// The next header; nothing for a block of zeros.
    fn header(&mut self) -> Result<Option<Header>> {
        let mut header = Header::new_old();
        match self.read_full(header.as_mut_bytes())? {
            BLOCK => {}
            _ => return Err(self.truncated()),
        }
        let bytes = header.as_bytes();
        if bytes.iter().all(|b| *b == 0) {
            return Ok(None);
        }
        if field::get(&header.as_old().cksum) != Some(checksum(bytes)) {
            return Err(self.fault("has a header whose checksum is wrong"));
        }
        Ok(Some(header))
    }

    /// The second block of zeros, and whatever the reader gives after it.
    fn end(&mut self) -> Result<Option<Member>> {
        let mut block = [0; BLOCK];
        if self.read_full(&mut block)? < BLOCK {
            return Err(self.truncated());
        }
        if block.iter().any(|b| *b != 0) {
            return Err(self.fault("goes on after a block of zeros"));
        }
        let mut scratch = vec![0; READ_BYTES];
        while self.read_some(&mut scratch)? > 0 {}
        Ok(None)
    }

    fn extension(&mut self, size: u64, limit: u64) -> Result<Vec<u8>> {
        if size > limit {
            return Err(self.fault("has an extended header that is too large"));
        }
        self.set_content(size);
        let mut bytes = Vec::new();
        let mut scratch = [0; 4096];
        loop {
            let n = self.read(&mut scratch)?;
            if n == 0 {
                break;
            }
            bytes.extend_from_slice(&scratch[..n]);
        }
        self.skip_content()?;
        Ok(bytes)
    }

    fn long_name(&mut self, size: u64) -> Result<Vec<u8>> {
        let mut name = self.extension(size, MAX_PATH_BYTES as u64 + 1)?;
        if let Some(end) = name.iter().position(|b| *b == 0) {
            name.truncate(end);
        }
        Ok(name)
    }

    fn records(&self, bytes: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let records = pax::parse(bytes).ok_or_else(|| self.fault("has a damaged extended header"))?;
        Ok(records
            .into_iter()
            .map(|(key, value)| (key.to_vec(), value.to_vec()))
            .collect())
    }

    /// Fills the buffer unless the input ends before. Returns the bytes read.
    fn read_full(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            let n = self.read_some(&mut buffer[filled..])?;
            if n == 0 {
                break;
            }
            filled += n;
        }
        Ok(filled)
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            self.context.cancel.check()?;
            match self.reader.read(buffer) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(from_io(e, Code::Archive, "the archive could not be read")),
                Ok(n) => {
                    self.context.meter.tick();
                    return Ok(n);
                }
            }
        }
    }

    fn truncated(&self) -> Error {
        Error::new(
            Code::Archive,
            format!("the archive ends too early, at {}", self.place),
        )
        .hint("it was cut off when it was made or copied; use another copy or another backup")
    }

    /// An archive that is damaged or means harm.
    fn fault(&self, what: &str) -> Error {
        Error::new(
            Code::Archive,
            format!("the archive is damaged: at {} it {what}", self.place),
        )
        .hint("use another copy or another backup; do not trust this one")
    }
}
