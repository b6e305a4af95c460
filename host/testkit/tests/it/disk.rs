//! A small disk runs full where it says, and is gone afterwards.

use backstay_testkit::disk::SmallDisk;

#[test]
fn a_small_disk_runs_full_and_is_unmounted() {
    let disk = SmallDisk::mount(1 << 20);
    assert!(disk.free_bytes() <= 1 << 20);
    std::fs::write(disk.path().join("fits"), vec![1; 500 << 10]).unwrap();
    let error = std::fs::write(disk.path().join("too-much"), vec![1; 1 << 20]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    let path = disk.path().to_path_buf();
    drop(disk);
    assert!(!path.exists());
    assert!(
        !std::fs::read_to_string("/proc/mounts")
            .unwrap()
            .contains(path.to_str().unwrap())
    );
}
