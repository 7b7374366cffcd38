//! The result of one attempt, and which errors count.

use std::convert::Infallible;
use std::fmt::Display;

use crate::dispatch::thunk::{Fallible, Plain};

/// What a handler with a policy may return: `R` is the answer, `E` the message's error.
#[diagnostic::on_unimplemented(
    message = "a handler of this message does not return `{Self}`",
    label = "neither `{R}` nor a `Result<{R}, _>` with a fitting error",
    note = "the answer is `{R}`, the error `{E}`: return `{R}`, or a `Result` of it with an error that is `Display` and `Into` the message's",
    note = "both are named in the message's derive: `#[command(response = R, error = E)]`"
)]
pub trait Attempted<R, E, How> {
    /// The function's own error.
    type Own: Display + Send + 'static;

    /// Answer or own error.
    ///
    /// # Errors
    /// With the function's own error.
    fn attempted(self) -> Result<R, Self::Own>;

    /// The own error as the message's.
    fn widen(own: Self::Own) -> E;
}

#[diagnostic::do_not_recommend]
impl<R, E> Attempted<R, E, Plain> for R {
    type Own = Infallible;

    fn attempted(self) -> Result<R, Infallible> {
        Ok(self)
    }

    fn widen(own: Infallible) -> E {
        match own {}
    }
}

#[diagnostic::do_not_recommend]
impl<R, E, F: Into<E> + Display + Send + 'static> Attempted<R, E, Fallible> for Result<R, F> {
    type Own = F;

    fn attempted(self) -> Self {
        self
    }

    fn widen(own: F) -> E {
        own.into()
    }
}

/// A return type with an error, which the patterns of `on` are about.
#[diagnostic::on_unimplemented(
    message = "`on` judges errors, and this function has none",
    label = "no `Result`",
    note = "return a `Result`, or leave `on` out: `timeout` and an open breaker need no error"
)]
pub trait Fails {
    /// The error.
    type Error;
}

impl<T, E> Fails for Result<T, E> {
    type Error = E;
}

/// Says which errors count: for the fallback, the retry and the breaker.
pub trait Counts<E>: 'static {
    /// Whether this one does.
    fn counts(error: &E) -> bool;
}

/// Without `on`, every error counts.
#[derive(Debug)]
pub struct EveryError;

impl<E> Counts<E> for EveryError {
    fn counts(_: &E) -> bool {
        true
    }
}
