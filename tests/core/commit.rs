//! G7: everything a unit of work writes commits together or not at all.

use std::time::Duration;

use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;
use cqrs::{BoxError, DispatchErrorKind};
use serde::{Deserialize, Serialize};

use crate::support::{Harness, Probe, Refused, bounded, write};

#[derive(Clone, Copy, PartialEq)]
enum End {
    Fine,
    Error,
    Panic,
    Wait,
    TooLarge,
    TooLargeCommand,
    Ambiguous,
}

#[derive(Command)]
#[command(error = BoxError)]
struct Everything(End);

#[derive(DomainEvent, Clone, Serialize, Deserialize)]
struct Stored {
    text: String,
}

#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
struct Published {
    text: String,
}

#[derive(Command, Serialize, Deserialize)]
struct Later {
    text: String,
}

mod one {
    #[derive(cqrs::Command, serde::Serialize, serde::Deserialize)]
    pub struct Twin;

    #[cqrs::command_handler]
    async fn twin(_cmd: Twin) {}
}

mod two {
    #[derive(cqrs::Command, serde::Serialize, serde::Deserialize)]
    pub struct Twin;

    #[cqrs::command_handler]
    async fn twin(_cmd: Twin) {}
}

#[command_handler]
async fn later(_cmd: Later) {}

#[event_handler(durable)]
async fn on_stored(_e: &Stored) {}

#[event_handler]
async fn after_stored(_e: &Stored, probe: Inject<Probe>) {
    probe.note("after");
}

#[command_handler]
async fn everything(
    Everything(end): Everything,
    tx: &mut Tx<Sqlite>,
    events: &mut Events,
    probe: Inject<Probe>,
) -> Result<(), BoxError> {
    write(tx, "user row").await?;
    events.raise(Stored { text: String::new() });
    events.raise(Published { text: String::new() });
    events.send(Later { text: String::new() });
    events.schedule(Later { text: String::new() }).after(Duration::from_secs(3600)).key("timer");
    match end {
        End::Fine => {}
        End::Error => return Err(Refused("error".to_owned()).into()),
        End::Panic => panic!("panic"),
        End::Wait => probe.pass("everything").await,
        End::TooLarge => events.raise(Published { text: "x".repeat(2000) }),
        End::TooLargeCommand => events.send(Later { text: "x".repeat(2000) }),
        End::Ambiguous => events.send(one::Twin),
    }
    Ok(())
}

async fn nothing_is_there(app: &Harness) {
    assert!(app.rows().await.is_empty());
    assert_eq!(app.stored().await, (0, 0));
    assert!(app.probe.log().is_empty() && app.events::<Stored>().is_empty());
}

#[tokio::test]
async fn g7_user_rows_outbox_work_and_timers_commit_together() {
    bounded(async {
        let app = Harness::idle().await;
        app.send(Everything(End::Fine)).await.unwrap();
        let counts = app.counts().await.unwrap();
        assert_eq!((counts.outbox, counts.work, counts.timers, counts.dead), (1, 3, 1, 0));
        assert_eq!((app.rows().await.len(), app.probe.log().len()), (1, 1));
    })
    .await;
}

#[tokio::test]
async fn g7_or_not_at_all() {
    bounded(async {
        let app = Harness::with(|builder| builder.run([""; 0]).payload_limit(1000)).await;
        for (end, kind) in [
            (End::Error, DispatchErrorKind::Handler),
            (End::Panic, DispatchErrorKind::Panicked),
            (End::TooLarge, DispatchErrorKind::TooLarge),
            (End::TooLargeCommand, DispatchErrorKind::TooLarge),
            (End::Ambiguous, DispatchErrorKind::AmbiguousName),
        ] {
            assert_eq!(app.send(Everything(end)).await.unwrap_err().kind(), kind);
            nothing_is_there(&app).await;
        }
        app.probe.close("everything");
        tokio::select! {
            biased;
            _ = app.send(Everything(End::Wait)) => panic!("it waits"),
            () = app.probe.arrived("everything") => {}
        }
        nothing_is_there(&app).await;
        app.send(Everything(End::Fine)).await.unwrap();
        assert_eq!((app.rows().await.len(), app.stored().await), (1, (1, 3)));
    })
    .await;
}

