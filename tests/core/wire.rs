//! How notification events are written and read: formats, compression, earlier versions, messages that are handed in.

use std::io::Write as _;
use std::time::Duration;

use cqrs::broker::MemoryBroker;
use cqrs::prelude::*;
use cqrs::sqlx::{self, Sqlite};
use cqrs::{Compression, Delivery, WireFormat};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::support::{Harness, Probe, Refused, bounded, message, publish, write};

#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "wire.told", topic = "wire", key = who)]
struct Told {
    who: String,
    text: String,
}

#[event_handler(group = "wire", retry(max = 2, first = "1s"))]
async fn hear(e: Told, meta: &Meta, probe: Inject<Probe>, tx: &mut Tx<Sqlite>) -> Result<(), Refused> {
    assert_eq!(meta.header("content-encoding"), None, "what a handler sees is not compressed");
    probe.note(format!("{} {}", e.who, e.text.len()));
    probe.try_it("hear")?;
    write(tx, e.who).await.map_err(|error| Refused(error.to_string()))
}

#[derive(NotificationEvent, Clone, PartialEq, prost::Message)]
#[event(name = "wire.drawn", topic = "wire", key = who, codec = "protobuf")]
struct Drawn {
    #[prost(string, tag = "1")]
    who: String,
    #[prost(sint64, tag = "2")]
    x: i64,
}

#[event_handler(group = "wire", retry(max = 3, first = "1s"))]
async fn draw(e: Drawn, meta: &Meta, probe: Inject<Probe>) -> Result<(), Refused> {
    probe.try_it("draw")?;
    probe.note(format!("drawn {} {} {:?}", e.who, e.x, meta.key()));
    Ok(())
}

#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(name = "wire.grown", topic = "wire", version = 0)]
struct GrownV0 {
    size: u8,
}

#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(name = "wire.grown", topic = "wire", upgrades = GrownV0)]
struct GrownV1 {
    size: u32,
}

impl From<GrownV0> for GrownV1 {
    fn from(old: GrownV0) -> Self {
        assert_ne!(old.size, 13, "nobody grows so");
        Self { size: u32::from(old.size) * 100 }
    }
}

#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(name = "wire.grown", topic = "wire", version = 2, upgrades = GrownV1)]
struct GrownV2 {
    size: u32,
    unit: String,
}

impl From<GrownV1> for GrownV2 {
    fn from(old: GrownV1) -> Self {
        Self { size: old.size, unit: "mm".to_owned() }
    }
}

#[event_handler(group = "wire", retry(max = 2, first = "1s"))]
async fn grow(e: GrownV2, probe: Inject<Probe>) -> Result<(), Refused> {
    probe.try_it("grow")?;
    probe.note(format!("grown {} {}", e.size, e.unit));
    Ok(())
}

#[derive(DomainEvent, Clone, Serialize, Deserialize)]
#[event(name = "wire.shrunk")]
struct ShrunkV1 {
    by: u8,
}

#[derive(DomainEvent, Clone, Serialize, Deserialize)]
#[event(name = "wire.shrunk", version = 2, upgrades = ShrunkV1)]
struct ShrunkV2 {
    by: u32,
}

impl From<ShrunkV1> for ShrunkV2 {
    fn from(old: ShrunkV1) -> Self {
        Self { by: old.by.into() }
    }
}

#[event_handler(durable)]
async fn shrink(e: &ShrunkV2, probe: Inject<Probe>) {
    probe.note(format!("shrunk {}", e.by));
}

fn told(who: &str, text: &str) -> Told {
    Told { who: who.to_owned(), text: text.to_owned() }
}

/// The body and headers of the only row of the outbox.
pub async fn row(app: &Harness) -> (Vec<u8>, serde_json::Value) {
    let rows: Vec<(Vec<u8>, String)> =
        sqlx::query_as("SELECT payload, headers FROM cqrs_outbox").fetch_all(&app.probe.pool()).await.unwrap();
    let [(body, headers)] = <[_; 1]>::try_from(rows).unwrap();
    (body, serde_json::from_str(&headers).unwrap())
}

