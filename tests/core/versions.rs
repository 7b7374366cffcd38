//! G10, G11: an unknown version of a known name is a dead letter of every handler that takes the name, and holds its key.

use cqrs::broker::MemoryBroker;
use cqrs::prelude::*;
use cqrs::sqlx::{self, AssertSqlSafe};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::support::{Harness, Probe, bounded, message, publish};

#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "versions.moved", topic = "versions", key = who)]
struct MovedV1 {
    who: String,
    number: u32,
}

#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "versions.moved", topic = "versions", key = who, version = 2)]
struct MovedV2 {
    who: String,
    number: u32,
}

#[event_handler(group = "versions")]
async fn old(e: MovedV1, probe: Inject<Probe>) {
    probe.note(format!("old {} {}", e.who, e.number));
}

#[event_handler(group = "versions")]
async fn new(e: MovedV2, probe: Inject<Probe>) {
    probe.note(format!("new {} {}", e.who, e.number));
}

async fn deliver(broker: &MemoryBroker, version: u32, who: &str, number: u32) {
    let id = Uuid::now_v7();
    let delivery = message("versions", "versions.moved", id, &json!({"who": who, "number": number}));
    publish(broker, id, delivery.key(who).header("event_version", version.to_string())).await;
}

fn of(app: &Harness, what: &str) -> Vec<String> {
    app.probe.log().into_iter().filter(|noted| noted.starts_with(what)).collect()
}

async fn run(app: &Harness, sql: &str) {
    sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&app.probe.pool()).await.unwrap();
}

#[tokio::test]
async fn g10_an_unknown_version_holds_back_its_key_for_every_handler_of_the_name() {
    bounded(async {
        let (app, broker) = Harness::with_broker(|builder| builder).await;
        deliver(&broker, 3, "ann", 1).await;
        deliver(&broker, 1, "ann", 2).await;
        deliver(&broker, 2, "ann", 3).await;
        deliver(&broker, 1, "bob", 1).await;
        app.settle().await;
        assert_eq!(app.probe.log(), ["old bob 1"]);
        let dead = app.dead().await;
        let mut handlers: Vec<&str> = dead.iter().map(|letter| letter.handler.as_str()).collect();
        handlers.sort_unstable();
        assert_eq!(handlers, [concat!(module_path!(), "::new"), concat!(module_path!(), "::old")]);
        for letter in &dead {
            assert_eq!((letter.version, letter.key.as_deref(), letter.group.as_str()), (3, Some("ann"), "versions"));
            assert!(letter.error.contains("takes `versions.moved`, version 3"), "{}", letter.error);
        }
        for letter in dead {
            assert!(app.discard(letter.id).await.unwrap());
        }
        app.settle().await;
        assert_eq!((of(&app, "old ann"), of(&app, "new ann")), (vec!["old ann 2".into()], vec!["new ann 3".into()]));
    })
    .await;
}

/// As if the program had been replaced by one whose handler takes the version.
#[tokio::test]
async fn g11_a_replayed_letter_is_offered_by_its_version() {
    bounded(async {
        let (app, broker) = Harness::with_broker(|builder| builder).await;
        deliver(&broker, 3, "ann", 1).await;
        deliver(&broker, 2, "ann", 2).await;
        app.settle().await;
        assert!(app.probe.log().is_empty());
        // Nobody has learned it: it goes on waiting, its key with it.
        for letter in app.dead().await {
            assert!(app.replay(letter.id).await.unwrap());
        }
        app.settle().await;
        assert_eq!((app.probe.log().len(), app.dead().await.len()), (0, 0));
        // One of the two has.
        run(&app, "UPDATE cqrs_work SET version = 2 WHERE version = 3").await;
        app.advance(std::time::Duration::from_secs(3600)).await;
        app.settle().await;
        assert_eq!(app.probe.log(), ["new ann 1", "new ann 2"]);
        assert_eq!((app.stored().await, app.dead().await.len()), ((0, 0), 0));
    })
    .await;
}

#[tokio::test]
async fn g11_a_letter_of_one_handler_goes_to_the_one_that_takes_its_version() {
    bounded(async {
        let (app, broker) = Harness::with_broker(|builder| builder).await;
        deliver(&broker, 3, "ann", 1).await;
        app.settle().await;
        // As if `new` had come with the program that takes the version: it has never seen the message.
        run(&app, "DELETE FROM cqrs_work WHERE handler LIKE '%::new'").await;
        run(&app, "DELETE FROM cqrs_inbox WHERE handler LIKE '%::new'").await;
        run(&app, "UPDATE cqrs_work SET version = 2").await;
        assert!(app.replay(app.dead().await[0].id).await.unwrap());
        app.settle().await;
        assert_eq!((app.probe.log(), app.stored().await), (vec!["new ann 1".to_owned()], (0, 0)));
    })
    .await;
}
