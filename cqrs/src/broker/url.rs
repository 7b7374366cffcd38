//! Naming a broker before it is connected: by URL or by driver. No I/O happens here.

use std::fmt;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;

use super::driver::Driver;
#[cfg(feature = "kafka")]
use super::kafka::KafkaBroker;
use super::options::{BrokerOptions, BrokerWords, Declare};
use super::{BrokerError, BrokerErrorKind, DevnullBroker, MemoryBroker};

/// The broker an app uses, named but not yet connected: that happens when the builder is awaited.
///
/// ```
/// use cqrs::Broker;
///
/// let broker = Broker::url("memory:");
/// assert_eq!(broker.scheme(), "memory");
/// ```
///
/// Where [settings](crate::Settings) name a broker, they say where it is: [`declare`](Self::declare),
/// [`partitions`](Self::partitions) and [`tls_ca`](Self::tls_ca) of the broker that gives way hold for it too, and each
/// [`property`](Self::property) where the client's library is the same.
///
/// `memory:`, `devnull:` and a driver of yours have nothing of the kind. Said of one of them by a method, it is refused; what
/// comes from settings, or from the broker whose place one takes, counts for nothing there. So `CQRS_BROKER=memory:` is enough
/// to run a program without its servers.
pub struct Broker {
    source: Source,
    words: BrokerWords,
    /// Properties of the client's library, by name.
    properties: Vec<(String, String)>,
    /// The methods by which something was said of this broker itself, not of one whose place it takes.
    own: Vec<&'static str>,
}

enum Source {
    Url(String),
    Driver(Arc<dyn Driver>),
}

