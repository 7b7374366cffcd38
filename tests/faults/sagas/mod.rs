//! Sagas whose processes are killed and stopped: in the end each has ended, as it was told to, and what its steps left is counted.

pub mod program;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cqrs::__private::FailPoint;
use cqrs::sqlx::{self, AssertSqlSafe};
use cqrs_tests::services;
use rustix::process::Signal;

use self::program::{FAILS, STEPS};
use crate::world::{World, for_all, of_sagas};

/// Everything that they need: the event that they wait for is kept by stored work.
const PARTS: &str = "march,sagas,work";
const COUNT: i32 = 16;
const ENDED: &str = "SELECT COUNT(*) FROM cqrs_sagas WHERE phase IN ('completed', 'compensated')";
const BEGUN: &str = "SELECT COUNT(*) FROM effects";
/// Longer than a lease lasts, and the doubt about it.
const BEYOND: Duration = Duration::from_secs(4);

/// What one saga has left, in its order: step, way, key.
type Left = Vec<(String, String, String)>;

async fn world(store: &str, count: i32) -> World {
    // Of the broker nothing is asked.
    let mut world = World::new(store, &services::nats_url(), count).await;
    world.stride = 1;
    world
}

/// Whether it ends at all is waited for; how it ended, and what it left, is counted.
async fn assert_ended(world: &World, count: i32, may_be_late: bool) {
    world.reaches(ENDED, i64::from(count)).await;
    let effects: Vec<(String, String, String, String)> =
        rows(world, "saga, step, way, step_key", "effects ORDER BY id").await;
    let phases: Vec<(String, String)> = rows(world, "id, phase", "cqrs_sagas").await;
    let phases: BTreeMap<String, String> = phases.into_iter().collect();
    let mut left: BTreeMap<String, Left> = BTreeMap::new();
    for (saga, step, way, key) in effects {
        left.entry(saga).or_default().push((step, way, key));
    }
    assert_eq!(phases.len(), usize::try_from(count).unwrap());
    for number in 0..count {
        let (id, fails) = (format!("t{number}"), FAILS[usize::try_from(number).unwrap() % FAILS.len()]);
        let phase = if fails.is_empty() { "completed" } else { "compensated" };
        assert_eq!(phases[&id], phase, "{id}\n{}", world.log());
        assert_order(&id, fails, &left[&id], may_be_late, &world.log());
    }
}

/// Columns as texts: a database may call them something else.
async fn rows<R>(world: &World, columns: &str, from: &str) -> Vec<R>
where
    R: for<'r> sqlx::FromRow<'r, sqlx::any::AnyRow> + Send + Unpin,
{
    let text = world.text();
    let columns: Vec<String> = columns.split(", ").map(|column| format!("CAST({column} AS {text})")).collect();
    let select = AssertSqlSafe(format!("SELECT {} FROM {from}", columns.join(", ")));
    sqlx::query_as(select).fetch_all(world.pool()).await.unwrap()
}

/// Of a saga that was to fail at a step, or nowhere.
fn assert_order(id: &str, fails: &str, left: &Left, may_be_late: bool, log: &str) {
    let seen = || format!("{id}, which was to fail at `{fails}`: {left:#?}\n{log}");
    let times = |step: &str, way: &str| left.iter().filter(|it| it.0 == step && it.1 == way).count();
    let back = left.iter().position(|it| it.1 == "undo").unwrap_or(left.len());
    // What a process had begun elsewhere before it was stopped, it does when it goes on: that is what its key is for.
    let is_late = |step: &str| may_be_late && step == "book";
    assert!(
        left[back..].iter().all(|it| it.1 == "undo" || is_late(&it.0)),
        "G16: forward after it compensated: {}",
        seen()
    );
    assert_eq!(times("never", "do"), 0, "G19: a step that fell back has left nothing: {}", seen());
    // Of the group, one fails and the other one has happened.
    let reached = |step: &str| match fails {
        "right" => ["pack", "book", "left"].contains(&step),
        "shaky" => step != "shaky",
        _ => true,
    };
    let mut undone = Vec::new();
    for step in STEPS.into_iter().rev() {
        let (done, undo) = (usize::from(reached(step)), usize::from(reached(step) && !fails.is_empty()));
        if step == "book" {
            // Elsewhere, so perhaps more than once, but under one key each way.
            assert!(times(step, "do") >= done && times(step, "undo") >= undo, "G17: {}", seen());
        } else {
            assert_eq!((times(step, "do"), times(step, "undo")), (done, undo), "G17: `{step}` once: {}", seen());
        }
        for way in ["do", "undo"] {
            let keys: BTreeSet<&str> = left.iter().filter(|it| it.0 == step && it.1 == way).map(|it| &*it.2).collect();
            assert!(keys.len() <= 1, "G17: one key: {}", seen());
        }
        undone.extend((undo > 0).then_some(step));
    }
    let undos = left.iter().filter(|it| it.1 == "undo" && !is_late(&it.0));
    let mut order: Vec<&str> = undos.map(|it| &*it.0).collect();
    undone.retain(|step| !is_late(step));
    order.dedup();
    assert_eq!(order, undone, "G17: in reverse order: {}", seen());
    let beyond = usize::from(fails.is_empty());
    assert_eq!((times("last", "do"), times("home", "do")), (beyond, beyond), "G15: {}", seen());
}

