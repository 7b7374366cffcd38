//! Our messages as AMQP carries them, and anybody's as we read them.

use std::collections::BTreeMap;
use std::time::SystemTime;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use super::fault::Fault;
use crate::broker::driver::Outgoing;
use crate::broker::{BrokerErrorKind, Delivery};
use crate::consumer::wire;

/// Carries the key of a message whose headers do not say it.
const OWN_KEY: &str = "cqrs-key";
/// What a message is written in that has no header for it.
const JSON: &str = "application/json";
/// The server counts deliveries in it.
const DELIVERY_COUNT: &str = "x-delivery-count";
/// What a header frame needs beside the headers: its own fields, and the properties that are set.
const FRAME_SLACK: usize = 1024;

/// The properties of a message.
///
/// # Errors
/// Refused where AMQP cannot carry it: a frame holds all the headers, and a name has at most 255 bytes.
pub(super) fn properties(outgoing: &Outgoing, frame_max: usize, now: SystemTime) -> Result<BasicProperties, Fault> {
    let Outgoing { id, delivery } = outgoing;
    let mut table = FieldTable::default();
    let mut size = FRAME_SLACK;
    let own_key = match &delivery.key {
        Some(key) if delivery.headers.get(wire::KEY) != Some(key) => Some((OWN_KEY, key.as_str())),
        _ => None,
    };
    let headers = delivery.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in headers.chain(own_key) {
        size += name.len() + value.len() + 6;
        let short = ShortString::try_new(name).map_err(|_| {
            let what = format!("the name of a header has {} bytes, and AMQP takes 255", name.len());
            Fault::new(BrokerErrorKind::Refused, what)
        })?;
        table.insert(short, AMQPValue::LongString(value.into()));
    }
    if size > frame_max {
        let what = format!("the headers have {size} bytes, and the AMQP broker takes {frame_max} (`frame_max`)");
        return Err(Fault::new(BrokerErrorKind::Refused, what));
    }
    let content_type = wire::content_type_of(&delivery.headers).and_then(|text| ShortString::try_new(text).ok());
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    Ok(BasicProperties::default()
        .with_message_id(id.to_string().into())
        .with_content_type(content_type.unwrap_or_else(|| JSON.into()))
        .with_delivery_mode(2)
        .with_timestamp(seconds)
        .with_headers(table))
}

/// The key of a message that somebody published.
pub(super) fn key(properties: &BasicProperties) -> Option<String> {
    let table = properties.headers().as_ref()?.inner();
    table.get(OWN_KEY).or_else(|| table.get(wire::KEY)).and_then(text)
}

/// The message that somebody published.
pub(super) fn delivery(topic: &str, properties: &BasicProperties, payload: &[u8]) -> Delivery {
    let mut headers = BTreeMap::new();
    let table = properties.headers().iter().flat_map(FieldTable::inner);
    for (name, value) in table {
        match (name.as_str(), text(value)) {
            (DELIVERY_COUNT | OWN_KEY, _) => {}
            (name, Some(value)) => {
                headers.insert(name.to_owned(), value);
            }
            (name, None) => tracing::debug!(topic, name, "a header that is no text is left out"),
        }
    }
    // Others say it by the property alone.
    let content_type = properties.content_type().as_ref().map(ShortString::as_str).filter(|of| *of != JSON);
    if let (Some(of), None) = (content_type, wire::content_type_of(&headers)) {
        headers.insert(wire::CONTENT_TYPE.to_owned(), of.to_owned());
    }
    Delivery { topic: topic.to_owned(), key: key(properties), headers, payload: payload.to_owned() }
}

