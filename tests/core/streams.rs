//! Streams: pulled item by item, events with their items, errors last, drops, transactions.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;
use cqrs::{BoxError, DispatchErrorKind};
use futures_util::{Stream, StreamExt};
use serde::{Deserialize, Serialize};

use crate::support::{Harness, Probe, Refused, bounded, directory, write};

#[derive(Clone, Copy, PartialEq)]
enum End {
    Fine,
    Error,
    Panic,
}

#[derive(Command)]
#[command(item = u32, error = Refused)]
struct Import {
    rows: u32,
    end: End,
}

#[derive(DomainEvent)]
struct RowImported(u32);

#[derive(NotificationEvent, Serialize, Deserialize)]
struct RowImportedV1 {
    row: u32,
}

/// Tells when the handler is dropped.
struct Dropped(Inject<Probe>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.note("dropped");
    }
}

#[command_handler]
async fn import(cmd: Import, items: &mut Items<u32>, events: &mut Events, probe: Inject<Probe>) -> Result<(), Refused> {
    let _dropped = Dropped(probe.clone());
    for row in 1..=cmd.rows {
        probe.note(format!("made {row}"));
        events.raise(RowImported(row));
        events.raise(RowImportedV1 { row });
        items.send(row).await;
    }
    match cmd.end {
        End::Fine => events.raise(RowImported(0)),
        End::Error => return Err(Refused("import".to_owned())),
        End::Panic => panic!("import"),
    }
    Ok(())
}

#[event_handler]
async fn row_imported(e: &RowImported, probe: Inject<Probe>) -> Result<(), Refused> {
    probe.note(format!("handled {}", e.0));
    probe.try_it("row imported")
}

#[tokio::test]
async fn the_stream_pulls_and_events_are_processed_before_their_item_and_after_the_last() {
    bounded(async {
        let app = Harness::idle().await;
        let mut items = app.stream(Import { rows: 2, end: End::Fine });
        assert!(app.probe.log().is_empty(), "nothing happens until it is read");
        assert_eq!(items.next().await.unwrap().unwrap(), 1);
        // The handler does not run ahead: it is parked at its first item.
        tokio::task::yield_now().await;
        assert_eq!(app.probe.log(), ["made 1", "handled 1"]);
        assert_eq!(app.stored().await, (1, 0));
        assert_eq!(items.next().await.unwrap().unwrap(), 2);
        assert_eq!(app.probe.log()[2..], ["made 2", "handled 2"]);
        assert!(items.next().await.is_none());
        assert_eq!(app.probe.log()[4..], ["dropped", "handled 0"]);
        assert!(items.next().await.is_none(), "ended is ended");
        assert_eq!((app.stored().await, app.events::<RowImported>().len()), ((2, 0), 3));
    })
    .await;
}

#[tokio::test]
async fn the_error_is_the_last_item() {
    bounded(async {
        let app = Harness::idle().await;
        for (end, kind) in [(End::Error, DispatchErrorKind::Handler), (End::Panic, DispatchErrorKind::Panicked)] {
            let mut items = app.stream(Import { rows: 1, end });
            assert_eq!(items.next().await.unwrap().unwrap(), 1);
            assert_eq!(items.next().await.unwrap().unwrap_err().kind(), kind);
            assert!(items.next().await.is_none());
        }
        assert_eq!(app.stored().await, (2, 0), "what left with its item stays");
        assert_eq!(app.probe.count("handled 0"), 0);
    })
    .await;
}

#[tokio::test]
async fn dropping_the_stream_drops_the_handler() {
    bounded(async {
        let app = Harness::idle().await;
        drop(app.stream(Import { rows: 3, end: End::Fine }));
        assert!(app.probe.log().is_empty());
        let mut items = app.stream(Import { rows: 3, end: End::Fine });
        items.next().await.unwrap().unwrap();
        drop(items);
        assert_eq!(app.probe.log(), ["made 1", "handled 1", "dropped"]);
        assert_eq!(app.stored().await, (1, 0));
    })
    .await;
}

