//! Sagas of each shape, and what each must have left behind. Each step notes what it did: one with a transaction in that, one without
//! through a connection of its own, as another service would.

use std::env;
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use cqrs::prelude::*;
use cqrs::sqlx::{self, AnyPool, AssertSqlSafe};
use cqrs::store::{Any, AnyConnection};
use cqrs::{BoxError, SagaError};
use serde::{Deserialize, Serialize};

use super::awaited::{self, AWAITED, AWAITED_BACK, Asked, UNHEARD};
use super::program::LINGERS;
use super::{cancelled, heard, limited, versions};

/// Without an index that is unique: what happens twice is there twice.
pub const EFFECTS: (&str, &str) = (
    "effects",
    "id NUMBER, saga VARCHAR(90) NOT NULL, step VARCHAR(40) NOT NULL, is_undo BIGINT NOT NULL, has_tx BIGINT NOT NULL,
     step_key VARCHAR(130) NOT NULL, attempt BIGINT NOT NULL",
);

/// What mends a compensation that fails.
pub const MENDED: (&str, &str) = ("mended_sagas", "id BIGINT PRIMARY KEY");

/// What a saga carries: the step that fails, and what the others told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Story {
    pub fails: String,
    pub told: Vec<String>,
}

impl Story {
    pub fn tell(&mut self, step: &str) -> Result<(), BoxError> {
        if self.fails == step {
            return Err(format!("`{step}` fails").into());
        }
        self.told.push(step.to_owned());
        Ok(())
    }
}

/// Who connects for steps without a transaction.
pub static ELSEWHERE: OnceLock<AnyPool> = OnceLock::new();

pub async fn note(db: &mut AnyConnection, step: &str, key: &StepKey, meta: &Meta) -> Result<(), BoxError> {
    sqlx::query(insert(step, true, key, meta)).execute(db).await?;
    linger(key).await;
    Ok(())
}

