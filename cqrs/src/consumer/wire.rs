//! The wire format of a notification event: the JSON body, and the headers beside it.
//!
//! The body is `{"payload": {..}, "event_id": uuid, "event_timestamp": RFC 3339, "event_name": .., "topic": ..}`. The
//! headers say the same and more, so that a reader need not open the body; a body without headers is read as well.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::broker::Delivery;
use crate::message::MessageSpec;
use crate::unit::Meta;

/// How much the body may hold around its payload: what is larger is not even read.
pub(crate) const ENVELOPE: usize = 64 * 1024;

pub(crate) const EVENT_ID: &str = "event_id";
pub(crate) const EVENT_NAME: &str = "event_name";
pub(crate) const EVENT_VERSION: &str = "event_version";
pub(crate) const CORRELATION_ID: &str = "correlation_id";
pub(crate) const CAUSATION_ID: &str = "causation_id";
pub(crate) const KEY: &str = "key";
pub(crate) const TRACEPARENT: &str = "traceparent";

/// The body as it is read: what a foreign writer leaves out comes from the headers.
#[derive(Deserialize)]
struct Read<'a> {
    #[serde(borrow)]
    payload: &'a RawValue,
    event_id: Option<Uuid>,
    event_timestamp: Option<String>,
    event_name: Option<String>,
}

/// A message read off the wire, its payload still bytes.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) version: u32,
    pub(crate) time: SystemTime,
    pub(crate) payload: Vec<u8>,
}

/// What the body says after its payload; by name, as every body so far.
#[derive(Serialize)]
struct Tail<'a> {
    event_id: Uuid,
    event_name: &'a str,
    event_timestamp: String,
    topic: &'a str,
}

/// Writes the body.
pub(crate) fn envelope(spec: &MessageSpec, meta: &Meta, payload: &[u8]) -> Vec<u8> {
    let tail = Tail {
        event_id: meta.id(),
        event_name: spec.name,
        event_timestamp: humantime::format_rfc3339_micros(meta.time()).to_string(),
        topic: spec.topic,
    };
    let mut body = Vec::with_capacity(payload.len() + 256);
    // The payload is JSON already: it goes in as it is, and only the rest is serialised.
    body.extend_from_slice(b"{\"payload\":");
    body.extend_from_slice(payload);
    let begun = body.len();
    // It cannot fail: strings into memory.
    let _ = serde_json::to_writer(&mut body, &tail);
    if let Some(brace) = body.get_mut(begun) {
        *brace = b',';
    }
    body
}

/// Stamps the headers that name a message.
pub(crate) fn stamp(headers: &mut BTreeMap<String, String>, spec: &MessageSpec, meta: &Meta, key: Option<&str>) {
    let mut set = |name: &str, value: String| headers.insert(name.to_owned(), value);
    set(EVENT_ID, meta.id().to_string());
    set(EVENT_NAME, spec.name.to_owned());
    set(EVENT_VERSION, spec.version.to_string());
    set(CORRELATION_ID, meta.correlation_id().to_string());
    if let Some(id) = meta.causation_id() {
        set(CAUSATION_ID, id.to_string());
    }
    if let Some(key) = key {
        set(KEY, key.to_owned());
    }
}

/// A message could not be read off the wire.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum WireError {
    /// The body is not the JSON of a notification event.
    #[error(
        "the body is not a notification event's JSON (`payload`, `event_id`, `event_timestamp`, `event_name`): {0}"
    )]
    Body(String),
    /// A field is in neither place.
    #[error("neither the headers nor the body say the message's `{0}`")]
    Missing(&'static str),
    /// The time is none.
    #[error("the body's `event_timestamp` is no time of RFC 3339: `{0}`")]
    Time(String),
    /// A header is not what it should be.
    #[error("the header `{name}` is not {expected}: `{value}`")]
    Header {
        /// The header.
        name: &'static str,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        value: String,
    },
}

