//! Retries within a call, and deadlines of one attempt.

use std::time::Duration;

use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;
use cqrs::{BoxError, DispatchErrorKind};

use crate::support::{Harness, Probe, Refused, bounded, write};

#[derive(Command)]
#[command(response = u32, error = BoxError)]
pub struct Try {
    /// Fails so often with an error that counts.
    pub fails: u32,
    /// Fails with one that does not.
    pub hopeless: bool,
}

#[derive(DomainEvent)]
pub struct Tried;

#[event_handler]
async fn tried(_e: &Tried, probe: Inject<Probe>) {
    probe.note("tried");
}

#[command_handler(retry(max = 3, first = "1ms"), on = [Refused(why) if why == "try"])]
async fn attempt(cmd: &Try, tx: &mut Tx<Sqlite>, events: &mut Events, probe: Inject<Probe>) -> Result<u32, Refused> {
    let number = u32::try_from(probe.count("attempt")).unwrap() + 1;
    probe.note("attempt");
    write(tx, format!("attempt {number}")).await.map_err(|error| Refused(error.to_string()))?;
    events.raise(Tried);
    if cmd.hopeless {
        return Err(Refused("hopeless".to_owned()));
    }
    if number <= cmd.fails { Err(Refused("try".to_owned())) } else { Ok(number) }
}

#[tokio::test]
async fn an_attempt_that_failed_leaves_nothing_to_the_next() {
    bounded(async {
        let harness = Harness::idle().await;
        assert_eq!(harness.send(Try { fails: 2, hopeless: false }).await.unwrap(), 3);
        assert_eq!(harness.rows().await, ["attempt 3"]);
        assert_eq!(harness.probe.count("tried"), 1);
    })
    .await;
}

#[tokio::test]
async fn max_counts_the_first_call_and_the_last_error_is_the_calls() {
    bounded(async {
        let harness = Harness::idle().await;
        let error = harness.send(Try { fails: 9, hopeless: false }).await.unwrap_err();
        assert!(matches!(&error, DispatchError::Handler(_)), "{error:?}");
        assert_eq!(harness.probe.count("attempt"), 3);
        assert!(harness.rows().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_error_outside_of_on_is_not_tried_again() {
    bounded(async {
        let harness = Harness::idle().await;
        let error = harness.send(Try { fails: 0, hopeless: true }).await.unwrap_err();
        assert_eq!(error.to_string(), "refused: hopeless");
        assert_eq!(harness.probe.count("attempt"), 1);
        assert!(harness.rows().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn within_another_transaction_each_attempt_has_a_savepoint() {
    bounded(async {
        let harness = Harness::idle().await;
        let mut unit = harness.unit::<Sqlite>().await.unwrap();
        write(unit.tx(), "outer").await.unwrap();
        assert_eq!(harness.send(Try { fails: 1, hopeless: false }).within(unit.tx()).await.unwrap(), 2);
        unit.commit().await.unwrap();
        assert_eq!(harness.rows().await, ["outer", "attempt 2"]);
    })
    .await;
}

#[derive(Query)]
#[query(response = &'static str, error = BoxError)]
pub struct Slow {
    hangs: u32,
}

#[query_handler(timeout = "20ms", retry(max = 2, first = "1ms"))]
async fn slow(q: &Slow, probe: Inject<Probe>) -> &'static str {
    let number = u32::try_from(probe.count("slow")).unwrap() + 1;
    probe.note("slow");
    if number <= q.hangs {
        std::future::pending::<()>().await;
    }
    "at last"
}

#[tokio::test]
async fn the_timeout_bounds_one_attempt_and_is_tried_again() {
    bounded(async {
        let harness = Harness::idle().await;
        assert_eq!(harness.query(Slow { hangs: 1 }).await.unwrap(), "at last");
        let error = harness.query(Slow { hangs: 9 }).await.unwrap_err();
        assert_eq!((error.kind(), error.name()), (DispatchErrorKind::Timeout, Some("slow")));
        assert!(error.to_string().contains("20ms"), "{error}");
        assert_eq!(harness.probe.count("slow"), 4);
    })
    .await;
}

#[derive(Query)]
#[query(response = (), error = BoxError)]
pub struct Never;

#[query_handler(retry(max = 2, first = "1ms"))]
async fn never(_q: &Never, probe: Inject<Probe>) -> Result<(), BoxError> {
    probe.note("never");
    panic!("it always panics")
}

#[tokio::test]
async fn a_panic_is_not_tried_again() {
    bounded(async {
        let harness = Harness::idle().await;
        let error = harness.query(Never).await.unwrap_err();
        assert_eq!(error.kind(), DispatchErrorKind::Panicked);
        assert_eq!(harness.probe.count("never"), 1);
    })
    .await;
}

#[derive(Command)]
#[command(error = BoxError)]
pub struct Wait;

#[command_handler(retry(max = 2, first = "10s", ceiling = "10s"))]
async fn wait(_cmd: &Wait, tx: &mut Tx<Sqlite>, probe: Inject<Probe>) -> Result<(), BoxError> {
    write(tx, "waits").await?;
    probe.note("waits");
    Err(Refused("wait".to_owned()).into())
}

/// Between two attempts no transaction is open: on SQLite nobody else could write.
#[tokio::test]
async fn between_attempts_the_store_is_free() {
    bounded(async {
        let harness = Harness::idle().await;
        let mut call = harness.send(Wait);
        tokio::select! {
            _ = &mut call => panic!("it waits ten seconds"),
            () = harness.probe.noted("waits", 1) => {}
        }
        let other = harness.send(Try { fails: 0, hopeless: false });
        tokio::select! {
            _ = call => panic!("it waits ten seconds"),
            answer = other => assert_eq!(answer.unwrap(), 1),
        }
        assert_eq!(harness.rows().await, ["attempt 1"]);
    })
    .await;
}

#[tokio::test]
async fn the_callers_timeout_bounds_all_attempts() {
    bounded(async {
        let harness = Harness::idle().await;
        let error = harness.send(Wait).timeout(Duration::from_millis(100)).await.unwrap_err();
        assert_eq!(error.kind(), DispatchErrorKind::Timeout);
        assert_eq!(harness.probe.count("waits"), 1);
        assert!(harness.rows().await.is_empty());
    })
    .await;
}
