//! The table in the documentation, made from what the plugins say of themselves.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{DESTINATIONS, SOURCES, host};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/matrix.md");

/// Set to write the page anew.
const WRITE: &str = "BACKSTAY_WRITE_DOCS";

fn of_kind<'a>(plugins: &'a Value, kind: &str) -> Vec<&'a Value> {
    let all = plugins
        .as_array()
        .unwrap()
        .iter()
        .map(|plugin| &plugin["manifest"]);
    all.filter(|plugin| plugin["kind"] == kind).collect()
}

fn id(plugin: &Value) -> &str {
    plugin["id"].as_str().unwrap()
}

fn has(plugin: &Value, content: &str) -> bool {
    plugin["content"].as_array().unwrap().iter().any(|c| c == content)
}

/// How a source and a destination meet.
fn meet(source: &Value, destination: &Value) -> &'static str {
    assert!(has(destination, "stream"), "{} takes no stream", id(destination));
    match (has(source, "tree"), has(destination, "tree")) {
        (false, _) => "streams",
        (true, false) => "streams; files as tar",
        (true, true) => "streams; files as files",
    }
}

#[test]
fn the_table_in_the_documentation_is_what_the_plugins_say() {
    let plugins = host().json(&["plugin", "list"]);
    let (sources, destinations) = (of_kind(&plugins, "source"), of_kind(&plugins, "destination"));
    let mut table = String::from("| |");
    let row = |cells: Vec<&str>| format!(" {} |", cells.join(" | "));
    table += &row(destinations.iter().map(|d| id(d)).collect());
    table += "\n|---|";
    table += &"---|".repeat(destinations.len());
    for source in &sources {
        let cells = destinations.iter().map(|destination| meet(source, destination));
        table += &format!("\n| **{}** |{}", id(source), row(cells.collect()));
    }
    let page = fs::read_to_string(PAGE).unwrap();
    let (before, rest) = page.split_once("<!-- table -->\n").unwrap();
    let (_, after) = rest.split_once("\n<!-- end -->").unwrap();
    let new = format!("{before}<!-- table -->\n{table}\n<!-- end -->{after}");
    if std::env::var_os(WRITE).is_some() {
        fs::write(Path::new(PAGE), &new).unwrap();
    }
    assert!(
        page == new,
        "the table is old; set {WRITE}=1 once to write it anew:\n{table}"
    );
    for (kind, known, tried) in [
        ("source", sources, SOURCES),
        ("destination", destinations, DESTINATIONS),
    ] {
        for plugin in known {
            assert!(
                tried.contains(&id(plugin)),
                "the {kind} {} isn't in the matrix",
                id(plugin)
            );
        }
    }
}
