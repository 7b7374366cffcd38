//! What comes of calls while something they depend on does not work: an open breaker, a store that is held or that has
//! undone a transaction by itself, a statement that takes too long.

use std::time::Duration;

use cqrs::prelude::*;
use cqrs::sqlx::{self, Sqlite};
use cqrs::{BoxError, BreakerPhase, DispatchErrorKind};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::support::{Harness, Log, Probe, Refused, bounded, write};

const MINUTE: Duration = Duration::from_secs(60);

/// Fails where a test asked for it; then the breaker opens with the first failure.
#[derive(Command)]
#[command(response = &'static str, error = BoxError)]
struct Charge;

#[command_handler(breaker(failures = 1, open_for = "60s", name = "charge"))]
async fn charge(_cmd: Charge, tx: &mut Tx<Sqlite>, probe: Inject<Probe>) -> Result<&'static str, BoxError> {
    write(tx, "charged").await?;
    probe.try_it("charge")?;
    Ok("charged")
}

fn phase(harness: &Harness, name: &str) -> (BreakerPhase, u32) {
    let state = harness.breakers().into_iter().find(|state| state.name == name).expect("it is declared");
    (state.phase, state.failures)
}

#[tokio::test]
async fn a_call_that_a_breaker_turns_away_waits_for_no_transaction() {
    bounded(async {
        let harness = Harness::idle().await;
        harness.probe.fail("charge", 1);
        harness.send(Charge).await.unwrap_err();
        let mut writer = harness.unit::<Sqlite>().await.unwrap();
        write(writer.tx(), "somebody writes for long").await.unwrap();
        let error = harness.send(Charge).await.unwrap_err();
        assert_eq!(error.kind(), DispatchErrorKind::BreakerOpen, "{error:?}");
        let retry_after = error.retry_after().expect("the breaker knows");
        assert!(retry_after > MINUTE / 2 && retry_after <= MINUTE, "{retry_after:?}");
        writer.commit().await.unwrap();
        assert_eq!(harness.rows().await, ["somebody writes for long"]);
    })
    .await;
}

#[derive(Command)]
#[command(response = &'static str, error = BoxError)]
struct Repay;

#[chain_link]
async fn by_credit(cmd: Repay) -> Link<Repay> {
    Link::Pass(cmd)
}

#[chain_link(breaker(failures = 1, open_for = "60s"))]
async fn by_bank(_cmd: Repay, tx: &mut Tx<Sqlite>, probe: Inject<Probe>) -> Result<Link<Repay>, BoxError> {
    write(tx, "repaid").await?;
    probe.try_it("bank")?;
    Ok(Link::Answer("repaid"))
}

cqrs::chain!(Repay => [by_credit, by_bank]);

#[tokio::test]
async fn a_link_that_a_breaker_turns_away_waits_for_no_transaction() {
    bounded(async {
        let harness = Harness::idle().await;
        harness.probe.fail("bank", 1);
        harness.send(Repay).await.unwrap_err();
        let mut writer = harness.unit::<Sqlite>().await.unwrap();
        write(writer.tx(), "somebody writes for long").await.unwrap();
        let error = harness.send(Repay).await.unwrap_err();
        assert_eq!((error.kind(), error.name()), (DispatchErrorKind::BreakerOpen, Some("by_bank")));
        writer.commit().await.unwrap();
        assert_eq!(harness.rows().await, ["somebody writes for long"]);
    })
    .await;
}

#[derive(Query)]
#[query(response = &'static str, error = BoxError)]
struct Price;

#[query_handler(fallback = last_price, breaker(failures = 1, open_for = "60s"))]
async fn price(_q: &Price, probe: Inject<Probe>) -> Result<&'static str, Refused> {
    probe.try_it("price")?;
    Ok("fresh")
}

/// Takes nothing that needs a unit of work.
#[fallback]
async fn last_price(_q: &Price) -> &'static str {
    "stale"
}

#[derive(Command)]
#[command(response = (Uuid, Uuid, Option<Uuid>))]
struct WhoAmI;

#[command_handler]
async fn who_am_i(_cmd: WhoAmI, meta: &Meta) -> (Uuid, Uuid, Option<Uuid>) {
    (meta.id(), meta.correlation_id(), meta.causation_id())
}