#[tokio::test]
async fn what_is_too_large_or_ambiguous_says_so() {
    bounded(async {
        let app = Harness::with(|builder| builder.run([""; 0]).payload_limit(1000)).await;
        let error = app.send(Everything(End::TooLarge)).await.unwrap_err();
        let DispatchError::TooLarge { message: "Published", size, limit: 1000 } = error else { panic!("{error:?}") };
        assert!(size > 2000);
        let error = app.schedule(two::Twin).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("one::Twin") && text.contains("two::Twin") && text.contains("name = "), "{text}");
        let twins = (app.send(one::Twin).await, app.send(two::Twin).await);
        assert!(twins.0.is_ok() && twins.1.is_ok(), "they are told apart by type where they are not stored");
    })
    .await;
}

#[derive(Command)]
#[command(error = BoxError)]
struct GoesOn;

/// Raises nothing, so that nothing of ours is written at its end.
#[command_handler]
async fn goes_on(_cmd: GoesOn, tx: &mut Tx<Sqlite>) -> Result<(), BoxError> {
    write(tx, "user row").await?;
    let again = "INSERT OR ROLLBACK INTO notes (rowid, text) SELECT rowid, text FROM notes";
    assert!(cqrs::sqlx::query(again).execute(&mut **tx).await.is_err());
    Ok(())
}

#[tokio::test]
async fn g7_a_unit_that_the_database_rolled_back_does_not_pass_for_committed() {
    bounded(async {
        let app = Harness::idle().await;
        let error = app.send(GoesOn).await.unwrap_err();
        assert_eq!(error.kind(), DispatchErrorKind::Store, "{error:?}");
        nothing_is_there(&app).await;
        app.send(Everything(End::Fine)).await.unwrap();
        assert_eq!(app.rows().await.len(), 1);
    })
    .await;
}

/// `app.unit()`: the same outside a handler.
#[tokio::test]
async fn g7_a_unit_outside_a_handler() {
    bounded(async {
        let app = Harness::idle().await;
        let mut unit = app.unit::<Sqlite>().await.unwrap();
        let (tx, events) = unit.parts();
        write(tx, "outside").await.unwrap();
        events.raise(Stored { text: String::new() });
        events.raise(Published { text: String::new() });
        events.send(Later { text: String::new() });
        assert!(app.probe.log().is_empty());
        unit.commit().await.unwrap();
        assert_eq!((app.rows().await, app.stored().await), (vec!["outside".to_owned()], (1, 2)));
        assert_eq!(app.probe.log(), ["after"]);

        let mut unit = app.unit::<Sqlite>().await.unwrap();
        write(unit.tx(), "dropped").await.unwrap();
        unit.events().raise(Published { text: String::new() });
        drop(unit);
        // The next one goes through at once.
        let mut unit = app.unit::<Sqlite>().await.unwrap();
        app.send(crate::nested::InnerTx { fails: false }).within(unit.tx()).await.unwrap();
        unit.commit().await.unwrap();
        assert_eq!((app.rows().await, app.stored().await), (vec!["outside".to_owned(), "inner".to_owned()], (2, 2)));
    })
    .await;
}

#[tokio::test]
async fn g7_a_failing_inline_handler_fails_a_unit_outside_a_handler() {
    bounded(async {
        let app = Harness::idle().await;
        let mut unit = app.unit::<Sqlite>().await.unwrap();
        write(unit.tx(), "outside").await.unwrap();
        unit.events().raise(crate::events::Reserving { number: 13 });
        let error = unit.commit().await.unwrap_err();
        assert!(matches!(error, cqrs::Error::Dispatch { kind: DispatchErrorKind::EventFailed, .. }), "{error}");
        nothing_is_there(&app).await;
    })
    .await;
}

/// `publish` takes either kind.
#[tokio::test]
async fn publish_stores_a_notification_and_runs_the_handlers_of_a_domain_event() {
    bounded(async {
        let app = Harness::idle().await;
        app.publish(Published { text: String::new() }).await.unwrap();
        assert_eq!((app.stored().await, app.probe.log().len()), ((1, 0), 0));
        app.publish(Stored { text: String::new() }).await.unwrap();
        assert_eq!((app.stored().await, app.probe.log()), ((1, 1), vec!["after".to_owned()]));
    })
    .await;
}
