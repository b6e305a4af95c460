//! What a script says: read line by line, bounded, and without what could harm a terminal or a log.
//!
//! Its output is words for people. A line on standard output may also be an order to the host:
//! `backstay:metadata KEY=VALUE` for the manifest, `backstay:warning TEXT` for the run.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;
use std::thread::JoinHandle;

use backstay_model::{Code, Error, Result};

/// Bytes of a line that are kept.
const LINE_BYTES: usize = 4 << 10;

/// Lines of each stream that are kept.
const LINES: u64 = 1_000;

/// Orders that are obeyed.
const ORDERS: u64 = 100;

/// Bytes of a value for the manifest.
const VALUE_BYTES: usize = 1 << 10;

/// Where a line was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// Hears each line as it comes.
pub type Hear = Arc<dyn Fn(Stream, &str) + Send + Sync>;

/// What a script said besides the lines that were heard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// Facts for the manifest.
    pub metadata: BTreeMap<String, String>,
    /// Warnings for the run.
    pub warnings: Vec<String>,
    /// The last line that isn't empty.
    pub last: String,
    /// Lines that were dropped because there were too many.
    pub dropped: u64,
}

impl Said {
    /// What two streams said together; the last words are those of `other`, if it had any.
    pub fn and(mut self, other: Said) -> Said {
        self.metadata.extend(other.metadata);
        self.warnings.extend(other.warnings);
        if !other.last.is_empty() {
            self.last = other.last;
        }
        self.dropped += other.dropped;
        self
    }
}

/// Reads a stream to its end on a thread of its own.
///
/// # Errors
/// The thread can't be started.
pub fn listen(from: impl Read + Send + 'static, stream: Stream, hear: Hear) -> Result<JoinHandle<Said>> {
    std::thread::Builder::new()
        .name("listener".to_owned())
        .spawn(move || read(from, stream, &hear))
        .map_err(|e| {
            Error::new(Code::Environment, "cannot start a thread")
                .because(e)
                .retryable()
        })
}

fn read(mut from: impl Read, stream: Stream, hear: &Hear) -> Said {
    let mut reader = Reader {
        stream,
        hear,
        said: Said::default(),
        lines: 0,
        orders: 0,
    };
    let mut line = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let mut pieces = buffer[..read].split(|b| *b == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            let room = LINE_BYTES.saturating_sub(line.len());
            line.extend_from_slice(&piece[..piece.len().min(room)]);
            if pieces.peek().is_some() {
                reader.take(&line);
                line.clear();
            }
        }
    }
    if !line.is_empty() {
        reader.take(&line);
    }
    if reader.said.dropped > 0 {
        let more = format!("{} more lines were dropped", reader.said.dropped);
        (reader.hear)(stream, &more);
    }
    reader.said
}

struct Reader<'a> {
    stream: Stream,
    hear: &'a Hear,
    said: Said,
    lines: u64,
    orders: u64,
}

impl Reader<'_> {
    fn take(&mut self, line: &[u8]) {
        let is_order = self.stream == Stream::Output && line.starts_with(b"backstay:");
        let (count, most) = if is_order {
            (&mut self.orders, ORDERS)
        } else {
            (&mut self.lines, LINES)
        };
        *count += 1;
        if *count > most {
            self.said.dropped += 1;
            return;
        }
        let text = clean(line);
        if is_order {
            self.obey(&text);
        } else if !text.trim().is_empty() {
            (self.hear)(self.stream, &text);
            self.said.last = text.trim().to_owned();
        }
    }

    fn obey(&mut self, line: &str) {
        let (order, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim();
        match order {
            "backstay:warning" if !rest.is_empty() => self.said.warnings.push(rest.to_owned()),
            "backstay:metadata" => match rest.split_once('=') {
                Some((key, value)) if is_key(key) && value.len() <= VALUE_BYTES => {
                    self.said.metadata.insert(key.to_owned(), value.to_owned());
                }
                _ => self.said.warnings.push(format!(
                    "`{line}` was ignored: write backstay:metadata KEY=VALUE with a key of letters, digits, `.`, `_`, `-` and at most {VALUE_BYTES} bytes of value"
                )),
            },
            _ => self.said.warnings.push(format!(
                "`{line}` was ignored: the host knows backstay:metadata KEY=VALUE and backstay:warning TEXT"
            )),
        }
    }
}