/// A service that is away is asked again.
pub async fn note_elsewhere(step: &str, key: &StepKey, meta: &Meta) -> Result<(), BoxError> {
    let own = ELSEWHERE.get().ok_or("nobody has connected")?;
    while let Err(error) = sqlx::query(insert(step, false, key, meta)).execute(own).await {
        tracing::info!(%error, "it is noted later");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    linger(key).await;
    Ok(())
}

/// Rests in the midst of a step, where the process is told to: each for a time of its own.
async fn linger(key: &StepKey) {
    static MOST: LazyLock<u32> =
        LazyLock::new(|| env::var(LINGERS).map_or(0, |millis| millis.parse().expect("it is a number")));
    if *MOST > 0 {
        let share = key.as_str().bytes().map(u32::from).sum::<u32>() % 16 + 1;
        tokio::time::sleep(Duration::from_millis((*MOST * share / 16).into())).await;
    }
}

fn insert(step: &str, has_tx: bool, key: &StepKey, meta: &Meta) -> AssertSqlSafe<String> {
    let (is_undo, has_tx) = (i32::from(key.of_step() != key.as_str()), i32::from(has_tx));
    let (saga, attempt) = (key.saga(), meta.attempt());
    AssertSqlSafe(format!(
        "INSERT INTO effects (saga, step, is_undo, has_tx, step_key, attempt)
         VALUES ('{saga}', '{step}', {is_undo}, {has_tx}, '{key}', {attempt})"
    ))
}

/// A step that writes in its transaction, and its compensation.
macro_rules! stored {
    ($saga:ident, $step:ident, $undo:ident) => {
        #[saga_step(compensate = $undo)]
        async fn $step(cx: &mut $saga, tx: &mut Tx<Any>, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
            note(tx, stringify!($step), &key, meta).await?;
            cx.0.tell(stringify!($step))
        }
        undone!($saga, $step, $undo);
    };
}

/// A compensation that writes in its transaction.
macro_rules! undone {
    ($saga:ident, $step:ident, $undo:ident) => {
        #[compensation(retry(max = 3, first = "20ms"))]
        async fn $undo(cx: &mut $saga, tx: &mut Tx<Any>, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
            note(tx, stringify!($step), &key, meta).await?;
            cx.0.tell(concat!("undo ", stringify!($step)))
        }
    };
}

/// A compensation that writes elsewhere.
macro_rules! undone_elsewhere {
    ($saga:ident, $step:ident, $undo:ident) => {
        #[compensation(retry(max = 3, first = "20ms"))]
        async fn $undo(cx: &mut $saga, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
            note_elsewhere(stringify!($step), &key, meta).await?;
            cx.0.tell(concat!("undo ", stringify!($step)))
        }
    };
}

/// A step that writes elsewhere, and its compensation, which does too.
macro_rules! called {
    ($saga:ident, $step:ident, $undo:ident) => {
        #[saga_step(compensate = $undo)]
        async fn $step(cx: &mut $saga, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
            note_elsewhere(stringify!($step), &key, meta).await?;
            cx.0.tell(stringify!($step))
        }
        undone_elsewhere!($saga, $step, $undo);
    };
}

/// A step of a group that writes in its transaction, and its compensation.
macro_rules! beside {
    ($saga:ident, $step:ident, $undo:ident) => {
        #[saga_step(compensate = $undo)]
        async fn $step(cx: &$saga, tx: &mut Tx<Any>, key: StepKey, meta: &Meta) -> Result<Told, BoxError> {
            note(tx, stringify!($step), &key, meta).await?;
            told(&cx.0, stringify!($step))
        }
        undone!($saga, $step, $undo);
    };
}

#[saga(name = "linear", steps = [l_one, l_two, l_call, l_last])]
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Linear(Story);

stored!(Linear, l_one, l_one_back);
stored!(Linear, l_two, l_two_back);
called!(Linear, l_call, l_call_back);
stored!(Linear, l_last, l_last_back);

#[saga(name = "grouped", steps = [g_first, (g_left, g_call, g_right), g_last])]
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Grouped(Story);

/// The change that a step of a group makes.
#[derive(Serialize, Deserialize)]
struct Told(String);

impl Apply<Told> for Grouped {
    fn apply(&mut self, Told(step): Told) {
        self.0.told.push(step);
    }
}

fn told(story: &Story, step: &str) -> Result<Told, BoxError> {
    story.clone().tell(step).map(|()| Told(step.to_owned()))
}

stored!(Grouped, g_first, g_first_back);
beside!(Grouped, g_left, g_left_back);
beside!(Grouped, g_right, g_right_back);
undone_elsewhere!(Grouped, g_call, g_call_back);
stored!(Grouped, g_last, g_last_back);

#[saga_step(compensate = g_call_back)]
async fn g_call(cx: &Grouped, key: StepKey, meta: &Meta) -> Result<Told, BoxError> {
    note_elsewhere("g_call", &key, meta).await?;
    told(&cx.0, "g_call")
}

#[saga(name = "pivoted", steps = [p_one, p_ship, p_two, p_call])]
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Pivoted(Story);

stored!(Pivoted, p_one, p_one_back);

#[saga_step(pivot)]
async fn p_ship(cx: &mut Pivoted, tx: &mut Tx<Any>, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
    note(tx, "p_ship", &key, meta).await?;
    cx.0.tell("p_ship")
}

/// Fails once: what it wrote then is undone.
#[saga_step(retry(max = 5, first = "20ms"))]
async fn p_two(cx: &mut Pivoted, tx: &mut Tx<Any>, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
    note(tx, "p_two", &key, meta).await?;
    if meta.attempt() == 1 {
        return Err("it fails at first".into());
    }
    cx.0.tell("p_two")
}

#[saga_step]
async fn p_call(cx: &mut Pivoted, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
    note_elsewhere("p_call", &key, meta).await?;
    cx.0.tell("p_call")
}

#[saga(name = "fallen", steps = [f_one, f_pay, f_last])]
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Fallen(Story);

stored!(Fallen, f_one, f_one_back);
undone!(Fallen, f_pay, f_pay_back);
stored!(Fallen, f_last, f_last_back);

/// What it tells, writes and raises before it fails is seen by nobody.
#[saga_step(compensate = f_pay_back, fallback = f_elsewhere)]
async fn f_pay(
    cx: &mut Fallen,
    tx: &mut Tx<Any>,
    events: &mut Events,
    key: StepKey,
    meta: &Meta,
) -> Result<(), BoxError> {
    note(tx, "f_pay", &key, meta).await?;
    events.raise(Asked::by(&key));
    cx.0.tell("f_pay")?;
    Err("the bank is closed".into())
}

#[fallback]
async fn f_elsewhere(cx: &mut Fallen, tx: &mut Tx<Any>, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
    note(tx, "f_elsewhere", &key, meta).await?;
    cx.0.tell("f_elsewhere")
}

#[saga(name = "broken", steps = [b_one, b_call, b_tx])]
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Broken(Story);

stored!(Broken, b_one, b_one_back);
undone_elsewhere!(Broken, b_call, b_call_back);
undone!(Broken, b_tx, b_tx_back);

/// Its time is over long after it has noted that it was called: that may wait, for one that hangs with the only writer among others.
#[saga_step(compensate = b_call_back, timeout = "5s")]
async fn b_call(cx: &mut Broken, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
    note_elsewhere("b_call", &key, meta).await?;
    breaks(&cx.0, "b_call").await;
    cx.0.tell("b_call")
}

#[saga_step(compensate = b_tx_back, timeout = "200ms")]
async fn b_tx(cx: &mut Broken, tx: &mut Tx<Any>, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
    note(tx, "b_tx", &key, meta).await?;
    breaks(&cx.0, "b_tx").await;
    cx.0.tell("b_tx")
}

async fn breaks(story: &Story, step: &str) {
    let how = story.fails.strip_prefix(step).unwrap_or_default();
    assert_ne!(how, " panics");
    if how == " hangs" {
        std::future::pending::<()>().await;
    }
}

#[saga(name = "kept", steps = [k_one, k_two, k_last])]
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept(Story);

stored!(Kept, k_one, k_one_back);
stored!(Kept, k_last, k_last_back);

/// It cannot be undone until somebody mends that.
#[saga_step(compensate = k_two_back)]
async fn k_two(cx: &mut Kept, tx: &mut Tx<Any>, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
    note(tx, "k_two", &key, meta).await?;
    cx.0.tell("k_two")
}

#[compensation(retry(max = 2, first = "20ms"))]
async fn k_two_back(cx: &mut Kept, tx: &mut Tx<Any>, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
    note(tx, "k_two", &key, meta).await?;
    let mended: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM mended_sagas").fetch_one(&mut **tx).await?;
    if mended == 0 {
        return Err("it cannot be undone".into());
    }
    cx.0.tell("undo k_two")
}

/// What its second step returns cannot be made a part of it, though that has been called.
#[saga(name = "unapplied", steps = [u_one, u_call])]
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Unapplied(Story);

stored!(Unapplied, u_one, u_one_back);
undone_elsewhere!(Unapplied, u_call, u_call_back);

impl Apply<Told> for Unapplied {
    fn apply(&mut self, Told(step): Told) {
        panic!("nobody applies `{step}`");
    }
}

#[saga_step(compensate = u_call_back)]
async fn u_call(cx: &Unapplied, key: StepKey, meta: &Meta) -> Result<Told, BoxError> {
    note_elsewhere("u_call", &key, meta).await?;
    told(&cx.0, "u_call")
}

/// Rests between two attempts, longer than anybody waits for a pause.
#[saga(name = "rested", steps = [r_one, r_two])]
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Rested(Story);

stored!(Rested, r_one, r_one_back);

#[saga_step(compensate = none, retry(max = 3, first = "1500ms", factor = 1.0))]
async fn r_two(cx: &mut Rested, tx: &mut Tx<Any>, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
    note(tx, "r_two", &key, meta).await?;
    if meta.attempt() < 3 {
        return Err("it is too early".into());
    }
    cx.0.tell("r_two")
}

/// A saga to start, and what is to be left of it.
#[derive(Debug)]
pub struct Variant {
    pub name: &'static str,
    /// The step that fails, and how.
    pub fails: &'static str,
    /// What it ends as.
    pub phase: &'static str,
    /// The steps of which something is left, place by place.
    pub forward: &'static [&'static [&'static str]],
    /// What is undone, in this order.
    pub back: &'static [&'static str],
    /// What was called and failed, if a crash left nobody knowing that; it is undone then.
    pub doubted: Option<&'static str>,
    /// What the context says of what went forward.
    pub told: &'static [&'static str],
}

