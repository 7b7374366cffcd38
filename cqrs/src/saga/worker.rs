//! Takes up sagas that nobody holds: those whose time has come, and those of processes that are gone.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::SagaError;
use super::engine::{Held, drive};
use super::instance::{Instance, Told};
use super::limits::{Place, Places};
use super::machine::Input;
use super::migrate;
use super::strangers::Strangers;
use crate::app::App;
use crate::error::chain;
use crate::fail_points::{FailPoint, pass};
use crate::retry::random;
use crate::store::driver::{ClaimRequest, Driver};
use crate::store::{
    ClaimedSaga, SagaChange, SagaClaim, SagaNames, SagaPhase, SagaRest, SagaRow, SagaSaved, SagaStep, Sagas, StoreError,
};
use crate::supervise::supervised;
use crate::worker::Due;

/// How many sagas one process goes on with at once, at most.
const AT_ONCE: usize = 256;

/// What clocks and timers may be late by.
const MARGIN: Duration = Duration::from_millis(50);

/// The shortest time from one look at the store to the next. Every commit of this process rings: under load one look finds what many have
/// stored, and whoever comes after a quiet moment does not wait.
const BREATH: Duration = Duration::from_millis(5);

/// The longest pause after a look. One that took long is followed by a pause as long, up to this: a store that is busy answers later, and the
/// next look finds more.
const LONG_BREATH: Duration = Duration::from_millis(50);

/// How long a saga is left alone that this program does not have: another one may.
const ABSENT: Duration = Duration::from_mins(1);

/// How often somebody looks for sagas that are full in this process.
const LOOK: Duration = Duration::from_millis(200);

/// How many [`recover`] goes on with at once.
const RECOVERED_AT_ONCE: usize = 64;

/// What became of sagas that were taken up on demand. Made by [`Sagas::recover`](super::Sagas::recover).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// Every step of theirs is done.
    pub completed: u64,
    /// What they had done is undone.
    pub compensated: u64,
    /// Somebody has to look at them.
    pub stuck: u64,
    /// They wait: for an event, or until a pause is over; or somebody else has taken them over.
    pub waiting: u64,
    /// They are left to another program: this one does not have their version, or a step that they have begun.
    pub left: u64,
}

/// How far a saga came that was taken up.
enum Went {
    Left,
    Waits,
    Ended(SagaPhase),
}

impl Recovery {
    fn add(&mut self, went: &Went) {
        let count = match went {
            Went::Left => &mut self.left,
            Went::Ended(SagaPhase::Completed) => &mut self.completed,
            Went::Ended(SagaPhase::Compensated) => &mut self.compensated,
            Went::Ended(SagaPhase::Stuck) => &mut self.stuck,
            Went::Ended(_) | Went::Waits => &mut self.waiting,
        };
        *count += 1;
    }
}

/// Takes up what is due by now and in nobody's hands, each once, and goes on with it until it has ended or waits.
pub(super) async fn recover(app: &App) -> Result<Recovery, SagaError> {
    let store = app.store().filter(|store| store.sagas().is_some()).ok_or(SagaError::NoStore)?;
    let (began, mut report, mut has_waited) = (app.clock().now(), Recovery::default(), false);
    let strangers = Arc::new(Strangers::default());
    let mut going = FuturesUnordered::new();
    loop {
        let since = Instant::now();
        let Look { claimed, full } = try_claim(app, store, RECOVERED_AT_ONCE - going.len(), began).await?;
        has_waited &= claimed.is_empty();
        for (saga, place) in claimed {
            let (app, store, strangers) = (app.clone(), Arc::clone(store), Arc::clone(&strangers));
            let tracker = app.tracker().clone();
            going.push(tracker.spawn(async move {
                let went = app.give_up().run_until_cancelled(take_up(&app, &store, saga, since, &strangers)).await;
                drop(place);
                went
            }));
        }
        match going.next().await {
            Some(went) => report.add(&went.ok().flatten().unwrap_or(Went::Waits)),
            // Who else has the places may give none back to us: so look again, too.
            None if is_kept_waiting(app, store, full).await? => {
                let _ = tokio::time::timeout(LOOK, app.saga_limits().room()).await;
            }
            None if has_waited => return Ok(report),
            // An owner whose lease has run out may be given a chance to renew it. Then it is for so long.
            None => {
                has_waited = true;
                tokio::time::sleep(app.options().lease / 3 + MARGIN).await;
            }
        }
    }
}

