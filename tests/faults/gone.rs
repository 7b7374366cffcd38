//! Connections to the database that end in the middle of something: the process stands at a point while they are ended.

use cqrs::__private::FailPoint;
use cqrs_tests::services;
use rustix::process::Signal;

use crate::points::passes;
use crate::world::{ALL, World, for_all};

/// In a transaction that is not committed yet, and right behind one that is.
const POINTS: [FailPoint; 6] = [
    FailPoint::BatchHandled,
    FailPoint::BatchMarked,
    FailPoint::BatchCommitted,
    FailPoint::AttemptEnded,
    FailPoint::KeepStored,
    FailPoint::UnitCommitting,
];

async fn ends_at(point: FailPoint, store: &str, broker: &str) {
    let world = World::new(store, broker, 12).await;
    if point.name().starts_with("batch.") {
        world.pile_up().await;
    }
    let process = world.start(ALL, Some(&format!("{}*{}*stop", point.name(), passes(point))));
    process.stops(&world).await;
    world.disconnect().await;
    process.signal(Signal::CONT);
    world.arrived().await;
    process.stop(&world).await;
    world.assert_whole().await;
    world.end().await;
}

#[test]
fn g7_g9_connections_that_end_in_the_middle_of_a_batch_lose_and_double_nothing_on_postgresql() {
    for_all(&POINTS, async |point| ends_at(point, &services::postgres_url(), &services::nats_url()).await);
}

#[test]
fn g7_g9_connections_that_end_in_the_middle_of_a_batch_lose_and_double_nothing_on_mariadb() {
    for_all(&POINTS, async |point| ends_at(point, &services::mysql_url(), &services::kafka_url()).await);
}
