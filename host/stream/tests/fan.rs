//! One reading for several places: all of them commit the same bytes, or none that counts does.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backstay_model::filters::{Algorithm, Compression, Filters};
use backstay_model::rate::Rate;
use backstay_model::{Code, Error, Result};
use backstay_stream::blocks::Blocks;
use backstay_stream::fan::{Fan, LAG_BYTES, Lag, Member, Tap};
use backstay_stream::pump::pump;
use backstay_stream::{Cancel, Completed, Context, Produced, Recipe, Sink, Transfer};
use proptest::prelude::*;

/// Gives pieces of these lengths, or fails at the end; counts how often it was run.
#[derive(Debug)]
struct Counted {
    pieces: Vec<usize>,
    fails: bool,
    runs: AtomicUsize,
}

impl Counted {
    fn new(pieces: Vec<usize>) -> Arc<Self> {
        Arc::new(Counted {
            pieces,
            fails: false,
            runs: AtomicUsize::new(0),
        })
    }

    fn failing(pieces: Vec<usize>) -> Arc<Self> {
        Arc::new(Counted {
            pieces,
            fails: true,
            runs: AtomicUsize::new(0),
        })
    }
}

/// Bytes that no filter makes smaller.
fn noise(length: usize, seed: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64 ^ seed as u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

impl Recipe for Counted {
    fn describe(&self) -> String {
        "a counted recipe".to_owned()
    }

    fn produce(&self, context: &Context, out: &mut Blocks) -> Result<Produced> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        for (at, length) in self.pieces.iter().enumerate() {
            context.cancel.check()?;
            out.write(&noise(*length, at))?;
        }
        if self.fails {
            return Err(Error::new(Code::BackupFailed, "the source is on fire"));
        }
        Ok(Produced::default())
    }
}

#[derive(Debug, Default)]
struct Kept {
    bytes: Vec<u8>,
    committed: Option<bool>,
}

/// Keeps what it gets; each write waits for a permit if there are any to wait for.
struct Place {
    kept: Arc<Mutex<Kept>>,
    permits: Option<Receiver<()>>,
    breaks_after: usize,
}

impl Sink for Place {
    type Stored = ();

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some(permits) = &self.permits {
            let _ = permits.recv();
        }
        let mut kept = self.kept.lock().unwrap();
        kept.bytes.extend_from_slice(bytes);
        if kept.bytes.len() > self.breaks_after {
            return Err(Error::new(Code::Storage, "the place broke"));
        }
        Ok(())
    }

    fn commit(self, _: &Completed) -> Result<()> {
        self.kept.lock().unwrap().committed = Some(true);
        Ok(())
    }

    fn abort(self, cause: Error) -> Error {
        self.kept.lock().unwrap().committed = Some(false);
        cause
    }
}

struct Lab {
    fan: Fan,
    taps: Vec<Arc<Tap>>,
    cancels: Vec<Cancel>,
}

impl Lab {
    fn new(optional: &[bool], patience: Duration) -> Self {
        let members: Vec<Member> = optional
            .iter()
            .map(|optional| Member {
                optional: *optional,
                cancel: Cancel::default(),
            })
            .collect();
        let cancels = members.iter().map(|member| member.cancel.clone()).collect();
        let (fan, taps) = Fan::new(members, patience);
        Lab { fan, taps, cancels }
    }

    /// A place on a thread of its own.
    fn place(
        &self,
        index: usize,
        permits: Option<Receiver<()>>,
        breaks_after: usize,
    ) -> (Arc<Mutex<Kept>>, std::thread::JoinHandle<Result<Transfer>>) {
        let kept = Arc::new(Mutex::new(Kept::default()));
        let sink = Place {
            kept: Arc::clone(&kept),
            permits,
            breaks_after,
        };
        let tap: Arc<dyn Recipe> = Arc::<Tap>::clone(&self.taps[index]);
        let context = Context {
            cancel: self.cancels[index].clone(),
            ..Context::default()
        };
        let stored = std::thread::spawn(move || {
            pump(tap, &Filters::default(), sink, &context).map(|(transfer, ())| transfer)
        });
        (kept, stored)
    }

    fn read(&self, recipe: &Arc<Counted>, filters: &Filters) -> Result<Transfer> {
        self.read_in(&Context::default(), recipe, filters)
    }

    fn read_in(&self, context: &Context, recipe: &Arc<Counted>, filters: &Filters) -> Result<Transfer> {
        self.fan.read(Arc::<Counted>::clone(recipe), filters, context)
    }
}

