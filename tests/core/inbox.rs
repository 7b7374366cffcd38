//! G9: effects happen once, however often a message is delivered; each handler has its own outcome.

use std::time::Duration;

use cqrs::broker::driver::{Driver, Subscription};
use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;
use cqrs::{BoxError, EventErrors};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::support::{HOUR, Harness, Log, Probe, Refused, bounded, message, publish, write};

#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "paid", topic = "payments")]
struct Paid {
    id: u32,
}

#[derive(DomainEvent)]
struct Booked;

#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(topic = "bookings")]
pub struct BookedV1 {
    id: u32,
}

#[event_handler(group = "books", retry(max = 3, first = "1s"))]
async fn book(
    e: Paid,
    tx: &mut Tx<Sqlite>,
    events: &mut Events,
    meta: &Meta,
    probe: Inject<Probe>,
) -> Result<(), BoxError> {
    write(tx, format!("book {}", e.id)).await?;
    events.raise(Booked);
    events.raise(BookedV1 { id: e.id });
    let (topic, header) = (meta.topic().unwrap_or_default(), meta.header("event_name").unwrap_or_default());
    probe.note(format!("book {} of {topic} {header} attempt {}", meta.id(), meta.attempt()));
    probe.try_it("book")?;
    Ok(())
}

/// The same message, the same group, no transaction of its own.
#[event_handler(group = "books", order = 1, retry(max = 2, first = "1s"))]
async fn tally(e: &Paid, probe: Inject<Probe>) -> Result<(), Refused> {
    probe.note(format!("tally {}", e.id));
    probe.try_it("tally")
}

/// Another group.
#[event_handler(group = "receipts", retry(max = 1))]
async fn receipt(
    _e: &Paid,
    begin: &mut Begin<Sqlite>,
    events: &mut Events,
    probe: Inject<Probe>,
) -> Result<(), BoxError> {
    write(begin.begin().await?, "receipt").await?;
    events.raise(Received);
    probe.try_it("receipt")?;
    Ok(())
}

#[event_handler]
async fn booked(_e: &Booked, probe: Inject<Probe>) -> Result<(), Refused> {
    probe.note("booked");
    probe.try_it("booked")
}

#[derive(DomainEvent)]
struct Received;

#[event_handler]
async fn received(_e: &Received, probe: Inject<Probe>) -> Result<(), Refused> {
    probe.note("received");
    probe.try_it("received")
}

fn paid(event: Uuid, id: u32) -> cqrs::Delivery {
    message("payments", "paid", event, &serde_json::json!({"id": id}))
}

#[tokio::test]
async fn g9_a_message_handled_twice_has_its_effects_once() {
    bounded(async {
        let (app, broker) = Harness::with_broker(|builder| builder).await;
        let event = Uuid::now_v7();
        for _ in 0..3 {
            // A broker that knows no ids: to it these are three messages.
            publish(&broker, Uuid::now_v7(), paid(event, 1)).await;
        }
        app.settle().await;
        assert_eq!(app.rows().await, ["book 1", "receipt"]);
        assert_eq!(app.probe.count(&format!("book {event} of payments  attempt 1")), 1);
        assert_eq!((app.probe.count("tally 1"), app.probe.count("booked")), (1, 1));
        assert_eq!((app.counts().await.unwrap().inbox, app.events::<BookedV1>().len()), (3, 1));
    })
    .await;
}

/// Delivered again while it waits, or when it is dead, it is known: there is one outcome for each handler.
#[tokio::test]
async fn g9_each_handler_of_a_message_has_its_own_outcome_and_dead_letter() {
    bounded(async {
        let (app, broker) = Harness::with_broker(|builder| builder).await;
        app.probe.fail("book", 2);
        app.probe.fail("tally", 2);
        app.probe.fail("receipt", 1);
        let event = Uuid::now_v7();
        for _ in 0..3 {
            publish(&broker, Uuid::now_v7(), paid(event, 1)).await;
        }
        app.settle().await;
        assert!(app.rows().await.is_empty());
        assert_eq!((app.dead().await.len(), app.stored().await.1), (1, 2), "receipt is dead, the others wait");
        for _ in 0..3 {
            app.settle_an_hour_later().await;
            publish(&broker, Uuid::now_v7(), paid(event, 1)).await;
        }
        app.settle().await;
        assert_eq!(app.rows().await, ["book 1"]);
        assert_eq!((app.events::<BookedV1>().len(), app.probe.count("tally 1"), app.stored().await), (1, 2, (0, 0)));
        let mut dead = app.dead().await;
        dead.sort_by(|a, b| a.handler.cmp(&b.handler));
        let dead: Vec<_> = dead.iter().map(|letter| (letter.handler.rsplit(':').next(), letter.attempts)).collect();
        assert_eq!(dead, [(Some("receipt"), 1), (Some("tally"), 2)]);
    })
    .await;
}