/// A header as text; `None` where it has no plain one.
fn text(value: &AMQPValue) -> Option<String> {
    Some(match value {
        AMQPValue::Boolean(it) => it.to_string(),
        AMQPValue::ShortShortInt(it) => it.to_string(),
        AMQPValue::ShortShortUInt(it) => it.to_string(),
        AMQPValue::ShortInt(it) => it.to_string(),
        AMQPValue::ShortUInt(it) => it.to_string(),
        AMQPValue::LongInt(it) => it.to_string(),
        AMQPValue::LongUInt(it) => it.to_string(),
        AMQPValue::LongLongInt(it) => it.to_string(),
        AMQPValue::Float(it) => it.to_string(),
        AMQPValue::Double(it) => it.to_string(),
        AMQPValue::Timestamp(it) => it.to_string(),
        AMQPValue::ShortString(it) => it.to_string(),
        AMQPValue::LongString(it) => std::str::from_utf8(it.as_bytes()).ok()?.to_owned(),
        AMQPValue::ByteArray(it) => std::str::from_utf8(it.as_slice()).ok()?.to_owned(),
        AMQPValue::DecimalValue(_) | AMQPValue::FieldArray(_) | AMQPValue::FieldTable(_) | AMQPValue::Void => {
            return None;
        }
    })
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use lapin::BasicProperties;
    use lapin::types::{AMQPValue, FieldTable};
    use uuid::Uuid;

    use super::{delivery, properties};
    use crate::broker::driver::Outgoing;
    use crate::broker::{BrokerErrorKind, Delivery};

    const FRAME: usize = 131_072;

    fn there_and_back(sent: Delivery) -> Delivery {
        let outgoing = Outgoing { id: Uuid::now_v7(), delivery: sent };
        let properties = properties(&outgoing, FRAME, SystemTime::now()).unwrap();
        delivery("orders", &properties, &outgoing.delivery.payload)
    }

    #[test]
    fn what_is_published_is_what_is_read() {
        let plain = Delivery::new("orders", b"{}".to_vec()).header("event_name", "placed").header("", "\u{1F980}");
        for sent in [
            plain.clone(),
            plain.clone().key("42"),
            plain.clone().key("42").header("key", "42"),
            plain.clone().key("42").header("key", "43"),
            plain.key(""),
        ] {
            assert_eq!(there_and_back(sent.clone()), sent);
        }
    }

    #[test]
    fn a_message_has_the_properties_that_others_look_at() {
        let id = Uuid::now_v7();
        let outgoing = Outgoing { id, delivery: Delivery::new("orders", b"{}".to_vec()) };
        let made = properties(&outgoing, FRAME, SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(made.message_id().as_ref().map(ToString::to_string), Some(id.to_string()));
        assert_eq!(made.delivery_mode(), &Some(2));
        assert_eq!(made.content_type().as_ref().map(ToString::to_string), Some("application/json".to_owned()));
        for name in ["content-type", "content_type"] {
            let delivery = outgoing.delivery.clone().header(name, "application/protobuf");
            let made = properties(&Outgoing { id, delivery }, FRAME, SystemTime::UNIX_EPOCH).unwrap();
            let content_type = made.content_type().as_ref().map(ToString::to_string);
            assert_eq!(content_type, Some("application/protobuf".to_owned()), "{name}");
        }
    }

    #[test]
    fn the_content_type_that_others_say_by_the_property_alone_is_a_header() {
        let typed = |of: &str| BasicProperties::default().with_content_type(of.into());
        let read = |properties: &BasicProperties| delivery("orders", properties, b"x").headers;
        assert_eq!(read(&typed("application/x-protobuf"))["content-type"], "application/x-protobuf");
        assert!(read(&typed("application/json")).is_empty());
        let mut table = FieldTable::default();
        table.insert("Content_Type".into(), AMQPValue::LongString("application/protobuf".into()));
        let headers = read(&typed("application/octet-stream").with_headers(table));
        assert_eq!(headers, [("Content_Type".to_owned(), "application/protobuf".to_owned())].into());
    }

    #[test]
    fn headers_of_other_types_are_text_or_left_out() {
        let mut table = FieldTable::default();
        let mut put = |name: &str, value| {
            table.insert(name.into(), value);
        };
        put("bool", AMQPValue::Boolean(true));
        put("int", AMQPValue::LongInt(-7));
        put("long", AMQPValue::LongLongInt(i64::MIN));
        put("double", AMQPValue::Double(1.5));
        put("bytes", AMQPValue::ByteArray(b"raw".as_slice().into()));
        put("no_utf8", AMQPValue::LongString(vec![0xff, 0xfe].into()));
        put("no_utf8_bytes", AMQPValue::ByteArray([0xff].as_slice().into()));
        put("table", AMQPValue::FieldTable(FieldTable::default()));
        put("array", AMQPValue::FieldArray(vec![AMQPValue::Void].into()));
        put("void", AMQPValue::Void);
        put("x-delivery-count", AMQPValue::LongInt(3));
        put("key", AMQPValue::LongInt(42));
        let read = delivery("orders", &BasicProperties::default().with_headers(table), b"x");
        let headers: Vec<_> = read.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            headers,
            [
                ("bool", "true"),
                ("bytes", "raw"),
                ("double", "1.5"),
                ("int", "-7"),
                ("key", "42"),
                ("long", "-9223372036854775808"),
            ]
        );
        assert_eq!(read.key.as_deref(), Some("42"));
        assert!(delivery("orders", &BasicProperties::default(), b"x").headers.is_empty());
    }

    #[test]
    fn headers_that_amqp_cannot_carry_are_refused() {
        let refused = |delivery| {
            let outgoing = Outgoing { id: Uuid::now_v7(), delivery };
            properties(&outgoing, FRAME, SystemTime::now()).unwrap_err()
        };
        let plain = Delivery::new("orders", b"{}".to_vec());
        let error = refused(plain.clone().header("n".repeat(256), "x"));
        assert_eq!((error.kind, error.what.contains("256 bytes")), (BrokerErrorKind::Refused, true));
        let error = refused(plain.header("name", "x".repeat(FRAME)));
        assert_eq!((error.kind, error.what.contains("frame_max")), (BrokerErrorKind::Refused, true));
    }
}
