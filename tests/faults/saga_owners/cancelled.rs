//! Sagas that somebody cancels while their owners are about to die, at each of their steps; and what is heard of that by owners that live.

use std::collections::BTreeMap;
use std::time::Duration;

use cqrs::__private::FailPoint;
use cqrs::prelude::*;
use cqrs::store::{Any, AuditAction};
use cqrs::{BoxError, SagaId};
use cqrs_tests::services;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use super::awaited::AWAITED;
use super::ground::{Effect, Ground, OWN, RECOVERS, Started, both_ways, in_order, mistake, on_each};
use super::killed::{OF_OWNERS, OF_RECOVERERS, at_once, first};
use super::program::Break;
use super::shapes::{
    FALLEN, GROUPED, LINEAR, LINEAR_BACK, PIVOT_BACK, PIVOTED, Story, Variant, note, note_elsewhere, to_the_end,
};
use crate::world::Process;

/// Sagas that are cancelled by one of their own steps, while that is under way.
#[saga(name = "own", steps = [c_ask, c_never])]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Own(pub Story);

#[saga_step(compensate = c_ask_back)]
async fn c_ask(cx: &mut Own, app: &App, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
    note_elsewhere("c_ask", &key, meta).await?;
    cx.0.tell("c_ask")?;
    cancel(app, &key).await
}

#[compensation]
async fn c_ask_back(cx: &mut Own, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
    note_elsewhere("c_ask", &key, meta).await?;
    cx.0.tell("undo c_ask")
}

#[saga_step(pivot)]
async fn c_never(cx: &mut Own, tx: &mut Tx<Any>, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
    note(tx, "c_never", &key, meta).await?;
    cx.0.tell("c_never")
}

/// The same behind the pivot, with a pause that nobody waits for.
#[saga(name = "shipped", steps = [c_ship, c_late, c_later])]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Shipped(pub Story);

#[saga_step(pivot)]
async fn c_ship(cx: &mut Shipped, tx: &mut Tx<Any>, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
    note(tx, "c_ship", &key, meta).await?;
    cx.0.tell("c_ship")
}

#[saga_step]
async fn c_late(cx: &mut Shipped, app: &App, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
    note_elsewhere("c_late", &key, meta).await?;
    cx.0.tell("c_late")?;
    cancel(app, &key).await
}

#[saga_step(retry(max = 2, first = "1h"))]
async fn c_later(_cx: &mut Shipped) -> Result<(), BoxError> {
    Err("it is too early".into())
}

async fn cancel(app: &App, key: &StepKey) -> Result<(), BoxError> {
    app.sagas().cancel(key.saga()).await?;
    Ok(())
}

const OWN_WAY: Variant = Variant {
    phase: "compensated",
    forward: &[&["c_ask"]],
    back: &["c_ask"],
    told: &["c_ask"],
    ..to_the_end("own", &[], &[])
};

const SHIPPED: Variant =
    Variant { phase: "forward", ..to_the_end("shipped", &[&["c_ship"], &["c_late"]], &["c_ship", "c_late"]) };

pub const ALL: [&Variant; 2] = [&OWN_WAY, &SHIPPED];

const SHAPES: [&Variant; 7] = [&LINEAR, &GROUPED, &PIVOTED, &PIVOT_BACK, &LINEAR_BACK, &FALLEN, &AWAITED];

/// What somebody was told who cancelled a saga.
struct Cancelled {
    started: Started,
    is_heard: bool,
    /// Whether its pivot had begun.
    is_beyond: bool,
    by: String,
}

/// Asks for a saga to be cancelled, by somebody or by the app itself.
async fn ask(desk: &App, (variant, id): &Started, at: usize) -> (Started, bool, String) {
    let saga = SagaId::from(id.clone());
    let (by, asked) = if at.is_multiple_of(2) {
        ("anna".to_owned(), desk.operator("anna").cancel_saga(saga).await)
    } else {
        (String::new(), desk.sagas().cancel(saga).await)
    };
    ((variant, id.clone()), asked.unwrap(), by)
}

