//! A process that stops in the middle of something for longer than its leases last, while another takes over, and goes on.

use std::time::Duration;

use cqrs::__private::FailPoint;
use cqrs_tests::services;
use rustix::process::Signal;

use crate::world::{ALL, World, for_all};

/// Longer than leases and memberships last.
const BEYOND: Duration = Duration::from_secs(8);

/// Whether it stands there in a transaction, whose locks the others have to wait for.
fn holds_locks(point: FailPoint) -> bool {
    matches!(point, FailPoint::BatchMarked | FailPoint::AttemptEnded)
}

async fn stops_at(point: FailPoint) {
    let world = World::new(&services::postgres_url(), &services::kafka_url(), 12).await;
    let first = world.start(ALL, Some(&format!("{}*3*stop", point.name())));
    first.stops(&world).await;
    let second = world.start(ALL, None);
    if holds_locks(point) {
        tokio::time::sleep(BEYOND).await;
    } else {
        world.arrived().await;
    }
    first.signal(Signal::CONT);
    world.arrived().await;
    world.assert_whole().await;
    second.stop(&world).await;
    first.stop(&world).await;
    world.assert_whole().await;
    world.end().await;
}

#[test]
fn g12_a_process_that_is_stopped_beyond_its_leases_doubles_nothing_when_it_goes_on() {
    for_all(
        &[
            FailPoint::RelayClaimed,
            FailPoint::RelayAnswered,
            FailPoint::RelaySettling,
            FailPoint::ConsumerReceived,
            FailPoint::ConsumerSettling,
            FailPoint::BatchMarked,
            FailPoint::AttemptEnded,
            FailPoint::WorkClaimed,
        ],
        stops_at,
    );
}