/// It is `Unpin`, a `Stream`, and streams of one app are read side by side.
#[tokio::test]
async fn streams_compose() {
    fn is_unpin<T: Unpin + Stream>(stream: T) -> T {
        stream
    }
    bounded(async {
        let app = Harness::idle().await;
        let one = is_unpin(app.stream(Import { rows: 3, end: End::Fine }));
        let two = app.stream(Import { rows: 2, end: End::Fine });
        let (one, two): (Vec<_>, Vec<_>) = tokio::join!(one.collect(), two.collect());
        let plain = |items: Vec<Result<u32, _>>| items.into_iter().collect::<Result<Vec<_>, DispatchError<Refused>>>();
        assert_eq!((plain(one).unwrap(), plain(two).unwrap()), (vec![1, 2, 3], vec![1, 2]));
    })
    .await;
}

#[tokio::test]
async fn g6_a_failing_event_handler_does_not_end_the_stream() {
    bounded(async {
        let app = Harness::idle().await;
        app.probe.fail("row imported", 2);
        let items: Vec<_> = app.stream(Import { rows: 2, end: End::Fine }).collect().await;
        assert!(items.iter().all(Result::is_ok) && items.len() == 2);
        assert_eq!(app.event_error_count(), 2);
        let app = Harness::with(|builder| builder.run([""; 0]).event_errors(cqrs::EventErrors::Fail)).await;
        app.probe.fail("row imported", 1);
        let mut items = app.stream(Import { rows: 2, end: End::Fine });
        assert_eq!(items.next().await.unwrap().unwrap_err().kind(), DispatchErrorKind::EventFailed);
        assert!(items.next().await.is_none());
    })
    .await;
}

#[derive(Query)]
#[query(item = String)]
struct Ask;

/// Sends from inside `join!`: the waker is the inner one's, and what runs beside it goes on.
#[query_handler]
async fn ask(_q: &Ask, items: &mut Items<String>, probe: Inject<Probe>) {
    let send = async {
        items.send("first".to_owned()).await;
        items.send("second".to_owned()).await;
    };
    let beside = async {
        tokio::task::yield_now().await;
        probe.note("beside");
        probe.pass("beside").await;
        probe.note("beside again");
    };
    let mut both: futures_util::stream::FuturesUnordered<Pin<Box<dyn Future<Output = ()> + Send + '_>>> =
        futures_util::stream::FuturesUnordered::new();
    both.push(Box::pin(send));
    both.push(Box::pin(beside));
    while both.next().await.is_some() {}
}

#[tokio::test]
async fn a_handler_may_send_inside_join() {
    bounded(async {
        let app = Harness::idle().await;
        app.probe.close("beside");
        let mut items = app.stream(Ask);
        assert_eq!(items.next().await.unwrap().unwrap(), "first");
        assert_eq!(items.next().await.unwrap().unwrap(), "second");
        let (end, ()) = tokio::join!(items.next(), async {
            app.probe.arrived("beside").await;
            app.probe.open("beside");
        });
        assert!(end.is_none());
        assert_eq!(app.probe.log(), ["beside", "beside again"]);
    })
    .await;
}

#[derive(Command)]
#[command(item = u32, error = BoxError)]
struct Careless;

#[command_handler]
async fn careless(
    _cmd: Careless,
    items: &mut Items<u32>,
    tx: &mut Tx<Sqlite>,
    probe: Inject<Probe>,
) -> Result<(), BoxError> {
    let _dropped = Dropped(probe.clone());
    write(tx, "careless").await?;
    items.send(1).await;
    probe.note("never");
    Ok(())
}

#[tokio::test]
async fn a_plain_send_beside_a_transaction_is_an_uncommitted_item() {
    bounded(async {
        let app = Harness::idle().await;
        let mut items = app.stream(Careless);
        let error = items.next().await.unwrap().unwrap_err();
        assert!(matches!(error, DispatchError::UncommittedItem { handler: "careless" }), "{error:?}");
        assert!(error.to_string().contains("items.commit(tx, item)"), "{error}");
        assert!(items.next().await.is_none());
        assert_eq!(app.probe.log(), ["dropped"]);
        app.send(crate::nested::InnerTx { fails: false }).await.unwrap();
        assert_eq!(app.rows().await, ["inner"]);
    })
    .await;
}

