//! Steps that hang and panic, compensations that give up, contexts that nobody can read any more, and callers that do not wait.

use std::time::Duration;

use super::ground::{OWN, RECOVERS, SPOILED, Started, on_each};
use super::program::{Break, RESUMES, WAITS};
use super::shapes::{
    CALL_HANGS, CALL_PANICS, KEPT, LINEAR, LINEAR_BACK, RESTED, SHAPES, TX_HANGS, TX_PANICS, UNAPPLIED, Variant,
};

fn named(variants: &[&'static Variant]) -> Vec<Started> {
    variants.iter().map(|variant| (*variant, variant.name.to_owned())).collect()
}

/// What hangs, panics or gives up ends, and is seen; what rests between two attempts is taken up again.
#[tokio::test]
async fn g15_g17_sagas_whose_steps_hang_or_panic_and_whose_compensations_give_up_end() {
    on_each(async |ground| {
        let started = named(&[&CALL_HANGS, &CALL_PANICS, &TX_HANGS, &TX_PANICS, &UNAPPLIED, &KEPT, &RESTED]);
        let process = ground.start(RECOVERS, &started, None);
        ground.ended(started.len()).await;
        ground.stop(process).await;
        ground.assert_ended(&started).await;
        ground.end().await;
    })
    .await;
}

/// One that is stuck stays so, whoever comes, until somebody has mended and resumed it.
#[tokio::test]
async fn g15_a_saga_that_is_stuck_is_compensated_once_somebody_resumes_it() {
    on_each(async |mut ground| {
        let started = named(&[&KEPT]);
        let process = ground.start(RECOVERS, &started, None);
        ground.ended(1).await;
        ground.stop(process).await;
        ground.assert_ended(&started).await;
        ground.execute("INSERT INTO mended_sagas VALUES (1)").await;
        ground.environment.push((RESUMES.into(), KEPT.name.into()));
        let process = ground.start(RECOVERS, &[], None);
        let compensated = "SELECT COUNT(*) FROM cqrs_sagas WHERE phase = 'compensated'";
        ground.until("it is compensated", async || ground.count(compensated).await == 1).await;
        ground.stop(process).await;
        let undone: Vec<String> =
            ground.effects().await.into_iter().filter(|effect| effect.is_undo == 1).map(|effect| effect.step).collect();
        assert_eq!(undone, ["k_one", "k_two"]);
        ground.end().await;
    })
    .await;
}

/// Callers stop waiting at any moment, the start itself included.
#[tokio::test]
async fn g15_sagas_whose_callers_are_dropped_go_on() {
    on_each(async |mut ground| {
        let mut all = Vec::new();
        let mut processes = Vec::new();
        for (number, waits) in [0_u64, 2, 10, 40].into_iter().enumerate() {
            ground.environment = vec![(WAITS.into(), waits.to_string().into())];
            let started: Vec<Started> =
                SHAPES.iter().map(|variant| (*variant, format!("{}-{number}", variant.name))).collect();
            processes.push(ground.start(RECOVERS, &started, None));
            all.extend(started);
        }
        ground.ended(all.len()).await;
        for process in processes {
            ground.stop(process).await;
        }
        ground.assert_ended(&all).await;
        ground.end().await;
    })
    .await;
}

/// What nobody can read is stuck, with all that is known of it, and goes nowhere from there; nobody else's saga waits for it.
#[tokio::test]
async fn g15_a_context_that_nobody_can_read_any_more_leaves_its_saga_stuck() {
    on_each(async |ground| {
        let (forward, back) = ((&LINEAR, "forward".to_owned()), (&LINEAR_BACK, "back".to_owned()));
        let both = [forward, back];
        // The third step forward, and on the way back the second one.
        for (started, passes) in both.iter().zip([2, 5]) {
            let own = std::slice::from_ref(started);
            let mut process = ground.start(OWN, own, Some(("saga.stored", passes, Break::Freeze)));
            assert!(ground.dies(&mut process).await);
        }
        let before = ground.effects().await.len();
        ground.spoil().await;
        let other: Vec<Started> = vec![(&LINEAR, "other".to_owned())];
        let process = ground.start(RECOVERS, &other, None);
        ground.ended(3).await;
        // For whatever would go on in vain.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        ground.stop(process).await;
        let sagas = ground.sagas().await;
        for (_, id) in &both {
            let (phase, context) = &sagas[id];
            assert_eq!((phase.as_str(), context.as_slice()), ("stuck", SPOILED.as_bytes()), "{id}");
        }
        let after = ground.effects().await;
        assert_eq!(after.iter().filter(|effect| effect.saga != "other").count(), before, "{after:#?}");
        let tries = ground.count("SELECT COUNT(*) FROM cqrs_saga_log WHERE saga <> 'other'").await;
        assert!(tries < 20, "it was tried {tries} times");
        ground.assert_ended(&other).await;
        ground.end().await;
    })
    .await;
}
