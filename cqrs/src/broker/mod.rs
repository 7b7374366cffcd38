//! The broker: what carries notification events between services.
//!
//! [`driver`] is what a broker must be able to do; each broker is a folder that does it.

#[cfg(feature = "amqp")]
mod amqp;
mod delivery;
pub mod driver;
mod error;
mod memory;
mod options;
mod url;

pub use self::delivery::Delivery;
pub use self::error::{BrokerError, BrokerErrorKind};
pub use self::memory::MemoryBroker;
pub use self::options::Declare;
pub use self::url::Broker;
