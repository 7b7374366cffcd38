//! Sagas that several processes take up at once: two on demand, of which one dies in the midst of them, and one all the while.

use std::time::{SystemTime, UNIX_EPOCH};

use cqrs::__private::FailPoint;
use cqrs_tests::services;

use super::ground::{Ground, OWN, RECOVERS, Started};
use super::program::{Break, ON_DEMAND};
use super::shapes::SHAPES;
use crate::world::for_all;

/// More than are taken up on demand at once: there is something left for everybody.
const LEFT: usize = 130;

const POINTS: [FailPoint; 6] = [
    FailPoint::SagaTakenUp,
    FailPoint::SagaCut,
    FailPoint::SagaCalled,
    FailPoint::SagaSaved,
    FailPoint::SagaStored,
    FailPoint::SagaRested,
];

/// How many sagas somebody has, dead or alive.
fn held() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    format!("SELECT COUNT(*) FROM cqrs_sagas WHERE lease_until > {now}")
}

async fn dies_at(point: FailPoint, store: &str) {
    let mut ground = Ground::new(store).await;
    let mut started: Vec<Started> =
        (0..LEFT).map(|number| (SHAPES[number % SHAPES.len()], format!("left-{number}"))).collect();
    let mut owner = ground.start(OWN, &started, Some((FailPoint::SagaStarted.name(), 1, Break::Freeze)));
    assert!(ground.dies(&mut owner).await);

    // Who takes up on demand does not wait for as long as the dead may have them.
    ground.until("nobody has them any more", async || ground.count(&held()).await == 0).await;
    ground.tell(ON_DEMAND, "ends");
    let mut first = ground.start(OWN, &[], Some((point.name(), 12, Break::Stop)));
    assert!(ground.stands(&mut first).await, "nobody passes {}", point.name());
    let mut second = ground.start(OWN, &[], None);
    ground.untell(ON_DEMAND);
    let others: Vec<Started> = SHAPES.iter().map(|variant| (*variant, format!("other-{}", variant.name))).collect();
    let worker = ground.start(RECOVERS, &others, None);
    first.kill();
    started.extend(others);
    ground.ended(started.len()).await;
    assert!(!ground.dies(&mut second).await, "who has taken them up on demand has come to its end");
    ground.stop(worker).await;
    ground.assert_ended(&started).await;
    ground.end().await;
}

#[test]
fn g15_g16_g17_g18_sagas_that_two_take_up_on_demand_beside_a_worker_happen_once_though_one_dies_on_postgresql() {
    for_all(&POINTS, async |point| dies_at(point, &services::postgres_url()).await);
}

#[test]
fn g15_g16_g17_g18_sagas_that_two_take_up_on_demand_beside_a_worker_happen_once_though_one_dies_on_mariadb() {
    let points = [FailPoint::SagaCut, FailPoint::SagaSaved];
    for_all(&points, async |point| dies_at(point, &services::mysql_url()).await);
}

/// Who stops in a transaction there stops everybody.
#[test]
fn g15_g16_g17_g18_sagas_that_two_take_up_on_demand_beside_a_worker_happen_once_though_one_dies_on_sqlite() {
    let points = [FailPoint::SagaTakenUp, FailPoint::SagaStored];
    for_all(&points, async |point| dies_at(point, "sqlite").await);
}
