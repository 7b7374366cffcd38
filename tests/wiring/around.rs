//! Middleware around the steps of sagas.

use std::sync::{Mutex, PoisonError};

use cqrs::prelude::*;
use cqrs::{BoxError, SagaError};
use serde::{Deserialize, Serialize};

static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[saga(name = "watched", steps = [weigh, stamp])]
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Watched {
    letter: u32,
    #[serde(default)]
    weight: u32,
}

#[saga_step(compensate = unweigh)]
async fn weigh(cx: &mut Watched) {
    cx.weight = cx.letter * 10;
}

#[compensation]
async fn unweigh(cx: &mut Watched) {
    cx.weight = 0;
}

#[saga_step(pivot)]
async fn stamp(cx: &mut Watched) -> Result<(), BoxError> {
    if cx.weight > 100 { Err("too heavy".into()) } else { Ok(()) }
}

/// Of other sagas it sees nothing; letters without a number it turns down.
#[middleware(kinds = [step])]
async fn watch(call: Call<'_>, next: Next<'_>) -> Outcome {
    let Some(context) = call.message::<Watched>() else { return next.run().await };
    let what = format!("{} {} {} of {}", call.kind(), call.name(), call.step().unwrap_or("?"), context.weight);
    if context.letter == 0 {
        return Outcome::reject("no letter");
    }
    let saga = call.meta().key().map(str::to_owned);
    let outcome = next.run().await;
    let line = format!("{what} in {}: {}", saga.as_deref().unwrap_or("?"), outcome.is_ok());
    SEEN.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    outcome
}

fn seen(saga: &str) -> Vec<String> {
    let seen = SEEN.lock().unwrap();
    seen.iter().filter(|line| line.contains(&format!(" in {saga}:"))).cloned().collect()
}

#[tokio::test]
async fn it_sees_each_call_with_the_context_before_it() {
    let (app, _) = super::app(&[]).await;
    app.saga(Watched { letter: 3, weight: 0 }).id("l3").await.unwrap();
    assert_eq!(seen("l3"), ["step watched weigh of 0 in l3: true", "step watched stamp of 30 in l3: true"]);
    let error = app.saga(Watched { letter: 11, weight: 0 }).id("l11").await.unwrap_err();
    assert!(matches!(&error, SagaError::Compensated { step, .. } if step == "stamp"), "{error}");
    let calls = ["weigh of 0 in l11: true", "stamp of 110 in l11: false", "unweigh of 110 in l11: true"];
    assert_eq!(seen("l11"), calls.map(|call| format!("step watched {call}")));
}

#[tokio::test]
async fn what_it_turns_down_has_failed() {
    let (app, _) = super::app(&[]).await;
    let error = app.saga(Watched { letter: 0, weight: 0 }).id("l0").await.unwrap_err();
    let SagaError::Compensated { step, source } = error else { panic!("{error}") };
    assert_eq!(step, "weigh");
    assert!(source.to_string().contains("no letter"), "{source}");
}
