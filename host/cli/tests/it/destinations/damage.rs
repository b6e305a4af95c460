//! What somebody or something did to a stored object is found by the level of verification that can see it.

use std::fs;

use super::desk::{Desk, noise};
use super::places::Place;

pub fn damage_is_found_by_the_level_that_can<P: Place>() {
    let desk = Desk::<P>::new();
    let data = noise(200_000);
    fs::write(desk.at("noise"), &data).unwrap();
    desk.script(&format!("cat {}", desk.at("noise").display()));
    desk.stream_job("");
    desk.run().ok();
    let object = desk.object();
    let whole = fs::read(&object).unwrap();
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    for (what, damaged, by_size) in [
        ("changed", Some(&changed[..]), 0),
        ("truncated", Some(&whole[..1000]), 8),
        ("empty", Some(&[][..]), 8),
        ("deleted", None, 8),
    ] {
        match damaged {
            Some(bytes) => fs::write(&object, bytes).unwrap(),
            None => fs::remove_file(&object).unwrap(),
        }
        let size = desk.verify("size");
        assert_eq!(size.code, by_size, "{what}, by size: {}", size.stderr);
        let checksum = desk.verify("checksum");
        assert_eq!(checksum.code, 8, "{what}, by checksum: {}", checksum.stderr);
        let name = object.file_name().unwrap().to_str().unwrap();
        assert!(checksum.stderr.contains(name), "{what}: {}", checksum.stderr);
        fs::write(&object, &whole).unwrap();
    }
    desk.verify("checksum").ok();
    assert!(desk.restore("-").ok().stdout_bytes == data);
}
