//! What a run that doesn't end well leaves at the place: nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use backstay_testkit::cli::Moment;
use backstay_testkit::process::wait_until;

use super::desk::Desk;
use super::places::Place;

const PATIENCE: Duration = Duration::from_secs(60);

impl<P: Place> Desk<P> {
    /// Kills a run whose source has written some of its data, and waits until the place has got some of it.
    fn kill_in_the_middle(&self) {
        let started = self.at("started");
        // Uploads begin when a second part of up to 8 MiB is full.
        self.script(&format!(
            "head -c 17M /dev/urandom; : > {}; exec sleep 100",
            started.display()
        ));
        let before = self.stored();
        let mut run = self.backstay.spawn(&["run", "j"]);
        wait_until("the source and the place to be in the middle", PATIENCE, || {
            started.exists() && self.place.has_got_some(&before)
        });
        run.kill();
    }

    /// The next start: any command will do.
    fn start(&self) {
        self.backstay.run(&["runs"]).ok();
    }
}

pub fn a_killed_host_leaves_nothing_after_the_next_start<P: Place>() {
    let desk = Desk::<P>::new();
    desk.script("echo good");
    desk.stream_job("");
    desk.run().ok();
    desk.kill_in_the_middle();
    desk.start();
    desk.holds_what_it_should("killed while data came");
    // The journal and the catalogue are written at these moments, before and after what happens at the place.
    desk.script("echo better");
    let log = desk.backstay.data_dir().join("backstay.db-wal");
    let mut kills = 0;
    for nth in [3, 5] {
        let moment = Moment::of("fsync", nth).on(&log).alone();
        if desk.backstay.killed_at(&["run", "j"], moment).was_killed_or_ok() {
            kills += 1;
            desk.start();
            desk.holds_what_it_should(&format!("killed at {nth}"));
        }
    }
    assert!(kills > 0, "no moment was met");
    desk.run().ok();
    assert_eq!(desk.restore("-").ok().stdout, "better\n");
}

pub fn what_is_gone_already_is_removed<P: Place>() {
    let desk = Desk::<P>::new();
    desk.script("echo good");
    desk.stream_job("");
    desk.run().ok();
    desk.kill_in_the_middle();
    // A server may still write what it has got.
    wait_until("all to be removed", PATIENCE, || desk.place.lose_all());
    desk.start();
    assert_eq!(desk.stored(), BTreeSet::new());
    desk.has_nothing_to_undo("after somebody removed all");
}
