//! The OpenAPI document is true: a program that knows nothing else tries out all of it.

use std::fs;
use std::process::Command;

use backstay_testkit::tools::require;

use super::lab::Lab;

/// A plugin may refuse what the document allows, because only it knows whether a configuration makes sense. What jobs may be
/// has so many corners that all of them take minutes: some of them are tried each time.
const SETTINGS: &str = r#"
[checks]
positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "409", "412", "422", "429"]
missing_required_header.expected-statuses = ["428"]

[[operations]]
include-path-regex = "/jobs"
include-method = ["POST", "PUT"]
phases.coverage.enabled = false
"#;

#[test]
fn it_keeps_what_its_document_says_whatever_is_sent() {
    require(&["schemathesis"]);
    let lab = Lab::new();
    lab.job("documents");
    lab.backstay.run(&["run", "documents"]).ok();
    let token = lab.token("admin", "admin");
    let settings = lab.file("schemathesis.toml");
    fs::write(&settings, SETTINGS).unwrap();
    // Streams of events have no end; wrong tokens are soon not looked at any more, and other tests are about them.
    let ended = Command::new("schemathesis")
        .args(["--config-file", settings.to_str().unwrap(), "run", "--no-color"])
        .args([
            "--checks",
            "all",
            "--phases",
            "coverage,fuzzing",
            "--max-examples",
            "2",
            "--seed",
            "1",
        ])
        .args(["--exclude-checks", "ignored_auth"])
        .args(["--workers", "2", "--exclude-path-regex", "/events$"])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .arg(format!("http://127.0.0.1:{}/api/v1/openapi.json", lab.port))
        .current_dir(lab.backstay.scratch_dir())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(
        ended.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&ended.stderr)
    );
    assert!(
        said.contains("Selected: 33/35") && said.contains("Tested: 33"),
        "{said}"
    );
    lab.local("GET /ready").json(200);
}