/// How often a point is passed before the process breaks there: few sagas wait.
fn passes_of(point: FailPoint, passes: u32) -> u32 {
    if matches!(point, FailPoint::SagaTakenUp | FailPoint::SagaLetGo) { passes.min(2) } else { passes }
}

async fn dies_at(point: FailPoint, passes: u32, store: &str) {
    let world = world(store, COUNT).await;
    let passes = passes_of(point, passes);
    world.start(PARTS, Some(&format!("{}*{passes}*kill", point.name()))).dies(&world).await;
    let process = world.start(PARTS, None);
    assert_ended(&world, COUNT, false).await;
    process.stop(&world).await;
    world.end().await;
}

#[test]
fn g15_g16_g17_a_process_that_dies_at_any_point_leaves_sagas_that_end_as_they_would_have_on_postgresql() {
    for passes in [2, 9] {
        for_all(&of_sagas(), async |point| dies_at(point, passes, &services::postgres_url()).await);
    }
}

#[test]
fn g15_g16_g17_a_process_that_dies_at_any_point_leaves_sagas_that_end_as_they_would_have_on_mariadb() {
    for_all(&of_sagas(), async |point| dies_at(point, 6, &services::mysql_url()).await);
}

#[test]
fn g15_g16_g17_a_process_that_dies_at_any_point_leaves_sagas_that_end_as_they_would_have_on_sqlite() {
    for_all(&of_sagas(), async |point| dies_at(point, 7, "sqlite").await);
}

/// Two take up what the one that is stopped held; when it goes on, it finds that it does not hold it any more.
async fn stops_at(point: FailPoint, store: &str) {
    let world = world(store, COUNT).await;
    let first = world.start(PARTS, Some(&format!("{}*{}*stop", point.name(), passes_of(point, 5))));
    first.stops(&world).await;
    let others = [world.start(PARTS, None), world.start(PARTS, None)];
    // It may stand there in a transaction, whose locks the others wait for as long as it does.
    tokio::time::sleep(BEYOND).await;
    first.signal(Signal::CONT);
    assert_ended(&world, COUNT, true).await;
    for process in others.into_iter().chain([first]) {
        process.stop(&world).await;
    }
    assert_ended(&world, COUNT, true).await;
    world.end().await;
}

#[test]
fn g18_a_process_that_is_stopped_beyond_its_leases_at_any_point_does_nothing_more_to_sagas_on_postgresql() {
    for_all(&of_sagas(), async |point| stops_at(point, &services::postgres_url()).await);
}

#[test]
fn g18_a_process_that_is_stopped_beyond_its_leases_at_any_point_does_nothing_more_to_sagas_on_mariadb() {
    for_all(&of_sagas(), async |point| stops_at(point, &services::mysql_url()).await);
}

/// Three processes, of which one is killed again and again, while hundreds of sagas are under way.
async fn falls_and_rises(store: &str, count: i32) {
    let world = world(store, count).await;
    let mut processes = [(); 3].map(|()| world.start(PARTS, None));
    for round in 0..6 {
        let so_far = world.count(BEGUN).await;
        world.reaches(BEGUN, so_far + i64::from(count / 4)).await;
        processes[round % 3].kill();
        processes[round % 3] = world.start(PARTS, None);
    }
    assert_ended(&world, count, false).await;
    for process in processes {
        process.stop(&world).await;
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g15_g18_processes_that_die_again_and_again_leave_sagas_that_end_on_postgresql() {
    falls_and_rises(&services::postgres_url(), 300).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g15_g18_processes_that_die_again_and_again_leave_sagas_that_end_on_mariadb() {
    falls_and_rises(&services::mysql_url(), 200).await;
}