/// Starts to take up sagas, if the app has any and runs them.
pub(crate) fn start(app: &App, parts: &TaskTracker, stop: &CancellationToken) {
    let Some(store) = app.store().filter(|store| store.sagas().is_some()).cloned() else { return };
    if app.plan().sagas.is_empty() || !app.options().runs("sagas") {
        return;
    }
    let (app, stop) = (app.clone(), stop.clone());
    parts.spawn(async move {
        let work = || run(app.clone(), Arc::clone(&store), stop.clone());
        supervised("the worker of sagas", &stop, work).await;
    });
}

async fn run(app: App, store: Arc<dyn Driver>, stop: CancellationToken) {
    let (Some(sagas), jobs) = (store.sagas(), TaskTracker::new()) else { return };
    let (slots, strangers, mut due) = (Arc::new(Semaphore::new(AT_ONCE)), Arc::new(Strangers::default()), Due::Unknown);
    while !stop.is_cancelled() {
        let bell = app.wake_bell().notified();
        let (looked, since, room) = (app.clock().now(), Instant::now(), slots.available_permits());
        let claimed = claim(&app, &store, room, looked).await;
        let (found, breath) = (claimed.len(), tokio::time::sleep(breath(since.elapsed())));
        for (saga, place) in claimed {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            let (app, store, busy) = (app.clone(), Arc::clone(&store), app.tracker().token());
            let strangers = Arc::clone(&strangers);
            jobs.spawn(async move {
                app.give_up().run_until_cancelled(take_up(&app, &store, saga, since, &strangers)).await;
                drop((slot, place, busy));
            });
        }
        if found > 0 {
            due = Due::Unknown;
            if found < room {
                breath.await;
            }
            continue;
        }
        let is_full = slots.available_permits() == 0;
        let is_idle = tokio::select! {
            () = stop.cancelled() => false,
            () = bell => false,
            () = app.saga_bells().let_go.notified() => false,
            _ = slots.acquire(), if is_full => false,
            () = app.saga_limits().room() => false,
            () = due.wait(&app, looked, next_due(&app, sagas)), if !is_full => true,
        };
        if !is_idle {
            due = Due::Unknown;
            breath.await;
        }
    }
    jobs.close();
    jobs.wait().await;
}

/// The pause after a look that took so long.
fn breath(took: Duration) -> Duration {
    BREATH.saturating_sub(took).max(took.min(LONG_BREATH))
}

/// When the next saga is due that could be taken up. When there is room again for those that are full, somebody is told.
async fn next_due(app: &App, sagas: &dyn Sagas) -> Result<Option<SystemTime>, StoreError> {
    sagas.next_due(SagaNames::AllBut(app.saga_limits().full(Instant::now()))).await
}

/// Whether sagas are due of which this process takes on no more now.
async fn is_kept_waiting(app: &App, store: &Arc<dyn Driver>, full: Vec<String>) -> Result<bool, StoreError> {
    let Some(sagas) = store.sagas().filter(|_| !full.is_empty()) else { return Ok(false) };
    let (now, lease_now) = (app.clock().now(), app.clock().lease_now());
    sagas.is_any_due(now, lease_now, SagaNames::Only(full)).await
}

/// A saga that was claimed, with its place where it has limits.
type Claimed = (ClaimedSaga, Option<Place>);

async fn claim(app: &App, store: &Arc<dyn Driver>, limit: usize, now: SystemTime) -> Vec<Claimed> {
    let look = try_claim(app, store, limit, now).await.unwrap_or_else(|error| {
        tracing::warn!(error = chain(&error), "sagas could not be claimed; it is tried again");
        Look::default()
    });
    look.claimed
}

