//! Reading headers: ours, and those of writers who spell them their own way.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::SystemTime;

use super::{
    CONTENT_ENCODING, CONTENT_TYPE, EVENT_ID, EVENT_TIMESTAMP, EVENT_VERSION, MESSAGE_ID, WireError, parse_time,
};

type Headers = BTreeMap<String, String>;

/// What the payload of a message is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Payload {
    Json,
    Protobuf,
}

/// What the payload is written in, by its headers. Kept with a stored message, they say it later as well.
pub(crate) fn payload_of(headers: &Headers) -> Payload {
    match content_type(headers) {
        Some("application/protobuf" | "application/x-protobuf" | "application/vnd.google.protobuf") => {
            Payload::Protobuf
        }
        _ => Payload::Json,
    }
}

/// The headers of a body that is no longer compressed.
pub(crate) fn without_encoding(headers: &Headers) -> Headers {
    let kept = headers.iter().filter(|(name, _)| !is_same(name, CONTENT_ENCODING));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Whether it is a CloudEvent whose attributes are in the body.
pub(super) fn is_structured(headers: &Headers) -> bool {
    content_type(headers).is_some_and(|of| of.starts_with("application/cloudevents"))
}

/// The media type without its parameters.
fn content_type(headers: &Headers) -> Option<&str> {
    content_type_of(headers).map(|value| value.split(';').next().unwrap_or(value).trim())
}

/// What a message says it is written in, by its header.
pub(crate) fn content_type_of(headers: &Headers) -> Option<&str> {
    get(headers, CONTENT_TYPE)
}

/// A header, however its words are joined and whatever their case.
pub(super) fn get<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    let found = headers.get(name);
    let found = found.or_else(|| headers.iter().find(|(own, _)| is_same(own, name)).map(|(_, value)| value));
    found.map(String::as_str)
}

fn is_same(own: &str, name: &str) -> bool {
    let joint = |byte: u8| matches!(byte, b'-' | b'_');
    let same = |(a, b): (u8, u8)| a.eq_ignore_ascii_case(&b) || (joint(a) && joint(b));
    own.len() == name.len() && own.bytes().zip(name.bytes()).all(same)
}

pub(super) fn parse<T: FromStr>(name: &'static str, expected: &'static str, value: &str) -> Result<T, WireError> {
    value.parse().map_err(|_| WireError::Header { name, expected, value: shortened(value) })
}

/// The event's id, where a header says it: ours, or that of python-cqrs.
pub(super) fn id(headers: &Headers) -> Result<Option<uuid::Uuid>, WireError> {
    let said = |name: &'static str| headers.get(name).map(|text| (name, text));
    let said = said(EVENT_ID).or_else(|| said(MESSAGE_ID));
    said.map(|(name, text)| parse(name, "a UUID", text)).transpose()
}

/// The event's version: the first where nobody says it.
pub(super) fn version(headers: &Headers) -> Result<u32, WireError> {
    headers.get(EVENT_VERSION).map_or(Ok(1), |text| parse(EVENT_VERSION, "a number", text))
}

/// The event's time, where a header says it.
pub(super) fn time(headers: &Headers) -> Result<Option<SystemTime>, WireError> {
    headers.get(EVENT_TIMESTAMP).map(|text| time_of(EVENT_TIMESTAMP, text)).transpose()
}

pub(super) fn time_of(name: &'static str, text: &str) -> Result<SystemTime, WireError> {
    parse_time(text).ok_or_else(|| WireError::Time { name, value: shortened(text) })
}

/// As much of a value as an error shows.
pub(super) fn shortened(value: &str) -> String {
    value.chars().take(80).collect()
}
