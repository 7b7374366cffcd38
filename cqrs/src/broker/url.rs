//! Naming a broker before it is connected: by URL or by driver. No I/O happens here.

use std::fmt;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;

use super::driver::Driver;
#[cfg(feature = "kafka")]
use super::kafka::KafkaBroker;
use super::options::{BrokerOptions, Declare};
use super::{BrokerError, BrokerErrorKind, DevnullBroker, MemoryBroker};

/// The broker an app uses, named but not yet connected: that happens when the builder is awaited.
///
/// ```
/// use cqrs::Broker;
///
/// let broker = Broker::url("memory:");
/// assert_eq!(broker.scheme(), "memory");
/// ```
pub struct Broker {
    source: Source,
    options: BrokerOptions,
}

enum Source {
    Url(String),
    Driver(Arc<dyn Driver>),
}

/// The brokers of this build.
enum Kind {
    #[cfg(feature = "amqp")]
    Amqp,
    Devnull,
    #[cfg(feature = "kafka")]
    Kafka,
    Memory,
    #[cfg(feature = "nats")]
    Nats,
}

/// What the URL of a broker begins with, in this build.
const SCHEMES: &[&str] = &[
    "`memory:`",
    "`devnull:`",
    #[cfg(feature = "kafka")]
    "`kafka:`",
    #[cfg(feature = "amqp")]
    "`amqp:`",
    #[cfg(feature = "amqp")]
    "`amqps:`",
    #[cfg(feature = "nats")]
    "`nats:`",
    #[cfg(feature = "nats")]
    "`tls:`",
];

impl Broker {
    /// Names a broker by URL: `memory:`, `devnull:`, or with the feature of its name:
    ///
    /// - `kafka://host:port,host2:port2`, which may say `user:password@` before its hosts and `?tls=true&sasl=scram-sha-512`
    ///   behind them; `sasl` is `plain` unless it says otherwise. Both TLS and SCRAM take the feature `kafka-tls`.
    /// - `amqp://user:password@host:port/vhost`, or `amqps://` for TLS. What others put
    ///   into a message that is not UTF-8 is read with other signs in its place.
    /// - `nats://user:password@host:4222,other:4222`, or `tls://` in the place of `nats://`. Headers of somebody else's that are
    ///   not UTF-8 end the connection once for each group; after that they are read with replacement characters.
    pub fn url(url: impl Into<String>) -> Self {
        Self::of(Source::Url(url.into()))
    }

    /// Takes the broker that confirms every message and delivers none, for tests: `devnull:`.
    pub fn devnull() -> Self {
        Self::url("devnull:")
    }

    /// Takes a driver of yours.
    pub fn driver(driver: impl Driver) -> Self {
        Self::of(Source::Driver(Arc::new(driver)))
    }

    /// Says what is done about topics that are missing: they are made, unless this says otherwise.
    pub fn declare(mut self, declare: Declare) -> Self {
        self.options.declare = declare;
        self
    }

    /// Says how many partitions a topic has that is made: 8 unless this says otherwise. Order is kept within each, so at
    /// most so many consumers of a group share a topic. With AMQP they are queues, with NATS subjects; there it holds for
    /// topics that are there as well, and everybody who publishes or consumes must say the same.
    pub fn partitions(mut self, count: NonZeroU16) -> Self {
        self.options.partitions = count;
        self
    }

    /// Trusts the certificate authorities in a PEM file, beside those of the machine.
    pub fn tls_ca(mut self, file: impl Into<PathBuf>) -> Self {
        self.options.tls_ca = Some(file.into());
        self
    }