/// Whatever a streaming handler wrote when it ends well is committed with what it raised.
#[derive(Command)]
#[command(item = u32, error = BoxError)]
struct Quiet {
    late: bool,
    fails: bool,
}

#[command_handler]
async fn quiet(
    cmd: Quiet,
    _items: &mut Items<u32>,
    begin: &mut Begin<Sqlite>,
    events: &mut Events,
) -> Result<(), BoxError> {
    if cmd.late {
        write(begin.begin().await?, "quiet").await?;
    }
    events.raise(RowImportedV1 { row: 1 });
    events.raise(RowImported(9));
    if cmd.fails { Err(Refused("quiet".to_owned()).into()) } else { Ok(()) }
}

#[derive(Command)]
#[command(item = u32, error = BoxError)]
struct QuietTx;

#[command_handler]
async fn quiet_tx(
    _cmd: QuietTx,
    _items: &mut Items<u32>,
    tx: &mut Tx<Sqlite>,
    events: &mut Events,
) -> Result<(), BoxError> {
    write(tx, "quiet tx").await?;
    events.raise(RowImportedV1 { row: 1 });
    events.raise(RowImported(9));
    Ok(())
}

#[tokio::test]
async fn g7_what_a_streaming_handler_wrote_is_committed_at_its_end_or_not_at_all() {
    bounded(async {
        let app = Harness::idle().await;
        assert!(app.stream(QuietTx).next().await.is_none());
        assert_eq!((app.rows().await, app.stored().await), (vec!["quiet tx".to_owned()], (1, 0)));
        assert!(app.stream(Quiet { late: true, fails: false }).next().await.is_none());
        assert_eq!((app.rows().await.len(), app.stored().await), (2, (2, 0)));
        assert!(app.stream(Quiet { late: true, fails: true }).next().await.unwrap().is_err());
        assert_eq!((app.rows().await.len(), app.stored().await), (2, (2, 0)));
        assert!(app.stream(Quiet { late: false, fails: false }).next().await.is_none());
        assert_eq!((app.rows().await.len(), app.stored().await), (2, (3, 0)));
        assert_eq!(app.probe.count("handled 9"), 3);
    })
    .await;
}

/// G5 holds in a stream as well.
#[derive(Command)]
#[command(item = String, error = BoxError)]
struct Nest;

#[command_handler]
async fn nest(_cmd: Nest, _items: &mut Items<String>, tx: &mut Tx<Sqlite>, app: &App) -> Result<(), BoxError> {
    write(tx, "nest").await?;
    app.send(crate::nested::InnerTx { fails: false }).await?;
    Ok(())
}

#[tokio::test]
async fn g5_a_streaming_handler_with_a_transaction_is_refused_another_at_once() {
    bounded(async {
        let app = Harness::idle().await;
        let error = app.stream(Nest).next().await.unwrap().unwrap_err();
        assert!(error.to_string().contains("within(tx)"), "{error}");
        assert!(app.rows().await.is_empty());
    })
    .await;
}

/// Polled with nothing to give, it keeps the waker of its reader.
#[tokio::test]
async fn a_waiting_stream_wakes_its_reader() {
    bounded(async {
        let app = Harness::idle().await;
        app.probe.close("import");
        let mut items = pin!(app.stream(Slow));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        while !app.probe.log().contains(&"slow".to_owned()) {
            assert!(items.as_mut().poll_next(&mut cx).is_pending());
            tokio::task::yield_now().await;
        }
        let (item, ()) = tokio::join!(items.next(), async { app.probe.open("import") });
        assert_eq!(item.unwrap().unwrap(), 1);
        assert!(matches!(items.as_mut().poll_next(&mut cx), Poll::Ready(None)));
    })
    .await;
}

#[derive(Query)]
#[query(item = u32)]
struct Slow;

#[query_handler]
async fn slow(_q: Slow, items: &mut Items<u32>, probe: Inject<Probe>) {
    probe.note("slow");
    probe.pass("import").await;
    items.send(1).await;
}

