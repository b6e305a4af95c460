//! A missing tool fails the test with its name and its cure.

use backstay_testkit::tools;

#[test]
fn tools_that_are_here_are_passed() {
    tools::require(&["sh", "zfs", "python3"]);
    assert!(tools::find("zfs").unwrap().is_absolute());
}

#[test]
#[should_panic(expected = "needs `no-such-tool` (apt-get install no-such-tool)")]
fn a_missing_tool_is_named_with_its_package() {
    tools::require(&["sh", "no-such-tool"]);
}