#[tokio::test]
async fn g9_a_failing_consumer_retries_then_becomes_a_dead_letter_and_is_replayed() {
    bounded(async {
        let (app, broker) = Harness::with_broker(|builder| builder).await;
        app.probe.fail("book", 3);
        let event = Uuid::now_v7();
        publish(&broker, event, paid(event, 5)).await;
        app.settle_for_hours(3).await;
        app.settle().await;
        let attempts: Vec<_> = app.probe.log().into_iter().filter(|noted| noted.contains(" attempt ")).collect();
        assert_eq!(attempts.len(), 3, "{attempts:?}");
        assert!(attempts[2].ends_with("attempt 3"));
        let dead = app.dead().await;
        assert_eq!(dead.len(), 1);
        let letter = &dead[0];
        assert_eq!((letter.name.as_str(), letter.group.as_str(), letter.topic.as_str()), ("paid", "books", "payments"));
        assert_eq!((letter.message_id, letter.attempts, letter.error.as_str()), (event, 3, "refused: book"));
        assert_eq!(app.rows().await, ["receipt"]);

        assert!(app.replay(letter.id).await.unwrap());
        app.settle().await;
        assert_eq!(app.rows().await, ["receipt", "book 5"]);
        assert_eq!((app.dead().await.len(), app.events::<BookedV1>().len(), app.probe.count("booked")), (0, 1, 1));
        // And once more delivered, it is known.
        publish(&broker, Uuid::now_v7(), paid(event, 5)).await;
        app.settle().await;
        assert_eq!(app.rows().await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn g11_what_was_handed_in_and_failed_is_tried_again_by_a_part_that_does_not_consume() {
    bounded(async {
        let (app, broker) = Harness::with_broker(|builder| builder.run(["retries:books"])).await;
        let lines = Log::start();
        app.probe.fail("book", 2);
        app.receive(paid(Uuid::now_v7(), 1)).await.unwrap();
        publish(&broker, Uuid::now_v7(), paid(Uuid::now_v7(), 2)).await;
        // What it raises stays in the outbox: nobody relays, and settling would wait for that.
        while app.probe.count("booked") == 0 {
            app.advance(HOUR).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!((app.rows().await, app.stored().await.1), (vec!["receipt".to_owned(), "book 1".to_owned()], 0));
        assert_eq!((app.probe.count("tally 1"), app.probe.count("tally 2")), (1, 0), "nobody consumes");
        assert!(!lines.text().contains("retries:"), "{}", lines.text());
    })
    .await;
}

#[tokio::test]
async fn g11_what_is_handed_in_and_kept_where_nobody_tries_it_again_is_told_once_for_its_group() {
    bounded(async {
        let app = Harness::with(|builder| builder.run(["work", "group:receipts"])).await;
        let lines = Log::start();
        app.probe.fail("receipt", 1);
        app.probe.fail("book", 9);
        for id in [1, 2] {
            app.receive(paid(Uuid::now_v7(), id)).await.unwrap();
        }
        app.settle_an_hour_later().await;
        assert_eq!((app.stored().await, app.dead().await.len()), ((0, 2), 1));
        let text = lines.text();
        assert_eq!(
            (text.matches("`retries:books`").count(), text.matches("retries:receipts").count()),
            (1, 0),
            "{text}"
        );
    })
    .await;
}

#[tokio::test]
async fn g9_what_fails_after_the_commit_makes_no_dead_letter() {
    bounded(async {
        let (app, broker) = Harness::with_broker(|builder| builder.event_errors(EventErrors::Fail)).await;
        app.probe.fail("booked", 9);
        app.probe.fail("received", 9);
        let event = Uuid::now_v7();
        publish(&broker, event, paid(event, 1)).await;
        app.settle().await;
        app.settle_an_hour_later().await;
        assert_eq!((app.probe.count("booked"), app.probe.count("received")), (1, 1));
        assert_eq!((app.dead().await.len(), app.stored().await, app.event_error_count()), (0, (0, 0), 2));
    })
    .await;
}

/// From raise to effect: the outbox keeps the id, the key and the trace of what was raised.
#[tokio::test]
async fn the_wire_carries_id_name_correlation_and_causation() {
    bounded(async {
        let (app, broker) = Harness::with_broker(|builder| builder).await;
        let subscription = Subscription { group: "watch".into(), topics: vec!["payments".into()], prefetch: 9 };
        let mut watch = broker.subscribe(subscription).await.unwrap();
        let correlation = Uuid::now_v7();
        app.send(Pay { id: 3 }).correlation(correlation).header("traceparent", "00-1-2-01").await.unwrap();
        let received = watch.receive(1).await.unwrap().remove(0);
        watch.settle(vec![(received.receipt, cqrs::broker::driver::Settlement::Done)]).await.unwrap();
        app.settle().await;
        let header = |name| received.delivery.headers().get(name).cloned().unwrap_or_default();
        let body: serde_json::Value = serde_json::from_slice(received.delivery.payload()).unwrap();
        assert_eq!((header("event_name"), header("event_version")), ("paid".to_owned(), "1".to_owned()));
        assert_eq!(
            (header("correlation_id"), header("traceparent")),
            (correlation.to_string(), "00-1-2-01".to_owned())
        );
        assert!(header("causation_id").parse::<Uuid>().is_ok());
        assert_eq!(body["event_id"], header("event_id"));
        assert_eq!(
            (&body["payload"]["id"], &body["topic"], &body["event_name"]),
            (&3.into(), &"payments".into(), &"paid".into())
        );
        let time = body["event_timestamp"].as_str().unwrap();
        assert!(time.ends_with('Z') || time.contains('+'), "{time}");
        let noted = format!("book {} of payments paid attempt 1", header("event_id"));
        assert_eq!(app.probe.count(&noted), 1, "{:?}", app.probe.log());
    })
    .await;
}

#[derive(Command)]
struct Pay {
    id: u32,
}

#[command_handler]
async fn pay(cmd: Pay, events: &mut Events) {
    events.raise(Paid { id: cmd.id });
}

/// `topic = ".."` on the handler overrides the event's own.
#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "moved", topic = "here")]
struct Moved {
    to: String,
}

#[event_handler(group = "movers", topic = "there")]
async fn moved(e: Moved, meta: &Meta, probe: Inject<Probe>) {
    probe.note(format!("moved {} from {}", e.to, meta.topic().unwrap_or_default()));
}

#[tokio::test]
async fn a_handlers_topic_overrides_its_events() {
    bounded(async {
        let (app, broker) = Harness::with_broker(|builder| builder).await;
        for topic in ["here", "there"] {
            let id = Uuid::now_v7();
            publish(&broker, id, message(topic, "moved", id, &serde_json::json!({"to": "x"}))).await;
        }
        app.settle().await;
        assert_eq!(app.probe.log(), ["moved x from there"]);
    })
    .await;
}

/// One event, one group, two topics.
#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "region_placed", topic = "regional")]
struct Placed {
    id: u32,
}

#[event_handler(group = "regions")]
async fn placed(e: Placed, probe: Inject<Probe>) {
    probe.note(format!("placed {}", e.id));
}

#[event_handler(group = "regions", topic = "regional-eu")]
async fn placed_in_europe(e: Placed, probe: Inject<Probe>) {
    probe.note(format!("placed {} in Europe", e.id));
}

#[tokio::test]
async fn handlers_of_one_event_in_one_group_take_what_comes_from_their_own_topic() {
    bounded(async {
        let (app, broker) = Harness::with_broker(|builder| builder).await;
        for (number, topic) in ["regional", "regional-eu"].into_iter().enumerate() {
            let id = Uuid::now_v7();
            publish(&broker, id, message(topic, "region_placed", id, &serde_json::json!({"id": number}))).await;
        }
        app.settle().await;
        assert_eq!(app.probe.log(), ["placed 0", "placed 1 in Europe"]);
    })
    .await;
}
