//! Streams through the pump: what ends well is committed, and nothing else is.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use backstay_model::filters::{Algorithm, Compression, Encryption, Filters};
use backstay_model::secrets::Secrets;
use backstay_model::{Code, Error, Result};
use backstay_stream::codec::{DecodedRecipe, Expected, Identities};
use backstay_stream::digest::Hasher;
use backstay_stream::process::{self, Bounds, CommandRecipe, CommandSink, CommandSpec, Meaning, record};
use backstay_stream::pump::pump;
use backstay_stream::read::read;
use backstay_stream::recipe::TextRecipe;
use backstay_stream::{Completed, Context, Recipe, Sink};

fn sh(script: &str, code: Code) -> CommandSpec {
    CommandSpec {
        meanings: Vec::new(),
        program: "/bin/sh".into(),
        args: vec!["-c".into(), script.into()],
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        secrets: Secrets::default(),
        code,
    }
}

fn command(script: &str) -> Arc<dyn Recipe> {
    Arc::new(CommandRecipe(sh(script, Code::BackupFailed)))
}

#[derive(Debug, Default, Clone)]
struct Memory(Arc<Mutex<(Vec<u8>, Option<bool>)>>);

impl Sink for Memory {
    type Stored = ();

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.lock().unwrap().0.extend_from_slice(bytes);
        Ok(())
    }

    fn commit(self, _: &Completed) -> Result<()> {
        self.0.lock().unwrap().1 = Some(true);
        Ok(())
    }

    fn abort(self, cause: Error) -> Error {
        self.0.lock().unwrap().1 = Some(false);
        cause
    }
}

#[test]
fn a_source_that_fails_after_50_mb_is_aborted_and_named() {
    let memory = Memory::default();
    let recipe = command("head -c 50000000 /dev/zero; echo disk on fire >&2; exit 1");
    let error = pump(recipe, &Filters::default(), memory.clone(), &Context::default()).unwrap_err();
    assert_eq!(error.code(), Code::BackupFailed);
    assert!(
        error
            .report()
            .ends_with("exited with status 1 after 50000000 bytes: disk on fire"),
        "{}",
        error.report()
    );
    assert_eq!(memory.0.lock().unwrap().1, Some(false));
}

#[test]
fn a_source_that_is_killed_is_aborted_and_the_signal_named() {
    let memory = Memory::default();
    let error = pump(
        command("echo half; kill -9 $$"),
        &Filters::default(),
        memory.clone(),
        &Context::default(),
    )
    .unwrap_err();
    assert!(
        error.report().contains("was killed by signal 9 after 5 bytes"),
        "{}",
        error.report()
    );
    assert_eq!(memory.0.lock().unwrap().1, Some(false));
}

#[test]
fn a_far_end_that_dies_is_the_root_cause_and_not_the_broken_pipe() {
    let context = Context::default();
    let sink = CommandSink::start(
        &sh("head -c 1000 >/dev/null; echo no room >&2; exit 3", Code::Storage),
        &context,
    )
    .unwrap();
    let error = pump(command("yes"), &Filters::default(), sink, &context).unwrap_err();
    assert_eq!(error.code(), Code::Storage);
    assert!(
        error.report().contains("exited with status 3"),
        "{}",
        error.report()
    );
    assert!(error.report().ends_with("no room"), "{}", error.report());
}

#[test]
fn a_far_end_never_sees_the_end_of_a_failed_source() {
    let directory = tempfile::tempdir().unwrap();
    let mark = directory.path().join("committed");
    let context = Context::default();
    let sink = CommandSink::start(
        &sh(
            &format!("cat >/dev/null && touch {}", mark.display()),
            Code::Storage,
        ),
        &context,
    )
    .unwrap();
    pump(command("echo half; exit 1"), &Filters::default(), sink, &context).unwrap_err();
    assert!(!mark.exists(), "the far end took half for everything");
    let sink = CommandSink::start(
        &sh(
            &format!("cat >/dev/null && touch {}", mark.display()),
            Code::Storage,
        ),
        &context,
    )
    .unwrap();
    pump(command("echo whole"), &Filters::default(), sink, &context).unwrap();
    assert!(mark.exists());
}

