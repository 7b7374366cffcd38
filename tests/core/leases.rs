//! G12: a stalled owner that wakes up cannot commit, and what a dead one held goes on elsewhere.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cqrs::BoxError;
use cqrs::prelude::*;
use cqrs::sqlx::{self, Sqlite};
use serde::{Deserialize, Serialize};

use crate::support::{Probe, Refused, Running, bounded, directory, on_file, write};

/// Stops a whole runtime, as a long pause of the process does: nothing renews its leases meanwhile.
#[derive(Default)]
struct Stall(Mutex<Option<(Sender<()>, Receiver<()>)>>);

#[provider]
fn stall() -> Stall {
    Stall::default()
}

#[derive(DomainEvent, Clone, Serialize, Deserialize)]
struct Leased;

#[event_handler(durable)]
async fn leased(
    _e: &Leased,
    stall: Inject<Stall>,
    begin: &mut Begin<Sqlite>,
    probe: Inject<Probe>,
) -> Result<(), BoxError> {
    let stalled = stall.0.lock().unwrap().take();
    if let Some((stands, goes_on)) = stalled {
        stands.send(()).unwrap();
        goes_on.recv().unwrap();
    }
    write(begin.begin().await?, "leased").await?;
    probe.note("leased");
    Ok(())
}

#[tokio::test]
async fn g12_what_a_stalled_owner_held_is_taken_up_and_it_cannot_commit_any_more() {
    bounded(async {
        let directory = directory();
        let file = directory.path().join("leases.db");
        let ((stands, has_stopped), (go_on, goes_on)) = (channel(), channel());
        let first = Arc::new(Probe::default());
        let stalled = std::thread::spawn({
            let (file, first) = (file.clone(), Arc::clone(&first));
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let stall = Arc::new(Stall(Mutex::new(Some((stands, goes_on)))));
                    let lease = Duration::from_millis(500);
                    let app = on_file(&file, &first, |builder| builder.lease(lease).override_arc(stall)).await;
                    let running = Running::start(app);
                    running.app.publish(Leased).await.unwrap();
                    first.noted("leased", 1).await;
                    running.stop().await;
                });
            }
        });
        tokio::task::spawn_blocking(move || has_stopped.recv().unwrap()).await.unwrap();

        let second = Arc::new(Probe::default());
        let running = Running::start(on_file(&file, &second, |builder| builder).await);
        second.noted("leased", 1).await;
        go_on.send(()).unwrap();
        tokio::task::spawn_blocking(|| stalled.join().unwrap()).await.unwrap();
        running.stop().await;

        let probe = Arc::new(Probe::default());
        let app = on_file(&file, &probe, |builder| builder).await;
        let counts = app.counts().await.unwrap();
        assert_eq!((probe.rows().await, counts.work, counts.dead), (vec!["leased".to_owned()], 0, 0));
        app.shutdown().await;
    })
    .await;
}

#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(name = "leases.sent", topic = "leases")]
struct Sent {
    id: u32,
}

#[event_handler(group = "leases", concurrency = 1, retry(max = 2, first = "1m"))]
async fn sent(e: Sent, meta: &Meta, probe: Inject<Probe>) -> Result<(), Refused> {
    probe.note(format!("sent {} attempt {}", e.id, meta.attempt()));
    probe.try_it(&format!("sent {}", e.id))?;
    probe.pass("sent").await;
    probe.note(format!("handled {}", e.id));
    Ok(())
}

