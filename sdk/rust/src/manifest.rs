//! Checks of `plugin.json` while the plugin is compiled.
//!
//! The host reads the whole manifest when it installs a plugin. Here only what would otherwise go wrong
//! silently is compared: a version that was raised in one file and not in the other, a macro for the
//! wrong kind of plugin, a contract that this SDK doesn't speak.

/// The version of the contract (`backstay:plugin`) that this SDK speaks.
pub const API_VERSION: &str = "0.1.0";

/// Fails to compile if the manifest doesn't say this kind, this version and [`API_VERSION`].
pub const fn check(manifest: &[u8], kind: &str, version: &str) {
    assert!(
        says(manifest, "version", version),
        "plugin.json: \"version\" must be the package's version in Cargo.toml"
    );
    assert!(
        says(manifest, "kind", kind),
        "plugin.json: \"kind\" must be \"source\" for source! and \"destination\" for destination!"
    );
    assert!(
        says(manifest, "api", API_VERSION),
        "plugin.json: \"api\" must be the version of backstay:plugin that backstay-sdk speaks"
    );
}

/// Whether the outermost object of a JSON text holds this text under this key.
const fn says(json: &[u8], key: &str, text: &str) -> bool {
    let mut at = 0;
    let mut depth = 0;
    while at < json.len() {
        match json[at] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b'"' => {
                let end = end_of_string(json, at);
                let after = skip_space(json, end);
                let is_key = after < json.len() && json[after] == b':';
                if depth == 1 && is_key && is_quoted(json, at, end, key.as_bytes()) {
                    let value = skip_space(json, after + 1);
                    return value < json.len()
                        && json[value] == b'"'
                        && is_quoted(json, value, end_of_string(json, value), text.as_bytes());
                }
                at = end - 1;
            }
            _ => {}
        }
        at += 1;
    }
    false
}

/// The index after the closing quote of the string that begins at `start`.
const fn end_of_string(json: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < json.len() && json[at] != b'"' {
        at += if json[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

const fn skip_space(json: &[u8], mut at: usize) -> usize {
    while at < json.len() && json[at].is_ascii_whitespace() {
        at += 1;
    }
    at
}

const fn is_quoted(json: &[u8], start: usize, end: usize, text: &[u8]) -> bool {
    if end > json.len() || end - start != text.len() + 2 {
        return false;
    }
    let mut i = 0;
    while i < text.len() {
        if json[start + 1 + i] != text[i] {
            return false;
        }
        i += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::says;

    #[test]
    fn only_the_outermost_key_counts() {
        let json = br#"{ "a": { "version": "9" }, "b": ["version", "9"], "note": "\"version\": \"9\"", "version" : "1.2.3" }"#;
        assert!(says(json, "version", "1.2.3"));
        assert!(!says(json, "version", "9"));
        assert!(!says(json, "version", "1.2"));
        assert!(!says(json, "kind", "source"));
    }

    proptest! {
        #[test]
        fn agrees_with_a_json_parser(key in "[a-z\"\\\\]{1,4}", text in "\\PC{0,8}", other in "[a-z]{1,4}") {
            let json = serde_json::json!({ "x": { key.clone(): other }, key.clone(): text }).to_string();
            let plain = |s: &str| !s.contains(['"', '\\']);
            if plain(&key) && plain(&text) && key != "x" {
                prop_assert!(says(json.as_bytes(), &key, &text));
            }
        }

        #[test]
        fn no_text_makes_it_panic(json in "[{}\\[\\]\":\\\\a ]{0,40}") {
            says(json.as_bytes(), "a", "a");
        }
    }
}
