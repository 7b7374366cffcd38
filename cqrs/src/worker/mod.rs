//! Workers: they claim stored work that is due, and do it.
//!
//! `queues` says what there is to claim, `turns` how much of it is handled at once, `attempt` is one attempt in its unit of
//! work, `job` what surrounds it: lease, deadline, retry; `due` when the next look is, `absent` judges what only another version of this program can do,
//! `upkeep` sweeps and warns. This file is the loop that claims.

mod absent;
mod attempt;
mod due;
mod job;
mod queues;
mod turns;
mod upkeep;

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::SystemTime;

use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use self::attempt::{Attempt, Commit, Ended, attempt, in_time, open};
pub(crate) use self::due::Due;
pub(crate) use self::job::{Trouble, after_breaker, decode, describe, meta_of};
use self::queues::Share;
#[cfg(feature = "testing")]
pub(crate) use self::queues::here as queues_here;
pub(crate) use self::turns::Turns;
use crate::app::App;
use crate::error::chain;
use crate::fail_points::{FailPoint, pass};
use crate::store::driver::{ClaimRequest, Driver, WorkShare};
use crate::store::{ClaimedWork, WorkQueue};
use crate::supervise::supervised;

/// Starts the workers that the app runs, and the upkeep of its store wherever it runs anything: calls leave idempotency keys
/// in processes without a worker, too.
pub(crate) fn start(app: &App, turns: &BTreeMap<&'static str, Turns>, parts: &TaskTracker, stop: &CancellationToken) {
    let Some(store) = app.store().cloned() else { return };
    if app.options().runs_anything() {
        let (app, store, stop) = (app.clone(), Arc::clone(&store), stop.clone());
        parts.spawn(async move {
            let upkeep = || upkeep::run(app.clone(), Arc::clone(&store), stop.clone());
            supervised("the upkeep of the store", &stop, upkeep).await;
        });
    }
    if !queues::shares(app, turns).is_empty() {
        let (app, turns, stop) = (app.clone(), turns.clone(), stop.clone());
        parts.spawn(async move {
            let worker = || {
                let desks = queues::shares(&app, &turns).into_iter().map(Desk::new).collect();
                run(app.clone(), Arc::clone(&store), desks, stop.clone())
            };
            supervised("the worker", &stop, worker).await;
        });
    }
}

/// Where the work of one share is done. What is claimed begins at once: a claim that waited for its turn would be taken
/// for an attempt where its process dies meanwhile. So turns are taken before it is claimed, but not before it could be: while
/// a claim waits for others who write, what comes from the broker has them.
struct Desk {
    share: Share,
    /// Turns that are taken for a claim.
    taken: Mutex<Vec<OwnedSemaphorePermit>>,
    /// Where no turn was free: in line for one, with what comes from the broker.
    line: Option<Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send + Sync>>>,
}

impl Desk {
    fn new(share: Share) -> Self {
        Self { share, taken: Mutex::default(), line: None }
    }

    fn taken(&self) -> MutexGuard<'_, Vec<OwnedSemaphorePermit>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the turns that are free; gives how many it has.
    fn take_turns(&self) -> usize {
        let mut taken = self.taken();
        taken.extend(self.share.turns.take_free());
        taken.len()
    }

    /// Whether a claim could take a turn, or has one.
    fn has_turns(&self) -> bool {
        self.share.turns.are_free() || !self.taken().is_empty()
    }

    /// Where no turn is free, gets in line for one: only a group's may have gone to somebody else, of whose end nobody tells.
    fn get_in_line(&mut self) {
        if self.share.is_group && self.line.is_none() && !self.has_turns() {
            let turns = self.share.turns.clone();
            self.line = Some(Box::pin(async move { turns.wait().await }));
        }
    }

    /// Whether work that falls due could be done here, now or when its turn comes.
    fn may_claim(&self) -> bool {
        self.share.is_group || self.share.turns.are_free()
    }

    /// Gives back a turn that came in line where nothing is due that could be done with it: a claim of other work may wait long.
    async fn give_back_idle(&self, store: &Arc<dyn Driver>, now: SystemTime) {
        if !self.taken().is_empty()
            && let Ok(due) = store.next_work_due(&self.share.queues).await
            && due.is_none_or(|due| due > now)
        {
            self.taken().clear();
        }
    }

