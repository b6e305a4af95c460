//! Ends a test with one sentence when something it stands on doesn't work.

use std::fmt::Display;

/// Takes the value out of a result, or fails the test naming what was attempted.
pub(crate) trait OrFail<T> {
    /// `what` completes the sentence "can't …".
    #[track_caller]
    fn or_fail(self, what: impl Display) -> T;
}

impl<T, E: Display> OrFail<T> for Result<T, E> {
    #[track_caller]
    fn or_fail(self, what: impl Display) -> T {
        match self {
            Ok(value) => value,
            Err(error) => panic!("can't {what}: {error}"),
        }
    }
}

/// For `Drop`: fails the test, or only speaks if the test is failing already, because a second panic would abort.
pub(crate) fn in_drop(sentence: &str) {
    if std::thread::panicking() {
        eprintln!("{sentence}");
    } else {
        panic!("{sentence}");
    }
}