#[tokio::test]
async fn a_cloud_event_is_a_bare_body_with_attributes_as_headers() {
    bounded(async {
        let as_cloud_events =
            |builder: cqrs::Builder| builder.codec(WireFormat::CloudEvents).event_source("https://shop.example/orders");
        let app = Harness::with(|builder| as_cloud_events(builder).run([""; 0])).await;
        app.publish(told("ann", "hello")).await.unwrap();
        let (body, headers) = row(&app).await;
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&body).unwrap(), json!({"who": "ann", "text": "hello"}));
        assert_eq!(headers["ce_specversion"], "1.0");
        assert_eq!(headers["ce_type"], "wire.told");
        assert_eq!(headers["ce_source"], "https://shop.example/orders");
        assert_eq!(headers["ce_partitionkey"], "ann");
        assert_eq!(headers["ce_id"], headers["event_id"]);
        assert_eq!(headers["content-type"], "application/json");
        assert!(headers["ce_time"].as_str().unwrap().ends_with('Z'), "{headers}");
        let app = Harness::with(as_cloud_events).await;
        app.publish(told("ann", "hello")).await.unwrap();
        app.settle().await;
        assert_eq!((app.probe.log(), app.rows().await), (vec!["ann 5".to_owned()], vec!["ann".to_owned()]));
    })
    .await;
}

/// Nobody of ours: its id is no UUID, and its headers are spelled as other brokers' bindings have them.
#[tokio::test]
async fn a_cloud_event_of_another_writer_is_handled_once() {
    bounded(async {
        let (app, broker) = Harness::with_broker(|builder| builder).await;
        for (prefix, id) in [("ce_", "a"), ("ce-", "b"), ("cloudEvents:", "c"), ("cloudEvents_", "d"), ("ce_", "a")] {
            let body = json!({"who": format!("{prefix}{id}"), "text": "x"}).to_string();
            let delivery = ["specversion=1.0", "type=wire.told", "source=/elsewhere", "time=2026-01-02T03:04:05+01:00"]
                .iter()
                .map(|attribute| attribute.split_once('=').unwrap())
                .chain([("id", id)])
                .fold(Delivery::new("wire", body), |delivery, (name, value)| {
                    delivery.header(format!("{prefix}{name}"), value)
                });
            publish(&broker, Uuid::now_v7(), delivery.header("Content-Type", "application/json; charset=utf-8")).await;
        }
        app.settle().await;
        assert_eq!(app.rows().await, ["ce_a", "ce-b", "cloudEvents:c", "cloudEvents_d"]);
    })
    .await;
}

#[tokio::test]
async fn what_no_reader_understands_is_a_dead_letter_that_says_why() {
    bounded(async {
        let (app, broker) = Harness::with_broker(|builder| builder).await;
        let id = Uuid::now_v7();
        let sound = || message("wire", "wire.told", id, &json!({"who": "x", "text": "x"}));
        let bombed = |body: Vec<u8>, encoding: &str| Delivery::new("wire", body).header("content-encoding", encoding);
        let zeros = vec![b' '; 64 << 20];
        let mut zlib = flate2_of(&zeros);
        for (delivery, expected) in [
            (sound().header("content-type", "application/cloudevents+json"), "structured mode"),
            (sound().header("ce_specversion", "0.3"), "`ce_specversion` is not a version that is read here"),
            (sound().header("content-encoding", "br"), "`content-encoding` is `br`: `zlib` and `zstd` are read here"),
            (sound().header("content-encoding", "zstd"), "the body is not zstd"),
            (sound().header("content-encoding", "deflate"), "the body is not zlib"),
            (bombed(std::mem::take(&mut zlib), "zlib"), "becomes longer than 1114112 when it is decompressed"),
            (bombed(zstd_of(&zeros), "zstd"), "becomes longer than 1114112 when it is decompressed"),
            (
                sound().header("content-type", "application/protobuf"),
                "neither the headers nor the body say the message's `event_id`",
            ),
            (
                sound()
                    .header("content-type", "application/protobuf")
                    .header("event_id", id.to_string())
                    .header("event_name", "wire.told"),
                "`wire.told` cannot be read from Protocol Buffers: say `codec = \"protobuf\"` for the type",
            ),
            (
                message("wire", "wire.drawn", id, &json!({})),
                "`wire.drawn` cannot be read from JSON: derive `Deserialize` for the type",
            ),
        ] {
            publish(&broker, Uuid::now_v7(), delivery.clone()).await;
            app.settle().await;
            let dead = app.dead().await;
            assert_eq!(dead.len(), 1, "{expected}");
            assert!(dead[0].error.contains(expected), "{} has not {expected}", dead[0].error);
            // As it came, where it could not be read at all: whoever replays it wants the same bytes.
            if dead[0].handler.is_empty() {
                assert_eq!((&dead[0].payload[..], &dead[0].headers), (delivery.payload(), delivery.headers()));
            }
            assert!(app.discard(dead[0].id).await.unwrap());
        }
        assert!(app.probe.log().is_empty());
    })
    .await;
}

