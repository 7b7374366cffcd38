//! Timers that one process stores, and others fire: by the default settings, each once and within a second of its time.

use std::time::Duration;

use cqrs_tests::services;

use crate::program::{self, WALKERS};
use crate::world::World;

/// How long nobody fires any, at least.
const AWAY: Duration = Duration::from_secs(3);

async fn fire_elsewhere(store: &str, broker: &str) {
    let mut world = World::new(store, broker, 80).await;
    world.stride = 100;
    world.environment.push((program::DEFAULTS.into(), "yes".into()));
    let others = [world.start("timers", None), world.start("timers", None), world.start("timers", None)];
    let first = world.start("walk,relay,work,group:diary,group:index", None);
    world.arrived().await;
    world.assert_whole().await;
    assert!(world.count("SELECT MIN(late) FROM rung").await >= 0, "none before its time");
    // The first steps are taken while the others still start. On a machine that stands still for a moment the bells of a step or two
    // are late; who looked less often than is promised would be late with many of them.
    let late = world.count("SELECT COUNT(*) FROM rung WHERE step > 12 AND late > 1000").await;
    let latest = world.count("SELECT MAX(late) FROM rung WHERE step > 12").await;
    assert!(
        late <= i64::from(2 * WALKERS),
        "{late} came later than a second after their time, the last after {latest} ms"
    );
    for process in others.into_iter().chain([first]) {
        process.stop(&world).await;
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers_fire_once_and_within_a_second_in_other_processes_than_the_one_that_stored_them_on_postgresql() {
    fire_elsewhere(&services::postgres_url(), &services::kafka_url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers_fire_once_and_within_a_second_in_other_processes_than_the_one_that_stored_them_on_mariadb() {
    fire_elsewhere(&services::mysql_url(), &services::nats_url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers_fire_once_and_within_a_second_in_other_processes_than_the_one_that_stored_them_on_sqlite() {
    fire_elsewhere("sqlite", &services::nats_url()).await;
}

/// Nobody fires any until the last has been due for a while; then three come at once.
async fn fire_after_nobody_was_there(store: &str, broker: &str) {
    let mut world = World::new(store, broker, 80).await;
    world.environment.push((program::DEFAULTS.into(), "yes".into()));
    let first = world.start("walk,relay,work,group:diary,group:index", None);
    let whole = i64::from(WALKERS * 80);
    world.reaches("SELECT COUNT(*) FROM diary", whole).await;
    tokio::time::sleep(AWAY).await;
    assert_eq!(world.count("SELECT COUNT(*) FROM rung").await, 0);
    assert!(world.count("SELECT COUNT(*) FROM cqrs_work WHERE kind = 'timer' AND state <> 'dead'").await > 0);
    let others = [world.start("timers", None), world.start("timers", None), world.start("timers", None)];
    // Until all have fired, no longer than its patience.
    world.arrived().await;
    world.assert_whole().await;
    let soonest = world.count("SELECT MIN(late) FROM rung").await;
    assert!(soonest >= i64::try_from(AWAY.as_millis()).unwrap() / 2, "none waited: {soonest} ms");
    for process in others.into_iter().chain([first]) {
        process.stop(&world).await;
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers_that_fell_due_while_nobody_was_there_fire_once_when_somebody_is_on_postgresql() {
    fire_after_nobody_was_there(&services::postgres_url(), &services::kafka_url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers_that_fell_due_while_nobody_was_there_fire_once_when_somebody_is_on_mariadb() {
    fire_after_nobody_was_there(&services::mysql_url(), &services::nats_url()).await;
}
