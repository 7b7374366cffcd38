//! The error of everything that is not one call: starting, connecting, scheduling, publishing.

use std::fmt;

use crate::broker::BrokerError;
use crate::diagram::DiagramError;
use crate::dispatch::{DispatchError, DispatchErrorKind};
use crate::message::MessageError;
use crate::settings::SettingsError;
use crate::store::StoreError;
use crate::wiring::WiringError;

/// Any error, boxed: the default error of a message.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What caused an error, nearest first.
fn causes<'e>(
    error: &'e (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'e (dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |cause| cause.source())
}

/// An error and what caused it, in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    causes(error).fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// What starting or running an app can fail with.
///
/// Its `Debug` is its multi-line `Display`, since `main` prints `Debug`.
#[non_exhaustive]
pub enum Error {
    /// The wiring is wrong: every problem at once.
    Wiring(WiringError),
    /// The settings are wrong.
    Settings(SettingsError),
    /// The store failed.
    Store(StoreError),
    /// The broker failed.
    Broker(BrokerError),
    /// A call failed.
    Dispatch {
        /// What kind of failure it was.
        kind: DispatchErrorKind,
        /// The failure.
        source: BoxError,
    },
    /// Anything else.
    Other(BoxError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wiring(error) => error.fmt(f),
            Self::Settings(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Broker(error) => error.fmt(f),
            Self::Dispatch { source, .. } | Self::Other(source) => source.fmt(f),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)?;
        causes(self).try_for_each(|cause| write!(f, "\n  because: {cause}"))
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Wiring(error) => error.source(),
            Self::Settings(error) => error.source(),
            Self::Store(error) => error.source(),
            Self::Broker(error) => error.source(),
            Self::Dispatch { source, .. } | Self::Other(source) => source.source(),
        }
    }
}

impl From<WiringError> for Error {
    fn from(error: WiringError) -> Self {
        Self::Wiring(error)
    }
}

impl From<SettingsError> for Error {
    fn from(error: SettingsError) -> Self {
        Self::Settings(error)
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<BrokerError> for Error {
    fn from(error: BrokerError) -> Self {
        Self::Broker(error)
    }
}

impl From<DiagramError> for Error {
    fn from(error: DiagramError) -> Self {
        Self::Other(error.into())
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Other(error.into())
    }
}

impl From<BoxError> for Error {
    fn from(error: BoxError) -> Self {
        Self::Other(error)
    }
}

impl<E: MessageError> From<DispatchError<E>> for Error {
    fn from(error: DispatchError<E>) -> Self {
        Self::Dispatch { kind: error.kind(), source: error.into() }
    }
}
