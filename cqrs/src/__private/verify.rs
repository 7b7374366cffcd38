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

/// Checks what is linked into a test, and prints what it still needs of a builder.
///
/// # Panics
/// With every problem that no builder could mend.
#[track_caller]
#[expect(clippy::print_stdout, reason = "a test prints what it found")]
#[expect(clippy::panic, reason = "a check in a test fails by a panic")]
pub fn verify_linked() {
    let Err(error) = Builder::linked(&[]).check() else {
        println!("the handlers linked here need nothing");
        return;
    };
    let (lacking, wrong) = error.lacking_and_wrong();
    if let Some(lacking) = lacking {
        println!("what the handlers linked here still need:\n{lacking}");
    }
    if let Some(wrong) = wrong {
        panic!("{wrong}");
    }
}
