//! Sagas of one definition that has everything: steps with a transaction and one without, a group, a fallback, a wait, a pivot and what
//! comes after it. Each notes what it does and undoes, and for whom; some are told to fail at a step.

use std::time::Duration;

use cqrs::prelude::*;
use cqrs::sqlx::{self, AssertSqlSafe};
use cqrs::store::{Any, AnyConnection, AnyPool, SagaPhase};
use cqrs::{BoxError, OutsideUnit};
use serde::{Deserialize, Serialize};

/// The part that starts them.
pub const MARCH: &str = "march";

/// What is noted: without a unique index, so that what happens twice is seen.
pub const EFFECTS: (&str, &str) = (
    "effects",
    "id NUMBER, saga VARCHAR(32) NOT NULL, step VARCHAR(32) NOT NULL, way VARCHAR(8) NOT NULL, step_key VARCHAR(64) NOT NULL",
);
/// Which sagas their event was raised for.
pub const TOLD: (&str, &str) = ("told", "number BIGINT PRIMARY KEY");

const LOOK: Duration = Duration::from_millis(50);

/// Where a saga is to fail, by its number: some nowhere.
pub const FAILS: [&str; 4] = ["", "right", "shaky", "last"];

/// The steps before the pivot that leave something, in their order; what follows is `last` and `home`.
pub const STEPS: [&str; 5] = ["pack", "book", "left", "right", "shaky"];

#[saga(name = "trip", version = 1, steps = [pack, book, (left, right), shaky, hears, last, home])]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Trip {
    number: i32,
    #[serde(default)]
    sides: Vec<String>,
}

#[derive(DomainEvent, Debug, Clone, Serialize, Deserialize)]
struct Called {
    number: i32,
}

impl Trip {
    fn id(number: i32) -> String {
        format!("t{number}")
    }

    async fn note(&self, db: &mut AnyConnection, step: &str, way: &str, key: &StepKey) -> Result<(), BoxError> {
        let (saga, key) = (Self::id(self.number), key.as_str());
        let insert =
            format!("INSERT INTO effects (saga, step, way, step_key) VALUES ('{saga}', '{step}', '{way}', '{key}')");
        sqlx::query(AssertSqlSafe(insert)).execute(db).await?;
        Ok(())
    }

    /// Notes it, and fails after that where it is to.
    async fn act(&self, db: &mut AnyConnection, step: &str, key: &StepKey) -> Result<(), BoxError> {
        self.note(db, step, "do", key).await?;
        let fails = usize::try_from(self.number)? % FAILS.len();
        if FAILS[fails] == step { Err(format!("`{step}` is to fail").into()) } else { Ok(()) }
    }
}

#[saga_step(compensate = unpack)]
async fn pack(cx: &mut Trip, tx: &mut Tx<Any>, key: StepKey) -> Result<(), BoxError> {
    cx.act(tx, "pack", &key).await
}

#[compensation]
async fn unpack(cx: &Trip, tx: &mut Tx<Any>, key: StepKey) -> Result<(), BoxError> {
    cx.note(tx, "pack", "undo", &key).await
}

/// Elsewhere: what it does stays, whatever becomes of the step.
#[saga_step(compensate = cancel)]
async fn book(cx: &mut Trip, pool: Inject<AnyPool>, key: StepKey) -> Result<(), BoxError> {
    cx.act(&mut pool.acquire().await?, "book", &key).await
}

#[compensation]
async fn cancel(cx: &Trip, pool: Inject<AnyPool>, key: StepKey) -> Result<(), BoxError> {
    cx.note(&mut pool.acquire().await?, "book", "undo", &key).await
}

#[derive(Serialize, Deserialize)]
struct Side(String);

impl Apply<Side> for Trip {
    fn apply(&mut self, Side(side): Side) {
        self.sides.push(side);
    }
}

#[saga_step(compensate = not_left)]
async fn left(cx: &Trip, tx: &mut Tx<Any>, key: StepKey) -> Result<Side, BoxError> {
    cx.act(tx, "left", &key).await.map(|()| Side("left".to_owned()))
}

