//! The broker: what carries notification events between services.
//!
//! [`driver`] is what a broker must be able to do; each broker is a folder that does it.

#[cfg(feature = "amqp")]
mod amqp;
mod delivery;
mod devnull;
pub mod driver;
mod error;
#[cfg(feature = "kafka")]
mod kafka;
mod lanes;
mod memory;
#[cfg(feature = "nats")]
mod nats;
mod options;
mod url;

pub(crate) use self::options::BrokerWords;

pub use self::delivery::Delivery;
pub use self::devnull::DevnullBroker;
pub use self::driver::Driver;
pub use self::error::{BrokerError, BrokerErrorKind};
pub use self::memory::MemoryBroker;
pub use self::options::Declare;
pub use self::url::Broker;
