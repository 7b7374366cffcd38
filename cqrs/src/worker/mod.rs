//! Workers: they claim stored work that is due, and do it.
//!
//! `queues` says what there is to claim, `turns` how much of a group is handled at once, `attempt` is one attempt in its unit of work, `job` what surrounds it: lease,
//! deadline, retry; `absent` judges what only another version of this program can do, `upkeep` sweeps and warns. This file
//! is the loop that claims.

mod absent;
mod attempt;
mod job;
mod queues;
mod turns;
mod upkeep;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use self::attempt::{Attempt, Commit, Ended, attempt, in_time};
pub(crate) use self::job::{STORE_PAUSE, Trouble, decode, describe, meta_of};
use self::queues::Share;
#[cfg(feature = "testing")]
pub(crate) use self::queues::here as queues_here;
pub(crate) use self::turns::Turns;
use crate::app::App;
use crate::store::driver::{ClaimRequest, Driver, WorkShare};
use crate::store::{ClaimedWork, WorkQueue};

/// The longest pause between two looks at the store with nothing to do: other processes' work shows up so late.
const IDLE: Duration = Duration::from_secs(1);

/// Starts the workers that the app runs.
pub(crate) fn start(app: &App, turns: &BTreeMap<&'static str, Turns>, parts: &TaskTracker, stop: &CancellationToken) {
    let Some(store) = app.store().cloned() else { return };
    let shares: Vec<Desk> = queues::shares(app, turns).into_iter().map(Desk::new).collect();
    if !shares.is_empty() {
        parts.spawn(upkeep::run(app.clone(), Arc::clone(&store), stop.clone()));
        parts.spawn(run(app.clone(), store, shares, stop.clone()));
    }
}

/// Where the work of one share is done: it holds what is claimed and has not ended, up to the share's limit.
struct Desk {
    share: Share,
    room: Arc<Semaphore>,
}

impl Desk {
    fn new(share: Share) -> Self {
        let room = Arc::new(Semaphore::new(share.limit));
        Self { share, room }
    }

    fn free(&self) -> usize {
        self.room.available_permits()
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

async fn run(app: App, store: Arc<dyn Driver>, desks: Vec<Desk>, stop: CancellationToken) {
    let by_queue: HashMap<WorkQueue, usize> = desks
        .iter()
        .enumerate()
        .flat_map(|(at, desk)| desk.share.queues.iter().map(move |queue| (queue.clone(), at)))
        .collect();
    let jobs = TaskTracker::new();
    let done = Arc::new(Notify::new());
    while !stop.is_cancelled() {
        // Registered before the look at the store: a commit between the look and the wait is not missed.
        let bell = app.wake_bell().notified();
        // From the claim to the end of what follows the last commit: somebody is busy.
        let busy = app.tracker().token();
        let claimed = claim(&app, &store, &desks).await;
        if stop.is_cancelled() {
            // Claimed while the app was told to stop: handed back with everything else that is unfinished.
            break;
        }
        let more = !claimed.is_empty();
        for work in claimed {
            // A store that gives what nobody asked for gets it back when the claim runs out.
            let Some(desk) = by_queue.get(&work.record.queue()).map(|at| &desks[*at]) else { continue };
            let Ok(permit) = Arc::clone(&desk.room).try_acquire_owned() else { continue };
            let (app, store, busy) = (app.clone(), Arc::clone(&store), busy.clone());
            let place = Place { permit: Some(permit), done: Arc::clone(&done) };
            let turns = desk.share.turns.clone();
            jobs.spawn(async move {
                app.give_up().run_until_cancelled(job::run(&app, &store, work, turns.as_ref())).await;
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
            () = pause(&app, &store, &desks) => {}
        }
    }
    jobs.close();
    jobs.wait().await;
}

async fn claim(app: &App, store: &Arc<dyn Driver>, desks: &[Desk]) -> Vec<ClaimedWork> {
    let shares: Vec<WorkShare<'_>> = desks
        .iter()
        .map(|desk| WorkShare { queues: &desk.share.queues, limit: desk.free() })
        .filter(|share| share.limit > 0)
        .collect();
    if shares.is_empty() {
        return Vec::new();
    }
    let (now, lease_now) = (app.clock().now(), app.clock().lease_now());
    let lease_until = lease_now + app.options().lease;
    let request = ClaimRequest { owner: app.owner(), now, lease_now, lease_until, limit: usize::MAX };
    match store.claim_work(&shares, request).await {
        Ok(claimed) => claimed,
        Err(error) => {
            tracing::warn!(%error, "stored work could not be claimed; it is tried again");
            Vec::new()
        }
    }
}

/// Waits until something is due that there is room for, or long enough to look again.
async fn pause(app: &App, store: &Arc<dyn Driver>, desks: &[Desk]) {
    let with_room = desks.iter().filter(|desk| desk.free() > 0);
    let queues: Vec<WorkQueue> = with_room.flat_map(|desk| desk.share.queues.iter().cloned()).collect();
    if queues.is_empty() {
        return std::future::pending().await;
    }
    let latest = app.clock().now() + IDLE;
    let due = match store.next_work_due(&queues).await {
        Ok(Some(due)) => due.min(latest),
        // The store is out of reach: no tighter loop than with nothing to do.
        Ok(None) | Err(_) => latest,
    };
    // Due already, yet not claimed: somebody else was quicker, or will be. Look again soon, not at once.
    let soonest = app.clock().now() + IDLE / 5;
    app.clock().sleep_until(due.max(soonest)).await;
}