pub const fn to_the_end(
    name: &'static str,
    forward: &'static [&'static [&'static str]],
    told: &'static [&'static str],
) -> Variant {
    Variant { name, fails: "", phase: "completed", forward, back: &[], doubted: None, told }
}

pub const LINEAR: Variant =
    to_the_end("linear", &[&["l_one"], &["l_two"], &["l_call"], &["l_last"]], &["l_one", "l_two", "l_call", "l_last"]);

pub const LINEAR_BACK: Variant = Variant {
    name: "linear_back",
    fails: "l_last",
    phase: "compensated",
    forward: &[&["l_one"], &["l_two"], &["l_call"]],
    back: &["l_call", "l_two", "l_one"],
    told: &["l_one", "l_two", "l_call"],
    ..LINEAR
};

/// It calls somebody, and is told that it has failed.
pub const CALL_BACK: Variant = Variant {
    name: "call_back",
    fails: "l_call",
    back: &["l_two", "l_one"],
    doubted: Some("l_call"),
    told: &["l_one", "l_two"],
    ..LINEAR_BACK
};

pub const GROUPED: Variant = to_the_end(
    "grouped",
    &[&["g_first"], &["g_left", "g_call", "g_right"], &["g_last"]],
    &["g_first", "g_left", "g_call", "g_right", "g_last"],
);

