//! Naming a broker before it is connected: by URL or by driver. No I/O happens here.

use std::fmt;
use std::sync::Arc;

use super::driver::Driver;
use super::{BrokerError, BrokerErrorKind, MemoryBroker};

/// The broker an app uses, named but not yet connected: that happens when the builder is awaited.
///
/// ```
/// use cqrs::Broker;
///
/// let broker = Broker::url("memory:");
/// assert_eq!(broker.scheme(), "memory");
/// ```
pub struct Broker(Source);

enum Source {
    Url(String),
    Driver(Arc<dyn Driver>),
}

impl Broker {
    /// Names a broker by URL: `memory:`.
    pub fn url(url: impl Into<String>) -> Self {
        Self(Source::Url(url.into()))
    }

    /// Takes a driver of yours.
    pub fn driver(driver: impl Driver) -> Self {
        Self(Source::Driver(Arc::new(driver)))
    }

    /// The scheme of the URL, or the driver's name.
    pub fn scheme(&self) -> &str {
        match &self.0 {
            Source::Url(url) => url.split(':').next().unwrap_or(url),
            Source::Driver(driver) => driver.name(),
        }
    }

    /// Whether it is a driver of the user's: tests leave it as it is, and somebody else may hold it too.
    pub(crate) fn is_driver(&self) -> bool {
        matches!(self.0, Source::Driver(_))
    }

    /// Judges the URL without connecting.
    pub(crate) fn check(&self) -> Result<(), BrokerError> {
        match &self.0 {
            Source::Url(_) if self.scheme() != "memory" => Err(BrokerError::new(
                BrokerErrorKind::Configuration,
                format!("no broker for `{}:` in this build; a broker's URL begins with `memory:`", self.scheme()),
            )),
            _ => Ok(()),
        }
    }

    /// Connects.
    pub(crate) fn connect(self) -> Result<Arc<dyn Driver>, BrokerError> {
        self.check()?;
        Ok(match self.0 {
            Source::Url(_) => Arc::new(MemoryBroker::new()),
            Source::Driver(driver) => driver,
        })
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("scheme", &self.scheme()).finish_non_exhaustive()
    }
}
