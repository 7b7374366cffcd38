//! The JSON body that says itself what it is:
//! `{"payload": {..}, "event_id": uuid, "event_timestamp": RFC 3339, "event_name": .., "topic": ..}`. Without headers it is
//! read as well.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{EVENT_ID, EVENT_NAME, Received, WireError, headers, timestamp};
use crate::message::MessageSpec;
use crate::unit::Meta;

/// The body as it is read: what a foreign writer leaves out comes from the headers. Events that python-cqrs makes of
/// dataclasses have their keys in camel case.
#[derive(Deserialize)]
struct Read<'a> {
    #[serde(borrow)]
    payload: &'a RawValue,
    #[serde(alias = "eventId")]
    event_id: Option<Uuid>,
    #[serde(alias = "eventTimestamp")]
    event_timestamp: Option<String>,
    #[serde(alias = "eventName")]
    event_name: Option<String>,
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
pub(super) fn write(spec: &MessageSpec, meta: &Meta, payload: &[u8]) -> Vec<u8> {
    let tail =
        Tail { event_id: meta.id(), event_name: spec.name, event_timestamp: timestamp(meta.time()), topic: spec.topic };
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

pub(super) fn read<'b>(
    headers: &BTreeMap<String, String>,
    body: &'b [u8],
    now: SystemTime,
) -> Result<Received<'b>, WireError> {
    let body: Read<'b> = serde_json::from_slice(body).map_err(|error| WireError::Body(error.to_string()))?;
    let name = headers.get(EVENT_NAME).cloned().or(body.event_name).ok_or(WireError::Missing(EVENT_NAME))?;
    let id = headers::id(headers)?.or(body.event_id).ok_or(WireError::Missing(EVENT_ID))?;
    let version = headers::version(headers)?;
    let time = match body.event_timestamp {
        Some(text) => headers::time_of("event_timestamp", &text)?,
        None => now,
    };
    Ok(Received { id, name, version, time, payload: body.payload.get().as_bytes().into() })
}