pub const GROUPED_BACK: Variant = Variant {
    name: "grouped_back",
    fails: "g_last",
    phase: "compensated",
    forward: &[&["g_first"], &["g_left", "g_call", "g_right"]],
    back: &["g_right", "g_call", "g_left", "g_first"],
    told: &["g_first", "g_left", "g_call", "g_right"],
    ..GROUPED
};

pub const MEMBER_BACK: Variant = Variant {
    name: "member_back",
    fails: "g_left",
    forward: &[&["g_first"], &["g_call", "g_right"]],
    back: &["g_right", "g_call", "g_first"],
    told: &["g_first"],
    ..GROUPED_BACK
};

pub const PIVOTED: Variant =
    to_the_end("pivoted", &[&["p_one"], &["p_ship"], &["p_two"], &["p_call"]], &["p_one", "p_ship", "p_two", "p_call"]);

pub const PIVOT_BACK: Variant = Variant {
    name: "pivot_back",
    fails: "p_ship",
    phase: "compensated",
    forward: &[&["p_one"]],
    back: &["p_one"],
    told: &["p_one"],
    ..PIVOTED
};

pub const FALLEN: Variant =
    to_the_end("fallen", &[&["f_one"], &["f_elsewhere"], &["f_last"]], &["f_one", "f_elsewhere", "f_last"]);

pub const FALLEN_BACK: Variant = Variant {
    name: "fallen_back",
    fails: "f_last",
    phase: "compensated",
    forward: &[&["f_one"], &["f_elsewhere"]],
    back: &["f_pay", "f_one"],
    told: &["f_one", "f_elsewhere"],
    ..FALLEN
};

pub const CALL_HANGS: Variant = Variant {
    name: "call_hangs",
    fails: "b_call hangs",
    phase: "compensated",
    forward: &[&["b_one"], &["b_call"]],
    back: &["b_call", "b_one"],
    doubted: None,
    told: &["b_one"],
};

pub const CALL_PANICS: Variant = Variant { name: "call_panics", fails: "b_call panics", ..CALL_HANGS };

