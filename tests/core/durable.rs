//! Stored work: durable handlers, commands sent and scheduled, on virtual time.

use std::time::{Duration, SystemTime};

use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;
use cqrs::{BoxError, EventErrors};
use serde::{Deserialize, Serialize};

use crate::support::{HOUR, Harness, Probe, Refused, bounded, write};

#[derive(DomainEvent, Clone, Serialize, Deserialize)]
struct Ordered {
    id: u32,
}

#[event_handler(durable, retry(max = 3, first = "10s", factor = 2.0, ceiling = "1m"))]
async fn mail(
    e: &Ordered,
    tx: &mut Tx<Sqlite>,
    events: &mut Events,
    meta: &Meta,
    probe: Inject<Probe>,
) -> Result<(), BoxError> {
    write(tx, format!("mail {} attempt {}", e.id, meta.attempt())).await?;
    events.raise(Mailed);
    probe.note(format!("mail {}", meta.attempt()));
    probe.try_it("mail")?;
    Ok(())
}

/// Without `Tx`: its failures are its own, beside the other's.
#[event_handler(durable, order = 1)]
async fn count(e: Ordered, probe: Inject<Probe>) -> Result<(), Refused> {
    probe.note(format!("count {}", e.id));
    probe.try_it("count")
}

#[derive(DomainEvent)]
struct Mailed;

#[event_handler]
async fn mailed(_e: &Mailed, probe: Inject<Probe>) -> Result<(), Refused> {
    probe.note("mailed");
    probe.try_it("mailed")
}

#[tokio::test]
async fn one_row_for_each_durable_handler() {
    bounded(async {
        let app = Harness::idle().await;
        app.publish(Ordered { id: 1 }).await.unwrap();
        assert_eq!(app.stored().await, (0, 2));
        let app = Harness::start().await;
        app.publish(Ordered { id: 1 }).await.unwrap();
        app.settle().await;
        assert_eq!((app.probe.count("mail 1"), app.probe.count("count 1"), app.probe.count("mailed")), (1, 1, 1));
        assert_eq!((app.rows().await, app.stored().await), (vec!["mail 1 attempt 1".to_owned()], (0, 0)));
    })
    .await;
}

#[tokio::test]
async fn g9_a_durable_handler_is_tried_again_when_it_is_due_and_its_effects_happen_once() {
    bounded(async {
        let app = Harness::start().await;
        app.probe.fail("mail", 2);
        app.publish(Ordered { id: 1 }).await.unwrap();
        app.settle().await;
        // Half of the pause is left to chance: before 5 s it is not due, after 10 s it is.
        app.advance(Duration::from_secs(3)).await;
        app.settle().await;
        assert_eq!((app.probe.count("mail 1"), app.probe.count("mail 2")), (1, 0));
        app.advance(Duration::from_secs(10)).await;
        app.settle().await;
        assert_eq!((app.probe.count("mail 2"), app.probe.count("mail 3")), (1, 0));
        app.advance(Duration::from_secs(20)).await;
        app.settle().await;
        assert_eq!((app.probe.count("mail 3"), app.probe.count("mailed")), (1, 1));
        assert_eq!((app.rows().await, app.stored().await), (vec!["mail 1 attempt 3".to_owned()], (0, 0)));
        assert_eq!(app.probe.count("count 1"), 1, "the other handler has an outcome of its own");
    })
    .await;
}

