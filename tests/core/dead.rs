//! G11: nothing is lost or stuck in silence, whatever comes off the wire.

use cqrs::Delivery;
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::support::{Harness, Probe, Running, bounded, directory, message, on_file, publish};

#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "read", topic = "lenient")]
struct Read {
    text: String,
}

#[event_handler(group = "lenient", concurrency = 1)]
async fn lenient(e: Read, probe: Inject<Probe>) {
    probe.note(e.text);
}

#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "read_strictly", topic = "strict", version = 2)]
struct ReadStrictly {
    text: String,
}

#[event_handler(group = "strict", unknown = "dead")]
async fn strict(e: ReadStrictly, probe: Inject<Probe>) {
    probe.note(e.text);
}

fn text(text: &str) -> serde_json::Value {
    serde_json::json!({ "text": text })
}

#[tokio::test]
async fn g11_malformed_messages_are_dead_letters_and_block_nothing() {
    bounded(async {
        let (app, broker) = Harness::with_broker(|builder| builder).await;
        let id = Uuid::now_v7();
        let timed =
            r#"{"payload": {}, "event_name": "read", "event_id": "018f2b1e-0000-7000-8000-000000000001", "event_timestamp": "soon"}"#;
        let bad: Vec<(Delivery, &str)> = vec![
            (Delivery::new("lenient", vec![0xff, 0x00, 0x7b]), "not a notification event's JSON"),
            (Delivery::new("lenient", Vec::new()), "not a notification event's JSON"),
            (Delivery::new("lenient", r#"{"payload": {}}"#), "`event_name`"),
            (Delivery::new("lenient", r#"{"payload": {}, "event_name": "read"}"#), "`event_id`"),
            (message("lenient", "read", id, &text("x")).header("event_id", "no"), "is not a UUID: `no`"),
            (Delivery::new("lenient", timed), "is no time of RFC 3339: `soon`"),
            (message("lenient", "read", id, &text("x")).header("event_version", "x"), "is not a number: `x`"),
            (message("lenient", "read", id, &serde_json::json!({"text": 7})), "cannot read `"),
            (
                message("lenient", "read", Uuid::now_v7(), &text("x")).header("event_version", "9"),
                "takes `read`, version 9",
            ),
        ];
        for (delivery, _) in &bad {
            publish(&broker, Uuid::now_v7(), delivery.clone().header("traceparent", "00-aa-bb-01")).await;
        }
        let good = Uuid::now_v7();
        publish(&broker, good, message("lenient", "read", good, &text("good"))).await;
        app.settle().await;
        assert_eq!(app.probe.log(), ["good"]);
        let dead = app.dead().await;
        assert_eq!(dead.len(), bad.len());
        for (delivery, error) in &bad {
            // The bytes: the whole message where nobody could take it, its payload where that is kept for a handler.
            let bytes: &[u8] = match *error {
                _ if error.starts_with("cannot") => br#"{"text":7}"#,
                _ if error.starts_with("takes") => br#"{"text":"x"}"#,
                _ => delivery.payload(),
            };
            let letter = dead.iter().find(|letter| letter.error.contains(error) && letter.payload == bytes);
            let letter = letter.unwrap_or_else(|| panic!("{error}: {dead:#?}"));
            assert_eq!((letter.attempts, letter.group.as_str(), letter.topic.as_str()), (1, "lenient", "lenient"));
            assert_eq!(letter.headers["traceparent"], "00-aa-bb-01");
        }
    })
    .await;
}

#[tokio::test]
async fn g11_an_unknown_name_is_skipped_and_counted() {
    bounded(async {
        let (app, broker) = Harness::with_broker(|builder| builder).await;
        let id = Uuid::now_v7();
        publish(&broker, id, message("lenient", "unheard_of", id, &text("x"))).await;
        app.settle().await;
        assert_eq!((app.skipped_count(), app.dead().await.len(), app.stored().await), (1, 0, (0, 0)));
    })
    .await;
}

#[tokio::test]
async fn g11_unknown_dead_keeps_it_and_a_replay_offers_it_again() {
    bounded(async {
        let (app, broker) = Harness::with_broker(|builder| builder).await;
        let id = Uuid::now_v7();
        publish(&broker, id, message("strict", "unheard_of", id, &text("x")).key("k")).await;
        app.settle().await;
        let dead = app.dead().await;
        assert_eq!((app.skipped_count(), dead.len()), (0, 1));
        assert_eq!((dead[0].message_id, dead[0].key.as_deref(), dead[0].group.as_str()), (id, Some("k"), "strict"));
        assert!(dead[0].error.contains("unheard_of"), "{}", dead[0].error);

        assert!(app.replay(dead[0].id).await.unwrap());
        app.settle().await;
        let again = app.dead().await;
        assert_eq!((again.len(), again[0].message_id), (1, id));
        assert_eq!(again[0].payload, dead[0].payload);
    })
    .await;
}

/// What cannot be read, of a key, for a handler that its headers name.
fn unreadable(key: &str) -> Delivery {
    let delivery = message("lenient", "read", Uuid::now_v7(), &text("unreadable")).key(key);
    delivery.header("event_name", "read").header("event_version", "x")
}

fn readable(key: &str, said: &str) -> Delivery {
    message("lenient", "read", Uuid::now_v7(), &text(said)).key(key)
}

#[tokio::test]
async fn g10_a_message_that_is_kept_whole_holds_its_key_too() {
    bounded(async {
        let (app, broker) = Harness::with_broker(|builder| builder).await;
        for delivery in [unreadable("k"), readable("k", "behind"), readable("other", "free")] {
            publish(&broker, Uuid::now_v7(), delivery).await;
        }
        app.settle().await;
        assert_eq!((app.probe.log(), app.dead().await.len()), (vec!["free".to_owned()], 1));
        // It is still unreadable: it stays the letter that it was, in its place.
        let id = app.dead().await[0].id;
        assert!(app.replay(id).await.unwrap());
        app.settle().await;
        assert_eq!((app.probe.log().len(), app.dead().await.len()), (1, 1));
        assert_eq!(app.dead().await[0].id, id);
        assert!(app.discard(id).await.unwrap());
        app.settle().await;
        assert_eq!((app.probe.log(), app.dead().await.len()), (vec!["free".to_owned(), "behind".to_owned()], 0));
    })
    .await;
}

#[tokio::test]
async fn g9_a_message_that_is_kept_whole_is_kept_once_however_often_it_is_delivered() {
    bounded(async {
        let (app, broker) = Harness::with_broker(|builder| builder).await;
        let named = unreadable("k");
        let nameless = || Delivery::new("lenient", vec![0xff, 0x00]);
        for delivery in [named.clone(), nameless(), named, nameless(), nameless().key("another")] {
            publish(&broker, Uuid::now_v7(), delivery).await;
        }
        app.settle().await;
        assert_eq!(app.dead().await.len(), 3, "{:#?}", app.dead().await);
    })
    .await;
}

/// What was kept whole comes before the later ones of its key, once it can be read.
#[tokio::test]
async fn g10_a_message_that_was_kept_whole_is_handled_in_its_place() {
    bounded(async {
        let directory = directory();
        let (file, probe) = (directory.path().join("app.db"), std::sync::Arc::new(Probe::default()));
        let app = on_file(&file, &probe, |builder| builder.payload_limit(1024)).await;
        app.receive(readable("k", &"x".repeat(3000))).await.unwrap();
        app.receive(readable("k", "behind")).await.unwrap();
        app.shutdown().await;
        let running = Running::start(on_file(&file, &probe, |builder| builder).await);
        let dead = running.app.dead_letters(9).await.unwrap();
        assert!(dead.len() == 1 && probe.log().is_empty(), "{dead:?}");
        assert!(running.app.replay(dead[0].id).await.unwrap());
        probe.noted("behind", 1).await;
        assert_eq!(probe.log(), ["x".repeat(3000), "behind".to_owned()]);
        assert!(running.app.dead_letters(9).await.unwrap().is_empty());
        running.stop().await;
    })
    .await;
}

/// What the store refuses for good is kept with as much of it as the store takes.
#[tokio::test]
async fn g11_what_the_store_refuses_ends_as_a_dead_letter_that_says_so() {
    bounded(async {
        let (app, broker) = Harness::with_broker(|builder| builder).await;
        let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON cqrs_work WHEN length(NEW.payload) > 2000
            BEGIN SELECT RAISE(ABORT, 'too much for this store'); END";
        cqrs::sqlx::query(refuse).execute(&app.probe.pool()).await.unwrap();
        let id = Uuid::now_v7();
        let payload = serde_json::json!({"text": 7, "more": "x".repeat(5000)});
        publish(&broker, id, message("lenient", "read", id, &payload).key("k")).await;
        publish(&broker, Uuid::now_v7(), readable("k", "behind")).await;
        publish(&broker, Uuid::now_v7(), readable("other", "free")).await;
        app.settle().await;
        let dead = app.dead().await;
        assert_eq!((app.probe.log(), dead.len()), (vec!["free".to_owned()], 1));
        let (letter, whole) = (&dead[0], payload.to_string());
        assert_eq!((letter.message_id, letter.name.as_str(), letter.key.as_deref()), (id, "read", Some("k")));
        assert!(whole.as_bytes().starts_with(&letter.payload) && !letter.payload.is_empty());
        for said in ["too much for this store", "cannot read `", &format!("{} bytes", whole.len()), "SHA-256"] {
            assert!(letter.error.contains(said), "{said}: {}", letter.error);
        }
    })
    .await;
}

/// Names are matched with their version: an old or a new one of a known name is not skipped.
#[tokio::test]
async fn g11_an_unknown_version_of_a_known_name_is_a_dead_letter() {
    bounded(async {
        let (app, broker) = Harness::with_broker(|builder| builder).await;
        let id = Uuid::now_v7();
        publish(&broker, id, message("strict", "read_strictly", id, &text("no header: version 1"))).await;
        let id = Uuid::now_v7();
        let right = message("strict", "read_strictly", id, &text("two")).header("event_version", "2");
        publish(&broker, id, right).await;
        app.settle().await;
        assert_eq!((app.probe.log(), app.dead().await.len()), (vec!["two".to_owned()], 1));
        assert!(app.dead().await[0].error.contains("version 1"));
    })
    .await;
}

#[tokio::test]
async fn g11_a_message_over_the_limit_is_a_dead_letter_with_its_bytes() {
    bounded(async {
        let (app, broker) = Harness::with_broker(|builder| builder.payload_limit(1000)).await;
        let id = Uuid::now_v7();
        let large = message("lenient", "read", id, &text(&"x".repeat(5000)));
        publish(&broker, id, large.clone()).await;
        let good = Uuid::now_v7();
        publish(&broker, good, message("lenient", "read", good, &text("small"))).await;
        app.settle().await;
        let dead = app.dead().await;
        assert_eq!((app.probe.log(), dead.len()), (vec!["small".to_owned()], 1));
        assert!(dead[0].error.contains("over the limit"), "{}", dead[0].error);
        assert_eq!(dead[0].payload, large.payload());
    })
    .await;
}

/// What may be raised is published and consumed, however little is allowed; one byte more is not.
#[tokio::test]
async fn g11_the_limit_is_the_same_when_raised_published_and_consumed() {
    bounded(async {
        let limit = r#"{"text":""}"#.len() + 10;
        let (app, broker) = Harness::with_broker(|builder| builder.payload_limit(limit)).await;
        app.publish(Read { text: "x".repeat(10) }).await.unwrap();
        app.settle().await;
        assert_eq!((app.probe.log(), app.dead().await.len()), (vec!["x".repeat(10)], 0));
        let error = app.publish(Read { text: "x".repeat(11) }).await.unwrap_err();
        assert!(error.to_string().contains(&format!("over the limit of {limit}")), "{error}");
        let id = Uuid::now_v7();
        publish(&broker, id, message("lenient", "read", id, &text(&"y".repeat(10)))).await;
        let large = message("lenient", "read", Uuid::now_v7(), &text(&"y".repeat(11)));
        publish(&broker, Uuid::now_v7(), large.clone()).await;
        // Rubbish of any size is not read: only what is far beyond anything sensible is told by its size.
        publish(&broker, Uuid::now_v7(), Delivery::new("lenient", "z".repeat(64 * 1024 + limit + 1))).await;
        publish(&broker, Uuid::now_v7(), Delivery::new("lenient", "z".repeat(64 * 1024 + limit))).await;
        app.settle().await;
        assert_eq!(app.probe.log()[1..], ["y".repeat(10)]);
        let mut dead: Vec<_> =
            app.dead().await.into_iter().map(|dead| (dead.payload.len(), dead.name, dead.error)).collect();
        dead.sort();
        assert_eq!(dead.len(), 3, "{dead:?}");
        assert_eq!((dead[0].0, dead[0].1.as_str()), (large.payload().len(), "read"));
        assert!(
            dead[0].2.contains(&format!("the payload is {} bytes, over the limit of {limit}", limit + 1)),
            "{dead:?}"
        );
        assert!(dead[1].2.contains("not a notification event's JSON"), "{}", dead[1].2);
        assert!(dead[2].2.contains("over the limit"), "{}", dead[2].2);
    })
    .await;
}

/// A limit that was lowered since holds for what waits in the outbox, too.
#[tokio::test]
async fn g11_the_relay_buries_what_is_over_a_limit_that_was_lowered() {
    bounded(async {
        let directory = directory();
        let (file, probe) = (directory.path().join("app.db"), std::sync::Arc::new(Probe::default()));
        let app = on_file(&file, &probe, |builder| builder).await;
        app.publish(Read { text: "x".repeat(80 * 1024) }).await.unwrap();
        app.shutdown().await;
        let running = Running::start(on_file(&file, &probe, |builder| builder.payload_limit(1024)).await);
        while running.app.dead_letters(9).await.unwrap().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let dead = running.app.dead_letters(9).await.unwrap().remove(0);
        assert!(
            dead.id.source == cqrs::store::DeadSource::Outbox && dead.error.contains("`payload_limit`"),
            "{dead:?}"
        );
        running.stop().await;
    })
    .await;
}

/// A row that no program of this version can read is set aside; the rest of the batch goes on.
#[tokio::test]
async fn g11_a_damaged_row_does_not_block_the_others() {
    bounded(async {
        let app = Harness::start().await;
        app.send(Prepare).await.unwrap();
        let damage = "UPDATE cqrs_work SET payload = 'rubbish' WHERE name = 'Prepared' AND payload LIKE '%1%'";
        cqrs::sqlx::query(damage).execute(&app.probe.pool()).await.unwrap();
        app.advance(std::time::Duration::from_secs(3600)).await;
        app.settle().await;
        assert_eq!(app.probe.log(), ["prepared 0", "prepared 2"]);
        let dead = app.dead().await;
        assert_eq!((dead.len(), dead[0].payload.as_slice()), (1, &b"rubbish"[..]));
        assert!(dead[0].error.contains("cannot read `"), "{}", dead[0].error);
    })
    .await;
}

#[derive(Command)]
struct Prepare;

#[derive(Command, Serialize, Deserialize)]
struct Prepared(u32);

#[command_handler]
async fn prepare(_cmd: Prepare, events: &mut Events) {
    for number in 0..3 {
        events.schedule(Prepared(number)).after(std::time::Duration::from_secs(60 * (1 + u64::from(number))));
    }
}

#[command_handler]
async fn prepared(cmd: Prepared, probe: Inject<Probe>) {
    probe.note(format!("prepared {}", cmd.0));
}