/// What a look at the store has found.
#[derive(Default)]
struct Look {
    claimed: Vec<Claimed>,
    /// Sagas of which this process took on no more when it looked.
    full: Vec<String>,
}

/// Claims sagas that there are places for. Each of those that have limits, and the others together, get an equal share of what may be claimed,
/// in another order each time: so a backlog of one holds up no other.
async fn try_claim(app: &App, store: &Arc<dyn Driver>, limit: usize, now: SystemTime) -> Result<Look, StoreError> {
    let mut look = Look::default();
    let Some(sagas) = store.sagas().filter(|_| limit > 0) else { return Ok(look) };
    if sagas.tell(now).await? > 0 {
        pass(FailPoint::SagaTold);
    }
    let limits = app.saga_limits();
    if !sagas.is_any_due(now, app.clock().lease_now(), SagaNames::ALL).await? {
        limits.iter().for_each(|(_, places)| places.caught_up());
        return Ok(look);
    }
    let mut shares: Vec<_> = limits.iter().map(Some).chain([None]).collect();
    let (count, turn) = (shares.len(), limits.turn());
    shares.rotate_left(turn % count);
    for share in shares {
        let most = limit.div_ceil(count).min(limit - look.claimed.len());
        let claimed = match share {
            Some((name, places)) => claim_limited(app, sagas, most, now, name, places, &mut look.full).await,
            None => claim_others(app, sagas, most, now).await,
        };
        match claimed {
            Ok(claimed) => look.claimed.extend(claimed),
            // Nobody else goes on with what was claimed before while its lease lasts.
            Err(error) if !look.claimed.is_empty() => {
                tracing::warn!(error = chain(&error), "some sagas could not be claimed; it is tried again");
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(look)
}

async fn claim_limited(
    app: &App,
    sagas: &dyn Sagas,
    most: usize,
    now: SystemTime,
    name: &str,
    places: &Arc<Places>,
    full: &mut Vec<String>,
) -> Result<Vec<Claimed>, StoreError> {
    let only = || SagaNames::Only(vec![name.to_owned()]);
    if most == 0 {
        return Ok(Vec::new());
    }
    // Asked first: who begins one meanwhile finds the places free.
    if !sagas.is_any_due(now, app.clock().lease_now(), only()).await? {
        places.caught_up();
        return Ok(Vec::new());
    }
    let taken = places.take(most, Instant::now());
    if taken.is_empty() {
        full.push(name.to_owned());
        return Ok(Vec::new());
    }
    let found = claim_some(app, sagas, taken.len(), now, only()).await?;
    if found.len() < taken.len() {
        places.caught_up();
    }
    let begun = Instant::now();
    Ok(found.into_iter().zip(taken.into_iter().map(|place| Some(place.used(begun)))).collect())
}

async fn claim_others(app: &App, sagas: &dyn Sagas, most: usize, now: SystemTime) -> Result<Vec<Claimed>, StoreError> {
    let names = SagaNames::AllBut(app.saga_limits().names());
    // Something is due. Where it may be a saga with limits that waits for its turn, a claim would lock for nothing.
    let is_sure = names == SagaNames::ALL;
    if most == 0 || !(is_sure || sagas.is_any_due(now, app.clock().lease_now(), names.clone()).await?) {
        return Ok(Vec::new());
    }
    let found = claim_some(app, sagas, most, now, names).await?;
    Ok(found.into_iter().map(|saga| (saga, None)).collect())
}

async fn claim_some(
    app: &App,
    sagas: &dyn Sagas,
    limit: usize,
    now: SystemTime,
    names: SagaNames,
) -> Result<Vec<ClaimedSaga>, StoreError> {
    let lease_now = app.clock().lease_now();
    let request =
        ClaimRequest { owner: app.owner(), now, lease_now, lease_until: lease_now + app.options().lease, limit };
    sagas.claim(request, names).await
}

/// Goes on with a saga that was claimed.
async fn take_up(
    app: &App,
    store: &Arc<dyn Driver>,
    claimed: ClaimedSaga,
    since: Instant,
    strangers: &Strangers,
) -> Went {
    pass(FailPoint::SagaTakenUp);
    let ClaimedSaga { claim, row, steps, was_held, events } = claimed;
    let saga = match here(app, &row, steps) {
        Ok(saga) => saga,
        Err(error) => {
            let (saga, name, version) = (&row.id, &row.name, row.version);
            if strangers.is_news(name, version, &error, Instant::now()) {
                tracing::warn!(
                    saga,
                    name,
                    version,
                    error,
                    "a saga cannot be gone on with here; it waits for another program. Of others it is told once an hour"
                );
            } else {
                tracing::debug!(saga, name, version, error, "a saga cannot be gone on with here");
            }
            leave(app, store, claim, &row).await;
            return Went::Left;
        }
    };
    if saga.plan.version() != row.version {
        let (name, from, to) = (&row.name, row.version, saga.plan.version());
        let change = saga.moved(&claim, app.clock().now());
        if !is_stored(app, store, change).await {
            return Went::Waits;
        }
        tracing::info!(saga = row.id, name, from, to, "a saga goes on as a later version");
    }
    let (asked, headers) = (row.asked, row.headers);
    let mut held = Held { claim, saga, headers, asked, since, is_kept: false, events };
    // What was under way is done again; what only waited goes on.
    let effects = if was_held || held.saga.is_busy() {
        match held.saga.turn(Input::Cut, Told::default(), app.clock().now(), random()) {
            Ok(mut turn) => {
                let change = turn.change(&held.claim, app.clock().now(), SagaRest::Held);
                if !is_stored(app, store, change).await {
                    return Went::Waits;
                }
                pass(FailPoint::SagaCut);
                held.saga = turn.next;
                turn.effects
            }
            Err(_) => Vec::new(),
        }
    } else {
        Vec::new()
    };
    let driven = Box::pin(drive(app, store, held, effects)).await;
    driven.map_or(Went::Waits, |outcome| Went::Ended(outcome.phase()))
}

/// A stored saga as this program goes on with it: as a later version that takes it over, or as the one that it is of.
fn here(app: &App, row: &SagaRow, steps: Vec<SagaStep>) -> Result<Instance, String> {
    let (sagas, mut unmoved) = (&app.plan().sagas, None);
    for later in sagas.successors(&row.name, row.version) {
        match migrate::moved(later, row, &steps) {
            Ok(saga) => return Ok(saga),
            Err(error) => {
                tracing::debug!(
                    saga = row.id,
                    error = chain(&error),
                    "a saga cannot go on as a later version, or not yet"
                );
                unmoved = unmoved.or(Some(chain(&error)));
            }
        }
    }
    match sagas.get(&row.name, row.version) {
        Some(plan) => Instance::stored(Arc::clone(plan), row, steps).map_err(|error| chain(&error)),
        None => Err(unmoved.unwrap_or_else(|| "this program does not have that version".to_owned())),
    }
}

async fn is_stored(app: &App, store: &Arc<dyn Driver>, change: SagaChange) -> bool {
    match app.saga_changes().save(store, change).await {
        Ok(saved) => matches!(saved, SagaSaved::Stored(_)),
        Err(error) => {
            tracing::warn!(
                error = chain(&error),
                "a saga could not be taken up; it is tried again when its lease has run out"
            );
            false
        }
    }
}

/// Leaves a saga as it is, to a program that has it.
async fn leave(app: &App, store: &Arc<dyn Driver>, claim: SagaClaim, row: &SagaRow) {
    let now = app.clock().now();
    let change = SagaChange {
        why: row.why.clone(),
        is_cancelled: row.is_cancelled,
        cuts: row.cuts,
        error: row.error.clone(),
        ..SagaChange::new(claim, row.phase, now, SagaRest::Until(now + ABSENT))
    };
    is_stored(app, store, change).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_takes_long_is_followed_by_a_pause_as_long_and_a_quick_one_by_the_rest_of_a_moment() {
        let pauses = [0, 1, 4, 20, 50, 3_000].map(|took| breath(Duration::from_millis(took)).as_millis());
        assert_eq!(pauses, [5, 4, 4, 20, 50, 50]);
    }
}
