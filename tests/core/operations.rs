//! What people who operate a service look at and do: the outbox, dead letters, timers, and what is written down of it.

use std::time::{Duration, SystemTime};

use cqrs::broker::MemoryBroker;
use cqrs::prelude::*;
use cqrs::store::{AuditAction, AuditChange, DeadFilter, DeadLetter, OutboxState, TimerFilter, TimerName};
use cqrs::{Delivery, EditError};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::batches::watched;
use crate::support::{HOUR, Harness, Log, Probe, Refused, bounded, directory, message, polled, publish};

/// An event for a durable handler.
#[derive(DomainEvent, Clone, Serialize, Deserialize)]
struct Mended {
    who: String,
}

#[event_handler(durable, retry(max = 1))]
async fn mend(e: &Mended, probe: Inject<Probe>) -> Result<(), Refused> {
    probe.try_it(&e.who)?;
    probe.note(format!("mended {}", e.who));
    Ok(())
}

/// A command for later.
#[derive(Command, Serialize, Deserialize)]
struct Nudge {
    who: String,
}

#[command_handler]
async fn nudge(cmd: Nudge, probe: Inject<Probe>) -> Result<(), Refused> {
    probe.try_it(&cmd.who)?;
    probe.note(format!("nudged {}", cmd.who));
    Ok(())
}

/// An event that leaves, and is consumed here.
#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "counted", topic = "counting", key = n)]
struct Counted {
    n: u32,
}

#[event_handler(group = "counters", retry(max = 1), unknown = "dead")]
async fn counter(e: Counted, probe: Inject<Probe>) -> Result<(), Refused> {
    probe.try_it(&format!("count {}", e.n))?;
    probe.note(format!("counted {}", e.n));
    Ok(())
}

async fn the_dead(app: &Harness) -> DeadLetter {
    let mut dead = app.dead().await;
    assert_eq!(dead.len(), 1, "{dead:?}");
    dead.remove(0)
}

/// Every payload is refused that is none, and says why; nothing is changed.
async fn refuses(app: &Harness, letter: &DeadLetter, bad: &[(&str, &str)]) {
    for (payload, what) in bad {
        let error = app.edit_and_replay(letter.id, *payload).await.unwrap_err();
        assert!(matches!(error, EditError::Unreadable { .. }), "{error:?}");
        assert!(error.to_string().contains(what), "`{what}` is not in: {error}");
        let kept = app.dead_letter(letter.id).await.unwrap().unwrap();
        assert_eq!((&kept.payload, &kept.headers, &kept.error), (&letter.payload, &letter.headers, &letter.error));
    }
    assert!(app.audit(9, None).await.unwrap().is_empty());
}

