//! What claims are like in every store on a database: who asks, for what, and from when a lease counts.

use std::time::{Duration, Instant, SystemTime};

use super::driver::{ClaimRequest, WorkShare};
use super::{ClaimedWork, WorkKind, WorkQueue, WorkRecord, rows};

/// How many ready rows of a queue one claim looks at, however many of them stand behind others of their lane. The rest is
/// the next one's: others wait meanwhile.
pub(super) const MOST_LOOKED_AT: usize = 1_000;

/// A claim request that owns its parts, with times as they are stored.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) owner: String,
    pub(super) now: i64,
    pub(super) lease_now: i64,
    /// Until when the claim holds: as it was asked for, or once it is [`granted`](Self::granted), counted from then.
    pub(super) lease_until: i64,
    pub(super) limit: usize,
    /// How long the lease is that was asked for.
    lease: i64,
    asked: Instant,
    #[cfg(feature = "sqlite")]
    waited: i64,
}

impl Request {
    /// A request that is made just now.
    pub(super) fn new(request: &ClaimRequest<'_>) -> Self {
        let (lease_now, lease_until) = (rows::micros(request.lease_now), rows::micros(request.lease_until));
        Self {
            owner: request.owner.to_owned(),
            now: rows::micros(request.now),
            lease_now,
            lease_until,
            limit: request.limit,
            lease: lease_until.saturating_sub(lease_now),
            asked: Instant::now(),
            #[cfg(feature = "sqlite")]
            waited: 0,
        }
    }

    /// The same, granted just now. It may have had to wait: for a connection, for its turn to read, for those who write. What it
    /// claims counts from now.
    pub(super) fn granted(&self) -> Self {
        let waited = rows::span(self.asked.elapsed());
        let lease_until = self.lease_now.saturating_add(self.lease).saturating_add(waited);
        Self {
            lease_until,
            #[cfg(feature = "sqlite")]
            waited,
            ..self.clone()
        }
    }

    /// For how long a claim may look on behind rows that it cannot take: others wait for it meanwhile, and renew nothing.
    fn patience(&self) -> Duration {
        Duration::from_micros((self.lease / 6).unsigned_abs())
    }

    /// How long a lease is.
    #[cfg(feature = "sqlite")]
    pub(super) fn lease(&self) -> i64 {
        self.lease
    }

    /// Until when an owner whose lease has run out is doubted before its work is taken back: for as long as it waits, while it
    /// lives, from one renewal to the next. It had to wait, too.
    #[cfg(feature = "sqlite")]
    pub(super) fn doubt_until(&self) -> i64 {
        self.lease_now.saturating_add(self.lease / 3).saturating_add(self.waited)
    }
}

/// For how long claims of one process look on behind rows that they cannot take.
#[derive(Debug, Default)]
pub(super) struct Looking {
    /// When one last got to the end, or had the time to.
    last: Option<Instant>,
}

/// The time for a claim while rows are under way: what is settled, and what comes next of their keys, waits for it.
const BUSY: Duration = Duration::from_millis(50);

/// How often a claim has more than that all the same, since other keys may wait behind those that are under way.
const ALL_THE_SAME: Duration = Duration::from_secs(1);

impl Looking {
    /// Until when the next claim looks on.
    pub(super) fn until(&mut self, request: &Request, is_busy: bool) -> Instant {
        let now = Instant::now();
        if is_busy && self.last.is_some_and(|last| now.duration_since(last) < ALL_THE_SAME) {
            return now + BUSY;
        }
        self.last = Some(now);
        now + request.patience()
    }

    /// A claim got to the end.
    pub(super) fn got_to_the_end(&mut self) {
        self.last = Some(Instant::now());
    }
}

/// The queues of a claim, as a store asks for them, and how much of them there is room for.
pub(super) struct Wanted<'a, Q> {
    pub(super) queues: Q,
    /// Of each queue, its share.
    shares: Vec<usize>,
    /// Of each share, how to ask for its limit.
    limits: Vec<&'a (dyn Fn() -> usize + Send + Sync)>,
    /// Of each queue, whether it is of timers.
    #[cfg(feature = "mysql")]
    timers: Vec<bool>,
}

impl<'a, Q> Wanted<'a, Q> {
    pub(super) fn new(shares: &[WorkShare<'a>], queues: impl FnOnce(Vec<&'a WorkQueue>) -> Q) -> Self {
        let share_of = |(at, share): (usize, &WorkShare<'_>)| vec![at; share.queues.len()];
        Self {
            queues: queues(shares.iter().flat_map(|share| share.queues).collect()),
            shares: shares.iter().enumerate().flat_map(share_of).collect(),
            limits: shares.iter().map(|share| share.limit).collect(),
            #[cfg(feature = "mysql")]
            timers: shares.iter().flat_map(|share| share.queues).map(|queue| queue.kind == WorkKind::Timer).collect(),
        }
    }

    /// Whether a queue is of timers, by its place in the list.
    #[cfg(feature = "mysql")]
    pub(super) fn is_of_timers(&self, place: usize) -> bool {
        self.timers.get(place).copied().unwrap_or_default()
    }

    /// The share of a queue, by its place in the list.
    pub(super) fn share(&self, place: i64) -> Option<usize> {
        self.shares.get(usize::try_from(place).ok()?).copied()
    }

    /// Asks how much there is room for, of each share.
    pub(super) fn limits(&self) -> Vec<usize> {
        self.limits.iter().map(|limit| limit()).collect()
    }
}

/// The state work begins in. Waiting work is woken, or taken, when it is due, so waiting is never wrong; what is due as soon as it
/// is made spares the waking. A consumed message was made elsewhere, by another clock.
pub(super) fn first_state(record: &WorkRecord) -> &'static str {
    if record.dead {
        "dead"
    } else if record.kind != WorkKind::Consumed && record.due_at <= record.created_at {
        "ready"
    } else {
        "waiting"
    }
}

/// Puts what was claimed in the order in which it was looked for: as it was stored, then the timers that waited, as they fell due.
/// These are taken from among those that wait, and never woken: once they were, nobody would know which is the most overdue.
pub(super) fn put_in_order(claimed: &mut [ClaimedWork]) {
    claimed.sort_unstable_by_key(|work| (waited_until(&work.record), work.claim.seq));
}

/// Until when a timer waited.
pub(super) fn waited_until(record: &WorkRecord) -> Option<SystemTime> {
    (record.kind == WorkKind::Timer && record.due_at > record.created_at).then_some(record.due_at)
}
