//! A manifest that is a good one, and not that of the backup.

use std::fs;

use super::lab::{Lab, STREAMS};
use crate::destinations::places::Local;

#[test]
fn a_manifest_that_is_not_the_one_in_the_catalogue_is_named() {
    let lab = Lab::<Local>::new();
    lab.plant(1);
    let backups = lab.store(&STREAMS, 2);
    let [victim, other] = [&backups[0], &backups[1]].map(|b| b["location"].as_str().unwrap());
    let verify = || {
        let id = backups[0]["id"].as_str().unwrap();
        lab.run("verify", &[id, "--level", "size"]).code(8).stdout
    };
    fs::copy(other, victim).unwrap();
    let sentence = format!("the manifest {victim} is not the one in the catalogue");
    let said = verify();
    assert!(said.contains(&sentence), "{said}");
    // A newer version than this host reads can't be what this host wrote either.
    let whole = serde_json::to_string(&backups[0]["manifest"]).unwrap();
    let newer = whole.replace("\"manifestVersion\":1", "\"manifestVersion\":3");
    assert!(newer != whole);
    fs::write(victim, newer).unwrap();
    let said = verify();
    assert!(said.contains(&sentence), "{said}");
}
