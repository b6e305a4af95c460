//! What a plugin is once it is built: a component of one world with its manifest inside.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

use wasmparser::{Parser, Payload};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn build(package: &str) -> Vec<u8> {
    let target_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugins");
    let output = Command::new(env!("CARGO"))
        .args([
            "build",
            "--locked",
            "--target",
            "wasm32-wasip2",
            "--profile",
            "plugin",
            "--package",
            package,
        ])
        .arg("--target-dir")
        .arg(&target_dir)
        .current_dir(workspace())
        .output()
        .expect("cargo can be started");
    assert!(
        output.status.success(),
        "{package} does not build (needs `rustup target add wasm32-wasip2`):\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let file = target_dir
        .join("wasm32-wasip2/plugin")
        .join(format!("{}.wasm", package.replace('-', "_")));
    std::fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

#[derive(Default)]
struct Parts {
    manifests: Vec<Vec<u8>>,
    imports: Vec<String>,
    exports: Vec<String>,
}

fn parts(component: &[u8]) -> Parts {
    let mut parts = Parts::default();
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(component) {
        match payload.expect("a valid component") {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::CustomSection(section) if section.name() == "backstay:plugin" => {
                parts.manifests.push(section.data().to_vec());
            }
            Payload::ComponentImportSection(imports) if depth == 0 => {
                parts.imports.extend(
                    imports
                        .into_iter()
                        .map(|i| i.expect("import").name.name.to_owned()),
                );
            }
            Payload::ComponentExportSection(exports) if depth == 0 => {
                parts.exports.extend(
                    exports
                        .into_iter()
                        .map(|e| e.expect("export").name.name.to_owned()),
                );
            }
            _ => {}
        }
    }
    parts
}

fn check(package: &str, manifest: &str, export: &str) {
    let parts = parts(&build(package));
    let expected = std::fs::read(workspace().join(manifest)).expect("the manifest's file");
    assert_eq!(
        parts.manifests,
        [expected],
        "{package} must hold its manifest exactly once"
    );
    assert_eq!(parts.exports, [export]);
    for import in &parts.imports {
        assert!(
            import.starts_with("backstay:plugin/") || import.starts_with("wasi:"),
            "{package} imports {import}"
        );
    }
}

#[test]
fn a_source_is_a_component_with_its_manifest_inside() {
    check(
        "backstay-plugin-path",
        "plugins/path/plugin.json",
        "backstay:plugin/source-plugin@0.1.0",
    );
}

#[test]
fn a_destination_is_a_component_with_its_manifest_inside() {
    check(
        "backstay-plugin-local",
        "plugins/local/plugin.json",
        "backstay:plugin/destination-plugin@0.1.0",
    );
}