/// Reads a message off the wire.
pub(crate) fn read(delivery: &Delivery, now: SystemTime) -> Result<Received, WireError> {
    let body: Read<'_> =
        serde_json::from_slice(&delivery.payload).map_err(|error| WireError::Body(error.to_string()))?;
    let headers = &delivery.headers;
    let name = headers.get(EVENT_NAME).cloned().or(body.event_name).ok_or(WireError::Missing(EVENT_NAME))?;
    let id = match headers.get(EVENT_ID) {
        Some(text) => parse_header(EVENT_ID, "a UUID", text)?,
        None => body.event_id.ok_or(WireError::Missing(EVENT_ID))?,
    };
    let version = match headers.get(EVENT_VERSION) {
        Some(text) => parse_header(EVENT_VERSION, "a number", text)?,
        None => 1,
    };
    let time = match body.event_timestamp {
        Some(text) => parse_time(&text).ok_or_else(|| WireError::Time(shortened(&text)))?,
        None => now,
    };
    Ok(Received { id, name, version, time, payload: body.payload.get().as_bytes().to_vec() })
}

fn parse_header<T: std::str::FromStr>(name: &'static str, expected: &'static str, value: &str) -> Result<T, WireError> {
    value.parse().map_err(|_| WireError::Header { name, expected, value: shortened(value) })
}

/// As much of a value as an error shows.
fn shortened(value: &str) -> String {
    value.chars().take(80).collect()
}

/// Reads a time with an offset, or one without, which is taken as UTC.
fn parse_time(text: &str) -> Option<SystemTime> {
    let timestamp = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let naive: jiff::civil::DateTime = text.parse().ok()?;
        jiff::tz::TimeZone::UTC.to_timestamp(naive).ok()
    })?;
    let micros = u64::try_from(timestamp.as_microsecond()).ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_without_headers_is_read() {
        let body = br#"{"payload":{"id":7},"event_id":"018f2b1e-0000-7000-8000-000000000001","event_timestamp":"2026-11-23T21:55:07.368794","event_name":"user_joined","topic":"t"}"#;
        let read = read(&Delivery::new("t", body.to_vec()), SystemTime::now()).unwrap();
        assert_eq!(
            (read.name.as_str(), read.version, read.payload.as_slice()),
            ("user_joined", 1, &br#"{"id":7}"#[..])
        );
        let seconds = read.time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        assert_eq!(seconds, 1_795_470_907, "a naive timestamp is UTC");
    }

    #[test]
    fn an_offset_is_honoured() {
        let time = parse_time("2026-11-23T22:55:07+01:00").unwrap();
        assert_eq!(time, parse_time("2026-11-23T21:55:07Z").unwrap());
    }

    #[test]
    fn rubbish_is_an_error_that_says_what_is_missing() {
        let now = SystemTime::now();
        let body = |text: &str| read(&Delivery::new("t", text.as_bytes()), now).unwrap_err().to_string();
        assert!(body("\u{1}").contains("not a notification event's JSON"));
        assert!(body(r#"{"payload":1}"#).contains("`event_name`"));
        assert!(body(r#"{"payload":1,"event_name":"x"}"#).contains("`event_id`"));
        let headed = Delivery::new("t", r#"{"payload":1,"event_name":"x"}"#).header(EVENT_ID, "no");
        assert!(read(&headed, now).unwrap_err().to_string().contains("is not a UUID: `no`"));
        let timed = |time: &str| {
            let body =
                format!(r#"{{"payload":1,"event_name":"x","event_id":"{}","event_timestamp":{time}}}"#, Uuid::nil());
            read(&Delivery::new("t", body), now)
        };
        let error = timed(r#""yesterday""#).unwrap_err().to_string();
        assert!(error.contains("`event_timestamp` is no time of RFC 3339: `yesterday`"), "{error}");
        assert_eq!(timed("null").unwrap().time, now, "what says no time has come just now");
    }
}
