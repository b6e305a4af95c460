//! Files with holes: where their data is, and how archives say so.

use std::os::fd::AsFd;

use ::tar::{GnuExtSparseHeader, GnuSparseHeader};
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use crate::tree::field;
use crate::tree::pax;

/// Most pieces of data in one file, against archives whose maps eat all memory. What comes after them
/// in a file that has more is stored with its holes filled.
pub const MAX_SEGMENTS: usize = 1 << 20;

/// A piece of data in a file with holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

/// Where the data of a file is. Nothing if it has no holes or the file system doesn't tell.
pub(crate) fn segments(file: impl AsFd, size: u64) -> rustix::io::Result<Option<Vec<Segment>>> {
    let mut segments: Vec<Segment> = Vec::new();
    let mut position = 0;
    while position < size {
        let start = match seek(&file, SeekFrom::Data(position)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(None),
            Err(error) => return Err(error),
        };
        if start >= size {
            break;
        }
        if segments.len() == MAX_SEGMENTS - 2 {
            segments.push(Segment {
                offset: start,
                bytes: size - start,
            });
            break;
        }
        let end = match seek(&file, SeekFrom::Hole(start)) {
            Ok(end) => end.min(size),
            // It has shrunk meanwhile.
            Err(Errno::NXIO) => size,
            Err(error) => return Err(error),
        };
        segments.push(Segment {
            offset: start,
            bytes: end.saturating_sub(start),
        });
        position = end.max(start + 1);
    }
    if segments
        == [Segment {
            offset: 0,
            bytes: size,
        }]
    {
        return Ok(None);
    }
    if segments.last().is_none_or(|last| last.offset + last.bytes < size) {
        // An empty piece at the end is how a hole at the end is told.
        segments.push(Segment {
            offset: size,
            bytes: 0,
        });
    }
    Ok(Some(segments))
}

/// Bytes of data.
pub(crate) fn data_bytes(segments: &[Segment]) -> u64 {
    segments.iter().map(|s| s.bytes).sum()
}

/// Whether pieces are in order, apart, inside the file, and hold exactly the bytes that are stored.
pub(crate) fn is_sound(segments: &[Segment], size: u64, stored_bytes: u64) -> bool {
    let mut end = 0_u64;
    let mut sum = 0_u64;
    for segment in segments {
        let Some(next) = segment.offset.checked_add(segment.bytes) else {
            return false;
        };
        if segment.offset < end || next > size {
            return false;
        }
        end = next;
        // Pieces that are apart and inside can't add up to more than the size.
        sum += segment.bytes;
    }
    sum == stored_bytes
}

/// A map in the form of GNU's sparse format 1.0, before its padding.
pub(crate) fn encode(segments: &[Segment]) -> Vec<u8> {
    let mut map = format!("{}\n", segments.len()).into_bytes();
    for segment in segments {
        map.extend_from_slice(format!("{}\n{}\n", segment.offset, segment.bytes).as_bytes());
    }
    map
}

/// Reads a map in the form of GNU's sparse format 1.0, block by block.
#[derive(Debug, Default)]
pub(crate) struct MapReader {
    text: Vec<u8>,
    numbers: Vec<u64>,
    expected: Option<usize>,
}

impl MapReader {
    /// Takes the next block. Returns whether the map is complete; nothing if it is damaged.
    pub(crate) fn take(&mut self, block: &[u8]) -> Option<bool> {
        for byte in block {
            if *byte != b'\n' {
                if self.text.len() == 20 {
                    return None;
                }
                self.text.push(*byte);
                continue;
            }
            let number = pax::decimal(&self.text)?;
            self.text.clear();
            match self.expected {
                None => {
                    let count = usize::try_from(number)
                        .ok()
                        .filter(|count| *count <= MAX_SEGMENTS)?;
                    self.expected = Some(count * 2);
                }
                Some(_) => self.numbers.push(number),
            }
            if self.expected == Some(self.numbers.len()) {
                return Some(true);
            }
        }
        Some(false)
    }

    pub(crate) fn finish(self) -> Vec<Segment> {
        pairs(&self.numbers)
    }
}

/// A map in the form of GNU's sparse format 0.1: numbers with commas between them.
pub(crate) fn parse_list(text: &[u8]) -> Option<Vec<Segment>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let numbers: Vec<u64> = text
        .split(|b| *b == b',')
        .map(pax::decimal)
        .collect::<Option<_>>()?;
    (numbers.len().is_multiple_of(2) && numbers.len() / 2 <= MAX_SEGMENTS).then(|| pairs(&numbers))
}

fn pairs(numbers: &[u64]) -> Vec<Segment> {
    numbers
        .chunks_exact(2)
        .map(|pair| Segment {
            offset: pair[0],
            bytes: pair[1],
        })
        .collect()
}

/// Appends the pieces of a header in GNU's old format. Nothing if it is damaged.
pub(crate) fn parse_old(pieces: &[GnuSparseHeader], segments: &mut Vec<Segment>) -> Option<()> {
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        let number = |bytes| u64::try_from(field::get(bytes)?).ok();
        if segments.len() == MAX_SEGMENTS {
            return None;
        }
        segments.push(Segment {
            offset: number(&piece.offset)?,
            bytes: number(&piece.numbytes)?,
        });
    }
    Some(())
}

/// A block with more pieces in GNU's old format.
pub(crate) fn old_extension(block: &[u8; 512]) -> GnuExtSparseHeader {
    let mut extension = GnuExtSparseHeader::new();
    *extension.as_mut_bytes() = *block;
    extension
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_map_is_read_back(pieces in prop::collection::vec((any::<u64>(), any::<u64>()), 0..200)) {
            let segments: Vec<_> = pieces.iter().map(|(offset, bytes)| Segment { offset: *offset, bytes: *bytes }).collect();
            let mut text = encode(&segments);
            text.resize(text.len().next_multiple_of(512), 0);
            let mut reader = MapReader::default();
            let mut complete = false;
            for block in text.chunks(512) {
                prop_assert!(!complete);
                complete = reader.take(block).unwrap();
            }
            prop_assert!(complete);
            prop_assert_eq!(reader.finish(), segments);
        }

        #[test]
        fn any_bytes_are_a_map_or_not(bytes: Vec<u8>) {
            let _ = MapReader::default().take(&bytes);
            let _ = parse_list(&bytes);
        }
    }

    #[test]
    fn maps_that_overlap_or_lead_out_are_unsound() {
        let map = |pieces: &[(u64, u64)]| -> Vec<_> {
            pieces
                .iter()
                .map(|(offset, bytes)| Segment {
                    offset: *offset,
                    bytes: *bytes,
                })
                .collect()
        };
        assert!(is_sound(&map(&[(0, 5), (5, 5), (20, 0)]), 20, 10));
        assert!(!is_sound(&map(&[(0, 5), (4, 5)]), 20, 10));
        assert!(!is_sound(&map(&[(0, 5), (18, 5)]), 20, 10));
        assert!(!is_sound(&map(&[(5, 5), (0, 5)]), 20, 10));
        assert!(!is_sound(&map(&[(0, 5)]), 20, 10));
        assert!(!is_sound(&map(&[(1, u64::MAX)]), 20, 0));
    }
}