#[test]
fn cancelling_ends_a_silent_source_and_its_children_at_once() {
    let context = Context::default();
    let cancel = context.cancel.clone();
    let start = Instant::now();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        cancel.cancel(&Error::new(Code::Cancelled, "cancelled by hand"));
    });
    let error = pump(
        command("sleep 100 & sleep 100"),
        &Filters::default(),
        Memory::default(),
        &context,
    )
    .unwrap_err();
    assert_eq!(error.report(), "cancelled by hand");
    assert!(start.elapsed() < Duration::from_secs(5));
}

fn both() -> (Filters, Identities, tempfile::TempDir) {
    let output = std::process::Command::new("age-keygen")
        .output()
        .expect("age-keygen is missing: install the package age");
    let text = String::from_utf8(output.stdout).unwrap();
    let recipient = text
        .lines()
        .find_map(|l| l.strip_prefix("# public key: "))
        .unwrap()
        .to_owned();
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key.txt");
    std::fs::write(&key, text).unwrap();
    let filters = Filters {
        compression: Some(Compression {
            algorithm: Algorithm::Zstd,
            mode: None,
            level: Some(3),
            extreme: false,
            long: false,
            threads: 2,
        }),
        encryption: Some(Encryption {
            recipients: vec![recipient],
        }),
        throttle: None,
    };
    (filters, Identities::from_files(&[key]).unwrap(), directory)
}

fn decode(stored: Vec<u8>, expected: &Expected, identities: &Identities) -> Result<Vec<u8>> {
    let recipe = DecodedRecipe::new(
        Arc::new(TextRecipe::new(stored)),
        expected.clone(),
        identities.clone(),
    )?;
    let mut reading = read(Arc::new(recipe), &Context::default())?;
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut reading, &mut bytes).unwrap();
    reading.finish()?;
    Ok(bytes)
}

#[test]
fn what_is_compressed_and_encrypted_comes_back_and_plain_tools_open_it() {
    let (filters, identities, directory) = both();
    let content: Vec<u8> = (0..3_000_000u32).flat_map(|n| (n % 1000).to_le_bytes()).collect();
    let memory = Memory::default();
    let (transfer, ()) = pump(
        Arc::new(TextRecipe::new(content.clone())),
        &filters,
        memory.clone(),
        &Context::default(),
    )
    .unwrap();
    let stored = memory.0.lock().unwrap().0.clone();
    assert_eq!(transfer.stored.bytes, stored.len() as u64);
    assert!(stored.len() < content.len() / 4);
    let expected = Expected {
        object: "data.zst.age".to_owned(),
        stored: transfer.stored,
        raw: transfer.raw,
        compression: Some(Algorithm::Zstd),
        encrypted: true,
    };
    assert_eq!(decode(stored.clone(), &expected, &identities).unwrap(), content);

    let object = directory.path().join("data.zst.age");
    std::fs::write(&object, &stored).unwrap();
    let plain = std::process::Command::new("sh")
        .args(["-c", "age -d -i \"$1/key.txt\" \"$2\" | zstd -d", "sh"])
        .args([directory.path(), &object])
        .output()
        .unwrap();
    assert!(plain.status.success());
    assert!(plain.stdout == content);

    let (_, stranger, _keep) = both();
    let error = decode(stored.clone(), &expected, &stranger).unwrap_err();
    assert_eq!(
        (error.code(), error.report().as_str()),
        (Code::Encryption, "none of the given keys opens data.zst.age")
    );

    for at in (0..stored.len()).step_by(stored.len() / 40) {
        let mut damaged = stored.clone();
        damaged[at] ^= 1;
        let error = decode(damaged, &expected, &identities).unwrap_err();
        assert_eq!(error.code(), Code::Verification, "byte {at}: {}", error.report());
        assert!(
            error.report().starts_with("data.zst.age is damaged"),
            "{}",
            error.report()
        );
    }
    let error = decode(stored[..stored.len() - 1].to_vec(), &expected, &identities).unwrap_err();
    assert_eq!(error.code(), Code::Verification);
}