#[derive(Command)]
#[command(item = u32, error = BoxError)]
struct Load {
    rows: u32,
    late: bool,
}

/// Delivers with `commit`: through `&mut Begin`, which gives the same `Tx`.
#[command_handler]
async fn load(
    cmd: Load,
    items: &mut Items<u32>,
    begin: &mut Begin<Sqlite>,
    events: &mut Events,
    probe: Inject<Probe>,
) -> Result<(), BoxError> {
    let tx = begin.begin().await?;
    load_rows(cmd.rows, items, tx, events, &probe).await?;
    if cmd.late {
        items.send(99).await;
    }
    Ok(())
}

#[derive(Command)]
#[command(item = u32, error = BoxError)]
struct LoadTx {
    rows: u32,
}

#[command_handler]
async fn load_tx(
    cmd: LoadTx,
    items: &mut Items<u32>,
    tx: &mut Tx<Sqlite>,
    events: &mut Events,
    probe: Inject<Probe>,
) -> Result<(), BoxError> {
    load_rows(cmd.rows, items, tx, events, &probe).await
}

async fn load_rows(
    rows: u32,
    items: &mut Items<u32>,
    tx: &mut Tx<Sqlite>,
    events: &mut Events,
    probe: &Inject<Probe>,
) -> Result<(), BoxError> {
    for row in 1..=rows {
        write(tx, format!("load {row}")).await?;
        events.raise(RowImported(row));
        events.raise(RowImportedV1 { row });
        events.raise(crate::events::Reserving { number: row });
        items.commit(tx, row).await?;
        probe.note(format!("again {row}"));
    }
    write(tx, "rest").await?;
    Ok(())
}

#[tokio::test]
async fn g7_items_commit_commits_with_its_events_parks_without_a_transaction_and_begins_anew() {
    bounded(async {
        let app = Harness::idle().await;
        let mut items = app.stream(LoadTx { rows: 3 });
        assert_eq!(items.next().await.unwrap().unwrap(), 1);
        // Inline handlers, the rows, the outbox, the plain handlers: then the item.
        assert_eq!(app.rows().await, ["load 1", "number 1", "count 1"]);
        assert_eq!((app.stored().await.0, app.probe.log()), (2, vec!["handled 1".to_owned(), "reserved 1".into()]));
        // Parked without a transaction: others write.
        app.send(crate::nested::InnerTx { fails: false }).await.unwrap();
        assert_eq!(items.next().await.unwrap().unwrap(), 2);
        drop(items);
        // Delivered and committed items stay; the rest is rolled back, and the next write goes through at once.
        app.send(crate::nested::InnerTx { fails: false }).await.unwrap();
        let rows = app.rows().await;
        assert_eq!(rows, ["load 1", "number 1", "count 1", "inner", "load 2", "number 2", "count 2", "inner"]);
        assert_eq!(app.probe.count("again 2"), 0);
    })
    .await;
}

#[tokio::test]
async fn g7_what_is_written_after_the_last_commit_is_committed_at_the_end() {
    bounded(async {
        for late in [false, true] {
            let app = Harness::idle().await;
            let items: Vec<_> = app.stream(Load { rows: 2, late }).collect().await;
            if late {
                let error = items.last().unwrap().as_ref().unwrap_err();
                assert_eq!((items.len(), error.kind()), (3, DispatchErrorKind::UncommittedItem));
                assert_eq!(app.probe.rows().await.len(), 6);
            } else {
                assert!(items.iter().all(Result::is_ok) && items.len() == 2);
                assert_eq!(app.rows().await.last().unwrap(), "rest");
            }
            let items: Vec<_> = app.stream(LoadTx { rows: 1 }).collect().await;
            assert!(items.len() == 1 && items[0].is_ok());
            assert_eq!(app.rows().await.last().unwrap(), "rest");
        }
    })
    .await;
}

#[derive(Command)]
#[command(item = u32, error = BoxError)]
struct Heedless;

