//! Patterns with `*` for names of mounts.

/// Whether the whole text matches, with `*` for any characters, `/` included.
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else {
        return rest.is_empty();
    };
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::matches;

    /// The definition, too slow for long texts.
    fn slowly(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|at| slowly(rest, &text[at..])),
            Some((c, rest)) => text
                .split_first()
                .is_some_and(|(t, text)| t == c && slowly(rest, text)),
        }
    }

    proptest! {
        #[test]
        fn a_star_is_any_characters(pattern in "[ab*/]{0,6}", text in "[ab/]{0,8}") {
            let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            prop_assert_eq!(matches(&pattern, &text), slowly(&p, &t));
        }
    }
}