    /// Whether its turn has come.
    fn poll_line(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(Poll::Ready(turn)) = self.line.as_mut().map(|line| line.as_mut().poll(cx)) else { return false };
        self.line = None;
        self.taken().extend(turn);
        true
    }
}

/// Waits until the turn of one of the desks has come.
async fn in_line(desks: &mut [Desk]) {
    std::future::poll_fn(|cx| {
        // Each of them, so that each is in line from its first moment on.
        let came = desks.iter_mut().filter_map(|desk| desk.poll_line(cx).then_some(())).count();
        if came > 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// A job's turn. Dropped, however the job ended, it is free, and the loop is told.
struct Place {
    turn: Option<OwnedSemaphorePermit>,
    done: Arc<Notify>,
}

impl Drop for Place {
    fn drop(&mut self) {
        // First free, then told: the loop looks at once.
        drop(self.turn.take());
        self.done.notify_one();
    }
}

async fn run(app: App, store: Arc<dyn Driver>, mut desks: Vec<Desk>, stop: CancellationToken) {
    let by_queue: HashMap<WorkQueue, usize> = desks
        .iter()
        .enumerate()
        .flat_map(|(at, desk)| desk.share.queues.iter().map(move |queue| (queue.clone(), at)))
        .collect();
    let jobs = TaskTracker::new();
    let done = Arc::new(Notify::new());
    let mut due = Due::Unknown;
    while !stop.is_cancelled() {
        // Registered before the look at the store: a commit between the look and the wait is not missed.
        let bell = app.wake_bell().notified();
        // From the claim to the end of what follows the last commit: somebody is busy.
        let busy = app.tracker().token();
        desks.iter_mut().for_each(Desk::get_in_line);
        let looked = app.clock().now();
        let open: Vec<&Desk> = desks.iter().filter(|desk| desk.has_turns()).collect();
        for desk in &open {
            desk.give_back_idle(&store, looked).await;
        }
        let claimed = claim(&app, &store, &open, looked).await;
        if stop.is_cancelled() {
            // Claimed while the app was told to stop: handed back with everything else that is unfinished.
            break;
        }
        let more = !claimed.is_empty();
        if more {
            pass(FailPoint::WorkClaimed);
        }
        for work in claimed {
            // A store that gives what nobody asked for gets it back when the claim runs out.
            let Some(desk) = by_queue.get(&work.record.queue()).map(|at| &mut desks[*at]) else { continue };
            let Some(turn) = desk.taken().pop() else { continue };
            let (app, store, busy) = (app.clone(), Arc::clone(&store), busy.clone());
            let place = Place { turn: Some(turn), done: Arc::clone(&done) };
            jobs.spawn(async move {
                app.give_up().run_until_cancelled(job::run(&app, &store, work)).await;
                drop((busy, place));
            });
        }
        for desk in &mut desks {
            desk.taken().clear();
        }
        drop(busy);
        if more {
            continue;
        }
        let queues = desks.iter().filter(|desk| desk.may_claim()).flat_map(|desk| desk.share.queues.iter().cloned());
        let queues: Vec<WorkQueue> = queues.collect();
        let is_idle = tokio::select! {
            () = stop.cancelled() => false,
            () = in_line(&mut desks) => false,
            () = bell => false,
            () = done.notified() => false,
            () = due.wait(&app, looked, store.next_work_due(&queues)), if !queues.is_empty() => true,
        };
        if !is_idle {
            due = Due::Unknown;
        }
    }
    // Others may have the turns that were taken.
    drop(desks);
    jobs.close();
    jobs.wait().await;
}

async fn claim(app: &App, store: &Arc<dyn Driver>, desks: &[&Desk], now: SystemTime) -> Vec<ClaimedWork> {
    let limits: Vec<_> = desks.iter().map(|desk| || desk.take_turns()).collect();
    let shares: Vec<WorkShare<'_>> =
        desks.iter().zip(&limits).map(|(desk, limit)| WorkShare { queues: &desk.share.queues, limit }).collect();
    if shares.is_empty() {
        return Vec::new();
    }
    let lease_now = app.clock().lease_now();
    let lease_until = lease_now + app.options().lease;
    let request = ClaimRequest { owner: app.owner(), now, lease_now, lease_until, limit: usize::MAX };
    match store.claim_work(&shares, request).await {
        Ok(claimed) => claimed,
        Err(error) => {
            tracing::warn!(error = chain(&error), "stored work could not be claimed; it is tried again");
            Vec::new()
        }
    }
}
