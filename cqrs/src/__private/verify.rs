use crate::Builder;

/// Checks a builder.
///
/// # Panics
/// With every wiring problem at once.
#[track_caller]
#[expect(clippy::panic, reason = "a check in a test fails by a panic")]
pub fn verify(builder: Builder) {
    if let Err(error) = builder.check() {
        panic!("{error}");
    }
}

/// Checks what is linked into a test, and prints what it still needs.
#[expect(clippy::print_stdout, reason = "a test prints what it found")]
pub fn verify_linked() {
    match Builder::linked(&[]).check() {
        Ok(()) => println!("the handlers linked here need nothing"),
        Err(error) => println!("what the handlers linked here still need:\n{error}"),
    }
}