/// Has somebody cancel sagas whose owner stands still, and kills it then. Whoever stands in a transaction holds up who asks.
async fn cancel_all(ground: &Ground, desk: &App, process: &mut Process, started: &[Started]) -> Vec<Cancelled> {
    let asking = join_all(started.iter().enumerate().map(|(at, started)| ask(desk, started, at)));
    let killing = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        process.kill();
    };
    let (asked, ()) = tokio::join!(asking, killing);
    let mut all = Vec::new();
    for (started, is_heard, by) in asked {
        let pivot = format!("SELECT COUNT(*) FROM cqrs_saga_steps WHERE step = 'p_ship' AND saga = '{}'", started.1);
        let is_beyond = ground.count(&pivot).await == 1;
        all.push(Cancelled { started, is_heard, is_beyond, by });
    }
    all
}

/// Has sagas of some shapes be cancelled where they pass a point for each of these times, until none passes it so often.
async fn cancel_at(
    ground: &Ground,
    desk: &App,
    point: FailPoint,
    variants: &[&'static Variant],
    times: impl Iterator<Item = u32>,
) -> Vec<Cancelled> {
    let mut all = Vec::new();
    for passes in times {
        let id = |variant: &Variant| format!("{}-{}-{passes}", variant.name, point.name());
        let started: Vec<Started> = variants.iter().map(|variant| (*variant, id(variant))).collect();
        let mut process = ground.start(OWN, &started, Some((point.name(), passes, Break::Stand)));
        if !ground.stands(&mut process).await {
            let unasked = |started| Cancelled { started, is_heard: false, is_beyond: false, by: String::new() };
            all.extend(started.into_iter().map(unasked));
            break;
        }
        all.extend(cancel_all(ground, desk, &mut process, &started).await);
    }
    all
}

/// The same where they are held by who has taken them up.
async fn cancel_taken_up(ground: &Ground, desk: &App, point: FailPoint) -> Vec<Cancelled> {
    let id = |number: usize| format!("taken-up-{}-{number}", point.name());
    let started: Vec<Started> = (0..21).map(|number| (SHAPES[number % SHAPES.len()], id(number))).collect();
    let mut owner = ground.start(OWN, &started, Some((FailPoint::SagaStarted.name(), 1, Break::Freeze)));
    assert!(ground.dies(&mut owner).await);
    let mut process = ground.start(RECOVERS, &[], Some((point.name(), 8, Break::Stop)));
    ground.stops(&process).await;
    cancel_all(ground, desk, &mut process, &started).await
}

/// Every step is stood still at, or one of so many.
async fn cancel_everywhere(store: &str, one_of: usize) {
    let ground = Ground::new(store).await;
    let desk = ground.desk().await;
    // There are tables from now on.
    let mut all = Vec::new();
    for point in OF_OWNERS {
        for variants in SHAPES.chunks(at_once(point, store == "sqlite").min(SHAPES.len())) {
            let from = if one_of == 1 { 1 } else { first(point) };
            all.extend(cancel_at(&ground, &desk, point, variants, (from..).step_by(one_of)).await);
        }
    }
    for (point, _) in OF_RECOVERERS {
        all.extend(cancel_taken_up(&ground, &desk, point).await);
        // What one has left, the next would take up first.
        end_all(&ground, &all).await;
    }
    end_all(&ground, &all).await;
    assert_cancelled(&ground, &desk, &all).await;
    desk.shutdown().await;
    ground.end().await;
}

/// Two at once, who share what is left.
async fn end_all(ground: &Ground, all: &[Cancelled]) {
    let recover = [ground.start(RECOVERS, &[], None), ground.start(RECOVERS, &[], None)];
    ground.ended(all.len()).await;
    // What is asked of one that has ended, or cannot be had any more, is answered, too.
    let asked = "SELECT COUNT(*) FROM cqrs_sagas WHERE asked IS NOT NULL";
    ground.until("all is heard that was asked", async || ground.count(asked).await == 0).await;
    for process in recover {
        ground.stop(process).await;
    }
}

async fn assert_cancelled(ground: &Ground, desk: &App, all: &[Cancelled]) {
    let by_id: BTreeMap<&str, &Cancelled> = all.iter().map(|one| (one.started.1.as_str(), one)).collect();
    assert!(all.iter().any(|one| one.is_beyond && one.is_heard), "none is cancelled behind its pivot");
    assert!(all.iter().any(|one| !one.is_heard), "none is cancelled too late");
    let started: Vec<Started> = all.iter().map(|one| one.started.clone()).collect();
    ground
        .assert_all(&started, ground.effects().await, |(variant, id), saga, effects| {
            let one = by_id[id.as_str()];
            if one.is_heard && !one.is_beyond {
                mistake_of_cancelled(variant, saga, effects)
            } else {
                mistake(variant, saga, effects)
            }
        })
        .await;
    // Written down is who asked, once, where it was heard.
    let mut audited: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in desk.audit(10_000, None).await.unwrap() {
        assert_eq!(entry.action, AuditAction::CancelSaga);
        audited.entry(entry.key.unwrap()).or_default().push(entry.by);
    }
    for one in all {
        let by = audited.remove(&one.started.1).unwrap_or_default();
        assert_eq!(by.len(), usize::from(one.is_heard), "{}: {by:?}", one.started.1);
        assert!(by.iter().all(|by| (by == "anna") == (one.by == "anna")), "{by:?}");
    }
    assert!(audited.is_empty(), "{audited:?}");
}

/// All that was done is undone, in reverse order, wherever it was when it was cancelled.
fn mistake_of_cancelled(variant: &Variant, saga: Option<&(String, Vec<u8>)>, effects: &[Effect]) -> Option<String> {
    let Some((phase, context)) = saga else { return Some("it is not there".to_owned()) };
    if phase != "compensated" {
        return Some("it is not compensated".to_owned());
    }
    // What somebody else does that was asked.
    let effects: Vec<Effect> = effects.iter().filter(|effect| effect.step != "w_answer").cloned().collect();
    let (forward, back) = match both_ways(&effects) {
        Ok(ways) => ways,
        Err(mistake) => return Some(mistake),
    };
    let has_done = |step: &&str| forward.iter().any(|effect| effect.step == **step);
    let steps = variant.forward.iter().copied().flatten().copied();
    let done: Vec<&str> = steps.filter(has_done).collect();
    let expected: Vec<&str> =
        done.iter().rev().map(|step| if *step == "f_elsewhere" { "f_pay" } else { step }).collect();
    let undone = in_order(back);
    if undone != expected {
        return Some(format!("undone are {undone:?} of {done:?}"));
    }
    let story: Story = serde_json::from_slice(context).unwrap();
    let told = story.told.len().saturating_sub(undone.len());
    let (told_forward, told_back) = story.told.split_at(told);
    let is_told = told_back.iter().zip(&undone).all(|(told, step)| *told == format!("undo {step}"));
    (!is_told || !told_forward.iter().all(|told| done.contains(&told.as_str())))
        .then(|| "its context tells something else".to_owned())
}

#[tokio::test]
async fn g15_g16_g17_sagas_that_are_cancelled_while_their_owners_die_at_any_point_end_as_asked_on_postgresql() {
    cancel_everywhere(&services::postgres_url(), 1).await;
}

#[tokio::test]
async fn g15_g16_g17_sagas_that_are_cancelled_while_their_owners_die_at_any_point_end_as_asked_on_mariadb() {
    cancel_everywhere(&services::mysql_url(), 4).await;
}

#[tokio::test]
async fn g15_g16_g17_sagas_that_are_cancelled_while_their_owners_die_at_any_point_end_as_asked_on_sqlite() {
    cancel_everywhere("sqlite", 4).await;
}

/// No step begins after it, least of all the pivot.
#[tokio::test]
async fn g15_a_saga_that_is_cancelled_while_a_step_runs_begins_no_other() {
    on_each(async |ground| {
        let started: [Started; 1] = [(&OWN_WAY, "own".to_owned())];
        let process = ground.start(RECOVERS, &started, None);
        ground.ended(1).await;
        ground.stop(process).await;
        ground.assert_ended(&started).await;
        ground.end().await;
    })
    .await;
}

/// It cannot be had, and is not asked for again and again, by whoever takes the saga up.
#[tokio::test]
async fn what_is_asked_of_a_saga_behind_its_pivot_is_answered_once() {
    on_each(async |ground| {
        let started: [Started; 1] = [(&SHIPPED, "shipped".to_owned())];
        let process = ground.start(RECOVERS, &started, None);
        let rests = "SELECT COUNT(*) FROM cqrs_saga_steps WHERE step = 'c_later' AND progress = 'pausing'";
        ground.until("it rests", async || ground.count(rests).await == 1).await;
        let asked = "SELECT COUNT(*) FROM cqrs_sagas WHERE asked IS NOT NULL OR owner IS NOT NULL";
        ground.until("all is heard that was asked", async || ground.count(asked).await == 0).await;
        ground.stop(process).await;
        assert!(ground.count("SELECT fence FROM cqrs_sagas").await < 5, "it is taken up again and again");
        ground.assert_ended(&started).await;
        ground.end().await;
    })
    .await;
}
