//! A ceiling for what all memories and tables of an instance hold together.
//!
//! Wasmtime's own limits are for each memory, and a component may bring as many memories as modules.

use wasmtime::ResourceLimiter;

use crate::call::Flood;
use crate::limits::Limits;

/// Core instances and tables, of which a component of ours has three or four.
const PARTS: usize = 64;

/// Linear memories.
const MEMORIES: usize = 16;

/// Counts what is held. Growth past the ceiling ends the instance.
#[derive(Debug)]
pub(crate) struct Ceiling {
    memory_bytes: Part,
    table_elements: Part,
}

#[derive(Debug)]
struct Part {
    used: usize,
    most: usize,
}

impl Part {
    /// Whether there is room to grow. Wasmtime asks with `current` 0 for a new one.
    fn grow(&mut self, current: usize, desired: usize) -> bool {
        let used = self.used.saturating_add(desired.saturating_sub(current));
        let fits = used <= self.most;
        if fits {
            self.used = used;
        }
        fits
    }
}

impl Ceiling {
    pub(crate) fn new(limits: &Limits) -> Self {
        let part = |most| Part { used: 0, most };
        Ceiling {
            memory_bytes: part(limits.memory_bytes),
            table_elements: part(limits.table_elements),
        }
    }
}

impl ResourceLimiter for Ceiling {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if self.memory_bytes.grow(current, desired) {
            return Ok(true);
        }
        let most = self.memory_bytes.most >> 20;
        Err(Flood::error(format!(
            "it asked for more than {most} MiB of memory"
        )))
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if self.table_elements.grow(current, desired) {
            return Ok(true);
        }
        Err(Flood::error("it asked for too large a table"))
    }

    fn instances(&self) -> usize {
        PARTS
    }

    fn tables(&self) -> usize {
        PARTS
    }

    fn memories(&self) -> usize {
        MEMORIES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_memories_share_one_ceiling() {
        let limits = Limits {
            memory_bytes: 3 << 20,
            table_elements: 10,
            ..Limits::default()
        };
        let mut ceiling = Ceiling::new(&limits);
        assert!(ceiling.memory_growing(0, 1 << 20, None).unwrap());
        assert!(ceiling.memory_growing(0, 1 << 20, None).unwrap());
        assert!(ceiling.memory_growing(1 << 20, 2 << 20, None).unwrap());
        let error = ceiling
            .memory_growing(1 << 20, (1 << 20) + 65536, None)
            .unwrap_err();
        assert_eq!(error.to_string(), "it asked for more than 3 MiB of memory");
        assert!(ceiling.table_growing(0, 10, None).unwrap());
        assert!(ceiling.table_growing(0, 1, None).is_err());
    }
}
