//! Fallbacks of commands and queries: when they are asked, and what they find.

use std::time::Duration;

use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;
use cqrs::{BoxError, BreakerPhase, DispatchErrorKind};
use serde::{Deserialize, Serialize};

use crate::support::{Harness, Log, Probe, Refused, bounded, write};

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fate {
    Succeeds,
    /// Fails with an error that counts.
    Unavailable,
    /// Fails with one that does not.
    Unknown,
    Hangs,
    Panics,
    /// Fails, and so does the fallback.
    BothFail,
    /// Fails, and the fallback panics.
    FallbackPanics,
}

#[derive(Debug, PartialEq)]
pub enum QuoteError {
    Unavailable(u16),
    Unknown,
    Stale,
}

impl std::fmt::Display for QuoteError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "quote: {self:?}")
    }
}

#[derive(Query)]
#[query(response = &'static str, error = QuoteError)]
pub struct GetQuote(Fate);

#[query_handler(fallback = sources::cached_quote, on = [QuoteError::Unavailable(_)], timeout = "50ms")]
async fn quote(q: &GetQuote, probe: Inject<Probe>) -> Result<&'static str, QuoteError> {
    probe.note("asked");
    match q.0 {
        Fate::Succeeds => Ok("fresh"),
        Fate::Unavailable | Fate::BothFail | Fate::FallbackPanics => Err(QuoteError::Unavailable(503)),
        Fate::Unknown => Err(QuoteError::Unknown),
        Fate::Panics => panic!("the source burns"),
        Fate::Hangs => {
            probe.pass("hanging").await;
            std::future::pending().await
        }
    }
}

mod sources {
    use super::*;

    /// Its parameters in any order, as a handler's.
    #[fallback]
    pub async fn cached_quote(
        q: &GetQuote,
        probe: Inject<Probe>,
        meta: &Meta,
        cause: Cause<QuoteError>,
    ) -> Result<&'static str, QuoteError> {
        assert!(!meta.id().is_nil());
        probe.note(format!("cache: {cause}"));
        match q.0 {
            Fate::BothFail => Err(QuoteError::Stale),
            Fate::FallbackPanics => panic!("the cache burns"),
            _ => Ok("cached"),
        }
    }
}

async fn ask(harness: &Harness, fate: Fate) -> Result<&'static str, DispatchError<QuoteError>> {
    harness.query(GetQuote(fate)).await
}

#[tokio::test]
async fn a_fallback_answers_after_an_error_that_counts_and_after_a_timeout() {
    bounded(async {
        let log = Log::start();
        let harness = Harness::idle().await;
        assert_eq!(ask(&harness, Fate::Succeeds).await.unwrap(), "fresh");
        assert_eq!(ask(&harness, Fate::Unavailable).await.unwrap(), "cached");
        assert_eq!(ask(&harness, Fate::Hangs).await.unwrap(), "cached");
        assert_eq!(
            harness.probe.log(),
            ["asked", "asked", "cache: quote: Unavailable(503)", "asked", "cache: it took too long"]
        );
        let log = log.text();
        assert!(log.contains("cached_quote") && log.contains("Unavailable(503)"), "{log}");
    })
    .await;
}

#[tokio::test]
async fn an_error_outside_of_on_reaches_the_caller_unchanged() {
    bounded(async {
        let harness = Harness::idle().await;
        let error = ask(&harness, Fate::Unknown).await.unwrap_err();
        assert!(matches!(error, DispatchError::Handler(QuoteError::Unknown)), "{error:?}");
        assert_eq!(error.primary_cause(), None);
        assert_eq!(harness.probe.log(), ["asked"]);
    })
    .await;
}

#[derive(Query)]
#[query(response = &'static str, error = QuoteError)]
pub struct GetRate(Fate);

