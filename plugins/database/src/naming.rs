//! Names of artifacts, made from names of databases, which may hold any character.

/// Bytes of a database's name in the name of its artifact; the host takes 128 in all.
const MOST_BYTES: usize = 100;

/// The artifact of a database. Different databases have different ones: what is no letter, digit, `_` or `-` is
/// written as `.` and two hexadecimal digits, and so is a `-` in front. A very long name is cut and gets a hash.
pub fn artifact(database: &str, ending: &str) -> String {
    let mut name = String::new();
    for (at, byte) in database.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || byte == b'_' || (byte == b'-' && at > 0);
        if plain {
            name.push(char::from(byte));
        } else if at == 0 {
            // An artifact's name doesn't begin with a dot; two of them come from nothing else.
            name.push_str(&format!("_..{byte:02x}"));
        } else {
            name.push_str(&format!(".{byte:02x}"));
        }
    }
    if name.len() > MOST_BYTES {
        name.truncate(MOST_BYTES - 17);
        name.push_str(&format!("-{:016x}", hash(database)));
    }
    format!("{name}.{ending}")
}

/// FNV-1a: short, and the same for ever.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::artifact;

    #[test]
    fn usual_names_stay_as_they_are() {
        assert_eq!(artifact("app_db-2", "dump"), "app_db-2.dump");
        assert_eq!(artifact("my.shop", "sql"), "my.2eshop.sql");
        assert_eq!(artifact("../etc", "sql"), "_..2e.2e.2fetc.sql");
        assert_eq!(artifact("-rf", "sql"), "_..2drf.sql");
    }

    #[test]
    fn long_names_stay_short_and_apart() {
        let (a, b) = ("ä".repeat(64), "ä".repeat(63) + "ö");
        assert!(artifact(&a, "dump").len() <= 128);
        assert_ne!(artifact(&a, "dump"), artifact(&b, "dump"));
    }

    proptest! {
        #[test]
        fn any_name_is_fit_for_a_file_and_different_from_others(a in "\\PC{1,70}", b in "[-_.a/é]{1,6}", c in "[-_.a/é]{1,6}") {
            for name in [&a, &b] {
                let artifact = artifact(name, "dump");
                prop_assert!(artifact.len() <= 128 && !artifact.starts_with(['.', '-']));
                prop_assert!(artifact.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)));
            }
            prop_assert_eq!(b == c, artifact(&b, "x") == artifact(&c, "x"));
        }
    }
}
