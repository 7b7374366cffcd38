//! G10: order of a key, through failure; other keys flow.

use cqrs::prelude::*;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::support::{Harness, Probe, Refused, bounded, message, publish};

#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "stepped", topic = "steps", key = who)]
struct Stepped {
    who: String,
    number: u32,
}

#[event_handler(group = "walk", retry(max = 2, first = "1s"))]
async fn walk(e: Stepped, meta: &Meta, probe: Inject<Probe>) -> Result<(), Refused> {
    assert_eq!(meta.key(), Some(e.who.as_str()));
    probe.try_it(&format!("{} {}", e.who, e.number))?;
    probe.note(format!("{} {}", e.who, e.number));
    Ok(())
}

#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "hopped", topic = "hops", key = who)]
struct Hopped {
    who: String,
    number: u32,
}

#[event_handler(group = "hop", retry(max = 1), on_dead = "skip")]
async fn hop(e: Hopped, probe: Inject<Probe>) -> Result<(), Refused> {
    probe.try_it(&format!("{} {}", e.who, e.number))?;
    probe.note(format!("{} {}", e.who, e.number));
    Ok(())
}

#[derive(Command)]
struct Walk(Vec<(&'static str, u32)>);

#[command_handler]
async fn walk_all(Walk(steps): Walk, events: &mut Events) {
    for (who, number) in steps {
        events.raise(Stepped { who: who.to_owned(), number });
    }
}

fn of(app: &Harness, who: &str) -> Vec<String> {
    app.probe.log().into_iter().filter(|noted| noted.starts_with(who)).collect()
}

#[tokio::test]
async fn g10_messages_of_a_key_are_handled_in_order() {
    bounded(async {
        let app = Harness::start().await;
        let steps = (0..40).flat_map(|number| [("ann", number), ("bob", number)]).collect();
        app.send(Walk(steps)).await.unwrap();
        app.settle().await;
        for who in ["ann", "bob"] {
            let expected: Vec<_> = (0..40).map(|number| format!("{who} {number}")).collect();
            assert_eq!(of(&app, who), expected);
        }
    })
    .await;
}

#[tokio::test]
async fn g10_a_waiting_message_holds_back_later_ones_of_its_key_while_others_flow() {
    bounded(async {
        let app = Harness::start().await;
        app.probe.fail("ann 1", 1);
        app.send(Walk(vec![("ann", 1), ("ann", 2), ("bob", 1), ("ann", 3), ("bob", 2)])).await.unwrap();
        app.settle().await;
        assert_eq!((of(&app, "ann").len(), of(&app, "bob").len()), (0, 2));
        // What comes later still is held back too.
        app.send(Walk(vec![("ann", 4), ("bob", 3)])).await.unwrap();
        app.settle().await;
        assert_eq!((of(&app, "ann").len(), of(&app, "bob").len()), (0, 3));
        app.settle_an_hour_later().await;
        assert_eq!(of(&app, "ann"), ["ann 1", "ann 2", "ann 3", "ann 4"]);
        assert_eq!((app.stored().await, app.dead().await.len()), ((0, 0), 0));
    })
    .await;
}

#[tokio::test]
async fn g10_a_dead_message_holds_back_its_key_until_it_is_replayed() {
    bounded(async {
        let app = Harness::start().await;
        app.probe.fail("ann 1", 2);
        app.send(Walk(vec![("ann", 1), ("ann", 2), ("bob", 1)])).await.unwrap();
        app.settle().await;
        app.settle_an_hour_later().await;
        assert_eq!(app.dead().await.len(), 1);
        app.send(Walk(vec![("ann", 3), ("bob", 2)])).await.unwrap();
        app.settle().await;
        assert_eq!(app.probe.log(), ["bob 1", "bob 2"]);
        assert!(app.replay(app.dead().await[0].id).await.unwrap());
        app.settle().await;
        assert_eq!(of(&app, "ann"), ["ann 1", "ann 2", "ann 3"]);
    })
    .await;
}

#[tokio::test]
async fn g10_discarding_the_dead_message_frees_its_key() {
    bounded(async {
        let app = Harness::start().await;
        app.probe.fail("ann 1", 2);
        app.send(Walk(vec![("ann", 1), ("ann", 2)])).await.unwrap();
        app.settle().await;
        app.settle_an_hour_later().await;
        assert!(app.probe.log().is_empty());
        assert!(app.discard(app.dead().await[0].id).await.unwrap());
        app.settle().await;
        assert_eq!(app.probe.log(), ["ann 2"]);
    })
    .await;
}

#[tokio::test]
async fn g10_on_dead_skip_lets_later_ones_pass() {
    bounded(async {
        let (app, broker) = Harness::with_broker(|builder| builder).await;
        app.probe.fail("ann 1", 1);
        for number in [1, 2] {
            let id = Uuid::now_v7();
            let body = serde_json::json!({"who": "ann", "number": number});
            publish(&broker, id, message("hops", "hopped", id, &body).key("ann")).await;
        }
        app.settle().await;
        assert_eq!((app.probe.log(), app.dead().await.len()), (vec!["ann 2".to_owned()], 1));
        app.replay(app.dead().await[0].id).await.unwrap();
        app.settle().await;
        assert_eq!(app.probe.log(), ["ann 2", "ann 1"]);
    })
    .await;
}

/// A message that cannot be read holds its key as well: what follows it may build on it.
#[tokio::test]
async fn g10_an_undecodable_message_of_a_key_parks_the_key_of_its_handler() {
    bounded(async {
        let (app, broker) = Harness::with_broker(|builder| builder).await;
        let bad = Uuid::now_v7();
        publish(&broker, bad, message("steps", "stepped", bad, &serde_json::json!({"who": 1})).key("ann")).await;
        app.send(Walk(vec![("ann", 2), ("bob", 1)])).await.unwrap();
        app.settle().await;
        assert_eq!((app.probe.log(), app.dead().await.len()), (vec!["bob 1".to_owned()], 1));
        app.discard(app.dead().await[0].id).await.unwrap();
        app.settle().await;
        assert_eq!(app.probe.log(), ["bob 1", "ann 2"]);
    })
    .await;
}

#[derive(DomainEvent, Clone, Serialize, Deserialize)]
#[event(key = who)]
struct Marched {
    who: String,
    number: u32,
}

#[event_handler(durable, retry(max = 2, first = "1s"))]
async fn march(e: &Marched, probe: Inject<Probe>) -> Result<(), Refused> {
    let text = format!("{} {}", e.who, e.number);
    probe.try_it(&text)?;
    probe.note(text);
    Ok(())
}

#[tokio::test]
async fn g10_durable_handlers_keep_the_order_of_a_key_too() {
    bounded(async {
        let app = Harness::start().await;
        app.probe.fail("ann 1", 1);
        for (who, number) in [("ann", 1), ("ann", 2), ("bob", 1), ("ann", 3)] {
            app.publish(Marched { who: who.to_owned(), number }).await.unwrap();
        }
        app.settle().await;
        assert_eq!(app.probe.log(), ["bob 1"]);
        app.settle_an_hour_later().await;
        assert_eq!(app.probe.log(), ["bob 1", "ann 1", "ann 2", "ann 3"]);
    })
    .await;
}
