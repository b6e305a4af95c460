//! What an instance may use. Each limit names the attack or defect that it stops.

use std::time::Duration;

/// Limits of one instance, which lives for one call.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Processor time inside the guest: stops a loop without end.
    pub cpu: Duration,
    /// Time in which the guest neither computes nor waits for the host to do something for it: stops a sleep without end.
    pub idle: Duration,
    /// Time of a call outside of a run, programs included: stops one that never ends from hanging a check.
    pub look: Duration,
    /// Time of an undo, programs included: stops one that never ends from hanging each start of the host.
    pub undo: Duration,
    /// Linear memory, in bytes, of all memories together: stops allocation without end. Guests with an interpreter
    /// of their own need about 100 MB.
    pub memory_bytes: usize,
    /// Entries of all tables together: stops growing those instead.
    pub table_elements: usize,
    /// Handles that are open at once: stops making streams without end.
    pub handles: usize,
    /// Bytes that one call may copy between guest and host as text: stops returning 100 MB.
    pub copied_bytes: usize,
    /// Bytes of texts, arguments and patterns that the host keeps for one call: stops making long texts without end.
    pub kept_bytes: usize,
    /// Names that a guest makes in its scratch directory: stops using up a disk's inodes.
    pub scratch_names: u32,
    /// Bytes that the host writes into a scratch directory, copied files included: stops filling the disk.
    pub scratch_bytes: u64,
    /// The longest time that a guest may give a program whose output goes into its scratch directory.
    pub scratch_run: Duration,
    /// Log lines of one call. Past it lines are dropped and counted.
    pub log_lines: u32,
    /// Log lines of one call past which the guest is ended: stops a million lines from costing a million checks.
    pub log_flood_lines: u32,
    /// Journal entries of one call: stops filling the disk with them.
    pub journal_entries: u32,
    /// Bytes of one journal entry.
    pub journal_entry_bytes: usize,
    /// Artifacts that a source may offer.
    pub artifacts: usize,
    /// Bytes of a receipt.
    pub receipt_bytes: usize,
    /// Diagnostics of one call that are shown: stops burying what is wrong under notes.
    pub diagnostics: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            cpu: Duration::from_secs(5),
            idle: Duration::from_secs(10),
            look: Duration::from_secs(60),
            undo: Duration::from_secs(600),
            memory_bytes: 256 << 20,
            table_elements: 100_000,
            handles: 10_000,
            copied_bytes: 4 << 20,
            kept_bytes: 16 << 20,
            scratch_names: 1_000,
            scratch_bytes: 1 << 30,
            scratch_run: Duration::from_secs(3600),
            log_lines: 1_000,
            log_flood_lines: 100_000,
            journal_entries: 1_000,
            journal_entry_bytes: 16 << 10,
            artifacts: 1_000,
            receipt_bytes: 4 << 10,
            diagnostics: 100,
        }
    }
}

/// Longest log line that is kept, in bytes.
pub const LOG_LINE_BYTES: usize = 16 << 10;

/// Stack of the guest, in bytes: stops recursion without end.
pub const STACK_BYTES: usize = 512 << 10;

/// How often a running guest is looked at. Its processor time is counted in these.
pub const TICK: Duration = Duration::from_millis(10);