/// What a restore says about an object whose manifest agrees with it.
fn refused(stored: &[u8], identities: &Identities) -> String {
    let mut hasher = Hasher::default();
    hasher.update(stored);
    let expected = Expected {
        object: "data.age".to_owned(),
        stored: hasher.finish(),
        raw: Hasher::default().finish(),
        compression: None,
        encrypted: true,
    };
    let error = decode(stored.to_vec(), &expected, identities).unwrap_err();
    assert_eq!(error.code(), Code::Encryption);
    error.report()
}

#[test]
fn a_header_of_age_that_does_not_end_is_refused_and_others_are_judged_by_age() {
    let (_, identities, _keep) = both();
    let line = format!("{}\n", "A".repeat(64));
    let endless = format!("age-encryption.org/v1\n-> X25519 abc\n{}", line.repeat(1100));
    let too_long = "data.age can't be decrypted: its header doesn't end within 64 KiB";
    assert_eq!(refused(endless.as_bytes(), &identities), too_long);
    let version = format!("age-encryption.org/{}", "v".repeat(100_000));
    assert_eq!(refused(version.as_bytes(), &identities), too_long);
    let invalid = "data.age can't be decrypted: Header is invalid";
    let armored = format!("-----BEGIN AGE ENCRYPTED FILE-----\n{}", line.repeat(2000));
    let short_end = format!("age-encryption.org/v1\n-> X25519 abc\nAAAA\n--- \n{line}");
    for stored in [&[7; 200_000][..], armored.as_bytes()] {
        assert_eq!(refused(stored, &identities), invalid);
    }
    assert_eq!(
        refused(short_end.as_bytes(), &identities),
        "data.age can't be decrypted: Incomplete header"
    );
    // A passphrase, and a plugin's key: whole headers that none of the keys is for.
    let mac = "A".repeat(43);
    for stanza in ["scrypt AAAAAAAAAAAAAAAAAAAAAA 18", "piv-p256 AAAA"] {
        let foreign =
            format!("age-encryption.org/v1\n-> {stanza}\n{mac}\n--- {mac}\n0123456789abcdef payload");
        assert_eq!(
            refused(foreign.as_bytes(), &identities).lines().next().unwrap(),
            "none of the given keys opens data.age"
        );
    }
}

#[test]
fn as_many_recipients_as_are_let_in_are_read_again_and_more_are_refused() {
    let (mut filters, identities, _keep) = both();
    filters.compression = None;
    let encrypt = |filters: &Filters, times| {
        let mut filters = filters.clone();
        let encryption = filters.encryption.as_mut().unwrap();
        encryption.recipients = vec![encryption.recipients[0].clone(); times];
        let memory = Memory::default();
        let recipe = Arc::new(TextRecipe::new(b"content".to_vec()));
        let (transfer, ()) = pump(recipe, &filters, memory.clone(), &Context::default())?;
        let stored = memory.0.lock().unwrap().0.clone();
        Ok::<_, Error>((transfer, stored))
    };
    let (transfer, stored) = encrypt(&filters, 500).unwrap();
    let expected = Expected {
        object: "data.age".to_owned(),
        stored: transfer.stored,
        raw: transfer.raw,
        compression: None,
        encrypted: true,
    };
    assert_eq!(decode(stored, &expected, &identities).unwrap(), b"content");
    let error = encrypt(&filters, 501).unwrap_err();
    assert_eq!(error.code(), Code::Encryption);
    assert!(error.report().contains("more than the 500"), "{}", error.report());
}

