//! What objects are called on the server, and for people.

use crate::object::Access;

/// The names of a remote with a prefix.
pub(super) struct Names {
    root: String,
    prefix: String,
    place: String,
}

impl Names {
    pub(super) fn new(access: &Access) -> Self {
        let root = access.remote.root.as_deref().unwrap_or_default();
        let root = match root.trim_end_matches('/') {
            "" if root.starts_with('/') => "/",
            // Where a session begins.
            "" => ".",
            root => root,
        };
        Names {
            root: root.to_owned(),
            prefix: access.prefix.trim_matches('/').to_owned(),
            place: access.remote.place(),
        }
    }

    /// The directory below which all is kept, on the server.
    pub(super) fn root(&self) -> &str {
        &self.root
    }

    /// The path of an object or a directory on the server.
    pub(super) fn path(&self, key: &str) -> String {
        joined(&[&self.root, &self.prefix, key])
    }

    /// The directories that lead to a key, the outermost first, without the root.
    pub(super) fn parents(&self, key: &str) -> Vec<String> {
        let below = joined(&[&self.prefix, key]);
        below
            .match_indices('/')
            .map(|(at, _)| joined(&[&self.root, &below[..at]]))
            .collect()
    }

    /// For a person.
    pub(super) fn shown(&self, key: &str) -> String {
        joined(&[&self.place, &self.prefix, key])
    }
}

fn joined(parts: &[&str]) -> String {
    let mut path = String::new();
    for part in parts.iter().filter(|part| !part.is_empty()) {
        if !path.is_empty() && !path.ends_with('/') {
            path.push('/');
        }
        path.push_str(part);
    }
    path
}

/// The name that an object has in its directory until it is complete: another one for each attempt, so that one that
/// hung can't touch what its successor writes.
pub(super) fn partial(name: &str, attempt: &str) -> String {
    format!(".{name}.partial{attempt}")
}

/// Whether a name is that of an attempt at an object.
pub(super) fn is_partial_of(name: &str, found: &str) -> bool {
    let rest = found.strip_prefix('.').and_then(|found| found.strip_prefix(name));
    rest.and_then(|rest| rest.strip_prefix(".partial"))
        .is_some_and(|attempt| attempt.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_below_the_root_wherever_it_is() {
        for (root, path, parents) in [
            ("/", "/nas/a/b", vec!["/nas", "/nas/a"]),
            ("/srv/x", "/srv/x/nas/a/b", vec!["/srv/x/nas", "/srv/x/nas/a"]),
            (".", "./nas/a/b", vec!["./nas", "./nas/a"]),
        ] {
            let names = Names {
                root: root.to_owned(),
                prefix: "nas".to_owned(),
                place: "sftp://me@host/~".to_owned(),
            };
            assert_eq!(names.path("a/b"), path);
            assert_eq!(names.parents("a/b"), parents);
            assert_eq!(names.shown("a/b"), "sftp://me@host/~/nas/a/b");
        }
    }

    #[test]
    fn attempts_are_told_from_those_at_other_objects() {
        assert!(is_partial_of("data", &partial("data", "19a")));
        for other in [
            "data",
            ".data.tar.partial19a",
            ".data.partial-x/y",
            ".other.partial19a",
        ] {
            assert!(!is_partial_of("data", other), "{other}");
        }
    }
}