const LONG: Duration = Duration::from_secs(60);

fn zstd() -> Filters {
    Filters {
        compression: Some(Compression {
            algorithm: Algorithm::Zstd,
            mode: None,
            level: Some(1),
            extreme: false,
            long: false,
            threads: 2,
        }),
        ..Filters::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn every_place_has_the_same_bytes_from_one_reading(
        pieces in prop::collection::vec(0..3_000_000_usize, 0..6),
        optional in prop::collection::vec(any::<bool>(), 0..3),
        is_filtered in any::<bool>(),
        is_limited in any::<bool>(),
    ) {
        let members: Vec<bool> = std::iter::once(false).chain(optional).collect();
        let lab = Lab::new(&members, LONG);
        let places: Vec<_> = (0..members.len()).map(|at| lab.place(at, None, usize::MAX)).collect();
        let recipe = Counted::new(pieces);
        let filters = if is_filtered { zstd() } else { Filters::default() };
        let context = Context::default();
        if is_limited {
            context.throttle.set(Rate::new(200 << 20), None);
        }
        let transfer = lab.read_in(&context, &recipe, &filters).unwrap();
        // What is read counts, and not what the places take of it.
        prop_assert_eq!(context.meter.bytes.load(Ordering::SeqCst), transfer.raw.bytes);
        prop_assert_eq!(recipe.runs.load(Ordering::SeqCst), 1);
        let mut first = None;
        for (kept, stored) in places {
            prop_assert_eq!(&stored.join().unwrap().unwrap(), &transfer);
            let kept = kept.lock().unwrap();
            prop_assert_eq!(kept.committed, Some(true));
            prop_assert_eq!(kept.bytes.len() as u64, transfer.stored.bytes);
            let hash = blake3_of(&kept.bytes);
            prop_assert_eq!(&hash, &transfer.stored.blake3);
            prop_assert_eq!(first.get_or_insert(hash.clone()), &hash);
        }
    }
}

fn blake3_of(bytes: &[u8]) -> String {
    let mut hasher = backstay_stream::digest::Hasher::default();
    hasher.update(bytes);
    hasher.finish().blake3
}

#[test]
fn an_optional_place_that_stands_still_is_left_behind_and_stopped() {
    for filters in [Filters::default(), zstd()] {
        let lab = Lab::new(&[false, true], LONG);
        let (sender, permits) = channel();
        let (critical, stored) = lab.place(0, None, usize::MAX);
        let (_, slow) = lab.place(1, Some(permits), usize::MAX);
        let recipe = Counted::new(vec![1 << 20; (LAG_BYTES >> 20) + 40]);
        lab.read(&recipe, &filters).unwrap();
        stored.join().unwrap().unwrap();
        assert_eq!(critical.lock().unwrap().committed, Some(true));
        assert_eq!(lab.taps[1].left_behind(), Some(Lag::Slow));
        assert!(lab.cancels[1].is_cancelled() && !lab.cancels[0].is_cancelled());
        drop(sender);
        slow.join().unwrap().unwrap_err();
    }
}

#[test]
fn an_optional_place_may_be_slow_for_a_while() {
    let lab = Lab::new(&[false, true], LONG);
    let (sender, permits) = channel();
    let (_, critical) = lab.place(0, None, usize::MAX);
    let (kept, slow) = lab.place(1, Some(permits), usize::MAX);
    lab.read(&Counted::new(vec![LAG_BYTES - (1 << 20)]), &Filters::default())
        .unwrap();
    critical.join().unwrap().unwrap();
    assert_eq!(kept.lock().unwrap().bytes.len(), 0);
    drop(sender);
    slow.join().unwrap().unwrap();
    assert_eq!(kept.lock().unwrap().bytes.len(), LAG_BYTES - (1 << 20));
}

#[test]
fn critical_places_go_in_step() {
    let lab = Lab::new(&[false, false], LONG);
    let (sender, permits): (Sender<()>, _) = channel();
    let (fast, first) = lab.place(0, None, usize::MAX);
    let (slow, second) = lab.place(1, Some(permits), usize::MAX);
    let pacer = std::thread::spawn(move || {
        let mut furthest = 0;
        for _ in 0..64 {
            std::thread::sleep(Duration::from_millis(1));
            let [fast, slow] = [&fast, &slow].map(|kept| kept.lock().unwrap().bytes.len());
            furthest = furthest.max(fast.saturating_sub(slow));
            sender.send(()).unwrap();
        }
        furthest
    });
    lab.read(&Counted::new(vec![64 << 20]), &Filters::default())
        .unwrap();
    first.join().unwrap().unwrap();
    second.join().unwrap().unwrap();
    let furthest = pacer.join().unwrap();
    assert!(furthest <= 20 << 20, "{furthest} bytes ahead");
}

#[test]
fn the_reading_goes_on_without_an_optional_place_that_does_not_come() {
    let lab = Lab::new(&[false, true], Duration::from_millis(50));
    let (_, critical) = lab.place(0, None, usize::MAX);
    lab.read(&Counted::new(vec![10]), &Filters::default()).unwrap();
    critical.join().unwrap().unwrap();
    assert_eq!(lab.taps[1].left_behind(), Some(Lag::Late));
    let (kept, late) = lab.place(1, None, usize::MAX);
    late.join().unwrap().unwrap_err();
    assert_eq!(kept.lock().unwrap().committed, Some(false));
}

#[test]
fn a_critical_place_that_breaks_ends_it_for_all_and_is_the_cause() {
    let lab = Lab::new(&[false, false, true], LONG);
    let places = [
        lab.place(0, None, usize::MAX),
        lab.place(1, None, 3 << 20),
        lab.place(2, None, usize::MAX),
    ];
    let error = lab
        .read(&Counted::new(vec![64 << 20]), &Filters::default())
        .unwrap_err();
    assert!(error.report().contains("the place broke"), "{}", error.report());
    assert_eq!(lab.fan.culprit(), Some(1));
    for (kept, stored) in places {
        stored.join().unwrap().unwrap_err();
        assert_eq!(kept.lock().unwrap().committed, Some(false));
    }
    assert!(!lab.cancels[1].is_cancelled(), "it can't explain itself any more");
}

#[test]
fn no_place_commits_before_every_critical_one_took_all_of_it() {
    let lab = Lab::new(&[false, true, false], LONG);
    let places = [
        lab.place(0, None, usize::MAX),
        lab.place(1, None, usize::MAX),
        // It breaks at the last byte, when all is read.
        lab.place(2, None, (5 << 20) - 1),
    ];
    // Whether the reading ended before that is a matter of luck.
    let _ = lab.read(&Counted::new(vec![5 << 20]), &Filters::default());
    for (kept, stored) in places {
        stored.join().unwrap().unwrap_err();
        assert_eq!(kept.lock().unwrap().committed, Some(false));
    }
    assert_eq!(lab.fan.culprit(), Some(2));
}

#[test]
fn an_optional_place_that_breaks_ends_nothing() {
    let lab = Lab::new(&[false, true], LONG);
    let (kept, critical) = lab.place(0, None, usize::MAX);
    let (_, broken) = lab.place(1, None, 1 << 20);
    lab.read(&Counted::new(vec![64 << 20]), &Filters::default())
        .unwrap();
    critical.join().unwrap().unwrap();
    assert_eq!(kept.lock().unwrap().bytes.len(), 64 << 20);
    assert_eq!(broken.join().unwrap().unwrap_err().report(), "the place broke");
    assert_eq!(lab.taps[1].left_behind(), None);
}

#[test]
fn a_source_that_fails_is_committed_nowhere() {
    for filters in [Filters::default(), zstd()] {
        let lab = Lab::new(&[false, true], LONG);
        let places = [lab.place(0, None, usize::MAX), lab.place(1, None, usize::MAX)];
        let error = lab.read(&Counted::failing(vec![50 << 20]), &filters).unwrap_err();
        assert_eq!(error.report(), "the source is on fire");
        assert_eq!(lab.fan.culprit(), None);
        for (kept, stored) in places {
            stored.join().unwrap().unwrap_err();
            assert_eq!(kept.lock().unwrap().committed, Some(false));
        }
    }
}

#[test]
fn a_critical_place_that_never_asks_ends_it() {
    let lab = Lab::new(&[false, false], LONG);
    let (kept, first) = lab.place(0, None, usize::MAX);
    lab.taps[1].leave(&Error::new(Code::Storage, "there is no such place"));
    let recipe = Counted::new(vec![10]);
    let error = lab.read(&recipe, &Filters::default()).unwrap_err();
    assert!(error.report().contains("no such place"), "{}", error.report());
    assert_eq!(recipe.runs.load(Ordering::SeqCst), 0);
    first.join().unwrap().unwrap_err();
    assert_eq!(kept.lock().unwrap().committed, Some(false));
}
