//! A failed event handler, and what becomes of the call whose event it was.

use std::fmt;

use crate::BoxError;
use crate::dispatch::{DispatchError, Failure};

/// What becomes of a call when a plain handler of one of its events fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum EventErrors {
    /// The error is logged, counted and handed to `on_event_error`; the call answers as if nothing had happened.
    #[default]
    Log,
    /// The same, and the call fails with [`EventFailed`](crate::DispatchError::EventFailed); its commit stays.
    Fail,
}

/// A plain event handler failed, after the commit of the unit that raised its event.
pub struct EventError {
    event: &'static str,
    handler: &'static str,
    failure: Failure,
}

impl EventError {
    pub(crate) fn new(event: &'static str, handler: &'static str, failure: Failure) -> Self {
        Self { event, handler, failure }
    }

    /// The event's name.
    pub fn event(&self) -> &'static str {
        self.event
    }

    /// The handler's name.
    pub fn handler(&self) -> &'static str {
        self.handler
    }

    /// The handler's own error; `None` where it panicked or could not be called.
    pub fn error(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        match &self.failure {
            DispatchError::EventFailed { source, .. } => Some(source.as_ref()),
            _ => None,
        }
    }

    /// The whole chain of causes in one line, for the log.
    pub(crate) fn chain(&self) -> String {
        crate::error::chain(&self.failure)
    }

    pub(crate) fn into_failure(self) -> Failure {
        match self.failure {
            failure @ (DispatchError::EventFailed { .. } | DispatchError::EventDepth { .. }) => failure,
            failure => {
                let source: BoxError = failure.into();
                DispatchError::EventFailed { event: self.event, handler: self.handler, source }
            }
        }
    }
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`, a handler of `{}`, failed", self.handler, self.event)
    }
}

impl fmt::Debug for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventError")
            .field("event", &self.event)
            .field("handler", &self.handler)
            .field("failure", &self.failure)
            .finish()
    }
}

impl std::error::Error for EventError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self.error() {
            Some(error) => Some(error),
            None => Some(&self.failure),
        }
    }
}