    /// Sets a property of the client's library, where it has such:
    ///
    /// - Kafka: those of librdkafka, `"linger.ms"`.
    /// - AMQP: `"mandatory"`; `"false"` drops what nobody takes instead of letting it wait.
    /// - NATS: `"duplicate_window"` (`2m`), `"max_age"` and `"max_bytes"` of streams that are made (none), `"replicas"` (1),
    ///   `"bucket"` (`cqrs`: where groups keep how far they are), `"credentials"` (a file) and `"timeout"` (`5s`).
    pub fn property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.properties.push((name.into(), value.into()));
        self
    }

    /// The scheme of the URL, or the driver's name.
    pub fn scheme(&self) -> &str {
        match &self.source {
            Source::Url(url) => url.split(':').next().unwrap_or(url),
            Source::Driver(driver) => driver.name(),
        }
    }

    /// The URL; empty for a driver.
    #[cfg(any(feature = "amqp", feature = "kafka", feature = "nats"))]
    fn address(&self) -> &str {
        match &self.source {
            Source::Url(url) => url,
            Source::Driver(_) => "",
        }
    }

    fn of(source: Source) -> Self {
        Self { source, options: BrokerOptions::default() }
    }

    /// Whether it is a driver of the user's: tests leave it as it is, and somebody else may hold it too.
    pub(crate) fn is_driver(&self) -> bool {
        matches!(self.source, Source::Driver(_))
    }

    /// Judges what was said without connecting.
    pub(crate) fn check(&self) -> Result<(), BrokerError> {
        if self.is_driver() {
            return Ok(());
        }
        match self.kind()? {
            #[cfg(feature = "amqp")]
            Kind::Amqp => super::amqp::check(self.address(), &self.options),
            Kind::Devnull | Kind::Memory => self.no_properties(),
            #[cfg(feature = "kafka")]
            Kind::Kafka => KafkaBroker::check(self.address(), &self.options),
            #[cfg(feature = "nats")]
            Kind::Nats => super::nats::NatsBroker::new(self.address(), self.options.clone()).map(drop),
        }
    }

    /// Makes the driver, for those who publish or consume without an app. Nothing is asked of the broker yet: one that is
    /// down when the app starts is waited for like one that goes down later.
    ///
    /// ```
    /// let driver = cqrs::Broker::url("memory:").connect()?;
    /// assert_eq!(driver.name(), "memory");
    /// # Ok::<(), cqrs::broker::BrokerError>(())
    /// ```
    ///
    /// # Errors
    /// Fails when the URL or a setting is wrong.
    pub fn connect(self) -> Result<Arc<dyn Driver>, BrokerError> {
        self.check()?;
        if self.scheme() == DevnullBroker::NAME {
            tracing::warn!("the broker `devnull:` confirms every message and delivers none: what is published is lost");
        }
        if let Source::Driver(driver) = self.source {
            return Ok(driver);
        }
        Ok(match self.kind()? {
            #[cfg(feature = "amqp")]
            Kind::Amqp => Arc::new(super::amqp::AmqpBroker::new(self.address(), &self.options)?),
            Kind::Devnull => Arc::new(DevnullBroker::new()),
            #[cfg(feature = "kafka")]
            Kind::Kafka => Arc::new(KafkaBroker::new(self.address(), &self.options)?),
            Kind::Memory => Arc::new(MemoryBroker::new()),
            #[cfg(feature = "nats")]
            Kind::Nats => Arc::new(super::nats::NatsBroker::new(self.address(), self.options.clone())?),
        })
    }

    fn kind(&self) -> Result<Kind, BrokerError> {
        match self.scheme() {
            #[cfg(feature = "amqp")]
            "amqp" | "amqps" => Ok(Kind::Amqp),
            "devnull" => Ok(Kind::Devnull),
            #[cfg(feature = "kafka")]
            "kafka" => Ok(Kind::Kafka),
            "memory" => Ok(Kind::Memory),
            #[cfg(feature = "nats")]
            "nats" | "tls" | "nats+tls" => Ok(Kind::Nats),
            other => {
                let schemes = SCHEMES.join(", ");
                let what = format!("no broker for `{other}:` in this build; a broker's URL begins with {schemes}");
                Err(BrokerError::new(BrokerErrorKind::Configuration, what))
            }
        }
    }

    fn no_properties(&self) -> Result<(), BrokerError> {
        let Some((name, _)) = self.options.properties.first() else { return Ok(()) };
        let what = format!("the broker `{}:` has no properties, and `{name}` was set: leave it out", self.scheme());
        Err(BrokerError::new(BrokerErrorKind::Configuration, what))
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("scheme", &self.scheme()).finish_non_exhaustive()
    }
}
