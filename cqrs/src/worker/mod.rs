//! Workers: they claim stored work that is due, and do it.
//!
//! `queues` says what there is to claim, `attempt` is one attempt in its unit of work, `job` what surrounds it: lease,
//! deadline, retry; `absent` judges what only another version of this program can do, `upkeep` sweeps and warns. This file
//! is the loop that claims.

mod absent;
mod attempt;
mod job;
mod queues;
mod upkeep;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use self::attempt::{Attempt, Commit, Ended, attempt, in_time};
pub(crate) use self::job::{STORE_PAUSE, decode, describe, meta_of};
pub(crate) use self::queues::here as queues_here;
use crate::app::App;
use crate::store::driver::{ClaimRequest, Driver};
use crate::store::{ClaimedWork, WorkQueue};

/// The longest pause between two looks at the store with nothing to do: other processes' work shows up so late.
const IDLE: Duration = Duration::from_secs(1);

/// Starts the workers that the app runs.
pub(crate) fn start(app: &App, parts: &TaskTracker, stop: &CancellationToken) {
    let Some(store) = app.store().cloned() else { return };
    let queues = queues_here(app);
    if !queues.is_empty() {
        parts.spawn(upkeep::run(app.clone(), Arc::clone(&store), stop.clone()));
        parts.spawn(run(app.clone(), store, queues, stop.clone()));
    }
}

/// A job's place among those that run at once. Dropped, however the job ended, it is free, and the loop is told.
struct Place {
    permit: Option<OwnedSemaphorePermit>,
    done: Arc<Notify>,
}

impl Drop for Place {
    fn drop(&mut self) {
        // First free, then told: the loop looks at once.
        drop(self.permit.take());
        self.done.notify_one();
    }
}

async fn run(app: App, store: Arc<dyn Driver>, queues: Vec<WorkQueue>, stop: CancellationToken) {
    let most = app.options().concurrency;
    let permits = Arc::new(Semaphore::new(most));
    let jobs = TaskTracker::new();
    let done = Arc::new(Notify::new());
    while !stop.is_cancelled() {
        // Registered before the look at the store: a commit between the look and the wait is not missed.
        let bell = app.wake_bell().notified();
        let free = permits.available_permits();
        // From the claim to the end of what follows the last commit: somebody is busy.
        let busy = app.tracker().token();
        let claimed = if free == 0 { Vec::new() } else { claim(&app, &store, &queues, free).await };
        if stop.is_cancelled() {
            // Claimed while the app was told to stop: handed back with everything else that is unfinished.
            break;
        }
        let more = !claimed.is_empty();
        for work in claimed {
            let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else { break };
            let (app, store, busy) = (app.clone(), Arc::clone(&store), busy.clone());
            let place = Place { permit: Some(permit), done: Arc::clone(&done) };
            jobs.spawn(async move {
                app.give_up().run_until_cancelled(job::run(&app, &store, work)).await;
                drop((busy, place));
            });
        }
        drop(busy);
        if more {
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = bell => {}
            () = done.notified() => {}
            () = pause(&app, &store, &queues, free == 0) => {}
        }
    }
    jobs.close();
    jobs.wait().await;
}

async fn claim(app: &App, store: &Arc<dyn Driver>, queues: &[WorkQueue], limit: usize) -> Vec<ClaimedWork> {
    let (now, lease_now) = (app.clock().now(), app.clock().lease_now());
    let lease_until = lease_now + app.options().lease;
    let request = ClaimRequest { owner: app.owner(), now, lease_now, lease_until, limit };
    match store.claim_work(queues, request).await {
        Ok(claimed) => claimed,
        Err(error) => {
            tracing::warn!(%error, "stored work could not be claimed; it is tried again");
            Vec::new()
        }
    }
}

/// Waits until something is due, or long enough to look again.
async fn pause(app: &App, store: &Arc<dyn Driver>, queues: &[WorkQueue], full: bool) {
    if full {
        return std::future::pending().await;
    }
    let latest = app.clock().now() + IDLE;
    let due = match store.next_work_due(queues).await {
        Ok(Some(due)) => due.min(latest),
        // The store is out of reach: no tighter loop than with nothing to do.
        Ok(None) | Err(_) => latest,
    };
    // Due already, yet not claimed: held by its lane or by somebody else. Look again soon, not at once.
    let soonest = app.clock().now() + IDLE / 5;
    app.clock().sleep_until(due.max(soonest)).await;
}
