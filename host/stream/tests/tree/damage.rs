//! Archives that are cut off or damaged: always an error, never a panic.

use std::fs;

use backstay_model::Code;
use backstay_stream::Context;
use backstay_stream::tree::{UnpackOptions, unpack, walk};
use proptest::prelude::*;

use crate::support::{archive, scratch};

fn small() -> Vec<u8> {
    let from = scratch();
    fs::create_dir_all(from.path().join("dir")).unwrap();
    fs::write(from.path().join("dir/file"), vec![b'x'; 1500]).unwrap();
    fs::write(from.path().join("n".repeat(150)), "long").unwrap();
    fs::File::create(from.path().join("sparse"))
        .unwrap()
        .set_len(1 << 20)
        .unwrap();
    std::os::unix::fs::symlink("dir/file", from.path().join("link")).unwrap();
    fs::hard_link(from.path().join("dir/file"), from.path().join("hard")).unwrap();
    archive(from.path()).bytes
}

#[test]
fn an_archive_that_is_cut_off_anywhere_is_an_error() {
    let bytes = small();
    let cuts = (0..bytes.len())
        .step_by(512)
        .chain((0..bytes.len()).step_by(97))
        .chain([bytes.len() - 1]);
    for cut in cuts {
        let target = scratch();
        let walked = walk(&bytes[..cut], &Context::default()).unwrap_err();
        let unpacked = unpack(
            &bytes[..cut],
            target.path(),
            &UnpackOptions::default(),
            &Context::default(),
            None,
        )
        .unwrap_err();
        assert_eq!(
            (walked.code(), unpacked.code()),
            (Code::Archive, Code::Archive),
            "cut at {cut}"
        );
        assert!(
            walked.to_string().starts_with("the archive ends too early, at "),
            "{walked}"
        );
    }
}

#[test]
fn the_entry_at_hand_is_named() {
    let bytes = small();
    let at = bytes
        .windows(1500)
        .position(|w| w.iter().all(|b| *b == b'x'))
        .unwrap();
    let target = scratch();
    let error = unpack(
        &bytes[..at + 100],
        target.path(),
        &UnpackOptions::default(),
        &Context::default(),
        None,
    );
    assert_eq!(
        error.unwrap_err().to_string(),
        "the archive ends too early, at dir/file"
    );
    assert!(
        !target.path().join("dir/file").exists(),
        "half a file was left under its name"
    );
}

#[test]
fn a_changed_byte_in_a_header_is_an_error() {
    let bytes = small();
    let header = bytes.windows(8).position(|w| w == b"dir/file").unwrap();
    for offset in [0, 99, 104, 130, 140, 156, 260, 500] {
        let mut damaged = bytes.clone();
        damaged[header + offset] ^= 0x11;
        let error = walk(damaged.as_slice(), &Context::default()).unwrap_err();
        assert_eq!(error.code(), Code::Archive);
        assert!(error.to_string().contains("checksum"), "{error}");
    }
}

#[test]
fn what_follows_the_end_is_read_and_ignored() {
    struct Counting<'a>(&'a [u8], &'a std::cell::Cell<usize>);
    impl std::io::Read for Counting<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let n = self.0.read(buffer)?;
            self.1.set(self.1.get() + n);
            Ok(n)
        }
    }
    let mut bytes = small();
    bytes.extend_from_slice(&[b'j'; 1_000_000]);
    let read = std::cell::Cell::new(0);
    walk(Counting(&bytes, &read), &Context::default()).unwrap();
    assert_eq!(read.get(), bytes.len());
}

#[test]
fn a_failing_reader_gives_its_own_error() {
    struct Failing;
    impl std::io::Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(backstay_model::Error::new(Code::Encryption, "the key is wrong").into())
        }
    }
    let error = walk(Failing, &Context::default()).unwrap_err();
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        (Code::Encryption, "the key is wrong")
    );
}

#[test]
fn cancelling_stops_a_restore() {
    let context = Context::default();
    context
        .cancel
        .cancel(&backstay_model::Error::new(Code::Cancelled, "enough"));
    let target = scratch();
    let error = unpack(
        small().as_slice(),
        target.path(),
        &UnpackOptions::default(),
        &context,
        None,
    )
    .unwrap_err();
    assert_eq!(error.code(), Code::Cancelled);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_no_archive(bytes in prop::collection::vec(any::<u8>(), 0..4000)) {
        prop_assert!(walk(bytes.as_slice(), &Context::default()).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Damage behind a checksum that was made right again, so that it reaches the fields' readers.
    #[test]
    fn damaged_fields_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        static SMALL: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(small);
        let mut bytes = SMALL.clone();
        for (at, value) in &changes {
            let at = at.index(bytes.len());
            bytes[at] = *value;
        }
        for block in bytes.chunks_exact_mut(512).filter(|b| &b[257..262] == b"ustar") {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        let walked = walk(bytes.as_slice(), &Context::default());
        let target = scratch();
        let unpacked = unpack(bytes.as_slice(), target.path(), &UnpackOptions::default(), &Context::default(), None);
        prop_assert!(walked.is_ok() || unpacked.is_err());
    }
}
