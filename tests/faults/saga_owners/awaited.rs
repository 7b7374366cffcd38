//! Sagas that wait for events: what one asks is raised with its first step, answered by stored work, and kept for the steps that wait.
//! One answer is for a step beside which another one runs, the other comes before anybody waits for it.

use cqrs::prelude::*;
use cqrs::sqlx::{self, AssertSqlSafe};
use cqrs::store::Any;
use cqrs::{BoxError, SagaCall, SagaId};
use serde::{Deserialize, Serialize};

use super::shapes::{Story, Variant, note, note_elsewhere, to_the_end};

/// Raised by a step, with what else it does or not at all.
#[derive(DomainEvent, Debug, Clone, Serialize, Deserialize)]
pub struct Asked {
    pub saga: String,
}

impl Asked {
    /// Of the saga whose step has this key.
    pub fn by(key: &StepKey) -> Self {
        Self { saga: key.saga().to_owned() }
    }
}

#[derive(DomainEvent, Debug, Clone, Serialize, Deserialize)]
struct Answered {
    saga: String,
    number: i32,
}

/// Answers as often as a saga waits, and notes that it did.
#[event_handler(durable)]
async fn answer(e: Asked, tx: &mut Tx<Any>, events: &mut Events) -> Result<(), BoxError> {
    let saga = e.saga;
    let insert = format!(
        "INSERT INTO effects (saga, step, is_undo, has_tx, step_key, attempt)
         VALUES ('{saga}', 'w_answer', 0, 1, '{saga}/w_answer', 1)"
    );
    sqlx::query(AssertSqlSafe(insert)).execute(&mut **tx).await?;
    for number in [1, 2] {
        events.raise(Answered { saga: saga.clone(), number });
    }
    Ok(())
}

#[saga(name = "awaited", steps = [w_ask, (w_heard, w_call), w_again, w_last])]
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Awaited {
    saga: String,
    #[serde(flatten)]
    story: Story,
    #[serde(default)]
    numbers: Vec<i32>,
}

/// What a member of the group tells, and the number that it has heard.
#[derive(Serialize, Deserialize)]
pub struct Heard(pub String, pub Option<i32>);

impl Apply<Heard> for Awaited {
    fn apply(&mut self, Heard(step, number): Heard) {
        self.story.told.push(step);
        self.numbers.extend(number);
    }
}

/// A compensation that writes in its transaction.
macro_rules! untold {
    ($saga:ident, $step:ident, $undo:ident) => {
        #[compensation(retry(max = 3, first = "20ms"))]
        async fn $undo(cx: &mut $saga, tx: &mut Tx<Any>, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
            note(tx, stringify!($step), &key, meta).await?;
            cx.story.tell(concat!("undo ", stringify!($step)))
        }
    };
}

pub(super) use untold;

untold!(Awaited, w_ask, w_ask_back);
untold!(Awaited, w_heard, w_heard_back);
untold!(Awaited, w_again, w_again_back);
untold!(Awaited, w_last, w_last_back);

#[saga_step(compensate = w_ask_back)]
async fn w_ask(
    cx: &mut Awaited,
    tx: &mut Tx<Any>,
    events: &mut Events,
    key: StepKey,
    meta: &Meta,
) -> Result<(), BoxError> {
    note(tx, "w_ask", &key, meta).await?;
    events.raise(Asked::by(&key));
    cx.story.tell("w_ask")
}

#[saga_step(awaits = Answered, by = saga, compensate = w_heard_back)]
async fn w_heard(cx: &Awaited, e: &Answered, tx: &mut Tx<Any>, key: StepKey, meta: &Meta) -> Result<Heard, BoxError> {
    note(tx, "w_heard", &key, meta).await?;
    cx.story.clone().tell("w_heard").map(|()| Heard("w_heard".to_owned(), Some(e.number)))
}

#[saga_step(compensate = w_call_back)]
async fn w_call(cx: &Awaited, key: StepKey, meta: &Meta) -> Result<Heard, BoxError> {
    note_elsewhere("w_call", &key, meta).await?;
    cx.story.clone().tell("w_call").map(|()| Heard("w_call".to_owned(), None))
}

#[compensation(retry(max = 3, first = "20ms"))]
async fn w_call_back(cx: &mut Awaited, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
    note_elsewhere("w_call", &key, meta).await?;
    cx.story.tell("undo w_call")
}

#[saga_step(awaits = Answered, by = saga, compensate = w_again_back)]
async fn w_again(cx: &mut Awaited, e: &Answered, tx: &mut Tx<Any>, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
    note(tx, "w_again", &key, meta).await?;
    cx.numbers.push(e.number);
    cx.story.tell("w_again")
}

/// Each of its steps has heard an answer of its own, or it does not come to its end.
#[saga_step(compensate = w_last_back)]
async fn w_last(cx: &mut Awaited, tx: &mut Tx<Any>, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
    cx.numbers.sort_unstable();
    if cx.numbers != [1, 2] {
        return Err(format!("its steps have heard {:?}", cx.numbers).into());
    }
    note(tx, "w_last", &key, meta).await?;
    cx.story.tell("w_last")
}

/// Nobody answers: it has asked nobody.
#[saga(name = "unheard", steps = [n_one, n_heard])]
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Unheard {
    saga: String,
    #[serde(flatten)]
    story: Story,
}

#[saga_step(compensate = n_one_back)]
async fn n_one(cx: &mut Unheard, tx: &mut Tx<Any>, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
    note(tx, "n_one", &key, meta).await?;
    cx.story.tell("n_one")
}

#[compensation]
async fn n_one_back(cx: &mut Unheard, tx: &mut Tx<Any>, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
    note(tx, "n_one", &key, meta).await?;
    cx.story.tell("undo n_one")
}

#[saga_step(awaits = Answered, by = saga, timeout = "300ms", compensate = none)]
async fn n_heard(cx: &mut Unheard, e: &Answered) -> Result<(), BoxError> {
    cx.story.tell(&format!("n_heard {}", e.number))
}

pub const AWAITED: Variant = to_the_end(
    "awaited",
    &[&["w_ask"], &["w_answer", "w_heard", "w_call"], &["w_again"], &["w_last"]],
    &["w_ask", "w_heard", "w_call", "w_again", "w_last"],
);

pub const AWAITED_BACK: Variant = Variant {
    name: "awaited_back",
    fails: "w_last",
    phase: "compensated",
    forward: &[&["w_ask"], &["w_answer", "w_heard", "w_call"], &["w_again"]],
    back: &["w_again", "w_call", "w_heard", "w_ask"],
    told: &["w_ask", "w_heard", "w_call", "w_again"],
    ..AWAITED
};

pub const UNHEARD: Variant = Variant {
    name: "unheard",
    phase: "compensated",
    forward: &[&["n_one"]],
    back: &["n_one"],
    told: &["n_one"],
    ..AWAITED
};

/// One that waits, to be started.
pub fn awaited(app: &App, story: Story, id: &str) -> SagaCall<impl cqrs::__private::SagaContext + use<>> {
    app.saga(Awaited { saga: id.to_owned(), story, numbers: Vec::new() }).id(SagaId::from(id.to_owned()))
}

/// One that waits in vain.
pub fn unheard(app: &App, story: Story, id: &str) -> SagaCall<impl cqrs::__private::SagaContext + use<>> {
    app.saga(Unheard { saga: id.to_owned(), story }).id(SagaId::from(id.to_owned()))
}