/// What it wrote is undone with its transaction.
pub const TX_HANGS: Variant =
    Variant { name: "tx_hangs", fails: "b_tx hangs", told: &["b_one", "b_call"], ..CALL_HANGS };

pub const TX_PANICS: Variant = Variant { name: "tx_panics", fails: "b_tx panics", ..TX_HANGS };

pub const KEPT: Variant = Variant {
    name: "kept",
    fails: "k_last",
    phase: "stuck",
    forward: &[&["k_one"], &["k_two"]],
    back: &["k_one"],
    doubted: None,
    told: &["k_one", "k_two"],
};

pub const UNAPPLIED: Variant = Variant {
    name: "unapplied",
    fails: "",
    forward: &[&["u_one"], &["u_call"]],
    back: &["u_call", "u_one"],
    told: &["u_one"],
    ..CALL_HANGS
};

pub const RESTED: Variant = to_the_end("rested", &[&["r_one"], &["r_two"]], &["r_one", "r_two"]);

/// The shapes that are broken at every point.
pub const SHAPES: [&Variant; 13] = [
    &LINEAR,
    &LINEAR_BACK,
    &CALL_BACK,
    &GROUPED,
    &PIVOTED,
    &GROUPED_BACK,
    &MEMBER_BACK,
    &PIVOT_BACK,
    &FALLEN,
    &FALLEN_BACK,
    &AWAITED,
    &AWAITED_BACK,
    &UNHEARD,
];

/// Others, each broken in a way of its own.
const OTHERS: [&Variant; 7] = [&CALL_HANGS, &CALL_PANICS, &TX_HANGS, &TX_PANICS, &KEPT, &UNAPPLIED, &RESTED];

/// Those that tests have for themselves.
const OWN: [&[&Variant]; 4] = [&cancelled::ALL, &heard::ALL, &limited::ALL, &versions::ALL];

/// The one of a name.
pub fn named(name: &str) -> &'static Variant {
    let own = OWN.into_iter().flatten().copied();
    SHAPES.into_iter().chain(OTHERS).chain(own).find(|variant| variant.name == name).unwrap()
}

/// Starts a saga, and waits for its end no longer than that, where it waits.
pub async fn start(app: &App, variant: &Variant, id: &str, waits: Option<Duration>) -> Result<(), SagaError> {
    let story = Story { fails: variant.fails.to_owned(), told: Vec::new() };
    match variant.forward[0][0] {
        "l_one" => one(app.saga(Linear(story)).id(id), waits).await,
        "g_first" => one(app.saga(Grouped(story)).id(id), waits).await,
        "p_one" => one(app.saga(Pivoted(story)).id(id), waits).await,
        "f_one" => one(app.saga(Fallen(story)).id(id), waits).await,
        "b_one" => one(app.saga(Broken(story)).id(id), waits).await,
        "w_ask" => one(awaited::awaited(app, story, id), waits).await,
        "n_one" => one(awaited::unheard(app, story, id), waits).await,
        "u_one" => one(app.saga(Unapplied(story)).id(id), waits).await,
        "k_one" => one(app.saga(Kept(story)).id(id), waits).await,
        "r_one" => one(app.saga(Rested(story)).id(id), waits).await,
        "i_one" => one(heard::inquiry(app, story, id), waits).await,
        "q_one" => one(app.saga(limited::Limited(story)).id(id), waits).await,
        "c_ask" => one(app.saga(cancelled::Own(story)).id(id), waits).await,
        "c_ship" => one(app.saga(cancelled::Shipped(story)).id(id), waits).await,
        _ => versions::start(app, variant, story, id, waits).await,
    }
}

pub async fn one<C: cqrs::__private::SagaContext>(
    call: cqrs::SagaCall<C>,
    waits: Option<Duration>,
) -> Result<(), SagaError> {
    match waits {
        // Dropped in the middle of whatever it waits for.
        Some(waits) => match tokio::time::timeout(waits, call.into_future()).await {
            Ok(Err(error @ (SagaError::Store(_) | SagaError::IdTaken { .. }))) => Err(error),
            _ => Ok(()),
        },
        None => call.start().await.map(drop),
    }
}
