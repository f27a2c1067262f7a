//! Mistakes as rustc shows them: at the token, one error each, and nothing besides.

#[test]
fn mistakes_are_shown_at_their_tokens() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
}
