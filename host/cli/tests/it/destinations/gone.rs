//! A place that is away: a run says so and how to go on, and what was stored before is neither damaged nor lost.

use super::desk::Desk;
use super::places::Place;

pub fn a_place_that_is_away_is_no_damage<P: Place>() {
    let mut desk = Desk::<P>::new();
    desk.script("echo good");
    desk.stream_job("");
    desk.run().ok();
    desk.place.leave();
    let (name, run) = (desk.place.name(), desk.run().code(P::AWAY).json());
    let error = &run["error"];
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(&name), "{error}");
    assert!(error["hint"].is_string(), "{error}");
    // Not 8: nothing is known to be damaged.
    let verified = desk.verify("size").code(P::AWAY);
    assert!(verified.stderr.contains(&name), "{}", verified.stderr);
    assert!(desk.restore("-").code(P::AWAY).stderr.contains(&name));
    desk.place.come_back();
    desk.backstay.run(&["runs"]).ok();
    desk.holds_what_it_should("back again");
    desk.verify("checksum").ok();
    assert_eq!(desk.restore("-").ok().stdout, "good\n");
    desk.run().ok();
}
