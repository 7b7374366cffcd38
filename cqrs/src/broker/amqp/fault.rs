//! What goes wrong with the server, as a caller can decide on it.

use lapin::{Error, ErrorKind};

use crate::broker::{BrokerError, BrokerErrorKind};

/// An error that several callers get, which [`BrokerError`] cannot be copied for.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) kind: BrokerErrorKind,
    pub(super) what: String,
    pub(super) source: Option<Error>,
}

impl Fault {
    pub(super) fn new(kind: BrokerErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), source: None }
    }

    pub(super) fn closed() -> Self {
        Self::new(BrokerErrorKind::Closed, "the AMQP broker is closed")
    }

    /// What the server or the client's library said while something was tried.
    pub(super) fn of(what: impl Into<String>, error: Error) -> Self {
        Self { kind: kind_of(&error), what: what.into(), source: Some(error) }
    }

    /// The server's number of the error, where it is one of the server's.
    pub(super) fn code(&self) -> Option<u16> {
        match self.source.as_ref()?.kind() {
            ErrorKind::ProtocolError(error) => Some(error.get_id()),
            _ => None,
        }
    }

    /// All of it, for the log.
    pub(super) fn line(&self) -> String {
        match &self.source {
            Some(source) => format!("{}: {source}", self.what),
            None => self.what.clone(),
        }
    }

    /// What the server said.
    pub(super) fn text(&self) -> String {
        match self.source.as_ref().map(Error::kind) {
            Some(ErrorKind::ProtocolError(error)) => error.get_message().to_string(),
            Some(other) => format!("{other:?}"),
            None => String::new(),
        }
    }
}

impl From<Fault> for BrokerError {
    fn from(fault: Fault) -> Self {
        let error = Self::new(fault.kind, fault.what);
        match fault.source {
            Some(source) => error.with_source(source),
            None => error,
        }
    }
}

pub(super) const ACCESS_REFUSED: u16 = 403;
pub(super) const NOT_FOUND: u16 = 404;
pub(super) const PRECONDITION_FAILED: u16 = 406;
const INVALID_PATH: u16 = 402;
const NOT_ALLOWED: u16 = 530;
const NOT_IMPLEMENTED: u16 = 540;
const COMMAND_INVALID: u16 = 503;

/// What a caller can decide on: an outage passes, and what the server is asked wrongly it will refuse again.
fn kind_of(error: &Error) -> BrokerErrorKind {
    match error.kind() {
        ErrorKind::ProtocolError(said) => {
            let text = said.get_message().to_string();
            let passes = ["down", "inaccessible", "unavailable", "timeout", "timed out", "no leader"];
            match said.get_id() {
                _ if passes.iter().any(|word| text.contains(word)) => BrokerErrorKind::Unavailable,
                ACCESS_REFUSED | NOT_FOUND | PRECONDITION_FAILED | INVALID_PATH | NOT_ALLOWED | NOT_IMPLEMENTED
                | COMMAND_INVALID => BrokerErrorKind::Configuration,
                _ => BrokerErrorKind::Unavailable,
            }
        }
        // A certificate that is not trusted.
        ErrorKind::IOError(io) if io.kind() == std::io::ErrorKind::InvalidData => BrokerErrorKind::Configuration,
        ErrorKind::AuthProviderError(_) | ErrorKind::InvalidProtocolVersion(_) => BrokerErrorKind::Configuration,
        _ => BrokerErrorKind::Unavailable,
    }
}
