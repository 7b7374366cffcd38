//! Servers that are down, go away, refuse, and come back, while the program runs on.

use std::time::Duration;

use cqrs_tests::services::{self, Private};

use crate::world::{ALL, World};

const WRITTEN: &str = "SELECT COUNT(*) FROM diary";
/// Longer than leases last, and than what is in flight is waited for.
const AWAY: Duration = Duration::from_secs(3);
const RAISED: &str = "SELECT COUNT(*) FROM raised";

/// Starts, stops and kills servers where that holds up nobody.
pub fn meanwhile<T>(what: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(what)
}

/// A broker that is down when the program starts, is killed for a while, and is started once more.
async fn goes_away(name: &str, store: &str, away: Duration) {
    let servers = meanwhile(|| Private::start(&[name]));
    let mut world = World::new(store, servers.url(name), 90).await;
    world.stride = 200;
    meanwhile(|| servers.kill(name));
    let process = world.start(ALL, None);
    // Nobody who writes waits for it.
    world.reaches(RAISED, 10).await;
    assert_eq!(world.count(WRITTEN).await, 0);
    meanwhile(|| servers.start_again(name));
    world.reaches(WRITTEN, 60).await;
    // In the middle of publishing and consuming.
    meanwhile(|| servers.kill(name));
    tokio::time::sleep(away).await;
    meanwhile(|| servers.start_again(name));
    world.reaches(WRITTEN, 200).await;
    meanwhile(|| servers.restart(name));
    world.arrived().await;
    process.stop(&world).await;
    world.assert_whole().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g8_g9_g10_a_kafka_that_is_down_at_the_start_for_a_minute_and_again_costs_nothing() {
    // Longer than anything is waited for.
    goes_away("kafka", &services::postgres_url(), Duration::from_secs(60)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g8_g9_g10_a_rabbitmq_that_is_down_at_the_start_for_a_while_and_again_costs_nothing() {
    goes_away("amqp", &services::mysql_url(), AWAY).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g8_g9_g10_a_nats_that_is_down_at_the_start_for_a_while_and_again_costs_nothing() {
    goes_away("nats", &services::postgres_url(), AWAY).await;
}

/// A database whose server is killed, started again, writes nothing, and has no connection left, one after the other.
async fn comes_and_goes(servers: &Private, name: &str, broker: &str) {
    let mut world = World::new(servers.url(name), broker, 60).await;
    world.stride = 200;
    let process = world.start(ALL, None);
    world.reaches(WRITTEN, 40).await;
    meanwhile(|| servers.kill(name));
    tokio::time::sleep(AWAY).await;
    meanwhile(|| servers.start_again(name));
    world.goes_on(WRITTEN).await;

    meanwhile(|| servers.restart(name));
    world.goes_on(WRITTEN).await;

    world.set_read_only(true).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let so_far = world.count(WRITTEN).await;
    tokio::time::sleep(AWAY).await;
    assert_eq!(world.count(WRITTEN).await, so_far, "nobody writes");
    world.set_read_only(false).await;
    world.goes_on(WRITTEN).await;

    let taken = world.take_all_connections().await;
    assert!(taken.len() > 20, "only {} were there to take", taken.len());
    tokio::time::sleep(AWAY).await;
    drop(taken);
    world.goes_on(WRITTEN).await;
    world.arrived().await;
    process.stop(&world).await;
    world.assert_whole().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g7_g8_g9_g10_a_postgresql_that_is_killed_read_only_or_full_costs_nothing() {
    let servers = meanwhile(|| Private::with_settings(&["postgres"], &[("postgres", "max_connections = 50")]));
    comes_and_goes(&servers, "postgres", &services::kafka_url()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g7_g8_g9_g10_a_mariadb_that_is_killed_read_only_or_full_costs_nothing() {
    let servers = meanwhile(|| Private::with_settings(&["mysql"], &[("mysql", "max-connections = 50")]));
    comes_and_goes(&servers, "mysql", &services::amqp_url()).await;
}
