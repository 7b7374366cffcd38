//! A process that is killed at each point of relay, consumers and workers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use cqrs::__private::FailPoint;
use cqrs_tests::services;
use rustix::process::Signal;

use crate::world::{ALL, World};

const STEPS: i32 = 24;
/// How many programs run at once.
const AT_ONCE: usize = 4;

/// How often a point is passed before the process dies there: in the midst of things where it is passed often.
fn passes(point: FailPoint) -> u32 {
    use FailPoint::{
        BatchSpoiled, ConsumerHandingBack, KeepCommitted, KeepMarked, KeepStored, RelayHandingBack, WorkBuried,
        WorkBurying, WorkOffered, WorkRetried, WorkRetrying,
    };
    match point {
        RelayHandingBack | ConsumerHandingBack | BatchSpoiled | WorkBurying | WorkBuried | WorkOffered => 1,
        KeepMarked | KeepStored | KeepCommitted | WorkRetrying | WorkRetried => 2,
        _ => 4,
    }
}

async fn dies_at(point: FailPoint, broker: &str) {
    let world = World::new(&services::postgres_url(), broker, STEPS).await;
    let mut process = world.start(ALL, Some(&format!("{}*{}", point.name(), passes(point))));
    if matches!(point, FailPoint::RelayHandingBack | FailPoint::ConsumerHandingBack) {
        world.reaches("SELECT COUNT(*) FROM diary", 40).await;
        process.signal(Signal::TERM);
    }
    process.dies(&world).await;
    let process = world.start(ALL, None);
    world.arrived().await;
    process.stop(&world).await;
    world.assert_whole().await;
    world.end().await;
}

/// Goes through points, several at a time, and says all that failed.
fn all_of(points: &[FailPoint], broker: &str) {
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(point) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let ended = catch_unwind(AssertUnwindSafe(|| alone(dies_at(*point, broker))));
                    if ended.is_err() {
                        failed.lock().unwrap().push(*point);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "after dying at {failed:?}: see above");
}

/// Runs a future on a runtime of its own.
fn alone(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
}

#[test]
fn g8_g9_g10_a_process_that_dies_at_any_point_loses_and_doubles_nothing_over_kafka() {
    let only = std::env::var("FAULTS_ONLY").ok();
    let points: Vec<_> = FailPoint::ALL
        .iter()
        .copied()
        .filter(|point| only.as_deref().is_none_or(|only| point.name() == only))
        .collect();
    all_of(&points, &services::kafka_url());
}
