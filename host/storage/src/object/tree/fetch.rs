//! Files of a tree on their way back: small ones some at a time in parallel, large ones as a stream is.

use std::collections::HashMap;
use std::sync::Arc;

use backstay_model::{Code, Error, Result};
use backstay_stream::Context;
use backstay_stream::tree::{Bring, Content, Fetch, Wanted};
use bytes::{Buf as _, Bytes};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use opendal::{Buffer, BufferStream, ErrorKind, Operator};

use super::super::Shared;
use super::name;
use crate::Key;

/// Bytes of the files that are brought at a time, in memory.
const BATCH_BYTES: u64 = 32 << 20;

/// How many of them are on their way at once.
const PARALLEL: usize = 16;

/// Bytes of one request of a large file.
const RANGE_BYTES: usize = 8 << 20;

/// How many requests of a large file are under way at once.
const RANGES: usize = 4;

/// The files of a stored tree.
pub(super) struct Files {
    shared: Arc<Shared>,
    tree: Key,
}

impl Files {
    pub(super) fn new(shared: Arc<Shared>, tree: Key) -> Self {
        Files { shared, tree }
    }
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Files({})", self.tree)
    }
}

impl Fetch for Files {
    fn describe(&self) -> String {
        format!("the files of {}", self.shared.location(self.tree.as_str()))
    }

    fn most_bytes(&self) -> u64 {
        BATCH_BYTES
    }

    fn begin<'a>(&'a self, context: &'a Context) -> Box<dyn Bring + 'a> {
        Box::new(Bringing {
            files: self,
            context,
            brought: HashMap::new(),
        })
    }
}

struct Bringing<'a> {
    files: &'a Files,
    context: &'a Context,
    brought: HashMap<Vec<u8>, Buffer>,
}

impl Bring for Bringing<'_> {
    fn bring(&mut self, files: &[Wanted<'_>]) -> Result<()> {
        self.brought.clear();
        let Files { shared, tree } = self.files;
        let keyed = files
            .iter()
            .map(|file| (file.path.to_owned(), name::of_file(tree, file.path), file.size));
        let keyed: Vec<_> = keyed.collect();
        let meter = &self.context.meter;
        let reading = stream::iter(keyed).map(|(path, key, size)| async move {
            let content = read(&shared.operator, &key, size).await;
            meter.tick();
            match content {
                Ok(content) => Ok(Some((path, content))),
                Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
                Err(e) => Err(e),
            }
        });
        let reading = reading
            .buffer_unordered(PARALLEL)
            .try_filter_map(|read| async { Ok(read) })
            .try_collect();
        self.brought = shared.wait(&self.context.cancel, None, "read", tree.as_str(), reading)?;
        Ok(())
    }

    fn brought(&mut self, path: &[u8]) -> Result<Option<(u64, Box<dyn Content + '_>)>> {
        let Some(content) = self.brought.remove(path) else {
            return Ok(None);
        };
        Ok(Some((content.len() as u64, Box::new(Brought(content)))))
    }

    fn alone(&mut self, file: &Wanted<'_>) -> Result<Box<dyn Content + '_>> {
        let Files { shared, tree } = self.files;
        Ok(Box::new(Ranges {
            shared,
            context: self.context,
            key: name::of_file(tree, file.path),
            size: file.size,
            stream: None,
            rest: Bytes::new(),
            waiting: Buffer::new(),
        }))
    }

    fn end(&mut self) -> Result<()> {
        self.brought.clear();
        Ok(())
    }
}

/// The content of a small file. Of one that is larger than it should be, however large that is, there is little more than it
/// should have.
async fn read(operator: &Operator, key: &Key, size: u64) -> opendal::Result<Buffer> {
    let mut stream = operator.reader(key.as_str()).await?.into_stream(..).await?;
    let (mut content, mut bytes) = (Vec::new(), 0);
    while bytes <= size
        && let Some(piece) = stream.next().await.transpose()?
    {
        bytes += piece.len() as u64;
        content.extend(piece);
    }
    Ok(content.into_iter().collect())
}

/// A file in memory.
struct Brought(Buffer);

impl Content for Brought {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let n = self.0.len().min(buffer.len());
        self.0.copy_to_slice(&mut buffer[..n]);
        Ok(n)
    }

    fn end(self: Box<Self>, _: u64) -> Result<()> {
        Ok(())
    }
}

/// A large file while it comes.
struct Ranges<'a> {
    shared: &'a Shared,
    context: &'a Context,
    key: Key,
    size: u64,
    stream: Option<BufferStream>,
    rest: Bytes,
    waiting: Buffer,
}

impl Content for Ranges<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        while self.rest.is_empty() {
            match Iterator::next(&mut self.waiting) {
                Some(bytes) => self.rest = bytes,
                None => match self.range()? {
                    Some(range) => self.waiting = range,
                    None => return Ok(0),
                },
            }
        }
        let n = self.rest.len().min(buffer.len());
        self.rest.copy_to_slice(&mut buffer[..n]);
        Ok(n)
    }

    fn end(self: Box<Self>, given: u64) -> Result<()> {
        let (shared, path) = (self.shared, self.key.as_str());
        let there = shared.size(&shared.operator, path, &self.context.cancel)?;
        let Some(there) = there.filter(|there| *there > given) else {
            return Ok(());
        };
        let shown = shared.location(path);
        let message = format!("{shown} is damaged: it has {there} bytes instead of {given}");
        Err(Error::new(Code::Verification, message)
            .hint("restore from another backup or destination; keep this one until you have found out why"))
    }
}

impl Ranges<'_> {
    /// The next range; nothing at the end of the file, or if it isn't there.
    fn range(&mut self) -> Result<Option<Buffer>> {
        let (shared, path, size) = (self.shared, self.key.as_str(), self.size);
        let stream = &mut self.stream;
        let next = async {
            if stream.is_none() {
                let reader = shared.operator.reader_with(path);
                let reader = reader.chunk(RANGE_BYTES).concurrent(RANGES).await?;
                *stream = Some(reader.into_stream(0..size).await?);
            }
            match stream {
                Some(stream) => stream.next().await.transpose(),
                None => Ok(None),
            }
        };
        let next = async {
            match next.await {
                Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
                Err(e) if !e.is_temporary() => match shared.operator.stat(path).await {
                    // Who counts finds that it is shorter than it should be.
                    Ok(there) if there.content_length() < size => Ok(None),
                    _ => Err(e),
                },
                other => other,
            }
        };
        shared.wait(&self.context.cancel, None, "read", path, next)
    }
}
