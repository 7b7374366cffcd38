//! Policies of streaming handlers, and the deadlines of who reads them.

use std::time::Duration;

use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;
use cqrs::{BoxError, BreakerPhase, DispatchErrorKind};

use crate::support::{Harness, Probe, Refused, bounded, write};

#[derive(Command, Clone, Copy)]
#[command(item = u32, error = BoxError)]
pub struct Count {
    /// Fails before this item; 0 is before the first.
    fails_at: u32,
    hangs_at: u32,
    to: u32,
}

const NEVER: u32 = u32::MAX;

#[derive(DomainEvent)]
pub struct Counted(u32);

#[event_handler]
async fn counted(e: &Counted, probe: Inject<Probe>) {
    probe.note(format!("counted {}", e.0));
}

#[command_handler(fallback = count_by_hand, timeout = "60ms", breaker(failures = 2, name = "counting"))]
async fn count(cmd: Count, items: &mut Items<u32>, events: &mut Events) -> Result<(), Refused> {
    for number in 0..cmd.to {
        events.raise(Counted(number));
        if number == cmd.hangs_at {
            std::future::pending::<()>().await;
        }
        if number == cmd.fails_at {
            return Err(Refused(format!("at {number}")));
        }
        items.send(number).await;
    }
    Ok(())
}

#[fallback]
async fn count_by_hand(
    cmd: &Count,
    cause: Cause<Refused>,
    items: &mut Items<u32>,
    events: &mut Events,
    probe: Inject<Probe>,
) {
    probe.note(format!("by hand: {cause}"));
    for number in 0..cmd.to {
        events.raise(Counted(100 + number));
        items.send(100 + number).await;
    }
}

async fn read(harness: &Harness, message: Count) -> (Vec<u32>, Option<DispatchError<BoxError>>) {
    let mut stream = harness.stream(message);
    let mut items = Vec::new();
    while let Some(item) = stream.next().await {
        match item {
            Ok(item) => items.push(item),
            Err(error) => return (items, Some(error)),
        }
    }
    (items, None)
}

#[tokio::test]
async fn a_stream_falls_back_before_its_first_item() {
    bounded(async {
        let harness = Harness::idle().await;
        let (items, error) = read(&harness, Count { fails_at: 0, hangs_at: NEVER, to: 2 }).await;
        assert!(error.is_none(), "{error:?}");
        assert_eq!(items, [100, 101]);
        assert_eq!(harness.probe.log(), ["by hand: refused: at 0", "counted 100", "counted 101"]);
        let (items, _) = read(&harness, Count { fails_at: NEVER, hangs_at: 0, to: 1 }).await;
        assert_eq!(items, [100]);
        assert_eq!(harness.probe.count("by hand: it took too long"), 1);
    })
    .await;
}

/// In the reference the fallback streamed from its start, after items of the primary had been delivered.
#[tokio::test]
async fn after_its_first_item_a_stream_does_not_fall_back() {
    bounded(async {
        let harness = Harness::idle().await;
        let (items, error) = read(&harness, Count { fails_at: 1, hangs_at: NEVER, to: 3 }).await;
        assert_eq!(items, [0]);
        assert_eq!(error.unwrap().to_string(), "refused: at 1");
        let (items, error) = read(&harness, Count { fails_at: NEVER, hangs_at: 2, to: 3 }).await;
        assert_eq!(items, [0, 1]);
        assert_eq!(error.unwrap().kind(), DispatchErrorKind::Timeout, "each item has its time");
    })
    .await;
}

/// In the reference the breaker of a streaming handler never opened (its weakness 34).
#[tokio::test]
async fn hole_34_the_breaker_of_a_streaming_handler_opens() {
    bounded(async {
        let harness = Harness::idle().await;
        for _ in 0..2 {
            read(&harness, Count { fails_at: 1, hangs_at: NEVER, to: 3 }).await;
        }
        let state = harness.breakers().into_iter().find(|state| state.name == "counting").unwrap();
        assert_eq!(state.phase, BreakerPhase::Open);
        let (items, _) = read(&harness, Count { fails_at: NEVER, hangs_at: NEVER, to: 1 }).await;
        assert_eq!(items, [100]);
        assert_eq!(harness.probe.count("by hand: its circuit breaker is open"), 1);
    })
    .await;
}

#[tokio::test]
async fn the_time_a_reader_takes_is_not_the_handlers() {
    bounded(async {
        let harness = Harness::idle().await;
        let mut stream = harness.stream(Count { fails_at: NEVER, hangs_at: NEVER, to: 3 });
        for expected in 0..3 {
            assert_eq!(stream.next().await.unwrap().unwrap(), expected);
            tokio::time::sleep(Duration::from_millis(90)).await;
        }
        assert!(stream.next().await.is_none());
    })
    .await;
}

