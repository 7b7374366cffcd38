//! What goes wrong with a broker.

use std::fmt;

use crate::BoxError;

/// What a caller can decide on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BrokerErrorKind {
    /// The URL or a setting is wrong; says what and how to mend it.
    Configuration,
    /// The broker cannot be reached, or does not answer in time: try again.
    Unavailable,
    /// The broker refuses this message, and will refuse it again.
    Refused,
    /// The broker is closed.
    Closed,
}

/// A broker failed.
pub struct BrokerError {
    kind: BrokerErrorKind,
    what: String,
    source: Option<BoxError>,
}

impl BrokerError {
    /// Makes an error, for drivers.
    pub fn new(kind: BrokerErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), source: None }
    }

    /// Adds what the broker said.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What a caller can decide on.
    pub fn kind(&self) -> BrokerErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, BrokerErrorKind::Unavailable)
    }
}

impl fmt::Display for BrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl fmt::Debug for BrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerError")
            .field("kind", &self.kind)
            .field("what", &self.what)
            .field("source", &self.source)
            .finish()
    }
}

impl std::error::Error for BrokerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