#[query_handler(
    breaker(failures = 2, open_for = "60s", name = "rate source"),
    on = [QuoteError::Unavailable(_)],
    fallback = cached_rate
)]
async fn rate(q: &GetRate, probe: Inject<Probe>) -> Result<&'static str, QuoteError> {
    probe.note("asked");
    match q.0 {
        Fate::Unavailable => Err(QuoteError::Unavailable(503)),
        _ => Err(QuoteError::Unknown),
    }
}

#[fallback]
async fn cached_rate(_q: &GetRate, cause: Cause<QuoteError>, probe: Inject<Probe>) -> &'static str {
    probe.note(format!("cache: {cause}"));
    "cached"
}

/// In the reference the breaker overrode the list of errors: one that is not on it opened the breaker, and the call that
/// opened it, like all after it, was the fallback's (its weakness 35).
#[tokio::test]
async fn hole_35_the_breaker_does_not_override_the_list_of_errors() {
    bounded(async {
        let harness = Harness::idle().await;
        let state = || {
            let state = harness.breakers().into_iter().find(|state| state.name == "rate source").unwrap();
            (state.phase, state.failures)
        };
        for _ in 0..10 {
            let error = harness.query(GetRate(Fate::Unknown)).await.unwrap_err();
            assert!(matches!(error, DispatchError::Handler(QuoteError::Unknown)), "{error:?}");
            assert_eq!((error.primary_cause(), state()), (None, (BreakerPhase::Closed, 0)));
        }
        assert_eq!(harness.probe.log(), ["asked"; 10], "each call was the handler's, none the fallback's");

        // It is the list that keeps it closed: errors on it open it.
        for _ in 0..2 {
            assert_eq!(harness.query(GetRate(Fate::Unavailable)).await.unwrap(), "cached");
        }
        assert_eq!(state(), (BreakerPhase::Open, 2));
        assert_eq!(harness.query(GetRate(Fate::Unknown)).await.unwrap(), "cached");
        assert_eq!(harness.probe.log().last().map(String::as_str), Some("cache: its circuit breaker is open"));
    })
    .await;
}

#[tokio::test]
async fn a_panic_asks_no_fallback() {
    bounded(async {
        let harness = Harness::idle().await;
        let error = ask(&harness, Fate::Panics).await.unwrap_err();
        assert_eq!(error.kind(), DispatchErrorKind::Panicked);
        assert_eq!(error.name(), Some("quote"));
        assert_eq!(harness.probe.log(), ["asked"]);
    })
    .await;
}

#[tokio::test]
async fn a_cancellation_asks_no_fallback() {
    bounded(async {
        let harness = Harness::idle().await;
        harness.probe.close("hanging");
        let mut call = harness.query(GetQuote(Fate::Hangs));
        tokio::select! {
            _ = &mut call => panic!("it hangs"),
            () = harness.probe.arrived("hanging") => {}
        }
        drop(call);
        let error = harness.query(GetQuote(Fate::Hangs)).timeout(Duration::from_millis(10)).await.unwrap_err();
        assert_eq!(error.kind(), DispatchErrorKind::Timeout, "the caller's own timeout is a cancellation");
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(harness.probe.log(), ["asked", "asked"]);
    })
    .await;
}

#[tokio::test]
async fn a_fallback_that_fails_as_well_says_why_it_was_asked() {
    bounded(async {
        let log = Log::start();
        let harness = Harness::idle().await;
        let error = ask(&harness, Fate::BothFail).await.unwrap_err();
        assert_eq!(error.kind(), DispatchErrorKind::Handler);
        assert_eq!(error.handler(), Some(&QuoteError::Stale));
        assert_eq!(error.primary_cause(), Some("quote: Unavailable(503)"));
        assert_eq!(error.to_string(), "quote: Stale");
        assert_eq!(error.into_handler(), Some(QuoteError::Stale));
        let error = ask(&harness, Fate::FallbackPanics).await.unwrap_err();
        assert_eq!((error.kind(), error.name()), (DispatchErrorKind::Panicked, Some("cached_quote")));
        assert_eq!(error.primary_cause(), Some("quote: Unavailable(503)"));
        let log = log.text();
        assert!(log.contains("Stale") && log.contains("Unavailable(503)"), "{log}");
    })
    .await;
}

