//! A pool can be made, used and destroyed, also several at once.

use std::path::PathBuf;

use backstay_testkit::zfs::Pool;

#[test]
fn a_pool_takes_files_snapshots_and_streams_and_leaves_nothing_behind() {
    let pool = Pool::create();
    let data = pool.dataset("tank/data");
    assert!(data.mountpoint().starts_with(pool.mountpoint()));
    std::fs::write(data.mountpoint().join("file"), "first").unwrap();
    let first = format!("{}@first", data.name());
    pool.zfs(&["snapshot", &first]);
    pool.zfs(&["snapshot", &format!("{}@second", data.name())]);

    let snapshots = pool.snapshots(data.name());
    let names: Vec<&str> = snapshots.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, [first.clone(), format!("{}@second", data.name())]);
    assert!(snapshots[0].guid.parse::<u64>().unwrap() > 0);
    assert_ne!(snapshots[0].guid, snapshots[1].guid);

    assert_eq!(pool.holds(&first), 0);
    pool.zfs(&["hold", "keep", &first]);
    assert_eq!(pool.holds(&first), 1);
    assert!(pool.try_zfs(&["destroy", &first]).unwrap_err().contains("busy"));
    pool.zfs(&["release", "keep", &first]);
    pool.zfs(&["destroy", &first]);
    assert!(!pool.exists(&first));
    assert!(pool.exists(data.name()));

    let mountpoint = pool.mountpoint().to_path_buf();
    let name = pool.name().to_owned();
    drop(pool);
    assert!(!mountpoint.exists());
    assert!(!std::fs::read_to_string("/proc/mounts").unwrap().contains(&name));
}

#[test]
fn pools_of_several_threads_dont_disturb_each_other() {
    let mountpoints: Vec<PathBuf> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3)
            .map(|number| {
                scope.spawn(move || {
                    let pool = Pool::with_bytes(64 << 20);
                    let data = pool.dataset("data");
                    std::fs::write(data.mountpoint().join("number"), number.to_string()).unwrap();
                    pool.zfs(&["snapshot", &format!("{}@one", data.name())]);
                    assert_eq!(pool.snapshots(data.name()).len(), 1);
                    pool.mountpoint().to_path_buf()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(mountpoints.iter().all(|mountpoint| !mountpoint.exists()));
}
