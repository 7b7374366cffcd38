//! A message as a broker carries it.

use std::collections::BTreeMap;

/// A message as a broker carries it: topic, key, headers, bytes.
///
/// ```
/// use cqrs::Delivery;
///
/// let delivery = Delivery::new("orders", b"{}".to_vec()).key("42").header("event_name", "order_placed");
/// assert_eq!(delivery.topic(), "orders");
/// assert_eq!(delivery.headers()["event_name"], "order_placed");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub(crate) topic: String,
    pub(crate) key: Option<String>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) payload: Vec<u8>,
}

impl Delivery {
    /// Makes a message of a topic and its bytes.
    pub fn new(topic: impl Into<String>, payload: impl Into<Vec<u8>>) -> Self {
        Self { topic: topic.into(), key: None, headers: BTreeMap::new(), payload: payload.into() }
    }

    /// Sets the key.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Sets a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The key the message carries, if any.
    pub fn message_key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The headers, by name.
    pub fn headers(&self) -> &BTreeMap<String, String> {
        &self.headers
    }

    /// The bytes.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }
}
