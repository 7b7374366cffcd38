//! A process that stops in the middle of something for longer than its leases last, while another takes over, and goes on.

use std::time::Duration;

use cqrs::__private::FailPoint;
use cqrs_tests::services;
use rustix::process::Signal;

use crate::points::passes;
use crate::world::{ALL, Process, World, chosen, for_all, of_messages};

/// Longer than leases last.
const BEYOND: Duration = Duration::from_secs(8);
/// What the groups have written, whoever runs them.
const WRITTEN: &str = "SELECT (SELECT COUNT(*) FROM diary) + (SELECT COUNT(*) FROM noted)";
const GOES_ON: Duration = Duration::from_secs(2);

/// Where something is held: a claim, a message of the broker's, a transaction.
const HOLDING: [FailPoint; 12] = [
    FailPoint::RelayClaimed,
    FailPoint::RelaySettling,
    FailPoint::ConsumerReceived,
    FailPoint::ConsumerSettling,
    FailPoint::BatchHandled,
    FailPoint::BatchMarked,
    FailPoint::BatchCommitted,
    FailPoint::AttemptEnded,
    FailPoint::KeepStored,
    FailPoint::UnitCommitting,
    FailPoint::WorkClaimed,
    FailPoint::WorkRetrying,
];

async fn stops_at(point: FailPoint, store: &str, broker: &str) {
    let world = World::new(store, broker, 12).await;
    let ending = matches!(point, FailPoint::RelayHandingBack | FailPoint::ConsumerHandingBack);
    let publishes = point.name().starts_with("relay.") && !ending;
    // By itself it publishes everything with few claims.
    let (parts, passes) = if publishes { ("relay", 1) } else { (ALL, passes(point)) };
    if point.name().starts_with("batch.") {
        world.pile_up().await;
    }
    let first = world.start(parts, Some(&format!("{}*{passes}*stop", point.name())));
    let walks = publishes.then(|| world.start("walk", None));
    if ending {
        world.reaches("SELECT COUNT(*) FROM diary", 24).await;
        first.signal(Signal::TERM);
    }
    first.stops(&world).await;
    let (so_far, is_held_up) = (world.count(WRITTEN).await, world.is_held_up().await);
    let second = world.start(ALL, None);
    if is_held_up {
        tokio::time::sleep(BEYOND).await;
        assert_eq!(world.count(WRITTEN).await, so_far, "somebody writes beside who writes");
    } else if publishes {
        // What it holds are leases, which run out; it publishes again what the other has published.
        world.arrived().await;
    } else {
        // It may stand there in transactions, whose locks the others wait for as long as it does. What it does not stand in comes to them:
        // until now it was the only member of its groups.
        tokio::time::sleep(BEYOND).await;
        world.reaches(WRITTEN, so_far + 1).await;
    }
    assert!(first.is_stopped(), "nobody but us lets it go on");
    first.signal(Signal::CONT);
    // Time to do what it was about to.
    tokio::time::sleep(GOES_ON).await;
    world.arrived().await;
    let processes: Vec<Process> = [first, second].into_iter().chain(walks).collect();
    processes.iter().for_each(|process| process.signal(Signal::TERM));
    for process in processes {
        process.stop(&world).await;
    }
    world.assert_whole().await;
    world.end().await;
}

#[test]
fn g12_a_process_that_is_stopped_beyond_its_leases_at_any_point_doubles_nothing_when_it_goes_on() {
    for_all(&of_messages(), async |point| stops_at(point, &services::postgres_url(), &services::kafka_url()).await);
}

#[test]
fn g12_a_process_that_is_stopped_beyond_its_leases_doubles_nothing_on_mariadb_and_amqp() {
    for_all(&chosen(&HOLDING), async |point| stops_at(point, &services::mysql_url(), &services::amqp_url()).await);
}

/// Who stops in a transaction there stops everybody, and who does not stops nobody.
#[test]
fn g12_a_process_that_is_stopped_beyond_its_leases_doubles_nothing_on_sqlite_and_nats() {
    for_all(&chosen(&HOLDING), async |point| stops_at(point, "sqlite", &services::nats_url()).await);
}
