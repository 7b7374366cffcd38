//! What steps fail with: kept as its own type where it can be written, by its words where it cannot.

use cqrs::prelude::*;
use cqrs::{BoxError, SagaError};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Debug, PartialEq, thiserror::Error, Serialize, Deserialize)]
enum Refusal {
    #[error("{0} minutes late")]
    Late(u32),
    #[error("said a lot")]
    Said(String),
    /// Of no use to anybody outside of the process.
    #[error("handle {0} is broken")]
    #[serde(skip)]
    Broken(u64),
}

#[derive(Debug, PartialEq, thiserror::Error, Serialize, Deserialize)]
#[error("{seat} is taken")]
struct Taken {
    seat: String,
}

/// Where it is to fail, and how often.
#[saga(name = "flight", steps = [check_in, (sit, board), pay, take_off, (land, await_bus)])]
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Flight {
    fails: String,
    minutes: u32,
}

impl Flight {
    fn at(&self, step: &str) -> Result<(), Refusal> {
        match self.fails.strip_prefix(step) {
            Some("") => Err(Refusal::Late(self.minutes)),
            Some("/broken") => Err(Refusal::Broken(7)),
            Some("/large") => Err(Refusal::Said("no ".repeat(30 * 1024))),
            Some("/panics") => panic!("in {step}"),
            _ => Ok(()),
        }
    }
}

/// The second attempt is a minute later, and well where it is told so.
#[saga_step(compensate = none, retry(max = 2, first = "1ms"))]
async fn check_in(cx: &mut Flight, meta: &Meta) -> Result<(), Refusal> {
    cx.minutes += meta.attempt() - 1;
    if cx.fails == "once" && meta.attempt() == 1 { Err(Refusal::Late(1)) } else { cx.at("check_in") }
}

#[saga_step(compensate = none)]
async fn sit(cx: &Flight) -> Result<(), Taken> {
    if cx.fails == "sit" { Err(Taken { seat: "12A".to_owned() }) } else { Ok(()) }
}

/// Its name comes before that of the other member.
#[saga_step(compensate = none)]
async fn board(cx: &Flight) -> Result<(), Refusal> {
    if cx.fails == "sit" { Err(Refusal::Late(1)) } else { Ok(()) }
}

#[saga_step(compensate = none, fallback = borrow)]
async fn pay(cx: &mut Flight) -> Result<(), Refusal> {
    cx.at("pay")
}

#[fallback]
async fn borrow(cx: &mut Flight) -> Result<(), Refusal> {
    Err(Refusal::Late(cx.minutes * 100))
}

#[saga_step(pivot)]
async fn take_off(cx: &mut Flight) -> Result<(), BoxError> {
    Ok(cx.at("take_off")?)
}

#[saga_step(retry(max = 1))]
async fn land(cx: &Flight) -> Result<(), Refusal> {
    cx.at("land")
}

/// It fails once, and goes well when the other member has failed for good.
#[saga_step(retry(max = 2, first = "20ms"))]
async fn await_bus(cx: &Flight, meta: &Meta) -> Result<(), Refusal> {
    if cx.fails == "land" && meta.attempt() == 1 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        return Err(Refusal::Late(30));
    }
    Ok(())
}

async fn fly(fails: &str) -> SagaError {
    let (app, _) = super::app(&[]).await;
    app.saga(Flight { fails: fails.to_owned(), minutes: 5 }).await.unwrap_err()
}

fn words(error: &SagaError) -> String {
    std::error::Error::source(error).unwrap().to_string()
}

#[tokio::test]
async fn whoever_waits_for_a_saga_is_given_the_error_of_its_step() {
    let error = fly("check_in").await;
    assert_eq!(error.step_error(), Some(Refusal::Late(6)), "of the last attempt");
    assert_eq!((error.step_error::<Taken>(), words(&error).as_str()), (None, "6 minutes late"));
    let error = fly("sit").await;
    assert!(matches!(&error, SagaError::Compensated { step, .. } if step == "sit"), "{error}");
    assert_eq!(error.step_error(), Some(Taken { seat: "12A".to_owned() }), "of a member of a group");
}

#[tokio::test]
async fn what_a_fallback_fails_with_counts_where_it_is_of_its_steps_type() {
    assert_eq!(fly("pay").await.step_error(), Some(Refusal::Late(500)));
}

#[tokio::test]
async fn a_saga_that_is_stuck_behind_its_pivot_says_what_its_step_failed_with() {
    let error = fly("land").await;
    assert!(matches!(&error, SagaError::Stuck { step, .. } if step == "land"), "{error:?}");
    assert_eq!((error.step_error(), words(&error).as_str()), (Some(Refusal::Late(5)), "5 minutes late"));
    assert!(
        !format!("{error:?}").contains("returned"),
        "what may be nobody's business stays out of the log: {error:?}"
    );
}

#[tokio::test]
async fn of_what_cannot_be_written_the_words_are_kept() {
    for (fails, said) in [
        ("check_in/broken", "handle 7 is broken"),
        ("check_in/panics", "`check_in` panicked: in check_in"),
        ("check_in/large", "said a lot"),
        ("take_off", "5 minutes late"),
    ] {
        let error = fly(fails).await;
        assert_eq!((error.step_error::<Value>(), words(&error).as_str()), (None, said), "{fails}");
    }
    assert_eq!(SagaError::NoStore.step_error::<Value>(), None);
}

/// In another process, or later: from what is stored alone.
#[tokio::test]
async fn who_comes_later_is_told_the_same() {
    let (app, _) = super::app(&[]).await;
    let flight = || app.saga(Flight { fails: "sit".to_owned(), minutes: 5 }).id("f5");
    flight().await.unwrap_err();
    let taken = || Some(Taken { seat: "12A".to_owned() });
    assert_eq!(flight().await.unwrap_err().step_error(), taken());
    let followed: Vec<_> = flight().steps().collect().await;
    assert_eq!(followed.last().unwrap().as_ref().unwrap_err().step_error(), taken());
    let (_, steps) = app.sagas().get("f5").await.unwrap().unwrap();
    let sit = steps.into_iter().find(|step| step.step == "sit").unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&sit.returned.unwrap()).unwrap(), json!({"seat": "12A"}));
}

#[tokio::test]
async fn an_attempt_that_went_well_leaves_nothing_of_those_before_it() {
    let (app, _) = super::app(&[]).await;
    app.saga(Flight { fails: "once".to_owned(), minutes: 5 }).id("f6").await.unwrap();
    let (_, steps) = app.sagas().get("f6").await.unwrap().unwrap();
    assert!(steps.iter().all(|step| step.returned.is_none() && step.error.is_none()), "{steps:?}");
}
