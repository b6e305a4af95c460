//! What `backstay plugin test` asks of any destination, which leaves nothing that can be seen by other means either.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::desk::Desk;
use super::places::Place;

pub fn it_does_what_a_destination_must<P: Place>() {
    let desk = Desk::<P>::new();
    let destination: Value = serde_saphyr::from_str(&desk.place.destination()).unwrap();
    let file = desk.at("config.json");
    fs::write(&file, destination["config"].to_string()).unwrap();
    let plugin = destination["plugin"].as_str().unwrap();
    let args = ["plugin", "test", plugin, "--config", file.to_str().unwrap()];
    let output = desk.backstay.run(&args);
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    let mut left = desk.stored();
    // Of directories that are empty only that of a job may stay.
    left.remove("plugin-test");
    assert_eq!(left, BTreeSet::new());
    desk.has_nothing_to_undo("after a trial");
}
