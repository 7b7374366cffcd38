//! Why a fallback is called.

use std::fmt;

/// Why a fallback is called: what came of the handler before it. `E` is that handler's own error.
///
/// ```
/// use cqrs::prelude::*;
///
/// fn age(cause: &Cause<String>) -> &'static str {
///     match cause {
///         Cause::Error(_) => "the source has refused",
///         Cause::Timeout => "the source is slow",
///         Cause::BreakerOpen => "the source was not asked",
///         _ => "the source has not answered",
///     }
/// }
///
/// assert_eq!(age(&Cause::Error("no such symbol".to_owned())), "the source has refused");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause<E> {
    /// It answered with an error that counts.
    Error(E),
    /// It took longer than its `timeout`.
    Timeout,
    /// Its circuit breaker is open: it was not called.
    BreakerOpen,
}

impl<E> Cause<E> {
    /// The handler's own error, if that is why.
    pub fn error(&self) -> Option<&E> {
        match self {
            Self::Error(error) => Some(error),
            Self::Timeout | Self::BreakerOpen => None,
        }
    }
}

impl<E: fmt::Display> fmt::Display for Cause<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => error.fmt(f),
            Self::Timeout => f.write_str("it took too long"),
            Self::BreakerOpen => f.write_str("its circuit breaker is open"),
        }
    }
}
