//! G11: whatever hangs hits the deadline, and waking: whatever is stored is done at once, not when somebody looks next.

use std::time::Duration;

use cqrs::BoxError;
use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::support::{Harness, Probe, bounded, message, publish, write};

#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "stalls", topic = "stalls")]
struct Stalls;

#[event_handler(group = "stalls", retry(max = 2, first = "1s"))]
async fn on_stalls(_e: Stalls, tx: &mut Tx<Sqlite>, probe: Inject<Probe>, meta: &Meta) -> Result<(), BoxError> {
    write(tx, "stalls").await?;
    probe.note(format!("stalls {}", meta.attempt()));
    probe.pass("stalls").await;
    Ok(())
}

#[derive(Command, Serialize, Deserialize)]
#[command(error = BoxError)]
struct Stall;

#[command_handler]
async fn stall(_cmd: Stall, tx: &mut Tx<Sqlite>, probe: Inject<Probe>, meta: &Meta) -> Result<(), BoxError> {
    write(tx, "stall").await?;
    probe.note(format!("stall {}", meta.attempt()));
    probe.pass("stall").await;
    Ok(())
}

#[derive(Command)]
struct SendStall;

#[command_handler]
async fn send_stall(_cmd: SendStall, events: &mut Events) {
    events.send(Stall);
}

fn hurried(builder: cqrs::Builder) -> cqrs::Builder {
    builder.deadline(Duration::from_millis(100))
}

#[tokio::test]
async fn g11_a_consumed_message_that_hangs_hits_the_deadline_with_its_first_delivery() {
    bounded(async {
        let (app, broker) = Harness::with_broker(hurried).await;
        app.probe.close("stalls");
        let id = Uuid::now_v7();
        // It is confirmed: the store has it now, and it is tried again later.
        publish(&broker, id, message("stalls", "stalls", id, &serde_json::Value::Null)).await;
        app.settle().await;
        assert_eq!((app.probe.log(), app.stored().await), (vec!["stalls 1".to_owned()], (0, 1)));
        app.settle_an_hour_later().await;
        assert_eq!(app.probe.log(), ["stalls 1", "stalls 2"]);
        let dead = app.dead().await;
        assert_eq!((dead.len(), dead[0].attempts, dead[0].message_id), (1, 2, id));
        assert!(dead[0].error.contains("deadline of 100ms"), "{}", dead[0].error);
        assert!(app.rows().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn g11_a_sent_command_that_hangs_hits_the_deadline() {
    bounded(async {
        let app = Harness::with(|builder| {
            hurried(builder).settings(Settings::from_toml("retry = { max = 2, first = '1s' }").unwrap())
        })
        .await;
        app.probe.close("stall");
        app.send(SendStall).await.unwrap();
        app.settle().await;
        assert_eq!((app.probe.log(), app.stored().await), (vec!["stall 1".to_owned()], (0, 1)));
        app.settle_an_hour_later().await;
        assert_eq!(app.probe.log(), ["stall 1", "stall 2"]);
        let dead = app.dead().await;
        assert_eq!((dead.len(), dead[0].attempts), (1, 2));
        assert!(dead[0].error.contains("deadline of 100ms"), "{}", dead[0].error);
        assert!(app.rows().await.is_empty());
    })
    .await;
}

/// The workers look once a second, unless they are woken: each of these would wait for the next look.
#[tokio::test]
async fn the_workers_are_woken_directly_after_the_commit() {
    bounded(async {
        let app = Harness::start().await;
        let all = async {
            for number in 1..=30 {
                app.send(SendStall).await.unwrap();
                app.probe.noted("stall 1", number).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), all).await.expect("the workers were not woken");
    })
    .await;
}
