//! Text for a POSIX shell, for recovery commands. Nothing here runs one.

/// One word of a shell command, whatever is in it. A word without special characters stays as it is.
///
/// NUL can't be part of a word; it is left out.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "%+,-./:=@_".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\0', "").replace('\'', r"'\''"))
}

/// Words as one command line.
pub fn join<I: IntoIterator<Item = S>, S: AsRef<str>>(words: I) -> String {
    words
        .into_iter()
        .map(|word| quote(word.as_ref()))
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::join;

    #[test]
    fn plain_words_stay_readable() {
        assert_eq!(join(["cat", "/mnt/x/a.tar.zst"]), "cat /mnt/x/a.tar.zst");
    }

    #[test]
    fn quotes_spaces_and_nothing_are_quoted() {
        assert_eq!(join(["a b", "it's", ""]), r"'a b' 'it'\''s' ''");
    }

    fn as_the_shell_reads_it(words: &str) -> Vec<u8> {
        let output = std::process::Command::new("sh")
            .args(["-c", &format!("printf '%s\\0' {words}")])
            .output()
            .expect("`sh` must be installed");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn the_shell_reads_back_every_word(words in prop::collection::vec("[^\0]*", 1..4)) {
            let expected: Vec<u8> = words.iter().flat_map(|w| w.bytes().chain([0])).collect();
            prop_assert_eq!(as_the_shell_reads_it(&join(&words)), expected);
        }
    }
}
