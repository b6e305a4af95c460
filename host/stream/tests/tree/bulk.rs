//! Many files, and large ones.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::Instant;

use backstay_stream::Context;
use backstay_stream::read::read;
use backstay_stream::tree::{TarRecipe, TreeSpec, UnpackOptions, empty_directory, unpack};

use crate::support::{assert_same, scratch};

/// Archives and unpacks at once, as a restore does.
fn pipe(from: &std::path::Path, to: &std::path::Path) -> (u64, u64) {
    let mut reading = read(
        Arc::new(TarRecipe::new(TreeSpec::all(from).unwrap())),
        &Context::default(),
    )
    .unwrap();
    let done = unpack(
        &mut reading,
        to,
        &UnpackOptions::default(),
        &Context::default(),
        None,
    )
    .unwrap();
    let produced = reading.finish().unwrap();
    assert_eq!(
        (Some(done.content_bytes), done.entries),
        (produced.content_bytes, produced.entries)
    );
    (done.entries, done.content_bytes)
}

#[test]
fn a_hundred_thousand_files_take_seconds() {
    // In memory, so that it is our time that is taken and not a disk's.
    let memory = || tempfile::tempdir_in("/dev/shm").unwrap();
    let (from, to) = (memory(), memory());
    for directory in 0..100 {
        let directory = from.path().join(format!("d{directory}"));
        fs::create_dir(&directory).unwrap();
        for file in 0..1000 {
            fs::write(directory.join(format!("file{file}")), format!("content {file}")).unwrap();
        }
    }
    let started = Instant::now();
    let mut reading = read(
        Arc::new(TarRecipe::new(TreeSpec::all(from.path()).unwrap())),
        &Context::default(),
    )
    .unwrap();
    std::io::copy(&mut reading.by_ref(), &mut std::io::sink()).unwrap();
    assert_eq!(reading.finish().unwrap().entries, 100_101);
    let read_seconds = started.elapsed().as_secs_f64();
    let started = Instant::now();
    assert_eq!(pipe(from.path(), to.path()).0, 100_101);
    let piped_seconds = started.elapsed().as_secs_f64();
    assert_same(from.path(), to.path());
    let started = Instant::now();
    empty_directory(to.path()).unwrap();
    println!(
        "read {read_seconds:.1} s, read and written {piped_seconds:.1} s, emptied {:.1} s",
        started.elapsed().as_secs_f64()
    );
    assert!(read_seconds < 15.0, "{read_seconds}");
}

#[test]
fn holes_cost_nothing() {
    let (from, to) = (scratch(), scratch());
    File::create(from.path().join("disk"))
        .unwrap()
        .set_len(10 << 30)
        .unwrap();
    let started = Instant::now();
    assert_eq!(pipe(from.path(), to.path()), (2, 10 << 30));
    assert!(started.elapsed().as_secs_f64() < 5.0);
    let stat = fs::metadata(to.path().join("disk")).unwrap();
    assert_eq!((stat.size(), stat.blocks()), (10 << 30, 0));
}
