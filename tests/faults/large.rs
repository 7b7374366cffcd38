//! Messages that are larger than their broker takes, raised among others of their key and of other keys: each is a dead letter that
//! says so, and holds up nothing but its key until somebody sees to it.

use std::num::NonZeroU16;

use cqrs::prelude::*;
use cqrs::store::{Any, DeadLetter, DeadSource};
use cqrs::{BoxError, OutsideUnit};
use cqrs_tests::services::{self, Private};
use serde::{Deserialize, Serialize};

use crate::input::incompressible;
use crate::named::Named;
use crate::program::insert;
use crate::servers::meanwhile;
use crate::world::World;

const KEYS: i32 = 4;
/// Beyond the 100,000 bytes that the brokers here take, however it is compressed on the way, and within what an app takes.
const LARGE: usize = 600_000;
const ARRIVED: &str = "SELECT COUNT(*) FROM diary";

#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "loaded", topic = "loads", key = wagon)]
struct Loaded {
    wagon: i32,
    number: i32,
    load: String,
}

#[event_handler(group = "depot")]
async fn unload(e: Loaded, tx: &mut Tx<Any>) -> Result<(), BoxError> {
    Ok(insert(tx, "diary", e.wagon, e.number).await?)
}

async fn start(world: &World, broker: &str) -> App {
    let broker = Broker::url(broker).partitions(NonZeroU16::new(4).unwrap()).connect().unwrap();
    let broker = Named { broker, name: world.on_broker(""), most: usize::MAX };
    let app = cqrs::bootstrap!().store(Store::url(&world.store)).broker(Broker::driver(broker));
    app.run(["relay", "group:depot"]).await.unwrap()
}

/// Raises these numbers of these wagons in one unit; the one that is named is too large.
async fn raise(app: &App, wagons: std::ops::Range<i32>, numbers: std::ops::Range<i32>, large: (i32, i32)) {
    let mut unit: OutsideUnit<Any> = app.unit().await.unwrap();
    for number in numbers {
        for wagon in wagons.clone() {
            let length = if (wagon, number) == large { LARGE } else { 10 };
            let load = String::from_utf8(incompressible(length)).unwrap();
            unit.events().raise(Loaded { wagon, number, load });
        }
    }
    unit.commit().await.unwrap();
}

/// The one dead letter that there is to be, for this wagon, with what it says of it.
async fn the_dead(world: &World, app: &App, says: &[&str]) -> DeadLetter {
    world.reaches("SELECT COUNT(*) FROM cqrs_outbox WHERE state = 'dead'", 1).await;
    let mut dead = app.dead_letters(9).await.unwrap();
    assert_eq!(dead.len(), 1, "{dead:?}");
    let letter = dead.remove(0);
    assert_eq!(
        (letter.id.source, letter.name.as_str(), letter.key.as_deref()),
        (DeadSource::Outbox, "loaded", Some("0"))
    );
    assert!(letter.payload.len() > LARGE, "it is kept whole");
    for part in says.iter().map(ToString::to_string).chain([letter.payload.len().to_string()]) {
        let number = part.parse::<usize>().is_ok();
        // NATS counts the headers, too.
        let is_there = letter.error.contains(&part) || (number && letter.error.contains("bytes with its headers"));
        assert!(is_there, "`{part}` is not in: {}", letter.error);
    }
    letter
}

/// The same body with a load that goes through.
fn made_smaller(letter: &DeadLetter) -> Vec<u8> {
    let mut body: serde_json::Value = serde_json::from_slice(&letter.payload).unwrap();
    body["payload"]["load"] = "less".into();
    serde_json::to_vec(&body).unwrap()
}

async fn numbers_of(world: &World, wagon: i32) -> Vec<i32> {
    world.rows("diary").await.into_iter().filter(|(of, _)| *of == wagon).map(|(_, number)| number).collect()
}

/// A broker with a limit of its own, in its own words, and what it is to say of a message that is larger.
async fn is_too_large(name: &str, store: &str, limit: &str, says: &[&str]) {
    let servers = meanwhile(|| Private::with_settings(&[name], &[(name, limit)]));
    let world = World::new(store, servers.url(name), 0).await;
    let app = start(&world, servers.url(name)).await;
    let running = tokio::spawn({
        let app = app.clone();
        async move { app.run().await }
    });

    // Six of each wagon; the third of the first is too large, and three more of it stand behind that.
    raise(&app, 0..KEYS, 0..6, (0, 2)).await;
    let letter = the_dead(&world, &app, says).await;
    world.reaches(ARRIVED, i64::from(KEYS * 6 - 4)).await;
    // Whatever went past it would have arrived with these.
    raise(&app, 1..KEYS, 6..8, (0, 0)).await;
    world.reaches(ARRIVED, i64::from(KEYS * 8 - 6)).await;
    assert_eq!(numbers_of(&world, 0).await, [0, 1], "behind it its key waits");
    assert_eq!(world.count("SELECT COUNT(*) FROM cqrs_outbox").await, 4);

    assert!(app.discard(letter.id).await.unwrap());
    world.reaches(ARRIVED, i64::from(KEYS * 8 - 3)).await;
    assert_eq!(numbers_of(&world, 0).await, [0, 1, 3, 4, 5]);

    raise(&app, 0..1, 6..8, (0, 6)).await;
    let letter = the_dead(&world, &app, says).await;
    // As it is it is refused once more.
    assert!(app.replay(letter.id).await.unwrap());
    world.reaches("SELECT COUNT(*) FROM cqrs_outbox WHERE state = 'dead'", 1).await;
    let letter = the_dead(&world, &app, says).await;
    assert!(app.edit_and_replay(letter.id, made_smaller(&letter)).await.unwrap());
    world.reaches(ARRIVED, i64::from(KEYS * 8 - 1)).await;
    assert_eq!(numbers_of(&world, 0).await, [0, 1, 3, 4, 5, 6, 7]);
    for wagon in 1..KEYS {
        assert_eq!(numbers_of(&world, wagon).await, (0..8).collect::<Vec<_>>(), "wagon {wagon}");
    }
    app.shutdown().await;
    running.await.unwrap().unwrap();
    assert_eq!(world.count("SELECT COUNT(*) FROM cqrs_outbox").await, 0);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g10_g11_what_is_too_large_for_kafka_is_a_dead_letter_that_holds_its_key_until_it_is_made_smaller() {
    is_too_large("kafka", &services::postgres_url(), "message.max.bytes=100000", &["Kafka refuses the message"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g10_g11_what_is_too_large_for_amqp_is_a_dead_letter_that_holds_its_key_until_it_is_made_smaller() {
    is_too_large("amqp", &services::mysql_url(), "max_message_size = 100000", &["100000", "max_message_size"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g10_g11_what_is_too_large_for_nats_is_a_dead_letter_that_holds_its_key_until_it_is_made_smaller() {
    is_too_large("nats", "sqlite", "max_payload: 100000", &["100000", "the limit of the NATS server"]).await;
}
