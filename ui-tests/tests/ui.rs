//! Compiles every fail case on its own: it must fail as its `.stderr` says. The cases on hygiene are whole crates, so
//! they are compiled on their own too; all other pass cases are modules of `pass.rs`.
//!
//! `cargo test -p ui-tests --test ui -- fail trybuild=not_async` runs the cases whose path contains `not_async`.

#[test]
fn fail() {
    trybuild::TestCases::new().compile_fail("cases/*/fail/*.rs");
}

#[test]
fn pass() {
    trybuild::TestCases::new().pass("cases/hygiene/pass/*.rs");
}
