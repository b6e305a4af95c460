//! What somebody or something did to a stored object is found by the level of verification that can see it.

use std::fs;

use super::desk::{Desk, noise};
use super::places::{Damage, Place};

pub fn damage_is_found_by_the_level_that_can<P: Place>() {
    let desk = Desk::<P>::new();
    let data = noise(200_000);
    fs::write(desk.at("noise"), &data).unwrap();
    desk.script(&format!("cat {}", desk.at("noise").display()));
    desk.stream_job("");
    desk.run().ok();
    let object = desk.object();
    for what in P::DAMAGE {
        let by_size = if *what == Damage::Changed { 0 } else { 8 };
        let file = desk.place.file_of(&object, *what);
        let whole = fs::read(&file).unwrap();
        what.happens_to(&file, &whole);
        let size = desk.verify("size");
        assert_eq!(size.code, by_size, "{what:?}, by size: {}", size.stderr);
        let checksum = desk.verify("checksum");
        assert_eq!(checksum.code, 8, "{what:?}, by checksum: {}", checksum.stderr);
        let (_, name) = object.rsplit_once('/').unwrap();
        assert!(checksum.stderr.contains(name), "{what:?}: {}", checksum.stderr);
        fs::write(&file, &whole).unwrap();
    }
    desk.verify("checksum").ok();
    assert!(desk.restore("-").ok().stdout_bytes == data);
}
