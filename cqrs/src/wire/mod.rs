//! The wire format of a notification event: its body, and the headers beside it.
//!
//! [`envelope`] is JSON that says itself what it is, [`cloudevents`] and [`bare`] leave that to headers. Whichever it is,
//! the headers that [`stamp`] sets say the same, so that a reader need not open the body. Whoever reads decides by the
//! headers: what a writer was told to do is not known to him.

mod bare;
mod cloudevents;
mod compression;
mod envelope;
mod error;
mod headers;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use uuid::Uuid;

pub use self::compression::Compression;
pub(crate) use self::error::WireError;
#[cfg(feature = "amqp")]
pub(crate) use self::headers::content_type_of;
pub(crate) use self::headers::{Payload, payload_of, without_encoding};
use crate::broker::Delivery;
use crate::message::{MessageSpec, WireFormat};
use crate::unit::Meta;

/// How much the body may hold around its payload: what is larger is not even read.
pub(crate) const ENVELOPE: usize = 64 * 1024;

pub(crate) const EVENT_ID: &str = "event_id";
/// What python-cqrs calls it, where it says it beside the body.
pub(crate) const MESSAGE_ID: &str = "message_id";
pub(crate) const EVENT_NAME: &str = "event_name";
pub(crate) const EVENT_VERSION: &str = "event_version";
/// Only where the body does not say it.
pub(crate) const EVENT_TIMESTAMP: &str = "event_timestamp";
pub(crate) const CORRELATION_ID: &str = "correlation_id";
pub(crate) const CAUSATION_ID: &str = "causation_id";
pub(crate) const KEY: &str = "key";
pub(crate) const TRACEPARENT: &str = "traceparent";
/// As everybody writes it, with a hyphen. JSON in our envelope goes without.
pub(crate) const CONTENT_TYPE: &str = "content-type";
pub(crate) const CONTENT_ENCODING: &str = "content-encoding";

/// What an app says of the events it writes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Style {
    /// For events that say nothing themselves.
    pub(crate) format: WireFormat,
    pub(crate) compression: Compression,
    /// Who writes: the `source` of a CloudEvent.
    pub(crate) source: Option<String>,
}

impl Style {
    /// How an event is written.
    pub(crate) fn format_of(&self, spec: &MessageSpec) -> WireFormat {
        match spec.wire.unwrap_or(self.format) {
            WireFormat::Protobuf if spec.codec.protobuf.is_none() => WireFormat::Json,
            format => format,
        }
    }
}

/// A message read off the wire, its payload still bytes: those of the body where they lie in it as they are.
#[derive(Debug, Clone)]
pub(crate) struct Received<'b> {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) version: u32,
    pub(crate) time: SystemTime,
    pub(crate) payload: Cow<'b, [u8]>,
}

impl Received<'_> {
    /// The same for longer than the body.
    fn into_owned(self) -> Received<'static> {
        let Self { id, name, version, time, payload } = self;
        Received { id, name, version, time, payload: Cow::Owned(payload.into_owned()) }
    }
}

/// Writes the body around a payload, and the headers it needs.
pub(crate) fn write(
    style: &Style,
    spec: &MessageSpec,
    meta: &Meta,
    key: Option<&str>,
    payload: Vec<u8>,
    headers: &mut BTreeMap<String, String>,
) -> Vec<u8> {
    stamp(headers, spec, meta, key);
    let body = match style.format_of(spec) {
        WireFormat::Json => envelope::write(spec, meta, &payload),
        WireFormat::CloudEvents => {
            cloudevents::stamp(headers, spec, meta, key, style.source.as_deref());
            payload
        }
        WireFormat::Protobuf => {
            bare::stamp(headers, meta);
            payload
        }
    };
    compression::compressed(style.compression, body, headers)
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

/// Reads a message off the wire. A body that is compressed may not become longer than `limit` and what may surround a
/// payload.
pub(crate) fn read(delivery: &Delivery, now: SystemTime, limit: usize) -> Result<Received<'_>, WireError> {
    let headers = &delivery.headers;
    let body = compression::body(headers, &delivery.payload, limit.saturating_add(ENVELOPE))?;
    if headers::is_structured(headers) {
        return Err(WireError::Structured);
    }
    if cloudevents::is_one(headers) {
        return cloudevents::read(headers, body, now);
    }
    match payload_of(headers) {
        Payload::Protobuf => bare::read(headers, body, now),
        Payload::Json => match body {
            Cow::Borrowed(body) => envelope::read(headers, body, now),
            Cow::Owned(body) => envelope::read(headers, &body, now).map(Received::into_owned),
        },
    }
}

fn timestamp(time: SystemTime) -> String {
    humantime::format_rfc3339_micros(time).to_string()
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
