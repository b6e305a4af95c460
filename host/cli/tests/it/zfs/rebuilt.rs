//! A chain of increments on a machine that knows only where the backups are.

use backstay_testkit::cli::Backstay;
use backstay_testkit::zfs::Pool;
use serde_json::json;

use super::lab::{BINARY, Lab, assert_same, change, id, mount, run_kit};

#[test]
fn a_rebuilt_chain_is_tried_out_and_restored() {
    let lab = Lab::new();
    lab.apply(json!({}));
    let root = lab.source.mountpoint();
    let made: Vec<_> = (0..2)
        .map(|step| {
            change(root, step);
            lab.back_up()
        })
        .collect();
    let new = Backstay::new(BINARY);
    let config = json!({ "path": lab.store() }).to_string();
    let rebuild = ["catalog", "rebuild", "--plugin", "local", "--config", &config];
    let result = new.json(&rebuild);
    assert_eq!(result["destinations"][0]["added"], 2, "{result:#}");
    assert_eq!(new.json(&["backups"])[0]["dependsOn"], made[0]["id"]);

    // A drill goes through the chain, and says how deep it came.
    let drill = new.run_json(&["drill"]).ok();
    let run = &drill.json()[0];
    assert_eq!(run["kind"], "drill");
    assert_eq!(run["backups"][0]["id"], made[1]["id"]);
    for backup in new.json(&["backups"]).as_array().unwrap() {
        assert_eq!(backup["verifiedLevel"], "archive", "{backup:#}");
        assert_eq!(backup["verifiedOk"], true);
    }
    assert!(
        drill.stderr.contains("only the tools of plugin zfs can read it"),
        "{}",
        drill.stderr
    );

    let other = Pool::create();
    let target = format!("{}/restored", other.name());
    new.run(&["restore", "latest:data", "--to", &target]).ok();
    assert_same(root, &mount(&other, "restored"));
    let kit = new.run(&["recovery-kit", "latest:data"]).ok().stdout;
    let by_hand = format!("{}/by-hand", other.name());
    let done = run_kit(&kit, &by_hand, None);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_same(root, &mount(&other, "by-hand"));

    // If the first link is damaged, a drill of the second says so, and nobody is told to use it without a word.
    let first = made[0]["manifest"]["artifacts"][0]["location"].as_str().unwrap();
    std::fs::write(first, "damaged").unwrap();
    let drill = new.run_json(&["drill", id(&made[1])]).code(8);
    assert!(drill.stdout.contains("is damaged"), "{}", drill.stdout);
    let kit = new.run(&["recovery-kit", "latest:data"]).ok();
    assert!(
        kit.stderr.contains("builds on one that is damaged or missing"),
        "{}",
        kit.stderr
    );
}
