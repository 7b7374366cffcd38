//! What anybody may put on a topic: it is kept with its bytes and why it cannot be read, and holds up nobody. Each broker has a
//! file, with what it alone can carry.

mod amqp;
mod bombs;
mod kafka;
mod nats;

use std::io::Write as _;

use cqrs_tests::services;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::{ALL, World};

/// A message that is not ours.
struct Bad {
    what: &'static str,
    key: Option<Vec<u8>>,
    headers: Vec<(&'static str, Option<Vec<u8>>)>,
    payload: Option<Vec<u8>>,
}

fn body(name: &str, payload: &Value) -> Vec<u8> {
    let body = json!({
        "payload": payload, "event_id": Uuid::now_v7(), "event_timestamp": "2026-01-02T03:04:05Z", "event_name": name, "topic": "steps",
    });
    body.to_string().into_bytes()
}

fn step(walker: &str) -> Vec<u8> {
    body("stepped", &json!({ "walker": walker }))
}

fn bomb() -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&vec![b' '; 64 << 20]).unwrap();
    encoder.finish().unwrap()
}

/// None of their keys is a walker's, and each has its own: what cannot be read may hold back the later ones of its key.
fn all_bad() -> Vec<Bad> {
    let text = |text: &str| Some(text.as_bytes().to_vec());
    let plain = |what, key: Option<Vec<u8>>, payload| Bad { what, key, headers: Vec::new(), payload };
    let headed = |what: &'static str, headers, payload| Bad { what, key: text(what), headers, payload: Some(payload) };
    vec![
        plain("bytes that are no text", text("bytes"), Some(vec![0xff, 0x00, 0x7b])),
        plain("no body", text("nobody"), None),
        plain("an unknown name", None, Some(body("never.heard", &json!({})))),
        plain("a payload of another shape", text("shape"), Some(step("x"))),
        plain("a payload with a NUL", text("payload"), Some(step("x\0y"))),
        plain("a key that is no text", Some(vec![0xff, 0xfe]), Some(step("x"))),
        headed("an unknown version", vec![("event_version", text("99"))], step("x")),
        headed("a version beyond all numbers", vec![("event_version", text("4294967295"))], step("x")),
        headed("a version that is none", vec![("event_version", text("'; DROP TABLE diary; --"))], step("x")),
        headed("an id that is none", vec![("event_id", text("../../etc/passwd"))], step("x")),
        headed("a decompression bomb", vec![("content-encoding", text("zlib"))], bomb()),
        headed("an unknown encoding", vec![("content-encoding", text("br"))], step("x")),
        headed(
            "headers of every kind",
            vec![
                ("", text("empty")),
                ("a\r\nb", text("c\r\nd")),
                ("bytes", Some(vec![0xff, 0x00])),
                ("none", None),
                ("long", Some(incompressible(100_000))),
                ("twice", text("1")),
                ("twice", text("2")),
                ("traceparent", text("00-zz")),
                ("correlation_id", text("no")),
            ],
            step("x"),
        ),
    ]
}

/// Letters and digits that no index makes shorter.
pub fn incompressible(length: usize) -> Vec<u8> {
    let mut text = String::new();
    while text.len() < length {
        text.push_str(&Uuid::new_v4().simple().to_string());
    }
    text.truncate(length);
    text.into_bytes()
}

/// Puts all of that on a topic, and more that a broker alone can carry. `publish` says how many it was.
async fn is_put_on_a_topic(store: &str, broker: &str, publish: impl AsyncFn(&str, Vec<Bad>) -> usize) {
    let world = World::new(store, broker, 30).await;
    let process = world.start(ALL, None);
    world.reaches("SELECT COUNT(*) FROM diary", 6).await;
    let all = publish(&world.on_broker("steps"), all_bad()).await;
    // What no handler can be given may be kept once for each time that the broker delivers it.
    let dead = "SELECT COUNT(*) FROM (SELECT DISTINCT message_key, payload FROM cqrs_work
        WHERE state = 'dead' AND (message_key IS NULL OR length(message_key) > 1)) AS dead";
    // And the one that the walkers meet.
    world.reaches(dead, i64::try_from(all).unwrap() + 1).await;
    world.arrived().await;
    world.assert_whole().await;
    process.stop(&world).await;
    assert_eq!(world.count(dead).await, i64::try_from(all).unwrap() + 1, "{}", world.tables().await);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g11_whatever_is_put_on_a_topic_of_kafka_is_a_dead_letter_and_holds_up_nobody() {
    is_put_on_a_topic(&services::postgres_url(), &services::kafka_url(), kafka::publish).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g11_whatever_is_put_on_a_topic_of_amqp_is_a_dead_letter_and_holds_up_nobody() {
    is_put_on_a_topic(&services::mysql_url(), &services::amqp_url(), amqp::publish).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g11_whatever_is_put_on_a_topic_of_nats_is_a_dead_letter_and_holds_up_nobody() {
    is_put_on_a_topic("sqlite", &services::nats_url(), nats::publish).await;
}
