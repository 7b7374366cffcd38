//! A payload as it is: Protocol Buffers, with everything else in headers.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::SystemTime;

use super::{CONTENT_TYPE, EVENT_ID, EVENT_NAME, EVENT_TIMESTAMP, Received, WireError, headers, timestamp};
use crate::unit::Meta;

/// Says what the body is, and when it was made.
pub(super) fn stamp(headers: &mut BTreeMap<String, String>, meta: &Meta) {
    headers.insert(CONTENT_TYPE.to_owned(), "application/protobuf".to_owned());
    headers.insert(EVENT_TIMESTAMP.to_owned(), timestamp(meta.time()));
}

pub(super) fn read<'b>(
    headers: &BTreeMap<String, String>,
    payload: Cow<'b, [u8]>,
    now: SystemTime,
) -> Result<Received<'b>, WireError> {
    Ok(Received {
        id: headers::id(headers)?.ok_or(WireError::Missing(EVENT_ID))?,
        name: headers.get(EVENT_NAME).cloned().ok_or(WireError::Missing(EVENT_NAME))?,
        version: headers::version(headers)?,
        time: headers::time(headers)?.unwrap_or(now),
        payload,
    })
}
