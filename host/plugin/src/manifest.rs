//! Finds the manifest in a component without running or compiling it.

use backstay_model::plugin::{MANIFEST_SECTION, PluginManifest};
use backstay_model::{Code, Error, Result};
use wasmparser::{Encoding, Parser, Payload};

/// Largest component that is looked at, in bytes: a guest with an interpreter of its own has about 20 MB.
pub const MAX_COMPONENT_BYTES: usize = 128 << 20;

/// Reads the manifest from the custom section of a component, or of a module within it.
///
/// # Errors
/// [`Code::Configuration`] if the bytes aren't a component, have no manifest, or have two.
pub fn read(component: &[u8], name: &str) -> Result<PluginManifest> {
    let refuse = |why: String| Error::new(Code::Configuration, format!("{name} is not a plugin: {why}"));
    if component.len() > MAX_COMPONENT_BYTES {
        return Err(refuse(format!("it has more than {MAX_COMPONENT_BYTES} bytes")));
    }
    let mut found = Vec::new();
    let mut is_component = false;
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(|e| refuse(format!("it is not valid WebAssembly ({e})")))? {
            Payload::Version { encoding, .. } => is_component |= encoding == Encoding::Component,
            Payload::CustomSection(section) if section.name() == MANIFEST_SECTION => {
                found.push(section.data())
            }
            _ => {}
        }
    }
    if !is_component {
        return Err(refuse("it is a core module, not a component".to_owned())
            .hint("build it for the target wasm32-wasip2"));
    }
    match found.as_slice() {
        [json] => PluginManifest::parse(json),
        [] => Err(refuse(format!(
            "it has no manifest (custom section `{MANIFEST_SECTION}`)"
        ))
        .hint("the SDK's macros put one in")),
        _ => Err(refuse("it has two manifests".to_owned())),
    }
}