#[tokio::test]
async fn g11_a_durable_handler_that_used_up_its_attempts_is_a_dead_letter_and_can_be_replayed() {
    bounded(async {
        let app = Harness::start().await;
        app.probe.fail("mail", 3);
        app.publish(Ordered { id: 8 }).await.unwrap();
        app.settle_for_hours(4).await;
        app.settle().await;
        assert_eq!((app.probe.count("mail 3"), app.probe.count("mail 4")), (1, 0));
        let dead = app.dead().await;
        assert_eq!(dead.len(), 1);
        let letter = &dead[0];
        assert_eq!((letter.name.as_str(), letter.version, letter.attempts), ("Ordered", 1, 3));
        assert!(letter.handler.ends_with("durable::mail"), "{}", letter.handler);
        assert_eq!((letter.error.as_str(), letter.payload.as_slice()), ("refused: mail", &br#"{"id":8}"#[..]));
        assert!(app.rows().await.is_empty());

        assert!(app.replay(letter.id).await.unwrap());
        app.settle().await;
        assert_eq!(app.rows().await, ["mail 8 attempt 1"]);
        assert!(app.dead().await.is_empty() && !app.replay(letter.id).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_dead_letter_can_be_discarded() {
    bounded(async {
        let app = Harness::start().await;
        app.probe.fail("count", 5);
        app.publish(Ordered { id: 1 }).await.unwrap();
        app.settle_for_hours(6).await;
        let dead = app.dead().await;
        assert_eq!((dead.len(), dead[0].attempts, dead[0].error.as_str()), (1, 5, "refused: count"));
        assert!(app.discard(dead[0].id).await.unwrap() && !app.discard(dead[0].id).await.unwrap());
        assert!(app.dead().await.is_empty());
    })
    .await;
}

/// The handler has committed: what a plain handler after it does is no reason to do it again.
#[tokio::test]
async fn g9_what_fails_after_the_commit_does_not_bring_the_work_back() {
    bounded(async {
        let app = Harness::with(|builder| builder.event_errors(EventErrors::Fail)).await;
        app.probe.fail("mailed", 9);
        app.publish(Ordered { id: 1 }).await.unwrap();
        app.settle_for_hours(3).await;
        assert_eq!((app.rows().await.len(), app.probe.count("mailed"), app.dead().await.len()), (1, 1, 0));
        assert_eq!(app.event_error_count(), 1);
    })
    .await;
}

/// Slow work of a handler that takes no `Tx` keeps no transaction open: others write meanwhile.
#[derive(DomainEvent, Serialize, Deserialize)]
struct Slow;

#[event_handler(durable)]
async fn slow(_e: &Slow, probe: Inject<Probe>, events: &mut Events) {
    events.raise(Mailed);
    probe.pass("slow").await;
    probe.note("slow");
}

/// The late form: slow work first.
#[event_handler(durable)]
async fn slow_then_begin(_e: &Slow, probe: Inject<Probe>, begin: &mut Begin<Sqlite>) -> Result<(), BoxError> {
    probe.pass("slow").await;
    write(begin.begin().await?, "slow").await?;
    Ok(())
}

/// Neither does one that sends from a handler: it holds nothing that it would wait for.
#[event_handler(durable)]
async fn slow_and_send(_e: &Slow, app: &App) -> Result<(), BoxError> {
    app.send(crate::nested::InnerTx { fails: false }).await?;
    Ok(())
}

#[tokio::test]
async fn stored_work_without_a_transaction_of_its_own_holds_none_while_it_runs() {
    bounded(async {
        let app = Harness::start().await;
        app.probe.close("slow");
        app.publish(Slow).await.unwrap();
        app.probe.arrived("slow").await;
        app.probe.arrived("slow").await;
        app.send(crate::nested::InnerTx { fails: false }).await.unwrap();
        app.probe.open("slow");
        app.probe.open("slow");
        app.settle().await;
        let mut rows = app.rows().await;
        rows.sort();
        assert_eq!((rows, app.dead().await.len()), (vec!["inner".to_owned(), "inner".into(), "slow".into()], 0));
        assert_eq!((app.probe.count("slow"), app.probe.count("mailed")), (1, 1));
    })
    .await;
}

#[derive(Command, Serialize, Deserialize)]
#[command(error = BoxError, name = "durable.invoice")]
struct Invoice {
    id: u32,
}

#[command_handler]
async fn invoice(
    cmd: Invoice,
    tx: &mut Tx<Sqlite>,
    events: &mut Events,
    meta: &Meta,
    probe: Inject<Probe>,
) -> Result<(), BoxError> {
    write(tx, format!("invoice {}", cmd.id)).await?;
    events.raise(Mailed);
    probe.note(format!("invoice {} attempt {}", cmd.id, meta.attempt()));
    probe.try_it("invoice")?;
    Ok(())
}

#[derive(Command)]
struct Bill;

#[command_handler]
async fn bill(_cmd: Bill, events: &mut Events) {
    events.send(Invoice { id: 1 });
    events.schedule(Invoice { id: 2 });
    events.schedule(Invoice { id: 3 }).after(HOUR);
    assert_eq!(events.sent::<Invoice>().len(), 3);
}

#[tokio::test]
async fn a_command_sent_by_events_runs_after_the_commit_and_is_tried_again() {
    bounded(async {
        let app = Harness::start().await;
        app.probe.fail("invoice", 2);
        app.send(Bill).await.unwrap();
        app.settle().await;
        assert_eq!((app.rows().await.len(), app.counts().await.unwrap().timers), (0, 2));
        app.advance(Duration::from_secs(10)).await;
        app.settle().await;
        let mut rows = app.rows().await;
        rows.sort();
        assert_eq!(rows, ["invoice 1", "invoice 2"]);
        assert_eq!((app.probe.count("mailed"), app.probe.count("invoice 3 attempt 1")), (2, 0));
        app.settle_an_hour_later().await;
        assert_eq!((app.rows().await.len(), app.stored().await), (3, (0, 0)), "{:?}", app.probe.log());
    })
    .await;
}

#[tokio::test]
async fn g11_a_sent_command_that_fails_for_good_is_a_dead_letter() {
    bounded(async {
        let app = Harness::start().await;
        app.probe.fail("invoice", 5);
        app.schedule(Invoice { id: 4 }).await.unwrap();
        app.settle_for_hours(6).await;
        let dead = app.dead().await;
        assert_eq!((dead.len(), dead[0].attempts, dead[0].name.as_str()), (1, 5, "durable.invoice"));
        assert_eq!((dead[0].error.as_str(), dead[0].payload.as_slice()), ("refused: invoice", &br#"{"id":4}"#[..]));
        assert!(app.rows().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn timers_are_due_when_they_say_and_move_and_are_cancelled_by_key() {
    bounded(async {
        let app = Harness::start().await;
        let now = SystemTime::now();
        app.schedule(Invoice { id: 1 }).after(HOUR).key("one").await.unwrap();
        app.schedule(Invoice { id: 2 }).at(now + 2 * HOUR).key("two").await.unwrap();
        app.schedule(Invoice { id: 3 }).after(HOUR).key("three").await.unwrap();
        app.schedule(Invoice { id: 5 }).after(HOUR).await.unwrap();
        app.schedule(Invoice { id: 6 }).after(HOUR).await.unwrap();
        // The same name and key again moves the timer, and its content with it.
        app.schedule(Invoice { id: 10 }).after(3 * HOUR).key("one").await.unwrap();
        assert!(app.cancel_timer::<Invoice>("three").await.unwrap());
        assert!(!app.cancel_timer::<Invoice>("three").await.unwrap());
        let keys: Vec<_> = app.timers(10).await.unwrap().into_iter().map(|timer| timer.key).collect();
        assert_eq!(keys, [None, None, Some("two".to_owned()), Some("one".to_owned())]);

        app.settle().await;
        assert!(app.rows().await.is_empty());
        app.settle_an_hour_later().await;
        let mut rows = app.rows().await;
        rows.sort();
        assert_eq!(rows, ["invoice 5", "invoice 6"]);
        app.settle_an_hour_later().await;
        assert_eq!(app.rows().await.last().unwrap(), "invoice 2");
        app.settle_an_hour_later().await;
        assert_eq!(app.rows().await.last().unwrap(), "invoice 10");
        assert_eq!(app.stored().await, (0, 0));
    })
    .await;
}

#[derive(Command, Serialize, Deserialize)]
#[command(name = "durable.punctual")]
struct Punctual {
    due: SystemTime,
}

#[command_handler]
async fn punctual(cmd: Punctual, probe: Inject<Probe>) {
    probe.note(cmd.due.elapsed().unwrap().as_millis().to_string());
}

/// What the same process stored is done when it is due, however soon that is, and not some time after: a machine that is
/// busy with other things may make some of them late, not all of them.
#[tokio::test]
async fn timers_that_are_due_soon_are_done_in_time() {
    bounded(async {
        let app = Harness::start().await;
        for round in 1..=10 {
            let due = SystemTime::now() + Duration::from_millis(60);
            app.schedule(Punctual { due }).at(due).await.unwrap();
            while app.probe.log().len() < round {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        let late: Vec<u32> = app.probe.log().iter().map(|millis| millis.parse().unwrap()).collect();
        assert!(late.iter().any(|millis| *millis < 50), "all of them are late, by so many milliseconds: {late:?}");
    })
    .await;
}

#[derive(Command, Serialize, Deserialize)]
#[command(name = "durable.ring")]
struct Ring;

#[command_handler]
async fn ring(_cmd: Ring, meta: &Meta, probe: Inject<Probe>) {
    probe.note(format!("ring {}", meta.id()));
}

#[derive(Command)]
struct RingLater;

#[command_handler]
async fn ring_later(_cmd: RingLater, events: &mut Events) {
    events.schedule(Ring).after(3 * HOUR).key("bell");
}

#[tokio::test]
async fn a_timer_that_is_moved_is_the_same_timer() {
    bounded(async {
        let app = Harness::start().await;
        let id = app.schedule(Ring).after(HOUR).key("bell").await.unwrap();
        let other = app.schedule(Ring).after(HOUR).key("gong").await.unwrap();
        let keyless = app.schedule(Ring).after(HOUR).await.unwrap();
        assert_eq!(app.schedule(Ring).after(2 * HOUR).key("bell").await.unwrap(), id);
        // Moved by a handler, it is listed by the same id, too, and done under it.
        app.send(RingLater).await.unwrap();
        let mut listed: Vec<_> = app.timers(10).await.unwrap().into_iter().map(|timer| timer.id).collect();
        assert_eq!(listed.pop(), Some(id.uuid()), "it is the last to be due");
        listed.sort();
        assert_eq!(listed, [other.uuid(), keyless.uuid()]);
        app.advance(3 * HOUR).await;
        app.settle().await;
        assert_eq!(app.probe.count(&format!("ring {id}")), 1);
        assert_eq!(app.probe.log().len(), 3);
        // It was done: the next one is another.
        assert_ne!(app.schedule(Ring).after(HOUR).key("bell").await.unwrap(), id);
        assert!(app.cancel_timer::<Ring>("bell").await.unwrap());
        assert!(app.timers(10).await.unwrap().is_empty());
    })
    .await;
}

/// Stored, changed by its handle: the unit decides.
#[derive(Command)]
#[command(error = Refused)]
struct Remind {
    fails: bool,
}

#[command_handler]
async fn remind(cmd: Remind, events: &mut Events) -> Result<(), Refused> {
    events.schedule(Invoice { id: 7 }).after(HOUR).key("remind");
    events.schedule(Invoice { id: 8 }).at(SystemTime::now() + 2 * HOUR).key("remind");
    if cmd.fails { Err(Refused("remind".to_owned())) } else { Ok(()) }
}

#[tokio::test]
async fn g7_a_timer_moves_with_its_unit_or_stays() {
    bounded(async {
        let app = Harness::start().await;
        app.schedule(Invoice { id: 6 }).after(HOUR / 2).key("remind").await.unwrap();
        app.send(Remind { fails: true }).await.unwrap_err();
        app.send(Remind { fails: false }).await.unwrap();
        assert_eq!(app.timers(10).await.unwrap().len(), 1);
        app.advance(HOUR + HOUR / 2).await;
        app.settle().await;
        assert!(app.rows().await.is_empty());
        app.settle_an_hour_later().await;
        assert_eq!(app.rows().await, ["invoice 8"]);
    })
    .await;
}

#[derive(DomainEvent, Serialize, Deserialize)]
struct Hanging;

#[event_handler(durable, retry(max = 2, first = "1s"))]
async fn hangs(_e: &Hanging, tx: &mut Tx<Sqlite>, probe: Inject<Probe>, meta: &Meta) -> Result<(), BoxError> {
    write(tx, "hangs").await?;
    probe.note(format!("hangs {}", meta.attempt()));
    probe.pass("hangs").await;
    Ok(())
}

#[tokio::test]
async fn g11_a_handler_that_hangs_hits_the_deadline() {
    bounded(async {
        let app = Harness::with(|builder| builder.deadline(Duration::from_millis(100))).await;
        app.probe.close("hangs");
        app.publish(Hanging).await.unwrap();
        app.settle().await;
        assert_eq!(app.probe.log(), ["hangs 1"]);
        app.settle_an_hour_later().await;
        assert_eq!(app.probe.log(), ["hangs 1", "hangs 2"]);
        let dead = app.dead().await;
        assert_eq!((dead.len(), dead[0].attempts), (1, 2));
        assert!(dead[0].error.contains("deadline of 100ms"), "{}", dead[0].error);
        assert!(app.rows().await.is_empty());
    })
    .await;
}

#[derive(DomainEvent, Serialize, Deserialize)]
struct Explosive;

#[event_handler(durable, retry(max = 1))]
async fn explodes(_e: &Explosive) {
    panic!("boom");
}

#[tokio::test]
async fn g3_a_panicking_durable_handler_is_a_failed_attempt() {
    bounded(async {
        let app = Harness::start().await;
        app.publish(Explosive).await.unwrap();
        app.settle().await;
        let dead = app.dead().await;
        assert_eq!(dead[0].error, "`explodes` panicked: boom");
        app.publish(Ordered { id: 1 }).await.unwrap();
        app.settle().await;
        assert_eq!(app.rows().await.len(), 1);
    })
    .await;
}

#[derive(DomainEvent, Clone, Serialize, Deserialize)]
struct Echoed;

fn _beside() {
    #[event_handler]
    async fn echo(_e: &Echoed, probe: Inject<Probe>) {
        probe.note("plain echo");
    }
}

#[event_handler(durable)]
async fn echo(_e: &Echoed, probe: Inject<Probe>) {
    probe.note("durable echo");
}

#[tokio::test]
async fn a_stored_row_finds_its_handler_beside_a_plain_one_of_the_same_path() {
    bounded(async {
        let app = Harness::start().await;
        app.publish(Echoed).await.unwrap();
        app.settle().await;
        assert_eq!((app.probe.count("plain echo"), app.probe.count("durable echo")), (1, 1));
    })
    .await;
}
