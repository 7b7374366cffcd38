//! Databases that end their connections and restart while sagas run, and clocks that go back.

use std::time::Duration;

use cqrs::__private::FailPoint;
use cqrs_tests::services::{self, Private};
use rustix::process::Signal;

use super::ground::{Ground, RECOVERS, Started};
use super::program::Break;
use super::shapes::SHAPES;
use crate::clock::Clock;
use crate::servers::meanwhile;
use crate::world::for_all;

/// Longer than leases last, and than the compensations of the program are tried.
const AWAY: Duration = Duration::from_secs(3);
const HOUR: i64 = 3600;

const POINTS: [FailPoint; 3] = [FailPoint::SagaCalled, FailPoint::SagaSaved, FailPoint::SagaStored];

/// All but those with a fallback: whatever their step fails with, that is asked.
fn some(count: usize) -> Vec<Started> {
    let shapes: Vec<_> = SHAPES.into_iter().filter(|variant| !variant.name.starts_with("fallen")).collect();
    (0..count).map(|number| (shapes[number % shapes.len()], format!("some-{number}"))).collect()
}

/// That a connection ends is no fault of the step that has it: it is called again, and nothing is undone for that.
async fn disconnected_at(point: FailPoint, store: &str) {
    let ground = Ground::new(store).await;
    let started = some(20);
    let process = ground.start(RECOVERS, &started, Some((point.name(), 25, Break::Stop)));
    ground.stops(&process).await;
    ground.disconnect().await;
    process.signal(Signal::CONT);
    ground.ended(started.len()).await;
    ground.stop(process).await;
    ground.assert_ended(&started).await;
    ground.end().await;
}

#[test]
fn g15_g17_connections_that_end_while_sagas_run_lose_and_double_nothing_on_postgresql() {
    for_all(&POINTS, async |point| disconnected_at(point, &services::postgres_url()).await);
}

#[test]
fn g15_g17_connections_that_end_while_sagas_run_lose_and_double_nothing_on_mariadb() {
    for_all(&POINTS, async |point| disconnected_at(point, &services::mysql_url()).await);
}

/// A server that is killed and away for a while, and restarted later.
async fn goes_away(name: &str) {
    let servers = meanwhile(|| Private::start(&[name]));
    let ground = Ground::new(servers.url(name)).await;
    let started = some(200);
    let processes = [ground.start(RECOVERS, &started[..100], None), ground.start(RECOVERS, &started[100..], None)];
    let written = "SELECT COUNT(*) FROM effects";
    ground.until("some have begun", async || ground.count(written).await >= 60).await;
    meanwhile(|| servers.kill(name));
    tokio::time::sleep(AWAY).await;
    meanwhile(|| servers.start_again(name));
    ground.until("they go on", async || ground.count(written).await >= 200).await;
    meanwhile(|| servers.restart(name));
    ground.ended(started.len()).await;
    for process in processes {
        ground.stop(process).await;
    }
    ground.assert_ended(&started).await;
    ground.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g15_g17_a_postgresql_that_is_killed_while_sagas_run_costs_nothing() {
    goes_away("postgres").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g15_g17_a_mariadb_that_is_killed_while_sagas_run_costs_nothing() {
    goes_away("mysql").await;
}

/// A clock that goes back by an hour in the midst of sagas, whose owner dies then.
async fn goes_back_by_an_hour(store: &str) {
    let mut ground = Ground::new(store).await;
    let clock = Clock::new(ground.directory());
    ground.environment = clock.environment();
    let started = some(60);
    let mut first = ground.start(RECOVERS, &started, Some(("saga.stored", 80, Break::Stop)));
    ground.stops(&first).await;
    clock.set(-HOUR);
    first.signal(Signal::CONT);
    ground.until("it goes on", async || ground.count("SELECT COUNT(*) FROM effects").await >= 120).await;
    first.kill();
    let second = ground.start(RECOVERS, &started, None);
    // What the dead process held by its old time nobody takes for an hour; an operator lets that run out, as decision 0010 says it.
    ground.execute("UPDATE cqrs_sagas SET lease_until = 0 WHERE lease_until IS NOT NULL").await;
    // What was put off by the old time is due by then.
    clock.set(1);
    ground.ended(started.len()).await;
    ground.stop(second).await;
    ground.assert_ended(&started).await;
    ground.end().await;
}

#[tokio::test]
async fn g15_g18_a_clock_that_goes_back_by_an_hour_loses_and_doubles_nothing() {
    for store in [services::postgres_url(), services::mysql_url(), "sqlite".to_owned()] {
        goes_back_by_an_hour(&store).await;
    }
}
