//! Every compression: what comes back, that the format's own tool reads it, and what becomes of damage.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;

use backstay_model::filters::{Algorithm, Compression, Filters, Mode, Settings};
use backstay_model::manifest::{Digest, UsedCompression};
use backstay_model::{Code, Error, Result};
use backstay_stream::codec::{DecodedRecipe, Encoder, Expected, Identities};
use backstay_stream::digest::Hasher;
use backstay_stream::read::read;
use backstay_stream::recipe::TextRecipe;
use backstay_stream::{Cancel, Context};
use proptest::prelude::*;

const FORMATS: [Algorithm; 5] = [
    Algorithm::Gzip,
    Algorithm::Zstd,
    Algorithm::Xz,
    Algorithm::Bzip2,
    Algorithm::Lz4,
];

fn compression(algorithm: Algorithm) -> Compression {
    Compression {
        algorithm,
        mode: None,
        level: None,
        extreme: false,
        long: false,
        threads: 2,
    }
}

fn encode(compression: Compression, content: &[u8]) -> (Vec<u8>, UsedCompression) {
    let filters = Filters {
        compression: Some(compression),
        ..Filters::default()
    };
    let mut encoder = Encoder::new(&filters, Vec::new(), &Context::default()).unwrap();
    for block in content.chunks(1 << 20) {
        encoder.write(block).unwrap();
    }
    let (used, _) = encoder.used();
    (encoder.finish().unwrap(), used.unwrap())
}

fn digest(bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::default();
    hasher.update(bytes);
    hasher.finish()
}

/// Decodes what is as it was stored, and should be `raw`.
fn decode(algorithm: Algorithm, stored: &[u8], raw: &[u8]) -> Result<Vec<u8>> {
    let expected = Expected {
        object: "data".to_owned(),
        stored: digest(stored),
        raw: digest(raw),
        compression: Some(algorithm),
        encrypted: false,
    };
    let stored = Arc::new(TextRecipe::new(stored.to_vec()));
    let recipe = DecodedRecipe::new(stored, expected, Identities::default())?;
    let mut reading = read(Arc::new(recipe), &Context::default())?;
    let mut bytes = Vec::new();
    reading.read_to_end(&mut bytes).unwrap();
    reading.finish()?;
    Ok(bytes)
}

/// What a shell command makes of some bytes.
fn shell(command: &str, input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{command} failed: is the tool there?");
    output.stdout
}

/// Text that compresses, then noise that doesn't: several pieces of each format but LZ4.
fn content() -> Vec<u8> {
    let mut content: Vec<u8> = (0..100_000u32)
        .flat_map(|n| format!("{} line\n", n.wrapping_mul(2_654_435_761) % 5000).into_bytes())
        .collect();
    let mut state = 1u64;
    content.extend((0..300_000).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    }));
    content
}

#[test]
fn every_mode_of_every_format_comes_back_and_its_own_tool_reads_it() {
    let content = content();
    for algorithm in FORMATS {
        let mut sizes = Vec::new();
        let mut tried = Vec::new();
        for mode in Mode::ALL {
            if tried.contains(&algorithm.preset(mode)) {
                continue;
            }
            tried.push(algorithm.preset(mode));
            let spec = Compression {
                mode: Some(mode),
                ..compression(algorithm)
            };
            let (stored, used) = encode(spec, &content);
            let Settings { level, extreme } = algorithm.preset(mode);
            assert_eq!(
                (used.algorithm, used.level, used.mode, used.extreme),
                (algorithm, level, Some(mode), extreme)
            );
            assert!((1..=2).contains(&used.threads), "{used:?}");
            let name = format!("{} {}", algorithm.name(), mode.name());
            assert!(decode(algorithm, &stored, &content).unwrap() == content, "{name}");
            assert!(
                shell(algorithm.plain_command().unwrap(), &stored) == content,
                "{name}"
            );
            sizes.push(stored.len());
        }
        assert!(sizes[0] < content.len() * 2 / 3, "{algorithm:?}: {sizes:?}");
        // A percent, because pieces are compressed apart from each other.
        assert!(
            sizes.iter().all(|size| *size <= sizes[0] + sizes[0] / 100),
            "{algorithm:?}: {sizes:?}"
        );
    }
}

