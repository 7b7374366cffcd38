//! G12: a stalled owner that wakes up cannot commit.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cqrs::BoxError;
use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;
use serde::{Deserialize, Serialize};

use crate::support::{Probe, Running, bounded, directory, on_file, write};

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
