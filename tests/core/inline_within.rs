//! G4: what a call raised that an inline handler made within its transaction is handled, at every level.

use cqrs::BoxError;
use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;

use crate::support::{Harness, Probe, bounded, write};

#[derive(Command)]
#[command(error = BoxError)]
struct Outer {
    /// Whether the inline handler's event is raised by a plain handler, one level further down.
    below: bool,
}

#[derive(DomainEvent)]
struct Opened;

#[derive(DomainEvent)]
struct OpenedBelow;

#[derive(Command)]
#[command(error = BoxError)]
struct Innermost;

#[derive(DomainEvent)]
struct InnermostDone;

#[command_handler]
async fn outer(cmd: Outer, tx: &mut Tx<Sqlite>, events: &mut Events) -> Result<(), BoxError> {
    write(tx, "outer").await?;
    if cmd.below {
        events.raise(OpenedBelow);
    } else {
        events.raise(Opened);
    }
    Ok(())
}

#[event_handler]
async fn raise_below(_e: &OpenedBelow, events: &mut Events) {
    events.raise(Opened);
}

#[event_handler(inline)]
async fn call_within(_e: &Opened, tx: &mut Tx<Sqlite>, app: &App) -> Result<(), BoxError> {
    app.send(Innermost).within(tx).await?;
    Ok(())
}

#[command_handler]
async fn innermost(_cmd: Innermost, tx: &mut Tx<Sqlite>, events: &mut Events) -> Result<(), BoxError> {
    write(tx, "innermost").await?;
    events.raise(InnermostDone);
    Ok(())
}

#[event_handler]
async fn on_innermost_done(_e: &InnermostDone, probe: Inject<Probe>) {
    probe.note("innermost done");
}

#[tokio::test]
async fn g4_events_of_a_call_within_an_inline_handler_are_handled() {
    for below in [false, true] {
        bounded(async {
            let app = Harness::idle().await;
            app.send(Outer { below }).await.unwrap();
            assert_eq!(app.rows().await, ["outer", "innermost"], "below: {below}");
            assert_eq!(app.probe.log(), ["innermost done"], "below: {below}");
        })
        .await;
    }
}

#[derive(Command, serde::Serialize, serde::Deserialize)]
struct Never;

#[command_handler]
async fn never(_cmd: Never) {}

#[tokio::test]
async fn a_timer_beyond_all_times_waits() {
    bounded(async {
        let app = Harness::idle().await;
        app.schedule(Never).after(std::time::Duration::MAX).await.unwrap();
        assert_eq!(app.counts().await.unwrap().timers, 1);
    })
    .await;
}