#[compensation]
async fn not_left(cx: &Trip, tx: &mut Tx<Any>, key: StepKey) -> Result<(), BoxError> {
    cx.note(tx, "left", "undo", &key).await
}

#[saga_step(compensate = not_right)]
async fn right(cx: &Trip, tx: &mut Tx<Any>, key: StepKey) -> Result<Side, BoxError> {
    cx.act(tx, "right", &key).await.map(|()| Side("right".to_owned()))
}

#[compensation]
async fn not_right(cx: &Trip, tx: &mut Tx<Any>, key: StepKey) -> Result<(), BoxError> {
    cx.note(tx, "right", "undo", &key).await
}

/// Always fails, and what it wrote with it.
#[saga_step(compensate = steady_again, fallback = steady)]
async fn shaky(cx: &mut Trip, tx: &mut Tx<Any>, key: StepKey) -> Result<(), BoxError> {
    cx.sides.clear();
    cx.note(tx, "never", "do", &key).await?;
    Err("it shakes".into())
}

#[fallback]
async fn steady(cx: &mut Trip, tx: &mut Tx<Any>, key: StepKey) -> Result<(), BoxError> {
    cx.act(tx, "shaky", &key).await
}

#[compensation]
async fn steady_again(cx: &Trip, tx: &mut Tx<Any>, key: StepKey) -> Result<(), BoxError> {
    cx.note(tx, "shaky", "undo", &key).await
}

#[saga_step(awaits = Called, by = number, compensate = none)]
async fn hears(cx: &mut Trip, e: &Called) -> Result<(), BoxError> {
    if e.number == cx.number { Ok(()) } else { Err("it is for another".into()) }
}

#[saga_step(pivot)]
async fn last(cx: &mut Trip, tx: &mut Tx<Any>, key: StepKey) -> Result<(), BoxError> {
    if cx.sides != ["left", "right"] {
        return Err(format!("what the group changed is not there: {:?}", cx.sides).into());
    }
    cx.act(tx, "last", &key).await
}

/// Behind the pivot: it is tried again.
#[saga_step(retry(max = 5, first = "20ms"))]
async fn home(cx: &mut Trip, tx: &mut Tx<Any>, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
    cx.note(tx, "home", "do", &key).await?;
    if meta.attempt() == 1 { Err("it stumbles".into()) } else { Ok(()) }
}

/// Starts so many, whatever this or an earlier process has started, and raises the event that each waits for, once.
pub async fn march(app: App, count: i32) {
    for number in 0..count {
        while let Err(error) = begin(&app, number).await {
            tracing::info!(%error, "a saga is started again");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn begin(app: &App, number: i32) -> Result<(), BoxError> {
    // Every second one is called before it waits.
    if number % 2 == 0 {
        call(app, number).await?;
    }
    app.saga(Trip { number, sides: Vec::new() }).id(Trip::id(number)).start().await?;
    if number % 2 == 1 {
        tokio::spawn(call_late(app.clone(), number));
    }
    Ok(())
}

/// Once it waits, and nobody holds it.
async fn call_late(app: App, number: i32) {
    loop {
        match app.sagas().get(Trip::id(number)).await {
            Ok(Some((row, _))) if row.phase != SagaPhase::Forward => return,
            Ok(Some((row, steps))) if !row.is_held && steps.iter().any(|step| step.step == "hears") => break,
            _ => tokio::time::sleep(LOOK).await,
        }
    }
    while let Err(error) = call(&app, number).await {
        tracing::info!(%error, "a saga is called again");
        tokio::time::sleep(LOOK).await;
    }
}

async fn call(app: &App, number: i32) -> Result<(), BoxError> {
    let mut unit: OutsideUnit<Any> = app.unit().await?;
    let told = format!("SELECT COUNT(*) FROM told WHERE number = {number}");
    let told: i64 = sqlx::query_scalar(AssertSqlSafe(told)).fetch_one(&mut **unit.tx()).await?;
    if told > 0 {
        return Ok(());
    }
    let insert = AssertSqlSafe(format!("INSERT INTO told VALUES ({number})"));
    sqlx::query(insert).execute(&mut **unit.tx()).await?;
    unit.events().raise(Called { number });
    unit.commit().await?;
    Ok(())
}
