//! What can be said about a broker beside its address.

use std::num::NonZeroU16;
use std::path::PathBuf;

/// What an app does about the topics it uses: Kafka's topics, the exchanges and queues of AMQP, the streams of NATS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Declare {
    /// Makes what is missing. What is there stays as it is.
    #[default]
    Create,
    /// Makes nothing, and refuses to use what is missing or does not fit, with an error that names it.
    Check,
    /// Takes it that somebody else sees to them.
    Leave,
}

/// What is said beside a broker's address, as far as anything is: by the methods of [`Broker`](super::Broker), by settings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct BrokerWords {
    pub(crate) declare: Option<Declare>,
    pub(crate) partitions: Option<NonZeroU16>,
    pub(crate) tls_ca: Option<PathBuf>,
}

impl BrokerWords {
    /// These words, and where there are none those of `other`.
    pub(crate) fn or(self, other: &Self) -> Self {
        Self {
            declare: self.declare.or(other.declare),
            partitions: self.partitions.or(other.partitions),
            tls_ca: self.tls_ca.or_else(|| other.tls_ca.clone()),
        }
    }
}

/// What holds for a broker beside its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BrokerOptions {
    pub(crate) declare: Declare,
    /// How many queues, subjects or partitions a topic is made of, where it is made.
    pub(crate) partitions: NonZeroU16,
    /// The certificates of the authorities that are trusted, beside those of the machine.
    pub(crate) tls_ca: Option<PathBuf>,
    /// Properties of the client's library, by name.
    pub(crate) properties: Vec<(String, String)>,
}

impl Default for BrokerOptions {
    fn default() -> Self {
        const EIGHT: NonZeroU16 = NonZeroU16::new(8).unwrap();
        Self { declare: Declare::default(), partitions: EIGHT, tls_ca: None, properties: Vec::new() }
    }
}
