//! CloudEvents 1.0 in binary mode: the payload is the body, the attributes are headers.
//!
//! They are written as the Kafka binding has them, `ce_id`. Read are those of the bindings for NATS and HTTP, `ce-id`, and
//! for AMQP, `cloudEvents:id` and `cloudEvents_id`, as well.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::SystemTime;

use uuid::Uuid;

use super::{CONTENT_TYPE, EVENT_NAME, Received, WireError, headers, timestamp};
use crate::message::MessageSpec;
use crate::unit::Meta;

const PREFIXES: [&str; 4] = ["ce_", "ce-", "cloudEvents:", "cloudEvents_"];

/// The source of an app that names none.
const SOURCE: &str = "/cqrs";

pub(super) fn stamp(
    headers: &mut BTreeMap<String, String>,
    spec: &MessageSpec,
    meta: &Meta,
    key: Option<&str>,
    source: Option<&str>,
) {
    let traceparent = meta.trace_parent().map(str::to_owned);
    let mut set = |name: &str, value: String| headers.insert(format!("ce_{name}"), value);
    set("specversion", "1.0".to_owned());
    set("id", meta.id().to_string());
    set("type", spec.name.to_owned());
    set("source", source.unwrap_or(SOURCE).to_owned());
    set("time", timestamp(meta.time()));
    // The extension for what brokers keep order by.
    if let Some(key) = key {
        set("partitionkey", key.to_owned());
    }
    if let Some(parent) = traceparent {
        set("traceparent", parent);
    }
    headers.insert(CONTENT_TYPE.to_owned(), "application/json".to_owned());
}

/// Whether the headers are those of a CloudEvent.
pub(super) fn is_one(headers: &BTreeMap<String, String>) -> bool {
    attribute(headers, "specversion").is_some()
}

/// Reads one. Our own headers go before its attributes: a CloudEvent's id need not be a UUID.
pub(super) fn read<'b>(
    headers: &BTreeMap<String, String>,
    payload: Cow<'b, [u8]>,
    now: SystemTime,
) -> Result<Received<'b>, WireError> {
    let version = attribute(headers, "specversion").unwrap_or_default();
    if !version.starts_with("1.") {
        let value = headers::shortened(version);
        return Err(WireError::Header { name: "ce_specversion", expected: "a version that is read here, 1.x", value });
    }
    let id = match headers::id(headers)? {
        Some(id) => id,
        None => id_of(
            attribute(headers, "source").ok_or(WireError::Missing("ce_source"))?,
            attribute(headers, "id").ok_or(WireError::Missing("ce_id"))?,
        ),
    };
    let name = headers.get(EVENT_NAME).map(String::as_str).or_else(|| attribute(headers, "type"));
    let time = attribute(headers, "time").map(|text| headers::time_of("ce_time", text)).transpose()?;
    Ok(Received {
        id,
        name: name.ok_or(WireError::Missing("ce_type"))?.to_owned(),
        version: headers::version(headers)?,
        time: time.unwrap_or(now),
        payload,
    })
}

fn attribute<'a>(headers: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    PREFIXES.into_iter().find_map(|prefix| headers::get(headers, &format!("{prefix}{name}")))
}

/// The id of an event of another writer, who tells his events apart by source and id together.
fn id_of(source: &str, id: &str) -> Uuid {
    match id.parse() {
        Ok(id) => id,
        Err(_) => Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("{source}\u{1f}{id}").as_bytes()),
    }
}