/// Would go on without a transaction, if it could.
#[command_handler]
async fn heedless(
    _cmd: Heedless,
    items: &mut Items<u32>,
    tx: &mut Tx<Sqlite>,
    probe: Inject<Probe>,
) -> Result<(), BoxError> {
    let _dropped = Dropped(probe.clone());
    write(tx, "heedless").await?;
    let _ = items.commit(tx, 1).await;
    probe.note("went on");
    write(tx, "after").await?;
    Ok(())
}

#[tokio::test]
async fn a_store_that_cannot_begin_anew_ends_the_stream() {
    bounded(async {
        let directory = directory();
        let file = cqrs::sqlx::sqlite::SqliteConnectOptions::new().filename(directory.path().join("a.db"));
        let pool = cqrs::sqlx::SqlitePool::connect_with(file.create_if_missing(true)).await.unwrap();
        let probe = Arc::new(Probe::default());
        let app = crate::support::app(&probe).store(Store::pool(pool.clone())).await.unwrap();
        let mut items = app.stream(Heedless);
        assert_eq!(items.next().await.unwrap().unwrap(), 1);
        assert_eq!(probe.rows().await, ["heedless"]);
        pool.close().await;
        let error = items.next().await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (DispatchErrorKind::Store, true), "{error:?}");
        assert!(items.next().await.is_none());
        assert_eq!(probe.log(), ["dropped"]);
    })
    .await;
}

/// An inline handler's failure is the stream's: nothing of that item stays.
#[tokio::test]
async fn g6_an_inline_failure_at_a_commit_ends_the_stream() {
    bounded(async {
        let app = Harness::idle().await;
        let items: Vec<_> = app.stream(LoadTx { rows: 20 }).collect().await;
        assert_eq!(items.len(), 13, "the thirteenth is refused by its inline handler");
        assert_eq!(items[12].as_ref().unwrap_err().kind(), DispatchErrorKind::EventFailed);
        assert_eq!((app.rows().await.len(), app.stored().await.0), (36, 24));
    })
    .await;
}

/// What the events of a committed item set off may open transactions of their own: the item's is not open.
#[tokio::test]
async fn g5_event_handlers_of_a_committed_item_may_begin_transactions() {
    bounded(async {
        let app = Harness::idle().await;
        let mut items = app.stream(Chatty);
        assert_eq!(items.next().await.unwrap().unwrap(), 1);
        assert_eq!((app.event_error_count(), app.rows().await), (0, vec!["chatty".to_owned(), "inner".into()]));
        assert!(items.next().await.is_none());
    })
    .await;
}

#[derive(Command)]
#[command(item = u32, error = BoxError)]
struct Chatty;

#[derive(DomainEvent)]
struct Chatted;

#[command_handler]
async fn chatty(
    _cmd: Chatty,
    items: &mut Items<u32>,
    tx: &mut Tx<Sqlite>,
    events: &mut Events,
) -> Result<(), BoxError> {
    write(tx, "chatty").await?;
    events.raise(Chatted);
    items.commit(tx, 1).await?;
    Ok(())
}

#[event_handler]
async fn chatted(_e: &Chatted, app: &App) -> Result<(), BoxError> {
    app.send(crate::nested::InnerTx { fails: false }).await?;
    Ok(())
}

#[derive(Command)]
#[command(item = u32)]
struct Wide;

#[derive(DomainEvent)]
struct Widened;

#[command_handler]
async fn wide(_cmd: Wide, items: &mut Items<u32>, events: &mut Events) {
    for _ in 0..10 {
        events.raise(Widened);
    }
    items.send(1).await;
}

#[event_handler]
async fn widened(_e: &Widened, probe: Inject<Probe>) {
    probe.pass("widened").await;
}

#[tokio::test]
async fn g5_a_stream_runs_ten_event_handlers_at_once() {
    bounded(async {
        let app = Harness::idle().await;
        app.probe.close("widened");
        let mut items = app.stream(Wide);
        let (item, ()) = tokio::join!(items.next(), async {
            for _ in 0..10 {
                app.probe.arrived("widened").await;
            }
            (0..10).for_each(|_| app.probe.open("widened"));
        });
        assert_eq!(item.unwrap().unwrap(), 1);
    })
    .await;
}