#[tokio::test]
async fn a_fallback_leaves_nothing_to_the_calls_after_it() {
    bounded(async {
        let harness = Harness::idle().await;
        harness.probe.fail("price", 1);
        assert_eq!(harness.query(Price).await.unwrap(), "stale");
        let (id, correlation, causation) = harness.send(WhoAmI).await.unwrap();
        assert_eq!((correlation, causation), (id, None), "it was caused by nothing");
    })
    .await;
}

/// The breaker said so once, when it opened.
#[tokio::test]
async fn a_call_that_is_turned_away_is_no_line_in_the_log() {
    bounded(async {
        let harness = Harness::idle().await;
        harness.probe.fail("price", 1);
        harness.query(Price).await.unwrap();
        let log = Log::start();
        for _ in 0..10 {
            assert_eq!(harness.query(Price).await.unwrap(), "stale");
        }
        assert_eq!(log.text(), "");
    })
    .await;
}

#[derive(Command, Clone)]
#[command(response = &'static str, error = BoxError)]
struct Book;

/// SQLite undoes the whole transaction itself where a row does not fit.
#[command_handler(fallback = book_by_hand, breaker(failures = 3, name = "booking"))]
async fn book(_cmd: &Book, tx: &mut Tx<Sqlite>) -> Result<&'static str, BoxError> {
    write(tx, "booked").await?;
    sqlx::query("INSERT OR ROLLBACK INTO notes (text) VALUES (NULL)").execute(&mut **tx).await?;
    Ok("booked")
}

#[fallback]
async fn book_by_hand(_cmd: &Book, tx: &mut Tx<Sqlite>) -> Result<&'static str, BoxError> {
    write(tx, "by hand").await?;
    Ok("by hand")
}

#[tokio::test]
async fn a_transaction_that_the_database_has_undone_itself_is_a_failure_like_others() {
    bounded(async {
        let harness = Harness::idle().await;
        assert_eq!(harness.send(Book).await.unwrap(), "by hand");
        assert_eq!(harness.rows().await, ["by hand"]);
        assert_eq!(phase(&harness, "booking"), (BreakerPhase::Closed, 1));
    })
    .await;
}

#[derive(Command)]
#[command(response = i64, error = BoxError)]
struct Count;

/// One statement that takes far longer than the attempt may.
#[command_handler(timeout = "200ms")]
async fn count(_cmd: Count, tx: &mut Tx<Sqlite>, probe: Inject<Probe>) -> Result<i64, BoxError> {
    write(tx, "counting").await?;
    let endless =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 40000000) SELECT COUNT(*) FROM n";
    probe.note("counting");
    Ok(sqlx::query_scalar(endless).fetch_one(&mut **tx).await?)
}

#[tokio::test]
async fn a_timeout_does_not_wait_for_the_statement_it_gives_up() {
    bounded(async {
        let harness = Harness::idle().await;
        let error = harness.send(Count).await.unwrap_err();
        assert!(matches!(error, DispatchError::Timeout { handler: "count", .. }), "{error:?}");
        // The one writer is busy with the statement still: whoever wants it waits until that is done.
        let writes = async {
            let mut unit = harness.unit::<Sqlite>().await?;
            write(unit.tx(), "next").await.map_err(BoxError::from)?;
            unit.commit().await.map_err(BoxError::from)
        };
        let soon = tokio::time::timeout(Duration::from_millis(20), writes).await;
        assert!(!soon.is_ok_and(|written| written.is_ok()), "the statement was waited for");
    })
    .await;
}

#[derive(Query)]
#[query(item = u32, error = BoxError)]
struct Feed {
    fails: bool,
}

#[query_handler(breaker(failures = 2, name = "feed"))]
async fn feed(q: &Feed, items: &mut Items<u32>) -> Result<(), BoxError> {
    if q.fails {
        return Err("down".into());
    }
    for number in 0.. {
        items.send(number).await;
    }
    Ok(())
}

