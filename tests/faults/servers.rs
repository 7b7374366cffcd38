//! Servers that are down, go away, refuse, and come back, while the program runs on.

use std::time::Duration;

use cqrs::sqlx::{Connection, PgConnection};
use cqrs_tests::services::{self, Private};

use crate::world::{ALL, World};

const WRITTEN: &str = "SELECT COUNT(*) FROM diary";
const RAISED: &str = "SELECT COUNT(*) FROM raised";

/// Starts, stops and kills servers where that holds up nobody.
fn meanwhile<T>(what: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(what)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g8_g9_g10_a_broker_that_is_down_at_the_start_and_again_and_again_costs_nothing() {
    let servers = meanwhile(|| Private::start(&["kafka"]));
    let mut world = World::new(&services::postgres_url(), servers.url("kafka"), 90).await;
    world.stride = 200;
    meanwhile(|| servers.kill("kafka"));
    let process = world.start(ALL, None);
    // Nobody who writes waits for it.
    world.reaches(RAISED, 10).await;
    assert_eq!(world.count(WRITTEN).await, 0);
    meanwhile(|| servers.start_again("kafka"));
    world.reaches(WRITTEN, 60).await;
    // In the middle of publishing and consuming, and for longer than a message is waited for and a lease lasts.
    meanwhile(|| servers.kill("kafka"));
    tokio::time::sleep(Duration::from_secs(8)).await;
    meanwhile(|| servers.start_again("kafka"));
    world.reaches(WRITTEN, 200).await;
    meanwhile(|| servers.restart("kafka"));
    world.arrived().await;
    process.stop(&world).await;
    world.assert_whole().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g7_g8_g9_g10_a_database_that_is_killed_read_only_or_full_costs_nothing() {
    let servers = meanwhile(|| Private::with_settings(&["postgres"], &[("postgres", "max_connections = 50")]));
    let mut world = World::new(servers.url("postgres"), &services::kafka_url(), 90).await;
    world.stride = 200;
    let process = world.start(ALL, None);
    world.reaches(WRITTEN, 40).await;
    meanwhile(|| servers.kill("postgres"));
    tokio::time::sleep(Duration::from_secs(3)).await;
    meanwhile(|| servers.start_again("postgres"));
    world.goes_on(WRITTEN).await;

    meanwhile(|| servers.restart("postgres"));
    world.goes_on(WRITTEN).await;

    world.reset("SET default_transaction_read_only = on").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.reset("RESET default_transaction_read_only").await;
    world.goes_on(WRITTEN).await;

    let taken = take_all_connections(&world, servers.url("postgres")).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    drop(taken);
    world.goes_on(WRITTEN).await;
    world.arrived().await;
    process.stop(&world).await;
    world.assert_whole().await;
    world.end().await;
}

/// Those that are free, and those of the program.
async fn take_all_connections(world: &World, url: &str) -> Vec<PgConnection> {
    let mut taken = vec![PgConnection::connect(url).await.unwrap()];
    for _ in 0..20 {
        world.disconnect(&mut taken[0]).await;
        while let Ok(connection) = PgConnection::connect(url).await {
            taken.push(connection);
        }
    }
    taken
}