#[derive(Command, Debug, Clone, Serialize, Deserialize)]
#[command(response = &'static str, error = BoxError)]
pub struct Book {
    pub fails: bool,
    pub hangs: bool,
    pub late: bool,
}

#[derive(DomainEvent)]
pub struct Booked(&'static str);

#[event_handler]
async fn booked(e: &Booked, probe: Inject<Probe>) {
    probe.note(format!("booked by {}", e.0));
}

#[derive(NotificationEvent, Serialize, Deserialize)]
pub struct BookedAbroad(String);

/// By value: it is `Clone`, since the fallback is given it too.
#[command_handler(fallback = book_by_hand, timeout = "100ms")]
async fn book(
    cmd: Book,
    tx: &mut Tx<Sqlite>,
    events: &mut Events,
    app: &App,
    probe: Inject<Probe>,
) -> Result<&'static str, Refused> {
    write(tx, "machine").await.map_err(|error| Refused(error.to_string()))?;
    events.raise(Booked("machine"));
    events.raise(BookedAbroad("machine".to_owned()));
    app.send(Note("noted within the machine's")).within(tx).await.map_err(|error| Refused(error.to_string()))?;
    if cmd.hangs {
        // The statement goes on in the database when its future is dropped.
        write(tx, "machine, once more").await.map_err(|error| Refused(error.to_string()))?;
        probe.pass("book").await;
        std::future::pending::<()>().await;
    }
    if cmd.fails { Err(Refused("machine".to_owned())) } else { Ok("machine") }
}

#[fallback]
async fn book_by_hand(
    _cmd: Book,
    cause: Cause<Refused>,
    tx: &mut Tx<Sqlite>,
    events: &mut Events,
) -> Result<&'static str, BoxError> {
    write(tx, format!("hand: {cause}")).await?;
    events.raise(Booked("hand"));
    events.raise(BookedAbroad("hand".to_owned()));
    Ok("hand")
}

#[derive(Command)]
#[command(error = BoxError)]
pub struct Note(&'static str);

#[command_handler]
async fn note(cmd: Note, tx: &mut Tx<Sqlite>, events: &mut Events) -> Result<(), BoxError> {
    write(tx, cmd.0).await?;
    events.raise(Booked("the note"));
    Ok(())
}

const FAILS: Book = Book { fails: true, hangs: false, late: false };
const HANGS: Book = Book { fails: false, hangs: true, late: false };

#[tokio::test]
async fn what_the_failed_handler_wrote_and_raised_is_undone_before_its_fallback() {
    bounded(async {
        let harness = Harness::idle().await;
        assert_eq!(harness.send(FAILS).await.unwrap(), "hand");
        assert_eq!(harness.rows().await, ["hand: refused: machine"]);
        assert_eq!(harness.probe.log(), ["booked by hand"], "also what a call within its transaction raised");
        assert_eq!(harness.stored().await, (1, 0));
        assert_eq!(harness.events::<BookedAbroad>()[0].0, "hand");
    })
    .await;
}

#[tokio::test]
async fn after_a_timeout_the_fallback_has_a_transaction_of_its_own() {
    bounded(async {
        let harness = Harness::idle().await;
        assert_eq!(harness.send(HANGS).await.unwrap(), "hand");
        assert_eq!(harness.rows().await, ["hand: it took too long"]);
        assert_eq!(harness.send(FAILS).await.unwrap(), "hand", "the store is free again");
        assert_eq!(harness.probe.log(), ["booked by hand", "booked by hand"]);
    })
    .await;
}

#[tokio::test]
async fn within_another_transaction_a_savepoint_undoes_the_failed_handler() {
    bounded(async {
        let harness = Harness::idle().await;
        let mut unit = harness.unit::<Sqlite>().await.unwrap();
        write(unit.tx(), "outer").await.unwrap();
        assert_eq!(harness.send(FAILS).within(unit.tx()).await.unwrap(), "hand");
        assert_eq!(harness.send(HANGS).within(unit.tx()).await.unwrap(), "hand");
        unit.commit().await.unwrap();
        assert_eq!(harness.rows().await, ["outer", "hand: refused: machine", "hand: it took too long"]);
        assert_eq!(harness.probe.log(), ["booked by hand", "booked by hand"]);
    })
    .await;
}

#[tokio::test]
async fn a_call_dropped_at_any_poll_leaves_all_of_one_of_them_or_nothing() {
    bounded(async {
        let harness = Harness::idle().await;
        for polls in 0..40 {
            {
                let mut call = harness.send(FAILS);
                for _ in 0..polls {
                    if futures_util::poll!(&mut call).is_ready() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_micros(300)).await;
                }
            }
            // From its commit on, the call is finished in the background.
            harness.send(Note("after")).await.unwrap();
            let rows = harness.rows().await;
            let whole = ["hand: refused: machine", "after"];
            assert!(rows == ["after"] || rows == whole, "after {polls} polls: {rows:?}");
            cqrs::sqlx::query("DELETE FROM notes").execute(&harness.probe.pool()).await.unwrap();
        }
    })
    .await;
}