#[test]
fn extreme_and_long_are_what_is_used_and_plain_tools_read_them() {
    let content = content();
    let extreme = Compression {
        level: Some(1),
        extreme: true,
        ..compression(Algorithm::Xz)
    };
    let (stored, used) = encode(extreme, &content);
    assert!(used.extreme);
    assert!(shell("xz -dc", &stored) == content);
    // Noise that comes back after 40 MiB: further than the window of the level, but not of `long`.
    let noise = &content[content.len() - 300_000..];
    let far = [noise, &vec![0; 40 << 20], noise].concat();
    let [(short, _), (long, used)] = [false, true].map(|long| {
        let spec = Compression {
            level: Some(3),
            long,
            ..compression(Algorithm::Zstd)
        };
        encode(spec, &far)
    });
    assert!(used.long);
    assert!(long.len() < short.len() * 2 / 3, "{} {}", long.len(), short.len());
    // Without any option about memory.
    assert!(shell("zstd -dc", &long) == far);
    assert!(decode(Algorithm::Zstd, &long, &far).unwrap() == far);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_compressed_comes_back(
        format in 0..FORMATS.len(),
        level in any::<prop::sample::Index>(),
        threads in 1..4u32,
        content in prop::collection::vec(prop_oneof![4 => Just(b'a'), 1 => any::<u8>()], 0..5000),
        repeated in 0..200usize,
    ) {
        let algorithm = FORMATS[format];
        // The highest levels of xz take hundreds of megabytes to set up.
        let level = algorithm.levels().map(|range| {
            let levels: Vec<i32> = range.filter(|level| algorithm != Algorithm::Xz || *level < 7).collect();
            *level.get(&levels)
        });
        let content = content.repeat(repeated);
        let spec = Compression { level, threads, ..compression(algorithm) };
        let (stored, _) = encode(spec, &content);
        prop_assert!(decode(algorithm, &stored, &content).unwrap() == content);
    }
}

#[test]
fn several_files_one_after_the_other_are_decoded_to_the_last() {
    for algorithm in FORMATS {
        let parts = ["one ", "", "three"].map(|part| encode(compression(algorithm), part.as_bytes()).0);
        let decoded = decode(algorithm, &parts.concat(), b"one three").unwrap();
        assert_eq!(decoded, b"one three", "{algorithm:?}");
    }
}

#[test]
fn what_is_cut_off_or_goes_on_is_refused_and_says_so() {
    let content = content();
    let mut said = String::new();
    for algorithm in FORMATS {
        let (stored, _) = encode(compression(algorithm), &content);
        let fail = |stored: &[u8]| decode(algorithm, stored, &content).unwrap_err();
        let middle = fail(&stored[..stored.len() / 2]);
        let cuts = (0..20).chain(stored.len() - 20..stored.len());
        for cut in cuts {
            let error = fail(&stored[..cut]);
            assert_eq!(
                error.code(),
                Code::Compression,
                "{algorithm:?} {cut}: {}",
                error.report()
            );
        }
        let garbage = fail(&[&stored[..], b"something else"].concat());
        let zeros = fail(&[&stored[..], &[0; 512]].concat());
        let other = fail(b"this was never compressed at all");
        for error in [middle, garbage, zeros, other] {
            assert_eq!(error.code(), Code::Compression);
            said += &format!("{}\n", error.report());
        }
    }
    insta::assert_snapshot!(said);
}

#[test]
fn no_flipped_bit_goes_unnoticed_even_if_the_manifest_had_the_hash_of_it() {
    let content = b"some content that is worth keeping, ".repeat(100);
    for algorithm in FORMATS {
        let (stored, _) = encode(compression(algorithm), &content);
        for at in (0..stored.len()).step_by(3) {
            let mut damaged = stored.clone();
            damaged[at] ^= 0x11;
            match decode(algorithm, &damaged, &content) {
                Ok(decoded) => assert!(decoded == content, "{algorithm:?} byte {at}"),
                Err(error) => assert!(
                    matches!(error.code(), Code::Compression | Code::Verification),
                    "{algorithm:?} byte {at}: {}",
                    error.report()
                ),
            }
        }
    }
}

#[test]
fn more_than_was_backed_up_is_refused_before_it_is_all_there() {
    for algorithm in FORMATS {
        let (bomb, _) = encode(compression(algorithm), &vec![0; 64 << 20]);
        let error = decode(algorithm, &bomb, &[0; 1000]).unwrap_err();
        assert_eq!(
            (error.code(), error.report().as_str()),
            (
                Code::Verification,
                "data decodes to more than the 1000 bytes that were backed up"
            )
        );
    }
}

#[test]
fn what_asks_for_too_much_memory_is_refused() {
    for (algorithm, made_by, says) in [
        (
            Algorithm::Xz,
            "xz --lzma2=dict=256MiB -c",
            "needs more than 128 MiB of memory",
        ),
        (Algorithm::Zstd, "zstd --long=28 -c", "too much memory"),
    ] {
        let error = decode(algorithm, &shell(made_by, b"small"), b"small").unwrap_err();
        assert_eq!(error.code(), Code::Compression);
        assert!(error.report().contains(says), "{}", error.report());
    }
}

#[test]
fn an_encoder_that_is_cancelled_stops() {
    let context = Context {
        cancel: Cancel::default(),
        ..Context::default()
    };
    for algorithm in FORMATS {
        let filters = Filters {
            compression: Some(compression(algorithm)),
            ..Filters::default()
        };
        let mut encoder = Encoder::new(&filters, Vec::new(), &context).unwrap();
        encoder.write(&content()).unwrap();
        drop(encoder);
    }
    let filters = Filters {
        compression: Some(compression(Algorithm::Xz)),
        ..Filters::default()
    };
    let mut encoder = Encoder::new(&filters, Vec::new(), &context).unwrap();
    context.cancel.cancel(&Error::new(Code::Cancelled, "enough"));
    let error = encoder.write(&content()).unwrap_err();
    assert_eq!(
        (error.code(), error.report().as_str()),
        (Code::Cancelled, "enough")
    );
}
