//! Processes that are killed at each point of a saga, for each of its steps, forward and back, with who recovers it.

use cqrs::__private::FailPoint;
use cqrs_tests::services;

use super::ground::{Ground, OWN, RECOVERS, Started};
use super::program::Break;
use super::shapes::{CALL_BACK, LINEAR, SHAPES, Variant};

/// What a process passes that starts sagas and goes on with them.
pub const OF_OWNERS: [FailPoint; 5] =
    [FailPoint::SagaStarted, FailPoint::SagaCalled, FailPoint::SagaSaved, FailPoint::SagaStored, FailPoint::SagaRested];

/// What one passes that takes them up, and how often before it dies: at once, and in the midst of them.
pub const OF_RECOVERERS: [(FailPoint, u32); 6] = [
    (FailPoint::SagaTakenUp, 1),
    (FailPoint::SagaCut, 40),
    (FailPoint::SagaCalled, 50),
    (FailPoint::SagaSaved, 60),
    (FailPoint::SagaStored, 70),
    (FailPoint::SagaRested, 20),
];

/// The first time that a point is died at, where not each is: at some step of each shape, and not everywhere at the same one.
pub fn first(point: FailPoint) -> u32 {
    match point {
        FailPoint::SagaSaved => 2,
        FailPoint::SagaStored => 3,
        // Some are passed only once.
        _ => 1,
    }
}

/// Has sagas of some shapes die at a point at each of these times that it is passed, until none passes it so often.
async fn die_at(
    ground: &Ground,
    point: FailPoint,
    variants: &[&'static Variant],
    times: impl Iterator<Item = u32>,
) -> Vec<Started> {
    let mut all = Vec::new();
    for passes in times {
        let id = |variant: &Variant| format!("{}-{}-{passes}", variant.name, point.name());
        let started: Vec<Started> = variants.iter().map(|variant| (*variant, id(variant))).collect();
        let mut process = ground.start(OWN, &started, Some((point.name(), passes, Break::Freeze)));
        let has_died = ground.dies(&mut process).await;
        all.extend(started);
        if !has_died {
            assert!(all.len() > variants.len(), "nobody passes {}", point.name());
            break;
        }
    }
    all
}

/// How many shapes stand still at once. One that stands still may have a transaction open, as may a step beside it, and wait for its
/// lease to be renewed: those are no more than there are connections. A file has one writer.
pub fn at_once(point: FailPoint, is_file: bool) -> usize {
    match point {
        FailPoint::SagaStarted => SHAPES.len(),
        _ if is_file => 1,
        FailPoint::SagaRested => SHAPES.len(),
        _ => 3,
    }
}

/// Every step is died at, or one of so many.
async fn die_everywhere(store: &str, one_of: usize) {
    let ground = Ground::new(store).await;
    let mut started = Vec::new();
    for point in OF_OWNERS {
        for variants in SHAPES.chunks(at_once(point, store == "sqlite")) {
            let from = if one_of == 1 { 1 } else { first(point) };
            started.extend(die_at(&ground, point, variants, (from..).step_by(one_of)).await);
        }
    }
    for (point, passes) in OF_RECOVERERS {
        let mut process = ground.start(RECOVERS, &[], Some((point.name(), passes, Break::Kill)));
        assert!(ground.dies(&mut process).await, "nobody passes {}", point.name());
    }
    // Two at once, who share what is left.
    let recover = [ground.start(RECOVERS, &[], None), ground.start(RECOVERS, &[], None)];
    ground.ended(started.len()).await;
    for process in recover {
        ground.stop(process).await;
    }
    ground.assert_ended(&started).await;
    ground.end().await;
}

#[tokio::test]
async fn g15_g16_g17_g18_sagas_whose_owners_die_at_any_point_end_and_double_nothing_on_postgresql() {
    die_everywhere(&services::postgres_url(), 1).await;
}

#[tokio::test]
async fn g15_g16_g17_g18_sagas_whose_owners_die_at_any_point_end_and_double_nothing_on_mariadb() {
    die_everywhere(&services::mysql_url(), 3).await;
}

#[tokio::test]
async fn g15_g16_g17_g18_sagas_whose_owners_die_at_any_point_end_and_double_nothing_on_sqlite() {
    die_everywhere("sqlite", 3).await;
}

/// Where a step without a transaction returns an error, it has not happened; where an attempt before was cut off, it may have.
#[tokio::test]
async fn g17_a_step_without_a_transaction_is_undone_where_a_crash_has_left_it_in_doubt_and_not_otherwise() {
    const UNDONE: &str = "SELECT COUNT(*) FROM effects WHERE step = 'l_call' AND is_undo = 1 AND saga = ";
    let ground = Ground::new(&services::postgres_url()).await;
    let (cut, whole) = ((&CALL_BACK, "cut".to_owned()), (&CALL_BACK, "whole".to_owned()));
    // Returned have the two before it.
    let mut process =
        ground.start(OWN, std::slice::from_ref(&cut), Some((FailPoint::SagaCalled.name(), 3, Break::Freeze)));
    assert!(ground.dies(&mut process).await);
    let process = ground.start(RECOVERS, std::slice::from_ref(&whole), None);
    ground.ended(2).await;
    ground.stop(process).await;
    assert_eq!(ground.count(&format!("{UNDONE} 'cut'")).await, 1, "{}", ground.log());
    assert_eq!(ground.count(&format!("{UNDONE} 'whole'")).await, 0, "{}", ground.log());
    ground.assert_ended(&[cut, whole]).await;
    ground.end().await;
}

/// The same id started by two processes at once is one saga.
#[tokio::test]
async fn g18_sagas_that_two_processes_start_at_once_happen_once() {
    let ground = Ground::new(&services::postgres_url()).await;
    let started: Vec<Started> =
        (0..40).map(|number| (if number % 2 == 0 { &LINEAR } else { &CALL_BACK }, format!("both-{number}"))).collect();
    let processes = [ground.start(RECOVERS, &started, None), ground.start(RECOVERS, &started, None)];
    ground.ended(started.len()).await;
    for process in processes {
        ground.stop(process).await;
    }
    ground.assert_ended(&started).await;
    assert_eq!(ground.sagas().await.len(), started.len());
    ground.end().await;
}