#[derive(Command, Clone)]
#[command(response = &'static str, error = BoxError)]
pub struct BookLate(bool);

/// With the late form of a transaction, which the failed attempt had begun.
#[command_handler(fallback = book_late_by_hand)]
async fn book_late(cmd: BookLate, begin: &mut Begin<Sqlite>) -> Result<&'static str, BoxError> {
    if cmd.0 {
        return Err(Refused("before it began".to_owned()).into());
    }
    let tx = begin.begin().await?;
    write(tx, "late").await?;
    Err(Refused("after it began".to_owned()).into())
}

#[fallback]
async fn book_late_by_hand(_cmd: &BookLate, begin: &mut Begin<Sqlite>) -> Result<&'static str, BoxError> {
    let tx = begin.begin().await?;
    write(tx, "late hand").await?;
    Ok("hand")
}

#[tokio::test]
async fn a_transaction_that_began_late_is_undone_too() {
    bounded(async {
        let harness = Harness::idle().await;
        assert_eq!(harness.send(BookLate(true)).await.unwrap(), "hand");
        assert_eq!(harness.send(BookLate(false)).await.unwrap(), "hand");
        assert_eq!(harness.rows().await, ["late hand", "late hand"]);
        let mut unit = harness.unit::<Sqlite>().await.unwrap();
        harness.send(BookLate(false)).within(unit.tx()).await.unwrap();
        unit.commit().await.unwrap();
        assert_eq!(harness.rows().await.len(), 3);
    })
    .await;
}

#[derive(Command)]
#[command(error = BoxError)]
pub struct Settle;

/// The handler succeeds; what follows it does not.
#[command_handler(fallback = settle_by_hand, retry(max = 3, first = "1ms"))]
async fn settle(_cmd: &Settle, events: &mut Events, probe: Inject<Probe>) -> Result<(), BoxError> {
    probe.note("settled");
    events.raise(Settled);
    Ok(())
}

#[fallback]
async fn settle_by_hand(_cmd: &Settle, probe: Inject<Probe>) {
    probe.note("settled by hand");
}

#[derive(DomainEvent)]
pub struct Settled;

#[event_handler(inline)]
async fn refuse(_e: &Settled) -> Result<(), Refused> {
    Err(Refused("inline".to_owned()))
}

#[tokio::test]
async fn a_follow_ups_failure_runs_no_command_handler_again() {
    bounded(async {
        let harness = Harness::idle().await;
        let error = harness.send(Settle).await.unwrap_err();
        assert_eq!(error.kind(), DispatchErrorKind::EventFailed);
        assert_eq!(harness.probe.log(), ["settled"]);
    })
    .await;
}