fn is_key(key: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    !key.is_empty() && key.len() <= 64 && key.bytes().all(plain)
}

/// A line as plain text: orders to terminals, control characters and marks that turn the direction of writing are
/// left out; what isn't UTF-8 is replaced.
pub fn clean(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let mut chars = text.chars().peekable();
    let mut out = String::with_capacity(text.len());
    while let Some(c) = chars.next() {
        match c {
            '\x1b' => skip_escape(&mut chars),
            '\u{9b}' => skip_control(&mut chars),
            '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => skip_string(&mut chars),
            '\t' => out.push(' '),
            c if c.is_control() || turns_direction(c) => {}
            c => out.push(c),
        }
    }
    out
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// What follows an escape character.
fn skip_escape(chars: &mut Chars<'_>) {
    match chars.next() {
        Some('[') => skip_control(chars),
        Some(']' | 'P' | 'X' | '^' | '_') => skip_string(chars),
        Some(' '..='/') => {
            while chars.next_if(|c| (' '..='/').contains(c)).is_some() {}
            chars.next();
        }
        _ => {}
    }
}

/// Parameters up to the letter that ends them.
fn skip_control(chars: &mut Chars<'_>) {
    while chars.next_if(|c| (' '..='?').contains(c)).is_some() {}
    chars.next_if(|c| ('@'..='~').contains(c));
}

/// A text for the terminal itself, such as its title, up to its end.
fn skip_string(chars: &mut Chars<'_>) {
    while let Some(c) = chars.next() {
        match c {
            '\x07' | '\u{9c}' => return,
            '\x1b' => {
                chars.next_if_eq(&'\\');
                return;
            }
            _ => {}
        }
    }
}

fn turns_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use proptest::prelude::*;

    fn read_all(text: &[u8]) -> (Said, Vec<String>) {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hear: Hear = Arc::new({
            let heard = Arc::clone(&heard);
            move |_, line: &str| heard.lock().unwrap().push(line.to_owned())
        });
        let said = read(text, Stream::Output, &hear);
        let heard = heard.lock().unwrap().clone();
        (said, heard)
    }

    #[test]
    fn orders_to_a_terminal_are_left_out() {
        for (line, plain) in [
            (&b"\x1b[31mred\x1b[0m"[..], "red"),
            (b"\x1b]0;owned\x07title", "title"),
            (b"\x1b]52;c;aGk=\x1b\\clip", "clip"),
            (b"\x1bP+q544e\x1b\\x", "x"),
            (b"a\x1b[2J\x1b[Hb", "ab"),
            (b"a\x08\x07b\rc\0", "abc"),
            ("\u{9b}31mx".as_bytes(), "x"),
            ("a\u{202e}b".as_bytes(), "ab"),
            (b"\x1b(Bx\x1b", "x"),
            (b"tab\tx\xff", "tab x\u{fffd}"),
        ] {
            assert_eq!(clean(line), plain, "{line:?}");
        }
    }

    #[test]
    fn orders_to_the_host_are_obeyed_and_wrong_ones_named() {
        let (said, heard) = read_all(
            b"hello\nbackstay:metadata rows=12\nbackstay:metadata bad key=1\nbackstay:warning one table is empty\nbackstay:format disk\n",
        );
        assert_eq!(heard, ["hello"]);
        assert_eq!(
            said.metadata,
            BTreeMap::from([("rows".to_owned(), "12".to_owned())])
        );
        assert_eq!(said.warnings.len(), 3, "{:?}", said.warnings);
        assert_eq!(said.warnings[1], "one table is empty");
    }

    #[test]
    fn floods_are_cut_and_counted() {
        let (said, heard) = read_all("x\n".repeat(5_000).as_bytes());
        assert_eq!(said.dropped, 4_000);
        assert_eq!(heard.len(), 1_001);
        assert_eq!(heard[1_000], "4000 more lines were dropped");
        let (_, heard) = read_all(&vec![b'y'; 10 << 20]);
        assert_eq!(heard[0].len(), LINE_BYTES);
    }

    proptest! {
        #[test]
        fn what_is_left_has_no_control_characters(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(!clean(&line).chars().any(|c| c.is_control() || turns_direction(c)));
        }

        #[test]
        fn plain_text_stays_as_it_is(line in "[ -~äöü€]{0,80}") {
            prop_assert_eq!(clean(line.as_bytes()), line);
        }
    }
}