#[tokio::test]
async fn a_stream_whose_reader_has_had_enough_is_a_success() {
    bounded(async {
        let harness = Harness::idle().await;
        for _ in 0..4 {
            harness.stream(Feed { fails: true }).next().await.unwrap().unwrap_err();
            assert_eq!(phase(&harness, "feed"), (BreakerPhase::Closed, 1));
            let mut stream = harness.stream(Feed { fails: false });
            assert_eq!(stream.next().await.unwrap().unwrap(), 0);
            drop(stream);
            assert_eq!(phase(&harness, "feed"), (BreakerPhase::Closed, 0));
        }
    })
    .await;
}

#[derive(Command)]
#[command(error = BoxError)]
struct Order {
    notify: bool,
    tell: bool,
    refund: bool,
}

#[command_handler]
async fn order(cmd: Order, _tx: &mut Tx<Sqlite>, events: &mut Events) {
    if cmd.notify {
        events.raise(Ordered);
    }
    if cmd.tell {
        events.raise(OrderedV1);
    }
    if cmd.refund {
        events.send(Refund);
    }
}

#[derive(DomainEvent, Serialize, Deserialize)]
struct Ordered;

#[event_handler(durable, breaker(failures = 1, open_for = "300s", name = "mail"))]
async fn mail(_e: &Ordered, probe: Inject<Probe>) -> Result<(), Refused> {
    probe.note("mail");
    probe.try_it("mail")
}

#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(name = "outages.ordered")]
struct OrderedV1;

#[event_handler(group = "outages", breaker(failures = 1, open_for = "300s", name = "partner"))]
async fn partner(_e: OrderedV1, probe: Inject<Probe>) -> Result<(), Refused> {
    probe.note("partner");
    probe.try_it("partner")
}

/// Five attempts within seconds would use themselves up while the breaker is open: a refusal is none.
async fn outlives_an_outage(what: &str, order: fn() -> Order) {
    bounded(async {
        let harness = Harness::start().await;
        harness.probe.fail(what, 1);
        for _ in 0..4 {
            harness.send(order()).await.unwrap();
        }
        // Seconds pass, and each message is looked at again and again.
        for _ in 0..40 {
            harness.settle().await;
            harness.advance(Duration::from_secs(5)).await;
        }
        assert_eq!(harness.probe.count(what), 1, "the breaker is open: nobody was called");
        assert_eq!(harness.dead().await.len(), 0, "{:?}", harness.dead().await);
        for _ in 0..4 {
            harness.settle_an_hour_later().await;
        }
        assert_eq!(harness.probe.count(what), 5, "one failed, four were handled");
        assert_eq!((harness.dead().await.len(), harness.stored().await), (0, (0, 0)));
    })
    .await;
}

#[tokio::test]
async fn g11_durable_handlers_outlive_an_open_breaker() {
    outlives_an_outage("mail", || Order { notify: true, tell: false, refund: false }).await;
}

#[tokio::test]
async fn g11_consumed_messages_outlive_an_open_breaker() {
    outlives_an_outage("partner", || Order { notify: false, tell: true, refund: false }).await;
}

#[derive(Command, Clone, Serialize, Deserialize)]
#[command(name = "outages.refund", error = BoxError)]
struct Refund;

#[command_handler(retry(max = 2, first = "1ms"), on = [Refused(why) if why == "for now"])]
async fn refund(_cmd: &Refund, probe: Inject<Probe>) -> Result<(), Refused> {
    probe.note("refund");
    probe.try_it("for now")?;
    probe.try_it("for ever")
}

/// As of event handlers: an error that `on` does not list would come again.
#[tokio::test]
async fn g11_a_sent_command_with_an_error_outside_of_on_is_a_dead_letter_at_once() {
    bounded(async {
        let harness = Harness::start().await;
        let refunds = || Order { notify: false, tell: false, refund: true };
        harness.probe.fail("for ever", 9);
        harness.send(refunds()).await.unwrap();
        harness.settle().await;
        let dead = harness.dead().await;
        assert_eq!((dead.len(), dead[0].attempts, harness.probe.count("refund")), (1, 1, 1));
        harness.probe.fail("for ever", 0);
        harness.probe.fail("for now", 3);
        harness.send(refunds()).await.unwrap();
        harness.settle().await;
        harness.settle_an_hour_later().await;
        assert_eq!((harness.dead().await.len(), harness.probe.count("refund")), (1, 5), "two, then two more");
    })
    .await;
}
