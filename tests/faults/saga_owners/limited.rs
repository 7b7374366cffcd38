//! Sagas of which a process goes on with two at once, whose processes are killed.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cqrs::__private::FailPoint;
use cqrs::BoxError;
use cqrs::prelude::*;
use cqrs::store::Any;
use serde::{Deserialize, Serialize};

use super::ground::{RECOVERS, Started, on_each};
use super::program::{Break, LINGERS};
use super::shapes::{Story, Variant, note, note_elsewhere, to_the_end};
use crate::chaos::Dice;

const SEED: u64 = 0x5eed_0002;
/// Of each process.
const SAGAS: usize = 20;

#[saga(name = "limited", steps = [q_one, q_call, q_last], concurrency = 2)]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Limited(pub Story);

/// Those that are under way in this process: one that counts itself among three has failed.
struct Under;

static UNDER_WAY: AtomicU32 = AtomicU32::new(0);

impl Under {
    fn way() -> Result<Self, BoxError> {
        let before = UNDER_WAY.fetch_add(1, Ordering::SeqCst);
        let under = Self;
        if before >= 2 { Err(format!("{before} are under way already").into()) } else { Ok(under) }
    }
}

impl Drop for Under {
    fn drop(&mut self) {
        UNDER_WAY.fetch_sub(1, Ordering::SeqCst);
    }
}

#[saga_step(compensate = q_one_back)]
async fn q_one(cx: &mut Limited, tx: &mut Tx<Any>, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
    let _under = Under::way()?;
    note(tx, "q_one", &key, meta).await?;
    cx.0.tell("q_one")
}

#[compensation(retry(max = 3, first = "20ms"))]
async fn q_one_back(cx: &mut Limited, tx: &mut Tx<Any>, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
    let _under = Under::way()?;
    note(tx, "q_one", &key, meta).await?;
    cx.0.tell("undo q_one")
}

/// Waits for longer than a place is kept for it, where it is called for the first time.
#[saga_step(compensate = q_call_back, retry(max = 2, first = "1200ms"))]
async fn q_call(cx: &mut Limited, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
    let _under = Under::way()?;
    if meta.attempt() == 1 && key.as_str().bytes().map(u32::from).sum::<u32>().is_multiple_of(4) {
        return Err("it is called again".into());
    }
    note_elsewhere("q_call", &key, meta).await?;
    cx.0.tell("q_call")
}

#[compensation(retry(max = 3, first = "20ms"))]
async fn q_call_back(cx: &mut Limited, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
    let _under = Under::way()?;
    note_elsewhere("q_call", &key, meta).await?;
    cx.0.tell("undo q_call")
}

#[saga_step(compensate = none)]
async fn q_last(cx: &mut Limited, tx: &mut Tx<Any>, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
    let _under = Under::way()?;
    cx.0.tell("q_last")?;
    note(tx, "q_last", &key, meta).await
}

const LIMITED: Variant = to_the_end("limited", &[&["q_one"], &["q_call"], &["q_last"]], &["q_one", "q_call", "q_last"]);

const LIMITED_BACK: Variant = Variant {
    name: "limited_back",
    fails: "q_last",
    phase: "compensated",
    forward: &[&["q_one"], &["q_call"]],
    back: &["q_call", "q_one"],
    told: &["q_one", "q_call"],
    ..LIMITED
};

pub const ALL: [&Variant; 2] = [&LIMITED, &LIMITED_BACK];

/// Where processes die that have some wait for their turn: before one that waits is let go, with a place taken, and with one given back.
const POINTS: [(FailPoint, u32); 3] =
    [(FailPoint::SagaStarted, 10), (FailPoint::SagaTakenUp, 2), (FailPoint::SagaRested, 4)];

/// No place is lost with who had it, and none is given twice.
#[tokio::test]
async fn g15_g18_sagas_of_which_two_go_on_at_once_end_though_their_processes_are_killed() {
    on_each(async |mut ground| {
        ground.tell(LINGERS, "20");
        let started: Vec<Started> =
            (0..3 * SAGAS).map(|number| (ALL[number % ALL.len()], format!("limited-{number}"))).collect();
        let shares: Vec<_> = started.chunks(SAGAS).map(|share| (RECOVERS, share)).collect();
        for ((point, passes), (parts, share)) in POINTS.into_iter().zip(&shares) {
            let mut process = ground.start(parts, share, Some((point.name(), passes, Break::Kill)));
            assert!(ground.dies(&mut process).await, "nobody passes {}", point.name());
        }
        let processes = ground.come_and_go(&shares, 4, &mut Dice(SEED)).await;
        ground.ended(started.len()).await;
        // For one more that would begin.
        tokio::time::sleep(Duration::from_millis(300)).await;
        for process in processes {
            ground.stop(process).await;
        }
        ground.assert_ended(&started).await;
        ground.end().await;
    })
    .await;
}