#[tokio::test]
async fn g11_an_edited_event_of_a_durable_handler_is_handled_as_it_is_now() {
    bounded(async {
        let app = Harness::start().await;
        app.probe.fail("ann", 1);
        app.publish(Mended { who: "ann".to_owned() }).await.unwrap();
        app.settle().await;
        let letter = the_dead(&app).await;
        let large = format!(r#"{{"who":"{}"}}"#, "x".repeat(1024 * 1024));
        let bad = [(r#"{"whom":"bob"}"#, "missing field `who`"), ("no", "Mended"), (large.as_str(), "over the limit")];
        refuses(&app, &letter, &bad).await;
        assert!(app.operator("ann").edit_and_replay(letter.id, r#"{"who":"bob"}"#).await.unwrap());
        app.settle().await;
        assert_eq!(app.probe.log(), ["mended bob"]);
        assert!(app.dead().await.is_empty());
        let entry = &app.audit(9, None).await.unwrap()[0];
        assert_eq!((entry.by.as_str(), entry.action, entry.name.as_str()), ("ann", AuditAction::Edit, "Mended"));
        assert!(matches!(entry.change, Some(AuditChange::Size { before: 13, after: 13 })), "{entry:?}");
        assert!(!app.edit_and_replay(letter.id, r#"{"who":"bob"}"#).await.unwrap(), "it is dead no more");
    })
    .await;
}

#[tokio::test]
async fn g11_an_edited_command_is_done_as_it_is_now() {
    bounded(async {
        let app = Harness::with(|builder| builder.settings(cqrs::Settings::from_toml("retry.max = 1").unwrap())).await;
        app.probe.fail("ann", 1);
        app.schedule(Nudge { who: "ann".to_owned() }).key("7").await.unwrap();
        app.settle().await;
        let letter = the_dead(&app).await;
        refuses(&app, &letter, &[("{}", "missing field `who`")]).await;
        assert!(app.edit_and_replay(letter.id, r#"{"who":"bob"}"#).await.unwrap());
        app.settle().await;
        assert_eq!(app.probe.log(), ["nudged bob"]);
    })
    .await;
}

#[tokio::test]
async fn g11_an_edited_message_of_a_group_is_handled_as_it_is_now_once() {
    bounded(async {
        let (app, broker) = Harness::with_broker(|builder| builder).await;
        app.probe.fail("count 1", 1);
        let id = Uuid::now_v7();
        let sent = message("counting", "counted", id, &serde_json::json!({ "n": 1 }));
        publish(&broker, id, sent.clone()).await;
        app.settle().await;
        let letter = the_dead(&app).await;
        refuses(&app, &letter, &[(r#"{"n":"1"}"#, "invalid type"), ("", "counted")]).await;
        assert!(app.edit_and_replay(letter.id, r#"{"n":2}"#).await.unwrap());
        app.settle().await;
        publish(&broker, id, sent).await;
        app.settle().await;
        assert_eq!(app.probe.log(), ["counted 2"], "delivered again, it is the same message");
    })
    .await;
}

#[tokio::test]
async fn g11_an_edited_message_that_could_not_be_read_is_given_to_its_handlers() {
    bounded(async {
        let (app, broker) = Harness::with_broker(|builder| builder).await;
        publish(&broker, Uuid::now_v7(), Delivery::new("counting", "{broken")).await;
        app.settle().await;
        let letter = the_dead(&app).await;
        assert_eq!((letter.group.as_str(), letter.handler.as_str()), ("counters", ""));
        let body = |name: &str, n: serde_json::Value| {
            let body = message("counting", name, Uuid::now_v7(), &serde_json::json!({ "n": n }));
            String::from_utf8(body.payload().to_vec()).unwrap()
        };
        let wrong = body("counted", "one".into());
        refuses(
            &app,
            &letter,
            &[("{still broken", "not a notification event's JSON"), (wrong.as_str(), "invalid type")],
        )
        .await;
        let error = app.edit_and_replay(letter.id, body("uncounted", 1.into())).await.unwrap_err();
        assert!(matches!(&error, EditError::Unknown { name, .. } if name == "uncounted"), "{error:?}");
        assert!(app.edit_and_replay(letter.id, body("counted", 1.into())).await.unwrap());
        app.settle().await;
        assert_eq!(app.probe.log(), ["counted 1"]);
    })
    .await;
}

/// A letter whose handler this program does not have: nobody here can tell what a payload of it is.
#[tokio::test]
async fn what_this_program_does_not_know_it_does_not_edit() {
    bounded(async {
        let app = Harness::start().await;
        app.probe.fail("ann", 1);
        app.publish(Mended { who: "ann".to_owned() }).await.unwrap();
        app.settle().await;
        let letter = the_dead(&app).await;
        cqrs::sqlx::query("UPDATE cqrs_work SET handler = 'core::gone::away'")
            .execute(&app.probe.pool())
            .await
            .unwrap();
        let error = app.edit_and_replay(letter.id, r#"{"who":"bob"}"#).await.unwrap_err();
        assert!(matches!(&error, EditError::Unknown { name, version: 1 } if name == "Mended"), "{error:?}");
        assert!(error.to_string().contains("edit it with a program that does"), "{error}");
        assert_eq!(the_dead(&app).await.payload, letter.payload);
    })
    .await;
}

#[tokio::test]
async fn g11_an_edited_event_is_published_as_it_is_now() {
    bounded(async {
        let app = Harness::idle().await;
        app.publish(Counted { n: 1 }).await.unwrap();
        let pool = app.probe.pool();
        // As the relay leaves it when a broker refuses it.
        let bury = "UPDATE cqrs_outbox SET state = 'dead', attempts = 1, error = 'refused'";
        cqrs::sqlx::query(bury).execute(&pool).await.unwrap();
        let letter = the_dead(&app).await;
        let body = String::from_utf8(letter.payload.clone()).unwrap();
        let wrong = body.replace("\"n\":1", "\"n\":\"x\"");
        let bad = [(r#"{"n":2}"#, "not a notification event's JSON"), (wrong.as_str(), "invalid type")];
        refuses(&app, &letter, &bad).await;
        assert!(app.edit_and_replay(letter.id, body.replace("\"n\":1", "\"n\":12")).await.unwrap());
        let row = &app.outbox().list(OutboxState::Ready, 9, None).await.unwrap()[0];
        assert_eq!(row.id.dead_letter(), letter.id);
        assert!(String::from_utf8_lossy(&row.record.payload).contains("\"n\":12"));
    })
    .await;
}

/// Dead letters of a durable handler, named 0 to `count`.
async fn with_dead(app: &Harness, count: u32) {
    for n in 0..count {
        app.probe.fail(&n.to_string(), 1);
        app.publish(Mended { who: n.to_string() }).await.unwrap();
    }
    app.settle().await;
    assert_eq!(app.counts().await.unwrap().dead, u64::from(count));
}

#[tokio::test]
async fn many_are_replayed_and_discarded_by_filter_and_counted_first() {
    bounded(async {
        let app = Harness::start().await;
        with_dead(&app, 5).await;
        let two = DeadFilter::new().name("Mended").error("refused: 2");
        let report = app.replay_all(two.clone()).dry_run().await.unwrap();
        assert_eq!((report.found, report.done, report.gone), (1, 0, 0));
        assert_eq!(app.counts().await.unwrap().dead, 5, "a dry run changes nothing");
        assert!(app.audit(9, None).await.unwrap().is_empty());
        let report = app.operator("ann").note("ticket 7").discard_all(two).await.unwrap();
        assert_eq!((report.found, report.done, report.gone), (1, 1, 0));
        let report = app.replay_all(DeadFilter::new()).await.unwrap();
        assert_eq!((report.found, report.done, report.gone), (4, 4, 0));
        app.settle().await;
        let mut log = app.probe.log();
        log.sort_unstable();
        assert_eq!(log, ["mended 0", "mended 1", "mended 3", "mended 4"]);
        let audit = app.audit(9, None).await.unwrap();
        assert_eq!(audit.iter().filter(|entry| entry.action == AuditAction::Replay).count(), 4);
        assert_eq!(audit[4].note, "bulk: name = Mended, error ~ refused: 2; ticket 7");
        assert_eq!((audit[4].by.as_str(), audit[0].note.as_str()), ("ann", "bulk: all"));
        assert!(Uuid::parse_str(&audit[0].by).is_ok(), "the app's own name: {}", audit[0].by);
    })
    .await;
}

/// Has the database refuse to touch what is dead of these.
async fn damage(app: &Harness, whom: &[u32]) {
    for n in whom {
        let refuse = format!(
            "CREATE TRIGGER hold_{n} BEFORE UPDATE ON cqrs_work WHEN OLD.payload LIKE '%\"{n}\"%'
             BEGIN SELECT RAISE(ABORT, 'row {n} is damaged'); END;
             CREATE TRIGGER keep_{n} BEFORE DELETE ON cqrs_work WHEN OLD.payload LIKE '%\"{n}\"%'
             BEGIN SELECT RAISE(ABORT, 'row {n} is damaged'); END"
        );
        cqrs::sqlx::raw_sql(cqrs::sqlx::AssertSqlSafe(refuse)).execute(&app.probe.pool()).await.unwrap();
    }
}

#[tokio::test]
async fn a_letter_at_which_the_store_fails_is_named_and_the_rest_is_done() {
    bounded(async {
        let app = Harness::start().await;
        with_dead(&app, 6).await;
        let dead = app.dead().await;
        let of = |n: u32| {
            let payload = format!(r#"{{"who":"{n}"}}"#).into_bytes();
            dead.iter().find(|letter| letter.payload == payload).unwrap()
        };
        damage(&app, &[1, 3]).await;
        let log = Log::start();
        let report = app.replay_all(DeadFilter::new().error("refused")).await.unwrap();
        assert_eq!((report.found, report.done, report.gone, report.failed), (6, 4, 0, 2));
        for n in [1, 3] {
            let text = log.text();
            let lines: Vec<_> = text.lines().filter(|line| line.contains(&of(n).message_id.to_string())).collect();
            assert_eq!(lines.len(), 1, "{text}");
            for part in ["name=\"Mended\"", &format!("row {n} is damaged"), "bulk: error ~ refused: passed over"] {
                assert!(lines[0].contains(part), "`{part}` is not in: {}", lines[0]);
            }
        }
        app.settle().await;
        let mut done = app.probe.log();
        done.sort_unstable();
        assert_eq!(done, ["mended 0", "mended 2", "mended 4", "mended 5"]);
        assert_eq!(app.audit(9, None).await.unwrap().len(), 4, "what failed is not written down as done");

        // They are as they were, and taken again.
        let report = app.discard_all(DeadFilter::new()).await.unwrap();
        assert_eq!((report.found, report.done, report.failed), (2, 0, 2));
        cqrs::sqlx::raw_sql("DROP TRIGGER keep_1").execute(&app.probe.pool()).await.unwrap();
        let report = app.discard_all(DeadFilter::new()).await.unwrap();
        assert_eq!((report.found, report.done, report.failed), (2, 1, 1));
        assert_eq!(the_dead(&app).await.id, of(3).id);
    })
    .await;
}

#[tokio::test]
async fn a_run_ends_where_one_letter_after_the_other_fails_and_says_how_far_it_came() {
    bounded(async {
        let app = Harness::start().await;
        with_dead(&app, 15).await;
        damage(&app, &(2..15).collect::<Vec<_>>()).await;
        let log = Log::start();
        let error = app.discard_all(DeadFilter::new()).await.unwrap_err();
        assert!(error.to_string().contains("the database refused a statement"), "{error}");
        let text = log.text();
        assert_eq!(text.matches("bulk: all: passed over").count(), 9, "{text}");
        let end: Vec<_> = text.lines().filter(|line| line.contains("ended by an error; what is done stays")).collect();
        assert_eq!(end.len(), 1, "{text}");
        for part in ["done=2", "gone=0", "failed=9", "is damaged"] {
            assert!(end[0].contains(part), "`{part}` is not in: {}", end[0]);
        }
        assert_eq!(app.counts().await.unwrap().dead, 13);
    })
    .await;
}

#[tokio::test]
async fn many_are_replayed_at_a_rate() {
    bounded(async {
        let app = Harness::idle().await;
        for n in 0..4 {
            app.publish(Mended { who: n.to_string() }).await.unwrap();
        }
        let bury = "UPDATE cqrs_work SET state = 'dead', attempts = 1, error = 'refused'";
        cqrs::sqlx::query(bury).execute(&app.probe.pool()).await.unwrap();
        let begun = tokio::time::Instant::now();
        let report = app.replay_all(DeadFilter::new()).rate(10).await.unwrap();
        assert_eq!(report.done, 4);
        assert!(
            begun.elapsed() >= Duration::from_millis(300),
            "the fourth comes three tenths of a second after the first"
        );
    })
    .await;
}

/// Whenever it is dropped: each letter is replayed and written down, or neither.
#[tokio::test]
async fn replaying_many_may_be_dropped_at_any_poll() {
    bounded(async {
        let app = Harness::idle().await;
        let pool = app.probe.pool();
        for n in 0..6 {
            app.publish(Mended { who: n.to_string() }).await.unwrap();
        }
        let mut seen = Vec::new();
        for polls in 1..60 {
            cqrs::sqlx::raw_sql("UPDATE cqrs_work SET state = 'dead', attempts = 1; DELETE FROM cqrs_audit")
                .execute(&pool)
                .await
                .unwrap();
            let report = polled(polls, std::future::IntoFuture::into_future(app.replay_all(DeadFilter::new()))).await;
            // Whatever was begun has ended when the next one writes.
            cqrs::sqlx::query("UPDATE cqrs_work SET attempts = attempts").execute(&pool).await.unwrap();
            let (dead, audit) = (app.counts().await.unwrap().dead, app.audit(9, None).await.unwrap().len());
            assert_eq!(audit as u64 + dead, 6, "{polls} polls");
            assert!(report.is_none() || dead == 0);
            seen.push(dead);
        }
        assert_eq!(seen.first(), Some(&6));
        assert!(seen.iter().any(|dead| *dead < 6), "{seen:?}");
    })
    .await;
}

/// Those of one key are handled in their order, however many of them die and come back together.
#[tokio::test]
async fn g10_many_of_one_key_are_replayed_in_order() {
    bounded(async {
        let (app, broker) = Harness::with_broker(|builder| builder).await;
        app.probe.fail("count 1", 1);
        for n in [1, 2, 3] {
            let id = Uuid::now_v7();
            let body = message("counting", "counted", id, &serde_json::json!({ "n": n })).key("k");
            publish(&broker, id, body).await;
        }
        app.settle().await;
        assert!(app.probe.log().is_empty(), "the first of the key holds the others");
        let report = app.replay_all(DeadFilter::new().topic("counting").group("counters")).await.unwrap();
        assert_eq!(report.done, 1);
        app.settle().await;
        assert_eq!(app.probe.log(), ["counted 1", "counted 2", "counted 3"]);
    })
    .await;
}

#[tokio::test]
async fn a_timer_is_found_moved_and_cancelled_and_fires_when_it_was_moved_to() {
    bounded(async {
        let app = Harness::start().await;
        let id = app.schedule(Nudge { who: "ann".to_owned() }).after(10 * HOUR).key("7").await.unwrap();
        let other = app.schedule(Nudge { who: "bob".to_owned() }).after(20 * HOUR).await.unwrap();
        let found = app.find_timers(&TimerFilter::new().command::<Nudge>().key("7"), 9).await.unwrap();
        assert_eq!(found.iter().map(|timer| timer.id).collect::<Vec<_>>(), [id.uuid()]);
        assert!(app.reschedule_timer(TimerName::of::<Nudge>("7"), SystemTime::now() + HOUR / 2).await.unwrap());
        assert_eq!(app.timer_delay().await.unwrap(), Duration::ZERO);
        app.settle_an_hour_later().await;
        app.probe.noted("nudged ann", 1).await;
        assert!(app.reschedule_timer(other, SystemTime::now()).await.unwrap(), "it wakes who waits for the old time");
        app.probe.noted("nudged bob", 1).await;
        let third = app.schedule(Nudge { who: "cid".to_owned() }).after(30 * HOUR).await.unwrap();
        assert!(app.operator("ann").cancel_timer(third).await.unwrap());
        assert!(!app.operator("ann").cancel_timer(third).await.unwrap());
        assert!(!app.reschedule_timer(third, SystemTime::now()).await.unwrap());
        let actions: Vec<_> = app.audit(9, None).await.unwrap().into_iter().map(|entry| entry.action).collect();
        assert_eq!(actions, [AuditAction::Cancel, AuditAction::Reschedule, AuditAction::Reschedule]);
    })
    .await;
}

#[tokio::test]
async fn how_late_the_timers_are_is_seen() {
    bounded(async {
        let app = Harness::idle().await;
        assert_eq!(app.timer_delay().await.unwrap(), Duration::ZERO);
        app.schedule(Nudge { who: "ann".to_owned() }).after(HOUR).await.unwrap();
        assert_eq!(app.timer_delay().await.unwrap(), Duration::ZERO);
        app.advance(3 * HOUR).await;
        let delay = app.timer_delay().await.unwrap();
        assert!(delay >= 2 * HOUR && delay < 3 * HOUR, "{delay:?}");
    })
    .await;
}

#[tokio::test]
async fn a_row_that_waits_for_the_broker_goes_out_when_it_is_requeued() {
    bounded(async {
        let app = Harness::with(|builder| builder.run(["relay"]).broker(Broker::driver(MemoryBroker::new()))).await;
        app.settle().await;
        let pool = app.probe.pool();
        // As the relay leaves a row that the broker put off for long.
        let wait = "INSERT INTO cqrs_outbox (id, name, version, topic, payload, headers, raised_at, due_at, state)
            VALUES (zeroblob(16), 'counted', 1, 'counting', '{}', '{}', 1, 9000000000000000, 'waiting')";
        cqrs::sqlx::query(wait).execute(&pool).await.unwrap();
        let outbox = app.operator("ann").outbox();
        let row = outbox.list_of("counting", OutboxState::Waiting, 9, None).await.unwrap().remove(0);
        assert_eq!(outbox.status().await.unwrap().waiting, 1);
        assert!(outbox.requeue(row.id).await.unwrap());
        while outbox.status().await.unwrap().oldest.is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(app.audit(9, None).await.unwrap()[0].action, AuditAction::Requeue);
    })
    .await;
}

#[tokio::test]
async fn what_was_done_is_kept_for_the_audit_retention() {
    bounded(async {
        let settings = cqrs::Settings::from_toml("audit_retention = '1d'").unwrap();
        let app = Harness::with(|builder| builder.settings(settings)).await;
        let timer = app.schedule(Nudge { who: "ann".to_owned() }).after(HOUR).await.unwrap();
        assert!(app.operator("ann").cancel_timer(timer).await.unwrap());
        app.advance(23 * HOUR).await;
        app.settle().await;
        assert_eq!(app.audit(9, None).await.unwrap().len(), 1);
        app.advance(2 * HOUR).await;
        while !app.audit(9, None).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// A driver that surrounds another, and was written before there were operations.
#[tokio::test]
async fn a_store_without_operations_replays_discards_and_cancels_and_says_what_it_lacks() {
    bounded(async {
        let directory = directory();
        let store = watched(directory.path(), &std::sync::Arc::default()).await;
        let app = Harness::with(|builder| builder.store(store)).await;
        with_dead(&app, 2).await;
        app.schedule(Nudge { who: "ann".to_owned() }).after(HOUR).key("7").await.unwrap();
        let log = Log::start();
        let dead = app.dead().await;
        assert!(app.replay(dead[0].id).await.unwrap());
        assert!(app.discard(dead[1].id).await.unwrap());
        assert!(!app.discard(dead[1].id).await.unwrap());
        assert!(app.cancel_timer::<Nudge>("7").await.unwrap());
        assert_eq!(
            log.text().matches("the store writes down nothing of what is done to it").count(),
            3,
            "{}",
            log.text()
        );
        app.settle().await;
        assert_eq!(app.probe.log(), ["mended 0"]);
        let mut errors = vec![app.outbox().status().await.unwrap_err(), app.audit(9, None).await.unwrap_err()];
        errors.push(app.replay_all(DeadFilter::new()).await.unwrap_err());
        errors.push(app.edit_and_replay(dead[0].id, "{}").await.unwrap_err().into());
        errors.push(app.reschedule_timer(Uuid::nil(), SystemTime::now()).await.unwrap_err());
        for error in errors {
            assert!(error.to_string().contains("the store `watched` gives out no operations"), "{error}");
        }
    })
    .await;
}
