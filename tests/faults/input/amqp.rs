//! AMQP: headers have types, and properties stand beside them.

use cqrs_tests::proxy::Proxy;
use cqrs_tests::services;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, DecimalValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

use super::{Bad, step};

/// The client writes what is sound. On the way to the server this text becomes none, and a header of this name, whose value is
/// bytes, an array of what is in them.
const CHANGES: [(&[u8], &[u8]); 2] = [(TEXT.as_bytes(), b"become\xff \xfetes"), (b"\x04deepS", b"\x04deepA")];
const TEXT: &str = "becomes bytes";

pub async fn publish(topic: &str, all: Vec<Bad>) -> usize {
    let mut messages: Vec<_> =
        all.into_iter().map(|bad| (bad.what, properties(&bad), bad.payload.unwrap_or_default())).collect();
    let with = |headers| BasicProperties::default().with_headers(headers);
    let step = |what, properties| (what, properties, step(what));
    let own = BasicProperties::default();
    messages.extend([
        step("nothing said about it", own.clone()),
        step("headers of every type", with(every_type())),
        step("what the server and we say, in other types", with(other_types())),
        step("arrays in arrays", with(table([("deep", AMQPValue::LongString(deep().into()))]))),
        step("another type of content", own.clone().with_content_type(TEXT.to_uppercase().into())),
        step("a type of content that is no text", own.clone().with_content_type(TEXT.into())),
        step("an id that is no text", own.clone().with_message_id(TEXT.into())),
        step("the name of a header that is no text", with(table([(TEXT, AMQPValue::Void)]))),
        step("numbers beyond all sense", own.with_priority(255).with_timestamp(u64::MAX)),
    ]);
    let (_proxy, _connection, channel) = changing().await;
    for (number, (what, properties, body)) in messages.iter().enumerate() {
        let (key, options) =
            (if number == 0 { TEXT.to_owned() } else { number.to_string() }, BasicPublishOptions::default());
        let sent = channel.basic_publish(topic.into(), key.as_str().into(), options, body, properties.clone()).await;
        let confirmed = sent.unwrap().await;
        assert!(confirmed.is_ok(), "{what}: {confirmed:?}");
    }
    messages.len()
}

async fn changing() -> (Proxy, Connection, Channel) {
    let url = services::amqp_url();
    let (login, place) = url.rsplit_once('@').unwrap();
    let (server, host) = place.split_once('/').unwrap();
    let proxy = Proxy::to(server.parse().unwrap());
    proxy.change(|piece| {
        for (before, after) in CHANGES {
            for at in 0..(piece.len() + 1).saturating_sub(before.len()) {
                if piece[at..].starts_with(before) {
                    piece[at..at + after.len()].copy_from_slice(after);
                }
            }
        }
    });
    let url = format!("{login}@{}/{host}", proxy.address());
    let connection = Connection::connect(&url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    (proxy, connection, channel)
}

fn properties(bad: &Bad) -> BasicProperties {
    let text = |bytes: &Vec<u8>| AMQPValue::LongString(bytes.clone().into());
    let headers = bad.headers.iter().map(|(name, value)| (*name, value.as_ref().map_or(AMQPValue::Void, text)));
    let key = bad.key.as_ref().map(|key| ("cqrs-key", text(key)));
    BasicProperties::default().with_headers(table(headers.chain(key)))
}

fn table<'a>(headers: impl IntoIterator<Item = (&'a str, AMQPValue)>) -> FieldTable {
    headers.into_iter().fold(FieldTable::default(), |mut table, (name, value)| {
        table.insert(name.into(), value);
        table
    })
}

fn every_type() -> FieldTable {
    let array = AMQPValue::FieldArray(vec![AMQPValue::Void, AMQPValue::FieldTable(FieldTable::default())].into());
    table([
        ("boolean", AMQPValue::Boolean(true)),
        ("smallest", AMQPValue::ShortShortInt(i8::MIN)),
        ("small", AMQPValue::ShortInt(i16::MIN)),
        ("integer", AMQPValue::LongInt(i32::MIN)),
        ("large", AMQPValue::LongLongInt(i64::MIN)),
        ("unsigned", AMQPValue::LongUInt(u32::MAX)),
        ("float", AMQPValue::Float(f32::MIN)),
        ("double", AMQPValue::Double(f64::MAX)),
        ("decimal", AMQPValue::DecimalValue(DecimalValue { scale: 255, value: u32::MAX })),
        ("timestamp", AMQPValue::Timestamp(u64::MAX)),
        ("bytes", AMQPValue::ByteArray([0xff, 0].as_slice().into())),
        ("nul", AMQPValue::LongString("\0".into())),
        ("void", AMQPValue::Void),
        ("table", AMQPValue::FieldTable(table([("array", array)]))),
    ])
}

fn other_types() -> FieldTable {
    table([
        ("x-delivery-count", AMQPValue::LongString("many".into())),
        ("x-death", AMQPValue::Boolean(true)),
        ("cqrs-key", AMQPValue::FieldTable(FieldTable::default())),
        ("key", AMQPValue::Double(1.5)),
        ("event_id", AMQPValue::LongInt(7)),
        ("event_version", AMQPValue::ShortShortInt(-1)),
        ("content-encoding", AMQPValue::Boolean(false)),
    ])
}

/// Arrays, each with the next in it, in as much as one frame holds.
fn deep() -> Vec<u8> {
    let mut arrays = Vec::new();
    for inner in (0..20_000_u32).rev() {
        arrays.push(b'A');
        arrays.extend((inner * 5).to_be_bytes());
    }
    arrays
}