#[test]
fn a_program_that_is_recorded_ends_at_the_end_of_its_time_or_when_somebody_cancels() {
    let record = |script: &str, time, context: &Context| {
        let bounds = Bounds { time, bytes: 10 };
        record(
            &sh(script, Code::Collection),
            tempfile::tempfile().unwrap(),
            bounds,
            context,
        )
    };
    let short = Duration::from_millis(300);
    for (script, timed_out, status, bytes, truncated) in [
        ("printf 12345", false, 0, 5, false),
        ("printf 1234567890", false, 0, 10, false),
        ("printf 12345678901; exit 7", false, 7, 10, true),
        ("sleep 1000", true, 137, 0, false),
        ("trap '' TERM; printf 1; while :; do :; done", true, 137, 1, false),
        ("exec >&-; sleep 1000", true, 137, 0, false),
        ("yes", true, 137, 10, true),
    ] {
        let limit = if timed_out { short } else { Duration::from_secs(60) };
        let said = record(script, limit, &Context::default()).unwrap();
        let found = (said.timed_out, said.status, said.bytes, said.truncated);
        assert_eq!(found, (timed_out, status, bytes, truncated), "{script}");
    }
    let context = Context::default();
    let cancel = context.cancel.clone();
    let waiting = std::thread::spawn(move || record("sleep 1000", Duration::from_secs(500), &context));
    std::thread::sleep(short);
    cancel.cancel(&Error::new(Code::Cancelled, "enough"));
    assert_eq!(waiting.join().unwrap().unwrap_err().to_string(), "enough");
}

#[test]
fn a_complaint_means_what_was_said_before_that_it_means() {
    let meaning = |sign: &str, code: Code, retry: bool| Meaning {
        sign: sign.to_owned(),
        code,
        retry,
        message: "cannot read it".to_owned(),
        hint: Some("look".to_owned()),
    };
    let fails = |complaint: &str, meanings: Vec<Meaning>| {
        let spec = CommandSpec {
            meanings,
            ..sh(&format!("echo '{complaint}' >&2; exit 1"), Code::Storage)
        };
        let mut reading = read(Arc::new(CommandRecipe(spec)), &Context::default()).unwrap();
        std::io::copy(&mut reading, &mut std::io::sink()).unwrap();
        let error = reading.finish().unwrap_err();
        (error.code(), error.is_retryable(), error.to_string())
    };
    let known = || {
        vec![
            meaning("bad hash", Code::Verification, false),
            meaning("", Code::Network, true),
        ]
    };
    let damaged = (
        Code::Verification,
        false,
        "cannot read it: bad hash of 7".to_owned(),
    );
    assert_eq!(fails("bad hash of 7", known()), damaged);
    let other = (Code::Network, true, "cannot read it: gone".to_owned());
    assert_eq!(fails("gone", known()), other);
    assert_eq!(
        fails("gone", vec![meaning("bad hash", Code::Network, true)]).0,
        Code::Storage
    );
}

#[test]
fn what_a_program_complains_of_never_has_its_secrets_in_it() {
    let spec = CommandSpec {
        env: vec![("PASSWORD".into(), "hunter22".into())],
        secrets: Secrets::new(["hunter22"]),
        ..sh(
            "echo \"out $PASSWORD\"; echo \"error: $PASSWORD\" >&2; exit 3",
            Code::BackupFailed,
        )
    };
    let said = process::run(&spec, &Context::default()).unwrap();
    assert_eq!(
        (said.stdout.as_str(), said.stderr.as_str()),
        ("out hunter22\n", "error: ***\n")
    );
    let mut reading = read(Arc::new(CommandRecipe(spec)), &Context::default()).unwrap();
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut reading, &mut bytes).unwrap();
    let error = reading.finish().unwrap_err().report();
    assert!(
        error.contains("error: ***") && !error.contains("hunter22"),
        "{error}"
    );
}
