//! The loop: claim, publish in the background, settle, renew; and the way out.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::time::{Duration, Instant};

use tokio::sync::futures::OwnedNotified;
use tokio::task::{AbortHandle, Id, JoinError, JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Relay;
use super::judge::{self, Row, Shipment};
use super::lanes::Lanes;
use super::ledger::Ledger;
use super::pace::{Claimed, Pace};
use crate::broker::{BrokerError, BrokerErrorKind};
use crate::clock::Clock;
use crate::fail_points::{FailPoint, pass};
use crate::lane::Lane;
use crate::retry;
use crate::store::driver::ClaimRequest;
use crate::store::{OutboxOutcome, StoreError, StoreErrorKind};

/// How long after one time the store is told the next time what was published, where that is little. Nobody waits for it, and each time is
/// a transaction; but what was not told goes out once more if the process dies.
const MARK_SPACE: Duration = Duration::from_millis(5);

/// Shorter pauses than this are kept by the machine's clock as well: that of a test stands still until it is moved.
const SHORT: Duration = Duration::from_millis(10);

/// What one call to the broker ended with.
type Landing = Result<(Id, Vec<Result<(), BrokerError>>), JoinError>;

/// How often rows are handed back on the way out before the leases are left to run out.
const HAND_BACK_ATTEMPTS: u32 = 3;

/// How long a broker that was closed may take to answer.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// What stands for ever in a loop that compares moments: beyond any process, within any clock.
const FOR_EVER: Duration = Duration::from_hours(100 * 365 * 24);

struct Flight {
    lane: Option<Lane>,
    rows: Vec<Row>,
    abort: AbortHandle,
}

pub(super) struct Engine {
    relay: Relay,
    owner: String,
    pace: Pace,
    /// Kept while the loop is busy, so that a bell that is rung for everybody who listens is not missed meanwhile.
    woken: Pin<Box<OwnedNotified>>,
    ledger: Ledger,
    calls: JoinSet<Vec<Result<(), BrokerError>>>,
    flights: HashMap<Id, Flight>,
    lanes: Lanes,
    renew_at: Instant,
    settle_at: Instant,
    /// When what was published is to be marked, unless there is much of it.
    mark_at: Instant,
    settle_failures: u32,
    /// The store is being told of published rows meanwhile.
    settling: Option<JoinHandle<Result<u64, StoreError>>>,
    stopping: bool,
}

impl Engine {
    pub(super) fn new(relay: Relay) -> Self {
        let now = Instant::now();
        Self {
            owner: format!("{}/relay/{}", relay.owner, Uuid::now_v7().simple()),
            pace: Pace::new(&relay.settings, now),
            woken: Box::pin(relay.wake.clone().notified_owned()),
            relay,
            ledger: Ledger::default(),
            calls: JoinSet::new(),
            flights: HashMap::new(),
            lanes: Lanes::default(),
            renew_at: now,
            settle_at: now,
            mark_at: now,
            settle_failures: 0,
            settling: None,
            stopping: false,
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            self.renew_if_due().await;
            self.settle_if_due().await;
            self.claim_if_due().await;
            self.wait(&stop).await;
        }
        self.drain().await;
        self.hand_back().await;
    }

    /// Whether there is room for a whole batch. Claiming whatever little room there is would mean many small claims.
    fn has_room(&self) -> bool {
        let batch = self.pace.batch();
        self.ledger.len() + batch <= batch * self.relay.settings.in_flight.max(1)
    }

    async fn claim_if_due(&mut self) {
        if Instant::now() < self.pace.next() || !self.has_room() || self.settle_failures > 0 {
            return;
        }
        let asked = self.pace.ask(Instant::now());
        let (now, lease_now) = (self.relay.clock.now(), self.relay.clock.lease_now());
        let lease_until = lease_now + self.relay.settings.lease;
        let request = ClaimRequest { owner: &self.owner, now, lease_now, lease_until, limit: asked };
        match self.relay.store.claim_outbox(request).await {
            Err(error) => self.store_failed("claim outbox rows", &error),
            Ok(rows) => {
                if !rows.is_empty() {
                    pass(FailPoint::RelayClaimed);
                }
                let busy = self.ledger.len() > 0;
                let bytes = rows.iter().map(|row| row.record.payload.len()).sum();
                self.pace.claimed(Instant::now(), Claimed { asked, got: rows.len(), bytes, busy });
                if !busy {
                    self.renew_at = Instant::now() + self.relay.settings.lease / 3;
                }
                self.ledger.hold(rows.iter().map(|row| row.claim));
                let plan = judge::plan(rows, self.relay.settings.payload_limit);
                for (claim, outcome) in plan.ended {
                    if let OutboxOutcome::Dead { error } = &outcome {
                        tracing::error!(seq = claim.seq, %error, "an event cannot be published: it is a dead letter");
                    }
                    self.ledger.ended(claim, outcome);
                }
                for shipment in plan.shipments {
                    self.ship(shipment);
                }
                self.consult_due().await;
            }
        }
    }

    /// Asks the store what is due next, once the relay has been idle for a while: another instance's retry may be due
    /// before the next poll.
    async fn consult_due(&mut self) {
        if !self.pace.is_idle() {
            return;
        }
        if let Ok(Some(due)) = self.relay.store.next_outbox_due().await {
            let pause = due.duration_since(self.relay.clock.now()).unwrap_or_default();
            if pause < self.relay.settings.poll_ceiling {
                self.pace.due_in(Instant::now(), pause);
            }
        }
    }

    /// Publishes, unless something of the lane is on its way: then once that has arrived.
    fn ship(&mut self, shipment: Shipment) {
        let Some(shipment) = self.lanes.enter(shipment) else { return };
        let broker = self.relay.broker.clone();
        let abort = self.calls.spawn(async move { broker.publish(shipment.batch).await });
        self.flights.insert(abort.id(), Flight { lane: shipment.lane, rows: shipment.rows, abort });
        pass(FailPoint::RelayShipped);
    }

    /// Waits until there is something to do.
    async fn wait(&mut self, stop: &CancellationToken) {
        let until = self.next_turn();
        let clock = &self.relay.clock;
        let pause = until.saturating_duration_since(Instant::now());
        tokio::select! {
            () = stop.cancelled() => {}
            Some(landing) = self.calls.join_next_with_id() => self.land(landing),
            result = settling(&mut self.settling) => {
                self.settling = None;
                self.told(result);
            }
            () = self.woken.as_mut() => {
                self.woken.set(self.relay.wake.clone().notified_owned());
                self.pace.woken(Instant::now());
            }
            () = rest(clock, pause) => {
                let now = Instant::now();
                // Timers are a little early or late; a clock that somebody moves ends the wait long before.
                if now + pause.min(self.relay.settings.poll_first) / 2 < until {
                    self.pace.moved(now);
                    self.renew_at = now;
                }
            }
        }
    }

    /// When the loop has something to do even if nothing happens.
    fn next_turn(&self) -> Instant {
        let renew = (self.ledger.len() > 0).then_some(self.renew_at);
        let settle = (!self.ledger.unsettled().is_empty() && self.settling.is_none())
            .then(|| self.settle_at.max(self.mark_due()));
        let claim = (self.has_room() && self.settle_failures == 0).then(|| self.pace.next());
        let turns = [renew, settle, claim].into_iter().flatten();
        turns.min().unwrap_or_else(|| Instant::now() + self.relay.settings.poll_ceiling)
    }

    /// Takes what has ended: this call, and every other that has, so that they are settled together.
    fn land(&mut self, landing: Landing) {
        let mut landing = Some(landing);
        while let Some(ended) = landing {
            match ended {
                Ok((id, results)) => self.ended(id, results),
                // An aborted call's rows were lost or are being handed back.
                Err(error) if error.is_cancelled() => {
                    if let Some(flight) = self.flights.remove(&error.id()) {
                        self.follow(flight.lane, false);
                    }
                }
                Err(error) => self.ended(error.id(), Vec::new()),
            }
            landing = self.calls.try_join_next_with_id();
        }
    }

    fn ended(&mut self, id: Id, results: Vec<Result<(), BrokerError>>) {
        let Some(flight) = self.flights.remove(&id) else { return };
        pass(FailPoint::RelayAnswered);
        for result in &results {
            self.note(result);
        }
        // The broker went before the relay did. What it had confirmed until then must not go out again; the rest stays
        // held, and so is handed back as if it had not been attempted.
        let gone = if self.stopping { results.iter().position(is_closed) } else { None }.unwrap_or(flight.rows.len());
        let now = self.relay.clock.now();
        let outcomes =
            judge::outcomes(&flight.rows, flight.lane.is_some(), results, now, &self.relay.settings, retry::random());
        let is_published = outcomes.iter().all(|(_, outcome)| outcome.is_published());
        for (at, (claim, outcome)) in outcomes.into_iter().enumerate() {
            if at < gone || outcome.is_published() {
                self.ledger.ended(claim, outcome);
            }
        }
        self.follow(flight.lane, is_published);
    }

    /// Sends what waited behind a shipment after it. Where that was not published as a whole, or something of what waited is
    /// somebody else's now, it is handed back: an earlier row of its key comes first.
    fn follow(&mut self, lane: Option<Lane>, is_published: bool) {
        let Some(next) = self.lanes.leave(lane) else { return };
        if is_published && !self.stopping && next.rows.iter().all(|row| self.ledger.holds(row.claim)) {
            self.ship(next);
        } else {
            next.rows.iter().for_each(|row| self.ledger.ended(row.claim, OutboxOutcome::HandBack));
        }
    }

    /// Lets the pace know how the broker is, and whoever reads the log.
    fn note(&mut self, result: &Result<(), BrokerError>) {
        match result {
            Ok(()) => {
                if self.pace.heard() {
                    tracing::info!(broker = self.relay.broker.name(), "the broker takes events again");
                }
            }
            Err(error) if error.kind() == BrokerErrorKind::Refused => {
                tracing::error!(error = judge::explain(error), "the broker refuses an event: it is a dead letter");
                self.pace.heard();
            }
            Err(error) => {
                if let Some(pause) = self.pace.failed(Instant::now(), retry::random()) {
                    let broker = self.relay.broker.name();
                    tracing::warn!(broker, ?pause, error = judge::explain(error), "the broker takes no events");
                }
            }
        }
    }

    /// Tells the store what became of rows: in the background where all of it is that they were published. Anything else changes
    /// what may be claimed, and comes before the next claim.
    async fn settle_if_due(&mut self) {
        if self.ledger.unsettled().is_empty() || Instant::now() < self.settle_at {
            return;
        }
        let is_published = |(_, outcome): &(_, OutboxOutcome)| outcome.is_published();
        if !self.stopping && self.settle_failures == 0 && self.ledger.unsettled().iter().all(is_published) {
            if self.settling.is_none() && Instant::now() >= self.mark_due() {
                pass(FailPoint::RelaySettling);
                self.mark_at = Instant::now() + MARK_SPACE;
                let (store, outcomes) = (self.relay.store.clone(), self.ledger.tell());
                self.settling = Some(tokio::spawn(async move { store.settle_outbox(outcomes).await }));
            }
            return;
        }
        self.finish_settling().await;
        self.settle().await;
    }

    /// When the store is to be told what was published: in the middle of a backlog at once, otherwise a little later than the last time.
    fn mark_due(&self) -> Instant {
        if self.ledger.unsettled().len() * 4 >= self.pace.batch() { self.settle_at } else { self.mark_at }
    }

    async fn settle(&mut self) {
        self.ledger.level();
        let outcomes = self.ledger.unsettled().to_vec();
        let count = outcomes.len();
        pass(FailPoint::RelaySettling);
        let mut result = self.relay.store.settle_outbox(outcomes).await;
        if result.as_ref().is_err_and(|error| !error.is_retryable()) && count > 1 {
            result = self.settle_one_by_one().await;
        }
        if result.is_ok() {
            self.ledger.settled();
        }
        self.settled(count, result);
    }

    async fn finish_settling(&mut self) {
        if let Some(settling) = self.settling.take() {
            let result = settling.await;
            self.told(result);
        }
    }

    /// The store has been told in the background, or could not be.
    fn told(&mut self, result: Result<Result<u64, StoreError>, JoinError>) {
        let count = self.ledger.told();
        let panicked =
            |error: JoinError| StoreError::new(StoreErrorKind::Database, "settling panicked").with_source(error);
        let result = result.unwrap_or_else(|error| Err(panicked(error)));
        if result.is_ok() {
            self.ledger.was_told();
        } else {
            self.ledger.were_not_told();
        }
        self.settled(count, result);
    }

    fn settled(&mut self, count: usize, result: Result<u64, StoreError>) {
        match result {
            Ok(settled) => {
                pass(FailPoint::RelaySettled);
                if settled < count as u64 {
                    tracing::warn!(lost = count as u64 - settled, "claims of published events had run out");
                }
                self.settle_failures = 0;
                self.pace.settled(Instant::now(), self.ledger.len() > 0);
            }
            Err(error) => {
                self.settle_failures = self.settle_failures.saturating_add(1);
                let pause = self.relay.settings.retry.pause(self.settle_failures, retry::random());
                self.settle_at = Instant::now() + pause;
                tracing::warn!(error = judge::explain(&error), ?pause, "published events cannot be settled yet");
            }
        }
    }

    /// Settles each row by itself, so that the one the store cannot take holds up no other.
    async fn settle_one_by_one(&mut self) -> Result<u64, StoreError> {
        let (mut settled, mut failed) = (0, None);
        for (claim, outcome) in self.ledger.unsettled().to_vec() {
            match self.relay.store.settle_outbox(vec![(claim, outcome)]).await {
                Ok(count) => {
                    settled += count;
                    self.ledger.settled_one(claim);
                }
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(settled), Err)
    }

    async fn renew_if_due(&mut self) {
        if self.ledger.len() == 0 || Instant::now() < self.renew_at {
            return;
        }
        let (lease, begun) = (self.relay.settings.lease, Instant::now());
        let asked = self.ledger.claims();
        match self.relay.store.renew_outbox(asked.clone(), self.relay.clock.lease_now() + lease).await {
            Err(error) => {
                self.renew_at = Instant::now() + lease / 6;
                tracing::warn!(error = judge::explain(&error), "claims of outbox rows cannot be renewed");
            }
            Ok(kept) => {
                // The lease counts from when it was asked for, however long the renewal took.
                self.renew_at = (begun + lease / 3).max(Instant::now() + lease / 12);
                let lost = self.ledger.renewed(&asked, &kept);
                if lost > 0 {
                    tracing::warn!(lost, "claims of outbox rows ran out before the broker confirmed them");
                    self.abort_lost();
                }
            }
        }
    }

    /// Stops waiting for what is somebody else's now.
    fn abort_lost(&self) {
        let lost = |flight: &&Flight| !flight.rows.iter().any(|row| self.ledger.holds(row.claim));
        self.flights.values().filter(lost).for_each(|flight| flight.abort.abort());
    }

    fn store_failed(&mut self, what: &str, error: &StoreError) {
        let pause = self.pace.failed(Instant::now(), retry::random());
        tracing::warn!(error = judge::explain(error), ?pause, "the store cannot {what}");
    }

    /// Waits for what is in flight, at most for the shutdown timeout.
    async fn drain(&mut self) {
        self.stopping = true;
        self.finish_settling().await;
        let deadline = after(self.relay.settings.shutdown_timeout);
        while Instant::now() < deadline {
            self.renew_if_due().await;
            self.settle_if_due().await;
            if self.flights.is_empty() && self.ledger.unsettled().is_empty() {
                break;
            }
            let settle = (!self.ledger.unsettled().is_empty()).then_some(self.settle_at);
            let renew = (self.ledger.len() > 0).then_some(self.renew_at);
            let until = settle.into_iter().chain(renew).fold(deadline, Instant::min);
            tokio::select! {
                Some(landing) = self.calls.join_next_with_id() => self.land(landing),
                () = tokio::time::sleep_until(until.into()) => {}
            }
        }
        if !self.flights.is_empty() && !self.relay.broker.crosses_processes() {
            // A call says nothing before all of its rows are answered for; closed, the broker answers at once, and rows
            // that it had confirmed do not go out again. It costs nobody anything: such a broker has no users but this
            // process, and what it has not confirmed by now is handed back anyway.
            self.relay.broker.close().await;
            let _ = tokio::time::timeout(LAST_ANSWERS, self.land_all()).await;
        }
        self.calls.abort_all();
        self.land_all().await;
    }

    async fn land_all(&mut self) {
        while let Some(landing) = self.calls.join_next_with_id().await {
            self.land(landing);
        }
    }

    /// Settles what has ended in time, and hands back the rest as if it had not been attempted.
    async fn hand_back(&mut self) {
        pass(FailPoint::RelayHandingBack);
        for claim in self.ledger.claims() {
            if !self.ledger.unsettled().iter().any(|(other, _)| *other == claim) {
                self.ledger.ended(claim, OutboxOutcome::HandBack);
            }
        }
        for attempt in 1..=HAND_BACK_ATTEMPTS {
            self.settle_at = Instant::now();
            self.settle_if_due().await;
            if self.ledger.len() == 0 {
                return;
            }
            tokio::time::sleep(self.relay.settings.retry.pause(attempt, retry::random())).await;
        }
    }
}

/// Waits for what the store is being told; for ever where that is nothing.
async fn settling(
    task: &mut Option<JoinHandle<Result<u64, StoreError>>>,
) -> Result<Result<u64, StoreError>, JoinError> {
    match task {
        Some(task) => task.await,
        None => std::future::pending().await,
    }
}

/// Waits by the app's clock, and a short pause by the machine's as well.
async fn rest(clock: &Clock, pause: Duration) {
    let by_clock = clock.sleep_until(clock.now() + pause);
    if pause >= SHORT {
        return by_clock.await;
    }
    tokio::select! {
        () = by_clock => {}
        () = tokio::time::sleep(pause) => {}
    }
}

/// The moment after a pause, however long somebody has set it.
fn after(pause: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(pause).unwrap_or_else(|| now + FOR_EVER)
}

fn is_closed(result: &Result<(), BrokerError>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == BrokerErrorKind::Closed)
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("ledger", &self.ledger).field("pace", &self.pace).finish_non_exhaustive()
    }
}
