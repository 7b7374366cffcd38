//! G14: a call that is under way when the app stops comes to its end, and what it leaves is stored.

use cqrs::BoxError;
use cqrs::prelude::*;
use cqrs::sqlx::{self, SqlitePool};
use serde::{Deserialize, Serialize};

use crate::support::{Probe, Running, bounded, directory, on_file};

#[derive(Command)]
#[command(response = i64, error = BoxError)]
struct Charge;

#[derive(NotificationEvent, Serialize, Deserialize)]
struct Charged;

#[command_handler]
async fn charge(
    _cmd: Charge,
    probe: Inject<Probe>,
    pool: Inject<SqlitePool>,
    events: &mut Events,
) -> Result<i64, BoxError> {
    probe.pass("under way").await;
    events.raise(Charged);
    Ok(sqlx::query_scalar("SELECT 7").fetch_one(&*pool).await?)
}

#[tokio::test]
async fn g14_a_call_without_a_unit_ends_after_the_stop_and_keeps_its_event() {
    bounded(async {
        let directory = directory();
        let probe = std::sync::Arc::new(Probe::default());
        probe.close("under way");
        let running = Running::start(on_file(&directory.path().join("a.db"), &probe, |builder| builder).await);
        let app = running.app.clone();
        let call = tokio::spawn({
            let app = app.clone();
            async move { app.send(Charge).await }
        });
        probe.arrived("under way").await;
        running.stop().await;
        probe.open("under way");
        assert_eq!(call.await.unwrap().unwrap(), 7);
        assert_eq!(app.counts().await.unwrap().outbox, 1, "the event waits for the next start");
        let refused = app.send(Charge).await.unwrap_err();
        assert!(matches!(refused, DispatchError::ShuttingDown), "{refused:?}");
    })
    .await;
}

/// The rest of the groups would lose what is theirs: nobody else reaches this app's memory.
#[tokio::test]
async fn g8_a_relay_to_a_broker_nobody_else_reaches_needs_its_groups() {
    bounded(async {
        let directory = directory();
        let probe = std::sync::Arc::new(Probe::default());
        let file = directory.path().join("a.db");
        let app = on_file(&file, &probe, |builder| builder.broker(Broker::url("memory:")).run(["relay"])).await;
        let refused = app.run_until(std::future::pending()).await.unwrap_err().to_string();
        assert!(refused.contains("reaches this process only"), "{refused}");
    })
    .await;
}
