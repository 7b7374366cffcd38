//! Three processes with many sagas in flight, of which one after the other is killed at some moment.

use cqrs_tests::services;

use super::ground::{Ground, RECOVERS, Started};
use super::shapes::SHAPES;
use crate::chaos::Dice;

const SAGAS: usize = 600;
const ROUNDS: u32 = 8;
const SEED: u64 = 0x5eed_0a6a;

async fn comes_and_goes(store: &str, sagas: usize) {
    let ground = Ground::new(store).await;
    let mut dice = Dice(SEED);
    let started: Vec<Started> =
        (0..sagas).map(|number| (SHAPES[number % SHAPES.len()], format!("random-{number}"))).collect();
    // Who starts again starts all of its own again, and joins those that are there.
    let shares: Vec<&[Started]> = started.chunks(sagas.div_ceil(3)).collect();
    let mut processes: Vec<_> = shares.iter().map(|share| ground.start(RECOVERS, share, None)).collect();
    for _ in 0..ROUNDS {
        tokio::time::sleep(dice.millis(300, 1200)).await;
        let which = usize::try_from(dice.roll(3)).unwrap();
        processes[which].kill();
        tokio::time::sleep(dice.millis(0, 300)).await;
        processes[which] = ground.start(RECOVERS, shares[which], None);
    }
    ground.ended(sagas).await;
    for process in processes {
        ground.stop(process).await;
    }
    ground.assert_ended(&started).await;
    ground.end().await;
}

#[tokio::test]
async fn g15_g16_g17_g18_many_sagas_of_three_processes_that_are_killed_at_random_end_on_postgresql() {
    comes_and_goes(&services::postgres_url(), SAGAS).await;
}

#[tokio::test]
async fn g15_g16_g17_g18_many_sagas_of_three_processes_that_are_killed_at_random_end_on_mariadb() {
    comes_and_goes(&services::mysql_url(), SAGAS / 2).await;
}

#[tokio::test]
async fn g15_g16_g17_g18_many_sagas_of_three_processes_that_are_killed_at_random_end_on_sqlite() {
    comes_and_goes("sqlite", SAGAS / 2).await;
}
