//! A process that is killed at each point of relay, consumers and workers.

use cqrs::__private::FailPoint;
use cqrs_tests::services;
use rustix::process::Signal;

use crate::world::{ALL, World, for_all};

const STEPS: i32 = 12;
/// How often a point is passed before the process dies there: in the midst of things where it is passed often.
fn passes(point: FailPoint) -> u32 {
    use FailPoint::{
        BatchSpoiled, ConsumerHandingBack, KeepCommitted, KeepMarked, KeepStored, RelayHandingBack, WorkBuried,
        WorkBurying, WorkRetried, WorkRetrying,
    };
    match point {
        RelayHandingBack | ConsumerHandingBack | BatchSpoiled | WorkBurying | WorkBuried => 1,
        KeepMarked | KeepStored | KeepCommitted | WorkRetrying | WorkRetried => 2,
        _ => 4,
    }
}

async fn dies_at(point: FailPoint, broker: &str) {
    let world = World::new(&services::postgres_url(), broker, STEPS).await;
    let mut process = world.start(ALL, Some(&format!("{}*{}", point.name(), passes(point))));
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

/// All of them, or the one that `FAULTS_ONLY` names.
fn chosen(points: &[FailPoint]) -> Vec<FailPoint> {
    let only = std::env::var("FAULTS_ONLY").ok();
    points.iter().copied().filter(|point| only.as_deref().is_none_or(|only| point.name() == only)).collect()
}

/// Those between which a broker can be told too much or too little.
const AT_THE_BROKER: [FailPoint; 6] = [
    FailPoint::RelayAnswered,
    FailPoint::RelaySettling,
    FailPoint::ConsumerReceived,
    FailPoint::BatchMarked,
    FailPoint::ConsumerSettling,
    FailPoint::ConsumerSettled,
];

#[test]
fn g8_g9_g10_a_process_that_dies_at_any_point_loses_and_doubles_nothing_over_kafka() {
    for_all(&chosen(FailPoint::ALL), async |point| dies_at(point, &services::kafka_url()).await);
}

#[test]
fn g8_g9_g10_a_process_that_dies_between_store_and_broker_loses_and_doubles_nothing_over_amqp() {
    for_all(&chosen(&AT_THE_BROKER), async |point| dies_at(point, &services::amqp_url()).await);
}
