//! The table in the documentation, made from the data of the tests.

use std::fmt::Write as _;
use std::fs;

use backstay_testkit::cli::Backstay;

use super::DESTINATIONS;
use super::harm::{HARMS, PARTS, found_by};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/verification.md");

/// Set to write the page anew.
const WRITE: &str = "BACKSTAY_WRITE_DOCS";

fn table() -> String {
    let mut table = format!("| what | what happens to it | {} |\n", DESTINATIONS.join(" | "));
    table += &format!("|---|---|{}", "---|".repeat(DESTINATIONS.len()));
    for part in PARTS {
        let mut title = part.title();
        for harm in HARMS {
            let cells = DESTINATIONS.iter().map(|plugin| found_by(plugin, part, harm));
            let cells: Vec<&str> = cells.map(|level| level.unwrap_or_default()).collect();
            if cells.iter().all(|level| level.is_empty()) {
                continue;
            }
            write!(table, "\n| {title} | {} | {} |", harm.title(), cells.join(" | ")).unwrap();
            title = "";
        }
    }
    table
}

#[test]
fn the_table_in_the_documentation_is_what_the_tests_do() {
    let page = fs::read_to_string(PAGE).unwrap();
    let (before, rest) = page.split_once("<!-- damage -->\n").unwrap();
    let (_, after) = rest.split_once("\n<!-- end -->").unwrap();
    let table = table();
    let new = format!("{before}<!-- damage -->\n{table}\n<!-- end -->{after}");
    if std::env::var_os(WRITE).is_some() {
        fs::write(PAGE, &new).unwrap();
    }
    assert!(
        page == new,
        "the table is old; set {WRITE}=1 once to write it anew:\n{table}"
    );
}

#[test]
fn every_destination_stands_in_it() {
    let plugins = Backstay::new(env!("CARGO_BIN_EXE_backstay")).json(&["plugin", "list"]);
    let manifests = plugins
        .as_array()
        .unwrap()
        .iter()
        .map(|plugin| &plugin["manifest"]);
    let mut destinations: Vec<&str> = manifests
        .filter(|manifest| manifest["kind"] == "destination")
        .map(|manifest| manifest["id"].as_str().unwrap())
        .collect();
    destinations.sort_unstable();
    assert_eq!(destinations, DESTINATIONS);
}
