//! Whoever can write to a destination can write manifests. None of them does harm, and none hides the good ones.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};
use uuid::Uuid;

use super::lab::{Lab, backups, fresh, problems, rebuild, rebuilt};

/// What is wrong with one manifest.
type Change = fn(&mut Value);

/// Manifests with a checksum that is right, which no host would have written.
const FORGED: [(&str, Change); 19] = [
    ("job-leads-out", |m| m["job"]["name"] = json!("../../etc")),
    ("job-escapes", |m| m["job"]["name"] = json!("\u{1b}[2Jjob")),
    ("job-long", |m| m["job"]["name"] = json!("j".repeat(65))),
    ("device-breaks-the-line", |m| m["device"] = json!("nas\nrm -rf /")),
    ("id-nil", |m| m["id"] = json!(Uuid::nil())),
    ("id-random", |m| m["id"] = json!(Uuid::new_v4())),
    ("installation-nil", |m| m["instanceId"] = json!(Uuid::nil())),
    ("no-artifacts", |m| m["artifacts"] = json!([])),
    ("artifact-twice", |m| {
        let artifact = m["artifacts"][0].clone();
        m["artifacts"].as_array_mut().unwrap().push(artifact);
    }),
    ("artifact-name", |m| {
        m["artifacts"][0]["name"] = json!("a'; rm -rf /; '")
    }),
    ("object-leads-out", |m| {
        m["artifacts"][0]["object"] = json!("../../../etc/passwd")
    }),
    ("object-of-another", |m| {
        m["artifacts"][0]["object"] = json!(format!("j/{}/data.tar", Uuid::now_v7()));
    }),
    ("receipt-long", |m| {
        m["artifacts"][0]["receipt"] = json!("x".repeat(5000))
    }),
    ("hash-is-a-command", |m| {
        m["artifacts"][0]["stored"]["sha256"] = json!("' ]; touch /tmp/hacked; [ '");
    }),
    ("sizes-overflow", |m| {
        m["artifacts"][0]["contentBytes"] = json!(u64::MAX)
    }),
    ("destination-of-none", |m| {
        m["destinationIndex"] = json!(1_000_000)
    }),
    ("depends-on-itself", |m| {
        m["dependsOn"] = m["id"].clone();
        m["artifacts"][0]["base"] = m["id"].clone();
    }),
    ("depends-without-a-base", |m| {
        m["dependsOn"] = json!(Uuid::now_v7())
    }),
    ("location-escapes", |m| {
        m["artifacts"][0]["location"] = json!("\u{1b}]0;owned\u{7}")
    }),
];

#[test]
fn forged_manifests_are_named_and_the_good_one_works() {
    let lab = Lab::new(json!({}));
    let good = lab.back_up();
    for (name, change) in FORGED {
        lab.forge(&good, &format!("x/{name}"), change);
    }
    let new = fresh();
    let result = rebuilt(&new, &lab.place, 1);
    let found = problems(&result);
    let mut expected: Vec<(String, String)> = FORGED
        .iter()
        .map(|(name, _)| (format!("x/{name}/manifest.json"), "damaged".to_owned()))
        .collect();
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!((&result["found"], &result["added"]), (&json!(20), &json!(1)));
    let listed = backups(&new);
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["id"], good["id"]);
    let text = rebuild(&fresh(), &lab.place, &[]).code(1).stdout;
    assert!(!text.contains('\u{1b}') && !text.contains('\u{7}'), "{text:?}");
}