fn flate2_of(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd_of(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 3).unwrap()
}

#[tokio::test]
async fn a_compressed_body_is_shorter_and_read_by_its_header() {
    bounded(async {
        let long = "hello ".repeat(1_000);
        for (how, word) in [(Compression::Zlib, "zlib"), (Compression::Zstd, "zstd")] {
            let app = Harness::with(|builder| builder.compression(how).run([""; 0])).await;
            app.publish(told("ann", &long)).await.unwrap();
            let (body, headers) = row(&app).await;
            assert!(body.len() < 500, "{how:?}: {}", body.len());
            assert_eq!(headers["content-encoding"], word);
            // The reader was told nothing.
            let (app, broker) = Harness::with_broker(|builder| builder).await;
            let id = headers["event_id"].as_str().unwrap().parse().unwrap();
            publish(&broker, id, Delivery::new("wire", body).header("content-encoding", word)).await;
            app.settle().await;
            assert_eq!(app.rows().await, ["ann"]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_short_body_goes_as_it_is() {
    bounded(async {
        let app = Harness::with(|builder| builder.compression(Compression::Zstd).run([""; 0])).await;
        app.publish(told("ann", "hi")).await.unwrap();
        let (body, headers) = row(&app).await;
        assert!(serde_json::from_slice::<serde_json::Value>(&body).is_ok());
        assert!(headers.get("content-encoding").is_none(), "{headers}");
    })
    .await;
}

/// Stored for its next attempt it is no longer compressed, nor are its headers to say so.
#[tokio::test]
async fn a_compressed_message_that_fails_is_tried_again() {
    bounded(async {
        let app = Harness::with(|builder| builder.compression(Compression::Zlib)).await;
        app.probe.fail("hear", 1);
        app.publish(told("ann", &"x".repeat(2_000))).await.unwrap();
        app.settle_for_hours(2).await;
        assert_eq!(app.probe.log(), ["ann 2000", "ann 2000"]);
        assert_eq!(app.rows().await, ["ann"]);
    })
    .await;
}

#[tokio::test]
async fn protocol_buffers_go_out_bare_and_come_back_also_after_a_failure() {
    bounded(async {
        let drawn = || Drawn { who: "ann".to_owned(), x: -7 };
        let app = Harness::idle().await;
        app.publish(drawn()).await.unwrap();
        let (body, headers) = row(&app).await;
        assert_eq!(body, [0x0a, 3, b'a', b'n', b'n', 0x10, 13]);
        assert_eq!(
            (&headers["content-type"], &headers["event_name"]),
            (&json!("application/protobuf"), &json!("wire.drawn"))
        );
        assert!(headers["event_timestamp"].is_string());
        let app = Harness::start().await;
        app.probe.fail("draw", 2);
        app.publish(drawn()).await.unwrap();
        app.settle_for_hours(3).await;
        assert_eq!(app.probe.log(), ["drawn ann -7 Some(\"ann\")"]);
        assert_eq!((app.stored().await, app.dead().await.len()), ((0, 0), 0));
    })
    .await;
}

async fn grown(broker: &MemoryBroker, version: u32, payload: serde_json::Value) {
    let id = Uuid::now_v7();
    let delivery = message("wire", "wire.grown", id, &payload);
    publish(broker, id, delivery.header("event_version", version.to_string())).await;
}

#[tokio::test]
async fn an_earlier_version_is_upgraded_step_by_step_also_after_a_failure() {
    bounded(async {
        let (app, broker) = Harness::with_broker(|builder| builder).await;
        app.probe.fail("grow", 1);
        grown(&broker, 0, json!({"size": 2})).await;
        app.settle_for_hours(2).await;
        grown(&broker, 1, json!({"size": 3})).await;
        grown(&broker, 2, json!({"size": 4, "unit": "km"})).await;
        app.settle().await;
        let mut log = app.probe.log();
        log.sort_unstable();
        assert_eq!(log, ["grown 200 mm", "grown 3 mm", "grown 4 km"]);
        assert!(app.dead().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_upgrade_that_panics_or_cannot_be_read_is_a_dead_letter() {
    bounded(async {
        let (app, broker) = Harness::with_broker(|builder| builder).await;
        grown(&broker, 0, json!({"size": 13})).await;
        grown(&broker, 0, json!({"size": "large"})).await;
        grown(&broker, 3, json!({})).await;
        grown(&broker, 0, json!({"size": 1})).await;
        app.settle().await;
        assert_eq!(app.probe.log(), ["grown 100 mm"]);
        let mut errors: Vec<String> = app.dead().await.into_iter().map(|letter| letter.error).collect();
        errors.sort_unstable();
        assert!(errors[0].contains("GrownV0` from JSON: invalid type"), "{errors:?}");
        assert!(errors[1].contains("no handler of the group takes `wire.grown`, version 3"), "{errors:?}");
        assert!(errors[2].contains("panicked: ") && errors[2].contains("nobody grows so"), "{errors:?}");
    })
    .await;
}

/// Stored by the program before this one.
#[tokio::test]
async fn a_durable_handler_takes_stored_work_of_an_earlier_version() {
    bounded(async {
        let app = Harness::with(|builder| builder).await;
        app.publish(ShrunkV2 { by: 1 }).await.unwrap();
        app.settle().await;
        let idle = Harness::idle().await;
        idle.publish(ShrunkV2 { by: 7 }).await.unwrap();
        sqlx::query("UPDATE cqrs_work SET version = 1").execute(&idle.probe.pool()).await.unwrap();
        let (kind, name, version, handler): (String, String, i64, String) =
            sqlx::query_as("SELECT kind, name, version, handler FROM cqrs_work").fetch_one(&idle.probe.pool()).await.unwrap();
        assert_eq!((kind.as_str(), name.as_str(), version), ("durable", "wire.shrunk", 1));
        sqlx::query(
            "INSERT INTO cqrs_work (id, kind, handler, consumer_group, name, version, topic, payload, headers, created_at, due_at, attempts, state, fence)
             VALUES (?, 'durable', ?, '', 'wire.shrunk', 1, '', CAST('{\"by\":7}' AS BLOB), '{}', 0, 0, 0, 'ready', 0)",
        )
        .bind(Uuid::now_v7().as_bytes().to_vec())
        .bind(handler)
        .execute(&app.probe.pool())
        .await
        .unwrap();
        app.advance(Duration::from_secs(5)).await;
        app.settle().await;
        assert_eq!(app.probe.log(), ["shrunk 1", "shrunk 7"]);
    })
    .await;
}

#[tokio::test]
async fn a_message_that_is_handed_in_is_handled_once_by_every_group() {
    bounded(async {
        let app = Harness::start().await;
        let id = Uuid::now_v7();
        let delivery = || message("wire", "wire.told", id, &json!({"who": "ann", "text": "x"})).key("ann");
        app.receive(delivery()).await.unwrap();
        app.receive(delivery()).await.unwrap();
        assert_eq!(app.rows().await, ["ann"]);
        let error = app.receive(Delivery::new("nowhere", "{}")).await.unwrap_err().to_string();
        assert!(error.contains("no group of this app listens to the topic `nowhere`"), "{error}");
        app.receive(Delivery::new("wire", "rubbish")).await.unwrap();
        assert_eq!(app.dead().await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_message_that_cannot_be_kept_is_not_taken() {
    bounded(async {
        let app = Harness::start().await;
        sqlx::query("DROP TABLE cqrs_inbox").execute(&app.probe.pool()).await.unwrap();
        let delivery = message("wire", "wire.told", Uuid::now_v7(), &json!({"who": "ann", "text": "x"}));
        let error = app.receive(delivery.clone()).await.unwrap_err().to_string();
        assert!(error.contains("hand it in again"), "{error}");
        app.shutdown().await;
        let error = app.receive(delivery).await.unwrap_err().to_string();
        assert!(error.contains("stopping") || error.contains("shutting down"), "{error}");
    })
    .await;
}