/// What waits for a turn of its group has not been tried: it is nobody's claim, and its process may die.
#[tokio::test]
async fn g12_what_waits_for_its_turn_loses_no_attempt_when_its_process_dies() {
    bounded(async {
        let directory = directory();
        let file = directory.path().join("turns.db");
        let in_first = file.clone();
        let first = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let probe = Arc::new(Probe::default());
                let lease = Duration::from_millis(300);
                let running = Running::start(on_file(&in_first, &probe, |builder| builder.lease(lease)).await);
                probe.fail("sent 1", 1);
                running.app.publish(Sent { id: 1 }).await.unwrap();
                probe.noted("sent 1 attempt 1", 1).await;
                // The other one has the only turn, for as long as this process lives.
                probe.close("sent");
                running.app.publish(Sent { id: 2 }).await.unwrap();
                probe.arrived("sent").await;
                let due = "UPDATE cqrs_work SET due_at = 0 WHERE name = 'leases.sent'";
                let due = sqlx::query(due).execute(&probe.pool()).await.unwrap();
                assert_eq!(due.rows_affected(), 1);
                // Whoever claims now claims what is due.
                running.app.publish(Leased).await.unwrap();
                probe.noted("leased", 1).await;
            });
            // As it stands: nothing is handed back.
            runtime.shutdown_background();
        });
        tokio::task::spawn_blocking(|| first.join().unwrap()).await.unwrap();

        let second = Arc::new(Probe::default());
        let running = Running::start(on_file(&file, &second, |builder| builder).await);
        second.noted("handled 2", 1).await;
        second.noted("sent 1 attempt 2", 1).await;
        second.noted("handled 1", 1).await;
        assert_eq!(running.app.counts().await.unwrap().dead, 0);
        running.stop().await;
    })
    .await;
}

#[derive(DomainEvent, Clone, Serialize, Deserialize)]
struct Held;

/// Holds its transaction for as long as a test wants, and has one attempt.
#[event_handler(durable, retry(max = 1))]
async fn holds(_e: &Held, tx: &mut Tx<Sqlite>, probe: Inject<Probe>) -> Result<(), BoxError> {
    write(tx, "holds").await?;
    probe.note("holding");
    probe.pass("holds").await;
    Ok(())
}

/// Waits for its transaction meanwhile.
#[event_handler(durable, order = 1, retry(max = 1))]
async fn waits(_e: &Held, tx: &mut Tx<Sqlite>, probe: Inject<Probe>) -> Result<(), BoxError> {
    probe.note("waiting is over");
    write(tx, "waits").await?;
    Ok(())
}

/// Runs beside it, without a transaction.
#[event_handler(durable, order = 2, retry(max = 1))]
async fn runs(_e: &Held, probe: Inject<Probe>, begin: &mut Begin<Sqlite>) -> Result<(), BoxError> {
    probe.note("running");
    probe.pass("runs").await;
    write(begin.begin().await?, "runs").await?;
    Ok(())
}

/// SQLite has one writer at a time: while a handler holds its transaction, no lease is renewed. Its own is safe, since nobody
/// else can write either; those of its neighbours run out, and whoever writes next gives their owner a chance before it takes
/// their work over.
#[tokio::test]
async fn g12_a_transaction_held_longer_than_a_lease_costs_nobody_an_attempt() {
    bounded(async {
        let directory = directory();
        let file = directory.path().join("held.db");
        let lease = Duration::from_secs(3);
        let (first, second) = (Arc::new(Probe::default()), Arc::new(Probe::default()));
        let one = Running::start(on_file(&file, &first, |builder| builder.lease(lease)).await);
        let two = on_file(&file, &second, |builder| builder.lease(lease)).await;
        first.close("holds");
        first.close("runs");
        one.app.publish(Held).await.unwrap();
        first.arrived("holds").await;
        first.arrived("runs").await;
        let two = Running::start(two);
        // Longer than two leases, and than the five seconds for which a write waits; it ends while those who failed to renew
        // their leases have not tried again.
        tokio::time::sleep(Duration::from_millis(6_400)).await;
        first.open("holds");
        first.noted("waiting is over", 1).await;
        // Everybody has looked at what runs on meanwhile.
        tokio::time::sleep(lease).await;
        first.open("runs");
        let mut rows = Vec::new();
        while rows.len() < 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            rows = first.rows().await;
        }
        one.stop().await;
        let counts = two.app.counts().await.unwrap();
        assert_eq!((rows, counts.work, counts.dead), (["holds", "waits", "runs"].map(str::to_owned).into(), 0, 0));
        assert_eq!((first.log().len(), second.log().len()), (3, 0), "each was tried once, where it was claimed first");
        two.stop().await;
    })
    .await;
}