/// The brokers of this build.
#[derive(PartialEq, Eq)]
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

    /// Says what is done about topics that are missing: they are made, unless this says otherwise, or the setting
    /// `broker_declare`.
    pub fn declare(mut self, declare: Declare) -> Self {
        self.own.push("declare");
        self.words.declare = Some(declare);
        self
    }

    /// Says how many partitions a topic has that is made: 8 unless this says otherwise. Order is kept within each, so at
    /// most so many consumers of a group share a topic. With AMQP they are queues, with NATS subjects; there it holds for
    /// topics that are there as well, and everybody who publishes or consumes must say the same. The setting is
    /// `broker_partitions`.
    pub fn partitions(mut self, count: NonZeroU16) -> Self {
        self.own.push("partitions");
        self.words.partitions = Some(count);
        self
    }

    /// Trusts the certificate authorities in a PEM file, beside those of the machine; with NATS in their place. A URL that asks
    /// for no TLS is refused with it. Where only some of your servers speak TLS, leave it to the setting `broker_tls_ca`, beside
    /// their URL.
    pub fn tls_ca(mut self, file: impl Into<PathBuf>) -> Self {
        self.own.push("tls_ca");
        self.words.tls_ca = Some(file.into());
        self
    }

    /// Sets a property of the client's library, where it has such:
    ///
    /// - Kafka: those of librdkafka, `"linger.ms"`.
    /// - AMQP: `"mandatory"`; `"false"` drops what nobody takes instead of letting it wait.
    /// - NATS: `"duplicate_window"` (`2m`), `"max_age"` and `"max_bytes"` of streams that are made (none), `"replicas"` (1),
    ///   `"bucket"` (`cqrs`: where groups keep how far they are), `"credentials"` (a file) and `"timeout"` (`5s`).
    pub fn property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.push((name.into(), value.into()));
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
        Self { source, words: BrokerWords::default(), properties: Vec::new(), own: Vec::new() }
    }

    /// Takes the place of a broker: what was said of that one holds for this one.
    pub(crate) fn in_place_of(self, old: Self) -> Self {
        let is_alike = self.kind().ok().is_some_and(|kind| old.kind().ok() == Some(kind));
        let properties = if is_alike { old.properties } else { Vec::new() };
        Self { words: old.words, properties, ..self }
    }

    /// Takes words that go before its own.
    pub(crate) fn overlay(&mut self, words: BrokerWords) {
        self.words = words.or(&self.words);
    }

    /// Takes words that its own go before.
    pub(crate) fn underlay(&mut self, words: &BrokerWords) {
        self.words = std::mem::take(&mut self.words).or(words);
    }

    /// What holds for it.
    pub(crate) fn options(&self) -> BrokerOptions {
        let (words, usual) = (self.words.clone(), BrokerOptions::default());
        BrokerOptions {
            declare: words.declare.unwrap_or(usual.declare),
            partitions: words.partitions.unwrap_or(usual.partitions),
            tls_ca: words.tls_ca,
            properties: self.properties.clone(),
        }
    }

    /// Whether it is a driver of the user's: tests leave it as it is, and somebody else may hold it too.
    pub(crate) fn is_driver(&self) -> bool {
        matches!(self.source, Source::Driver(_))
    }

    /// Judges what was said without connecting.
    pub(crate) fn check(&self) -> Result<(), BrokerError> {
        let options = self.options();
        if self.is_driver() {
            return self.says_nothing(&options);
        }
        match self.kind()? {
            #[cfg(feature = "amqp")]
            Kind::Amqp => super::amqp::check(self.address(), &options),
            Kind::Devnull | Kind::Memory => self.says_nothing(&options),
            #[cfg(feature = "kafka")]
            Kind::Kafka => KafkaBroker::check(self.address(), &options),
            #[cfg(feature = "nats")]
            Kind::Nats => super::nats::NatsBroker::new(self.address(), options).map(drop),
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
            Kind::Amqp => Arc::new(super::amqp::AmqpBroker::new(self.address(), &self.options())?),
            Kind::Devnull => Arc::new(DevnullBroker::new()),
            #[cfg(feature = "kafka")]
            Kind::Kafka => Arc::new(KafkaBroker::new(self.address(), &self.options())?),
            Kind::Memory => Arc::new(MemoryBroker::new()),
            #[cfg(feature = "nats")]
            Kind::Nats => Arc::new(super::nats::NatsBroker::new(self.address(), self.options())?),
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

    /// Refuses what was said of a broker that has nothing to say it of.
    fn says_nothing(&self, options: &BrokerOptions) -> Result<(), BrokerError> {
        let broker = match &self.source {
            Source::Driver(driver) => format!("the driver `{}`", driver.name()),
            Source::Url(_) => format!("the broker `{}:`", self.scheme()),
        };
        let what = match (self.own.first(), options.properties.first()) {
            (Some(name), _) => format!(
                "{broker} takes no `{name}`: leave it out, or leave it to the setting `broker_{name}`, which counts where a broker takes it"
            ),
            (None, Some((name, _))) => format!("{broker} has no properties, and `{name}` was set: leave it out"),
            (None, None) => return Ok(()),
        };
        Err(BrokerError::new(BrokerErrorKind::Configuration, what))
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("scheme", &self.scheme()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::{Broker, BrokerErrorKind, BrokerWords, Declare, MemoryBroker};

    const ONE: NonZeroU16 = NonZeroU16::MIN;

    fn refusal(broker: Broker) -> String {
        let error = broker.check().unwrap_err();
        assert_eq!(error.kind(), BrokerErrorKind::Configuration);
        assert_eq!(broker.connect().unwrap_err().to_string(), error.to_string());
        error.to_string()
    }

    #[test]
    fn what_has_no_meaning_for_a_broker_is_refused() {
        let brokers: [(fn() -> Broker, _); 3] = [
            (|| Broker::url("memory:"), "the broker `memory:`"),
            (Broker::devnull, "the broker `devnull:`"),
            (|| Broker::driver(MemoryBroker::new()), "the driver `memory`"),
        ];
        for (broker, name) in brokers {
            assert!(broker().connect().is_ok(), "{name}");
            for (broker, word) in [
                (broker().declare(Declare::Create), "declare"),
                (broker().partitions(ONE), "partitions"),
                (broker().tls_ca("ca.pem"), "tls_ca"),
            ] {
                let said =
                    format!("{name} takes no `{word}`: leave it out, or leave it to the setting `broker_{word}`");
                assert!(refusal(broker).starts_with(&said), "{said}");
            }
            let said = format!("{name} has no properties, and `linger.ms` was set: leave it out");
            assert_eq!(refusal(broker().property("linger.ms", "5")), said);
        }
    }

    /// So that one URL is enough to run a program without its servers.
    #[test]
    fn what_was_said_elsewhere_is_not_refused() {
        let words = BrokerWords { partitions: Some(ONE), tls_ca: Some("none.pem".into()), ..BrokerWords::default() };
        for place in ["memory:", "devnull:"] {
            let servers = Broker::url("pigeon://coop").declare(Declare::Check).partitions(ONE).tls_ca("none.pem");
            let broker = Broker::url(place).in_place_of(servers.property("linger.ms", "5"));
            assert!(broker.connect().is_ok(), "{place}");
            let mut broker = Broker::url(place);
            broker.overlay(words.clone());
            assert!(broker.connect().is_ok(), "{place}");
            let mut broker = Broker::url(place);
            broker.underlay(&words);
            assert!(broker.connect().is_ok(), "{place}");
        }
    }
}
