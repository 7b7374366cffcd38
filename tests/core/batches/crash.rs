//! A process that dies while it handles a batch, at each statement of it: what it had not settled is delivered again.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cqrs::broker::MemoryBroker;
use cqrs::broker::driver::{Driver, Outgoing};
use cqrs::prelude::*;
use uuid::Uuid;

use super::watched::Watch;
use super::{assert_once_in_order, outgoing, subscribed, watched};
use crate::support::{self, Probe, Running, bounded, directory};

const MESSAGES: u32 = 12;

/// Runs an app of its own runtime on a file, until its store halts or everything is settled. Then the whole of it is gone,
/// as a process is.
fn life(directory: &Path, watch: &Arc<Watch>, messages: &[Outgoing]) -> bool {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let all_settled = runtime.block_on(bounded(async {
        let probe = Arc::new(Probe::default());
        let broker = MemoryBroker::new();
        subscribed(&broker).await;
        let store = watched(directory, watch).await;
        let app = support::app(&probe).store(store).broker(Broker::driver(broker.clone())).await.unwrap();
        let _running = Running::start(app);
        // Both are awaited from the beginning: a step may come at once.
        tokio::select! {
            () = watch.halted.notified() => false,
            results = broker.publish(messages.to_vec()) => results.iter().all(Result::is_ok),
        }
    }));
    runtime.shutdown_timeout(Duration::from_secs(1));
    all_settled
}

async fn rows_of(directory: &Path) -> Vec<String> {
    let url = format!("sqlite://{}", directory.join("app.db").display());
    let pool = cqrs::sqlx::SqlitePool::connect(&url).await.unwrap();
    let rows: Vec<String> =
        cqrs::sqlx::query_scalar("SELECT text FROM notes ORDER BY id").fetch_all(&pool).await.unwrap();
    pool.close().await;
    rows.into_iter().filter(|row| !row.starts_with("beside ")).collect()
}

#[test]
fn g9_a_process_that_dies_at_any_statement_of_a_batch_leaves_each_effect_once() {
    let messages =
        || (0..MESSAGES).map(|number| outgoing(Uuid::now_v7(), ["a", "b", "c", ""][number as usize % 4], number));
    let mut deaths = 0;
    for after in [false, true] {
        for at in 1.. {
            let (directory, messages): (_, Vec<Outgoing>) = (directory(), messages().collect());
            let watch = Arc::new(Watch::default());
            if after { &watch.halt_after } else { &watch.halt_before }.store(at, Ordering::SeqCst);
            let survived = life(directory.path(), &watch, &messages);
            deaths += usize::from(!survived);
            // The broker delivers all of them again: it was told nothing.
            assert!(life(directory.path(), &Arc::new(Watch::default()), &messages));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            assert_once_in_order(&runtime.block_on(rows_of(directory.path())), MESSAGES as usize);
            if survived {
                break;
            }
        }
    }
    assert!(deaths >= 20, "it died only {deaths} times");
}
