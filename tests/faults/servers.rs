//! Servers that are down, go away, refuse, and come back, while the program runs on.

use std::time::Duration;

use cqrs_tests::services::{self, Private};
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::program::WALKERS;
use crate::walk::Walk;
use crate::world::{ALL, World, for_all};

const RAISED: &str = "SELECT COUNT(*) FROM raised";
const WRITTEN: &str = "SELECT COUNT(*) FROM diary";
const UNPUBLISHED: &str = "SELECT COUNT(*) FROM cqrs_outbox";
/// Longer than anything is waited for.
const A_MINUTE: Duration = Duration::from_secs(60);
/// Longer than leases last, and than what is in flight is waited for.
const AWAY: Duration = Duration::from_secs(3);

/// Starts, stops and kills servers where that holds up nobody.
pub fn meanwhile<T>(what: impl FnOnce() -> T) -> T {
    match Handle::current().runtime_flavor() {
        // A thread of the test's own.
        RuntimeFlavor::CurrentThread => what(),
        _ => tokio::task::block_in_place(what),
    }
}

/// A broker that is down when the program starts, is killed for a minute in which as much is raised as before, and is started once more.
async fn goes_away(name: &str, store: &str) {
    let servers = meanwhile(|| Private::start(&[name]));
    let mut walk = Walk::new(World::new(store, servers.url(name), Walk::STEPS).await);
    meanwhile(|| servers.kill(name));
    walk.more();
    let process = walk.world.start(ALL, None);
    // Nobody who writes waits for it.
    walk.world.reaches(RAISED, walk.so_far()).await;
    assert_eq!(walk.world.count(WRITTEN).await, 0);
    meanwhile(|| servers.start_again(name));
    // In the middle of publishing and consuming.
    walk.goes_on().await;
    meanwhile(|| servers.kill(name));
    let before = walk.world.count(RAISED).await;
    walk.more();
    let minute = tokio::time::Instant::now() + A_MINUTE;
    walk.world.reaches(RAISED, walk.so_far()).await;
    // Whatever had come from it before is long handled.
    tokio::time::sleep(A_MINUTE / 3).await;
    let so_far = walk.world.count(WRITTEN).await;
    tokio::time::sleep_until(minute).await;
    assert_eq!(walk.world.count(WRITTEN).await, so_far, "what was published while there was no broker?");
    let waiting = walk.world.count(UNPUBLISHED).await;
    assert!(waiting >= (walk.so_far() - before) * i64::from(WALKERS), "{waiting} wait");
    meanwhile(|| servers.start_again(name));
    walk.goes_on().await;
    meanwhile(|| servers.restart(name));
    walk.open_all();
    let world = walk.world;
    world.arrived().await;
    process.stop(&world).await;
    world.assert_whole().await;
    world.end().await;
}

/// All at the same time, since each takes more than a minute.
#[test]
fn g8_g9_g10_a_broker_that_is_down_at_the_start_for_a_minute_and_again_costs_nothing() {
    for_all(&["kafka", "amqp", "nats"], async |name| {
        let store = if name == "amqp" { services::mysql_url() } else { services::postgres_url() };
        goes_away(name, &store).await;
    });
}

/// A database whose server is killed, started again, writes nothing, and has no connection left, one after the other.
async fn comes_and_goes(servers: &Private, name: &str, broker: &str) {
    let mut walk = Walk::new(World::new(servers.url(name), broker, Walk::STEPS).await);
    walk.world.stride = 100;
    let process = walk.world.start(ALL, None);
    walk.goes_on().await;
    meanwhile(|| servers.kill(name));
    tokio::time::sleep(AWAY).await;
    meanwhile(|| servers.start_again(name));
    walk.goes_on().await;

    meanwhile(|| servers.restart(name));
    walk.goes_on().await;

    walk.world.set_read_only(true).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let so_far = (walk.world.count(RAISED).await, walk.world.count(WRITTEN).await);
    // They would be taken if somebody could write.
    walk.more();
    tokio::time::sleep(AWAY).await;
    assert_eq!((walk.world.count(RAISED).await, walk.world.count(WRITTEN).await), so_far, "nobody writes");
    walk.world.set_read_only(false).await;
    walk.world.goes_on(WRITTEN).await;

    let mut taken = walk.world.take_all_connections().await;
    let so_far = (taken.count(RAISED).await, taken.count(WRITTEN).await);
    assert!(so_far.0 <= walk.so_far());
    walk.more();
    tokio::time::sleep(AWAY).await;
    assert_eq!((taken.count(RAISED).await, taken.count(WRITTEN).await), so_far, "nobody has a connection to write by");
    drop(taken);
    walk.world.reaches(RAISED, walk.so_far()).await;
    let world = walk.world;
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
