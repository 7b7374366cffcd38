//! What is wrong with the program, where a call is refused for it.

use std::error::Error;
use std::fmt;

/// Why a call cannot be run that nobody has turned down: a mistake of whoever wrote the program, which no caller can mend.
#[derive(Debug)]
pub(crate) struct Fault(String);

impl Fault {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }

    /// Whether an error is one.
    #[cfg(feature = "axum")]
    pub(crate) fn is(error: &(dyn Error + 'static)) -> bool {
        error.is::<Self>()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Fault {}
