//! A process that stops while it holds sagas, for longer than its leases last, while another takes them over, and goes on.

use std::time::Duration;

use cqrs::__private::FailPoint;
use cqrs_tests::services;
use rustix::process::Signal;

use super::ground::{Ground, OWN, RECOVERS, Started, on_each};
use super::program::Break;
use super::shapes::{LINEAR_BACK, SHAPES};
use crate::world::{LATE, for_all};

/// Longer than leases last, and than somebody needs to take sagas over.
const BEYOND: Duration = Duration::from_secs(4);

const POINTS: [FailPoint; 6] = [
    FailPoint::SagaStarted,
    FailPoint::SagaCalled,
    FailPoint::SagaSaved,
    FailPoint::SagaStored,
    FailPoint::SagaTakenUp,
    FailPoint::SagaCut,
];

async fn stops_at(point: FailPoint, store: &str) {
    let ground = Ground::new(store).await;
    let mut started: Vec<Started> =
        SHAPES.iter().map(|variant| (*variant, format!("{}-stopped", variant.name))).collect();
    let takes_up = matches!(point, FailPoint::SagaTakenUp | FailPoint::SagaCut);
    if takes_up {
        let mut dead = ground.start(OWN, &started, Some((FailPoint::SagaStarted.name(), 1, Break::Freeze)));
        assert!(ground.dies(&mut dead).await);
    }
    let passes = if point == FailPoint::SagaStarted || takes_up { 5 } else { 20 };
    let own = if takes_up { &[][..] } else { &started[..] };
    let first = ground.start(RECOVERS, own, Some((point.name(), passes, Break::Stop)));
    ground.stops(&first).await;
    let other: Started = (SHAPES[0], "other".to_owned());
    let second = ground.start(RECOVERS, std::slice::from_ref(&other), None);
    // It may stand there in transactions, whose locks the other waits for as long as it does.
    tokio::time::sleep(BEYOND).await;
    first.signal(Signal::CONT);
    started.push(other);
    ground.ended(started.len()).await;
    for process in [first, second] {
        ground.stop(process).await;
    }
    ground.assert_ended_but_for_late_calls(&started).await;
    ground.end().await;
}

#[test]
fn g16_g18_a_process_that_stops_beyond_its_leases_goes_on_with_nothing_that_others_hold_on_postgresql() {
    for_all(&POINTS, async |point| stops_at(point, &services::postgres_url()).await);
}

#[test]
fn g16_g18_a_process_that_stops_beyond_its_leases_goes_on_with_nothing_that_others_hold_on_mariadb() {
    for_all(&POINTS, async |point| stops_at(point, &services::mysql_url()).await);
}

/// Who stops in a transaction there stops everybody.
#[test]
fn g16_g18_a_process_that_stops_beyond_its_leases_goes_on_with_nothing_that_others_hold_on_sqlite() {
    let points = [FailPoint::SagaStarted, FailPoint::SagaTakenUp, FailPoint::SagaCut];
    for_all(&points, async |point| stops_at(point, "sqlite").await);
}

/// It stands right before the call that is behind what was stored, which the other makes and undoes.
#[tokio::test]
async fn g16_g18_a_process_that_stops_before_a_call_does_not_make_it_once_others_have_undone_it() {
    on_each(async |ground| {
        let started: [Started; 1] = [(&LINEAR_BACK, "stopped".to_owned())];
        let first = ground.start(RECOVERS, &started, Some((FailPoint::SagaStored.name(), 2, Break::Stop)));
        ground.stops(&first).await;
        let second = ground.start(RECOVERS, &[], None);
        ground.ended(1).await;
        first.signal(Signal::CONT);
        // For what it would do.
        tokio::time::sleep(LATE).await;
        for process in [first, second] {
            ground.stop(process).await;
        }
        ground.assert_ended(&started).await;
        ground.end().await;
    })
    .await;
}
