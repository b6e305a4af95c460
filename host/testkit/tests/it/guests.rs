//! Plugins for tests are built when they are asked for.

use backstay_testkit::guests;

#[test]
fn a_plugin_for_tests_is_built_to_a_component() {
    let component = std::fs::read(guests::path("lab-source")).unwrap();
    assert_eq!(&component[..8], b"\0asm\x0d\0\x01\0", "not a component");
    assert_eq!(guests::path("lab-source"), guests::path("lab-source"));
}

#[test]
#[should_panic(expected = "can't build backstay-plugin-no-such-plugin")]
fn an_unknown_plugin_is_named() {
    guests::path("no-such-plugin");
}
