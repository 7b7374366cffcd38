//! Three processes with many sagas in flight, which are killed at random, one, two or all at once.

use cqrs_tests::services;

use super::ground::{Ground, RECOVERS, Started};
use super::program::LINGERS;
use super::shapes::SHAPES;
use crate::chaos::Dice;

const SAGAS: usize = 1000;
const ROUNDS: usize = 10;
const SEED: u64 = 0x5eed_0a6a;

/// How long steps linger makes the whole last about a minute on two cores.
async fn comes_and_goes(store: &str, sagas: usize, lingers: u32) {
    let mut ground = Ground::new(store).await;
    ground.tell(LINGERS, &lingers.to_string());
    let started: Vec<Started> =
        (0..sagas).map(|number| (SHAPES[number % SHAPES.len()], format!("random-{number}"))).collect();
    // Who starts again starts all of its own again, and joins those that are there.
    let shares: Vec<_> = started.chunks(sagas.div_ceil(3)).map(|share| (RECOVERS, share)).collect();
    let processes = ground.come_and_go(&shares, ROUNDS, &mut Dice(SEED)).await;
    ground.ended(sagas).await;
    for process in processes {
        ground.stop(process).await;
    }
    ground.assert_ended(&started).await;
    ground.end().await;
}

#[tokio::test]
async fn g15_g16_g17_g18_many_sagas_of_three_processes_that_are_killed_at_random_end_on_postgresql() {
    comes_and_goes(&services::postgres_url(), SAGAS, 200).await;
}

#[tokio::test]
async fn g15_g16_g17_g18_many_sagas_of_three_processes_that_are_killed_at_random_end_on_mariadb() {
    comes_and_goes(&services::mysql_url(), SAGAS / 2, 200).await;
}

#[tokio::test]
async fn g15_g16_g17_g18_many_sagas_of_three_processes_that_are_killed_at_random_end_on_sqlite() {
    comes_and_goes("sqlite", SAGAS / 2, 5).await;
}