#[test]
fn what_is_no_manifest_is_named_by_its_kind() {
    let lab = Lab::new(json!({}));
    let good = lab.back_up();
    let whole = fs::read_to_string(good["location"].as_str().unwrap()).unwrap();
    let deep = format!("{{\"manifestVersion\":1,\"x\":{}", "[".repeat(1 << 20));
    // A document of which a parser makes many times its size.
    let wide = format!(
        "{{\"manifestVersion\":1,\"filters\":[{}0]}}",
        "0,".repeat(4 << 20)
    );
    let endless = "x".repeat((16 << 20) + 1);
    let changed = whole.replacen("\"device\"", "\"device2\"", 1);
    let edited = whole.replacen("\"hostVersion\": \"", "\"hostVersion\": \"9", 1);
    let files: [(&str, &[u8], &str); 12] = [
        ("empty", b"", "damaged"),
        ("cut", &whole.as_bytes()[..whole.len() / 2], "damaged"),
        ("changed", changed.as_bytes(), "damaged"),
        ("edited", edited.as_bytes(), "damaged"),
        ("binary", b"\xff\xfe\0\0", "damaged"),
        ("escapes", b"{\"manifestVersion\":1,\"\x1b[2J\":1}", "damaged"),
        ("escaped", b"{\"manifestVersion\":1,\"\\u001b[2J\":1}", "damaged"),
        ("deep", deep.as_bytes(), "damaged"),
        ("wide", wide.as_bytes(), "damaged"),
        ("endless", endless.as_bytes(), "unreadable"),
        ("newer", br#"{"manifestVersion":99,"who":"knows"}"#, "newer"),
        (
            "extension",
            br#"{"name":"a browser's extension","version":"1"}"#,
            "foreign",
        ),
    ];
    for (name, bytes, _) in files {
        lab.put(&format!("x/{name}/manifest.json"), bytes);
    }
    // Neither followed nor waited for.
    fs::create_dir_all(lab.place.join("x/link")).unwrap();
    symlink(
        good["location"].as_str().unwrap(),
        lab.place.join("x/link/manifest.json"),
    )
    .unwrap();
    fs::create_dir_all(lab.place.join("x/pipe")).unwrap();
    let pipe = lab.place.join("x/pipe/manifest.json");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());

    let new = fresh();
    let result = rebuilt(&new, &lab.place, 1);
    let mut expected: Vec<(String, String)> = files
        .iter()
        .map(|(name, _, kind)| (format!("x/{name}/manifest.json"), (*kind).to_owned()))
        .collect();
    expected.sort();
    assert_eq!(problems(&result), expected);
    assert_eq!(result["added"], 1);
    let text = rebuild(&fresh(), &lab.place, &[]).code(1).stdout;
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn a_manifest_can_not_take_the_place_of_another() {
    let lab = Lab::new(json!({}));
    let good = lab.back_up();
    // A copy of the same is no problem; one that says something else is.
    let directory = std::path::Path::new(good["location"].as_str().unwrap())
        .parent()
        .unwrap();
    let copy = lab.place.join("k/copy");
    fs::create_dir_all(&copy).unwrap();
    fs::copy(directory.join("manifest.json"), copy.join("manifest.json")).unwrap();
    lab.forge(&good, "k/other", |m| m["device"] = json!("attacker"));
    let new = fresh();
    let result = rebuilt(&new, &lab.place, 1);
    assert_eq!((&result["added"], &result["copies"]), (&json!(1), &json!(1)));
    assert_eq!(
        problems(&result),
        [("k/other/manifest.json".to_owned(), "conflict".to_owned())]
    );
    assert_eq!(backups(&new)[0]["device"], good["device"]);

    // What is in the catalogue stays, whatever is found later.
    fs::remove_dir_all(lab.place.join("k")).unwrap();
    lab.forge(&good, &format!("j/{}", good["id"].as_str().unwrap()), |m| {
        m["device"] = json!("attacker")
    });
    let result = rebuilt(&new, &lab.place, 1);
    assert_eq!((&result["added"], &result["known"]), (&json!(0), &json!(0)));
    assert_eq!(problems(&result)[0].1, "conflict");
    assert_eq!(backups(&new)[0]["device"], good["device"]);
}

#[test]
fn receipts_and_configurations_lead_nowhere_else() {
    let lab = Lab::new(json!({}));
    let good = lab.back_up();
    let outside = lab.old.scratch_dir().join("outside");
    fs::write(&outside, "secret").unwrap();
    let ids: Vec<String> = (0..3).map(|_| Uuid::now_v7().to_string()).collect();
    let forge = |id: &String, change: &dyn Fn(&mut Value)| {
        lab.forge(&good, &format!("j/{id}"), |m| {
            m["id"] = json!(id);
            m["artifacts"][0]["object"] = json!(format!("j/{id}/data.tar"));
            change(m);
        });
    };
    forge(&ids[0], &|m| m["artifacts"][0]["receipt"] = json!("../outside"));
    forge(&ids[1], &|m| m["artifacts"][0]["receipt"] = json!(outside));
    // It would read, and write, where the one who wrote it wants; what was named on the command line counts.
    forge(&ids[2], &|m| {
        m["destination"]["config"] = json!({ "path": "/etc" })
    });
    let new = fresh();
    let result = rebuilt(&new, &lab.place, 1);
    let kinds: Vec<String> = problems(&result).into_iter().map(|(_, kind)| kind).collect();
    assert_eq!(kinds, ["unreadable", "unreadable"], "{result:#}");
    for backup in backups(&new) {
        let path = &backup["manifest"]["destination"]["config"]["path"];
        assert_eq!(path, &json!(lab.place));
    }
}

#[test]
fn an_increment_without_its_base_is_named() {
    let lab = Lab::new(json!({}));
    let good = lab.back_up();
    let base = Uuid::now_v7();
    lab.forge(&good, &format!("j/{}", good["id"].as_str().unwrap()), |m| {
        m["dependsOn"] = json!(base);
        m["artifacts"][0]["base"] = json!(base);
    });
    let new = fresh();
    let result = rebuilt(&new, &lab.place, 1);
    assert_eq!(result["added"], 1);
    assert_eq!(problems(&result)[0].1, "baseless");
    let message = result["problems"][0]["message"].as_str().unwrap();
    assert!(message.contains(&base.to_string()), "{message}");
    let target = new.scratch_dir().join("restored");
    let output = new
        .run(&["restore", "latest:j", "--to", target.to_str().unwrap()])
        .code(8);
    assert!(
        output.stderr.contains("builds on one that is damaged or missing"),
        "{}",
        output.stderr
    );
    assert!(!target.exists());
}

#[test]
fn backups_that_another_plugin_stored_are_foreign() {
    let lab = Lab::new(json!({}));
    let good = lab.back_up();
    let id = good["id"].as_str().unwrap();
    lab.forge(&good, &format!("j/{id}"), |m| {
        m["destination"]["plugin"] = json!("somewhere")
    });
    let result = rebuilt(&fresh(), &lab.place, 1);
    assert_eq!(
        problems(&result),
        [(format!("j/{id}/manifest.json"), "foreign".to_owned())]
    );
    assert_eq!(result["added"], 0);
}