/// In the reference events raised after the last item were lost (its weakness 33).
#[tokio::test]
async fn hole_33_events_after_the_last_item_are_processed() {
    bounded(async {
        let harness = Harness::idle().await;
        let mut stream = harness.stream(Rows { fails: false, late: true });
        while let Some(item) = stream.next().await {
            item.unwrap();
        }
        assert_eq!(harness.probe.log().last().map(String::as_str), Some("counted 99"));
    })
    .await;
}

#[derive(Command, Clone, Copy)]
#[command(item = u32, error = BoxError)]
pub struct Rows {
    fails: bool,
    late: bool,
}

#[command_handler(fallback = rows_by_hand)]
async fn rows(cmd: Rows, items: &mut Items<u32>, tx: &mut Tx<Sqlite>, events: &mut Events) -> Result<(), BoxError> {
    write(tx, "row").await?;
    events.raise(Counted(7));
    if cmd.fails {
        return Err(Refused("rows".to_owned()).into());
    }
    items.commit(tx, 1).await?;
    write(tx, "row after").await?;
    if cmd.late {
        events.raise(Counted(99));
        return Ok(());
    }
    Err(Refused("rows, late".to_owned()).into())
}

#[fallback]
async fn rows_by_hand(_cmd: &Rows, items: &mut Items<u32>, tx: &mut Tx<Sqlite>) -> Result<(), BoxError> {
    write(tx, "row by hand").await?;
    items.commit(tx, 2).await?;
    Ok(())
}

#[tokio::test]
async fn a_stream_with_a_transaction_falls_back_before_its_first_commit() {
    bounded(async {
        let harness = Harness::idle().await;
        let mut stream = harness.stream(Rows { fails: true, late: false });
        assert_eq!(stream.next().await.unwrap().unwrap(), 2);
        assert!(stream.next().await.is_none());
        assert_eq!(harness.rows().await, ["row by hand"]);
        assert!(harness.probe.log().is_empty());
        let mut stream = harness.stream(Rows { fails: false, late: false });
        assert_eq!(stream.next().await.unwrap().unwrap(), 1);
        assert_eq!(stream.next().await.unwrap().unwrap_err().to_string(), "refused: rows, late");
        assert_eq!(harness.rows().await, ["row by hand", "row"], "what was committed stays, the rest rolls back");
    })
    .await;
}

#[derive(Query)]
#[query(item = u32, error = BoxError)]
pub struct Tick {
    every: Duration,
}

#[query_handler]
async fn tick(q: &Tick, items: &mut Items<u32>, meta: &Meta, probe: Inject<Probe>) {
    probe.note(format!("{:?} {}", meta.header("k"), meta.correlation_id()));
    for number in 0.. {
        tokio::time::sleep(q.every).await;
        items.send(number).await;
    }
}

#[tokio::test]
async fn a_reader_may_give_a_stream_so_long_in_all() {
    bounded(async {
        let harness = Harness::idle().await;
        let mut stream = harness.stream(Tick { every: Duration::from_millis(5) }).timeout(Duration::from_millis(60));
        let mut items = 0;
        let error = loop {
            match stream.next().await.expect("it ends with an error") {
                Ok(_) => items += 1,
                Err(error) => break error,
            }
        };
        assert_eq!((error.kind(), error.name()), (DispatchErrorKind::Timeout, Some("tick")));
        assert!(items > 0);
        assert!(stream.next().await.is_none(), "the error is the last item");
    })
    .await;
}

#[tokio::test]
async fn a_reader_may_give_each_item_so_long() {
    bounded(async {
        let harness = Harness::idle().await;
        let mut stream = harness.stream(Tick { every: Duration::ZERO }).item_timeout(Duration::from_millis(30));
        for expected in 0..3 {
            assert_eq!(stream.next().await.unwrap().unwrap(), expected);
            // The reader's own time does not count.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mut stream =
            harness.stream(Tick { every: Duration::from_secs(60) }).item_timeout(Duration::from_millis(30));
        assert_eq!(stream.next().await.unwrap().unwrap_err().kind(), DispatchErrorKind::Timeout);
        assert!(stream.next().await.is_none());
    })
    .await;
}

#[tokio::test]
async fn a_reader_may_set_headers_and_correlation() {
    bounded(async {
        let harness = Harness::idle().await;
        let id = uuid::Uuid::now_v7();
        let mut stream = harness.stream(Tick { every: Duration::ZERO }).header("k", "v").correlation(id);
        stream.next().await.unwrap().unwrap();
        assert_eq!(harness.probe.log(), [format!("Some(\"v\") {id}")]);
    })
    .await;
}
