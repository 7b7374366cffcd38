//! A process that is killed at each point of relay, consumers and workers.

use cqrs::__private::FailPoint;
use cqrs_tests::services;
use rustix::process::Signal;

use crate::world::{ALL, World, for_all, of_messages};

const STEPS: i32 = 12;
/// How often a point is passed before the process breaks there: in the midst of things where it is passed often.
pub fn passes(point: FailPoint) -> u32 {
    use FailPoint::{
        BatchSpoiled, ConsumerHandingBack, KeepCommitted, KeepMarked, KeepStored, RelayHandingBack, WorkBuried,
        WorkBurying, WorkOffered, WorkRetried, WorkRetrying,
    };
    match point {
        RelayHandingBack | ConsumerHandingBack | BatchSpoiled | WorkBurying | WorkBuried | WorkOffered
        | WorkRetrying | WorkRetried => 1,
        KeepMarked | KeepStored | KeepCommitted => 2,
        _ => 4,
    }
}

async fn dies_at(point: FailPoint, store: &str, broker: &str) {
    let world = World::new(store, broker, STEPS).await;
    if point == FailPoint::BatchSpoiled {
        world.pile_up_published().await;
    } else if point.name().starts_with("batch.") {
        world.pile_up().await;
    }
    let mut process = world.start(ALL, Some(&format!("{}*{}*kill", point.name(), passes(point))));
    if matches!(point, FailPoint::RelayHandingBack | FailPoint::ConsumerHandingBack) {
        world.reaches("SELECT COUNT(*) FROM diary", 24).await;
        process.signal(Signal::TERM);
    }
    process.dies(&world).await;
    let process = world.start(ALL, None);
    world.arrived().await;
    process.stop(&world).await;
    world.assert_whole().await;
    world.end().await;
}

#[test]
fn g8_g9_g10_a_process_that_dies_at_any_point_loses_and_doubles_nothing_on_postgresql_and_kafka() {
    for_all(&of_messages(), async |point| dies_at(point, &services::postgres_url(), &services::kafka_url()).await);
}

#[test]
fn g8_g9_g10_a_process_that_dies_at_any_point_loses_and_doubles_nothing_on_mariadb_and_amqp() {
    // AMQP gives out one message of a key at a time: few batches, and not in every run one that is spoiled.
    let points: Vec<_> = of_messages().into_iter().filter(|point| *point != FailPoint::BatchSpoiled).collect();
    for_all(&points, async |point| dies_at(point, &services::mysql_url(), &services::amqp_url()).await);
}

#[test]
fn g8_g9_g10_a_process_that_dies_at_any_point_loses_and_doubles_nothing_on_sqlite_and_nats() {
    for_all(&of_messages(), async |point| dies_at(point, "sqlite", &services::nats_url()).await);
}
