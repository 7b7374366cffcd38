//! When the relay claims next, and how many rows. Pure: time and chance are arguments.
//!
//! While the broker takes what it is given, each full claim is followed by one of twice the size, up to the largest that is allowed
//! and as long as what it brings stays small; rows that turn out large make the next one smaller.
//!
//! Woken, it claims at once. Otherwise it polls: after a full claim at once, after a partial one soon, after each empty
//! one twice as late as before, up to the ceiling. While the broker or the store fails, claims are barred, each time for
//! longer, and the first ones afterwards are small: a whole outbox must not use up its attempts on a broker that is down.

use std::time::{Duration, Instant};

use super::RelaySettings;
use crate::retry::RetryPolicy;

/// How many rows the first claim asks for, and the first after a failure.
const FIRST_BATCH: usize = 100;

/// How many bytes of payload a claim should bring at most, going by the last one.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// How many rows a claim asks for while the broker has not been heard of since a failure.
const PROBE: usize = 10;

/// What the store says is due next may be another instance's to take: trusted, but not more often than this.
const LEAST_PAUSE: Duration = Duration::from_millis(500);

/// How long after a claim that found all there was the next one is made at the soonest. Under load each commit would have a claim of its
/// own otherwise, which costs the database more than the insert; what a message waits for it, others would wait for the processor.
const SPACE: Duration = Duration::from_millis(1);

/// What is known of the broker since the last claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Voice {
    /// Nothing.
    Silent,
    /// It took something.
    Heard,
    /// A small claim was made to see if it is back; it has not answered yet.
    Probed,
}

/// What a claim brought.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claimed {
    pub(super) asked: usize,
    pub(super) got: usize,
    /// How large the payloads are together.
    pub(super) bytes: usize,
    /// Whether others were in flight before.
    pub(super) busy: bool,
}

#[derive(Debug)]
pub(super) struct Pace {
    /// How many rows a claim asks for, and at most.
    batch: usize,
    most: usize,
    /// Whether the broker has taken something since the last time claims grew.
    may_grow: bool,
    first: Duration,
    ceiling: Duration,
    retry: RetryPolicy,
    pause: Duration,
    next: Instant,
    barred_until: Option<Instant>,
    failures: u32,
    voice: Voice,
    /// Whether somebody woke the relay since the last claim.
    woken: bool,
    /// Whether a claim that was asked for found rows of other keys only, perhaps because theirs were in flight.
    echo: bool,
    /// When a claim that brought less than it asked for may be followed by another one.
    spaced_until: Instant,
}

impl Pace {
    pub(super) fn new(settings: &RelaySettings, now: Instant) -> Self {
        Self {
            batch: settings.batch.min(FIRST_BATCH),
            most: settings.batch,
            may_grow: false,
            first: settings.poll_first,
            ceiling: settings.poll_ceiling.max(settings.poll_first),
            retry: settings.retry,
            pause: settings.poll_first,
            next: now,
            barred_until: None,
            failures: 0,
            voice: Voice::Silent,
            woken: false,
            echo: false,
            spaced_until: now,
        }
    }

    /// When the next claim is due.
    pub(super) fn next(&self) -> Instant {
        let next = self.next.max(self.spaced_until);
        self.barred_until.map_or(next, |bar| bar.max(next))
    }

    /// How many rows the next claim asks for, and notes that it is being made.
    pub(super) fn ask(&mut self, now: Instant) -> usize {
        self.voice = Voice::Silent;
        if self.failures == 0 {
            return self.batch;
        }
        // The next one waits for the answer, but not for ever: the broker may hang instead of failing.
        self.voice = Voice::Probed;
        self.barred_until = Some(now + self.retry.ceiling);
        self.batch.min(PROBE)
    }

    /// How many rows a claim asks for.
    pub(super) fn batch(&self) -> usize {
        self.batch
    }

    /// A claim asked for rows, and got some or none.
    pub(super) fn claimed(&mut self, now: Instant, Claimed { asked, got, bytes, busy }: Claimed) {
        self.echo |= self.woken && busy;
        self.woken = false;
        if got == 0 {
            if self.voice == Voice::Probed {
                self.voice = Voice::Silent;
                // There was nothing to probe with.
                self.barred_until = None;
            }
            self.next = now + self.pause;
            self.pause = (self.pause * 2).min(self.ceiling);
            return;
        }
        if got < asked {
            self.spaced_until = now + SPACE;
        }
        self.resize(asked, got, bytes);
        self.pause = self.first;
        self.next = if got < asked { now + self.pause } else { now };
    }

    fn resize(&mut self, asked: usize, got: usize, bytes: usize) {
        if got == asked && asked == self.batch && std::mem::take(&mut self.may_grow) {
            self.batch = self.batch.saturating_mul(2);
        }
        let fits = MOST_BYTES.checked_div(bytes / got).unwrap_or(usize::MAX);
        self.batch = self.batch.min(fits).clamp(1, self.most.max(1));
    }

    /// Somebody committed rows.
    pub(super) fn woken(&mut self, now: Instant) {
        self.woken = true;
        self.next = self.next.min(now);
    }

    /// The app's clock was moved: nothing that was planned still holds.
    pub(super) fn moved(&mut self, now: Instant) {
        self.barred_until = None;
        self.voice = Voice::Silent;
        self.pause = self.first;
        self.spaced_until = now;
        self.next = now;
    }

    /// Rows were settled, so the next ones of their keys are free; `busy` says whether others are still in flight.
    pub(super) fn settled(&mut self, now: Instant, busy: bool) {
        self.pause = self.first;
        self.next = self.next.min(if self.echo { now } else { now + self.pause });
        self.echo &= busy;
    }

    /// Whether the relay has been idle for so long that it is worth asking the store what is due next.
    pub(super) fn is_idle(&self) -> bool {
        self.pause >= self.ceiling && self.failures == 0
    }

    /// The store says that something is due in a while.
    pub(super) fn due_in(&mut self, now: Instant, pause: Duration) {
        self.next = self.next.min(now + pause.max(LEAST_PAUSE));
    }

    /// The broker took something. Whether it is back from a failure.
    pub(super) fn heard(&mut self) -> bool {
        self.voice = Voice::Heard;
        self.may_grow = true;
        self.barred_until = None;
        std::mem::take(&mut self.failures) > 0
    }

    /// The broker or the store failed. The pause, where this begins or prolongs an outage: not where the broker took
    /// something else since the last claim, nor where claims are barred already.
    pub(super) fn failed(&mut self, now: Instant, random: f64) -> Option<Duration> {
        let barred = self.barred_until.is_some_and(|bar| now < bar);
        if self.voice == Voice::Heard || (barred && self.voice != Voice::Probed) {
            return None;
        }
        self.voice = Voice::Silent;
        self.failures = self.failures.saturating_add(1);
        self.batch = self.most.min(FIRST_BATCH);
        self.may_grow = false;
        let pause = self.retry.pause(self.failures, random);
        self.barred_until = Some(now + pause);
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Claimed, Pace, RelaySettings};

    const MS: Duration = Duration::from_millis(1);

    fn pace() -> (Pace, Instant) {
        let now = Instant::now();
        (Pace::new(&RelaySettings::default(), now), now)
    }

    /// Rows of a byte each.
    fn got(asked: usize, got: usize, busy: bool) -> Claimed {
        Claimed { asked, got, bytes: got, busy }
    }

    /// Claims nothing whenever a claim is due, for so long. Gives how long after the start each claim was made.
    fn idle(pace: &mut Pace, start: Instant, span: Duration) -> Vec<u128> {
        let mut claims = Vec::new();
        while pace.next() <= start + span {
            let now = pace.next();
            claims.push((now - start).as_millis());
            let asked = pace.ask(now);
            pace.claimed(now, got(asked, 0, false));
        }
        claims
    }

    #[test]
    fn empty_claims_come_ever_later_up_to_the_ceiling() {
        let (mut pace, start) = pace();
        let claims = idle(&mut pace, start, MS * 5000);
        assert_eq!(claims, [0, 50, 150, 350, 750, 1550, 2550, 3550, 4550]);
        assert!(pace.is_idle());
    }

    #[test]
    fn idle_costs_at_most_five_queries_a_second_even_where_something_is_always_due() {
        let (mut pace, start) = pace();
        idle(&mut pace, start, MS * 2000);
        let (from, mut queries) = (pace.next(), 0);
        while pace.next() <= from + MS * 10_000 {
            let now = pace.next();
            pace.claimed(now, got(100, 0, false));
            queries += 1;
            if pace.is_idle() {
                pace.due_in(now, Duration::ZERO);
                queries += 1;
            }
        }
        assert!(queries <= 50, "{queries} in ten seconds");
    }

    #[test]
    fn a_full_claim_is_followed_by_another_a_partial_one_by_a_pause() {
        let (mut pace, start) = pace();
        pace.claimed(start, got(100, 100, false));
        assert_eq!(pace.next(), start);
        pace.claimed(start, got(100, 99, true));
        assert_eq!(pace.next(), start + MS * 50);
    }

    #[test]
    fn woken_it_claims_at_once() {
        let (mut pace, start) = pace();
        idle(&mut pace, start, MS * 5000);
        pace.woken(start + MS * 5001);
        assert_eq!(pace.next(), start + MS * 5001);
    }

    #[test]
    fn woken_again_and_again_it_lets_some_come_together() {
        let (mut pace, start) = pace();
        pace.woken(start);
        pace.claimed(start, got(100, 1, false));
        pace.woken(start + MS / 4);
        assert_eq!(pace.next(), start + super::SPACE);
        pace.claimed(start + MS, got(100, 0, true));
        pace.woken(start + MS * 2);
        assert_eq!(pace.next(), start + MS * 2, "the last one found nothing");
        pace.claimed(start + MS * 2, got(100, 100, true));
        assert_eq!(pace.next(), start + MS * 2, "there is more");
    }

    #[test]
    fn woken_while_rows_are_in_flight_it_claims_again_when_they_are_settled() {
        let (mut pace, start) = pace();
        pace.woken(start);
        pace.claimed(start, got(100, 0, true));
        pace.settled(start + MS, true);
        assert_eq!(pace.next(), start + MS);
        pace.claimed(start + MS, got(100, 0, true));
        pace.settled(start + MS * 2, false);
        assert_eq!(pace.next(), start + MS * 2);
        pace.claimed(start + MS * 2, got(100, 1, false));
        pace.settled(start + MS * 3, false);
        assert_eq!(pace.next(), start + MS * 52, "nobody woke it since");
    }

    #[test]
    fn an_outage_bars_claims_for_ever_longer_and_probes_small() {
        let (mut pace, start) = pace();
        assert_eq!(pace.ask(start), 100);
        pace.claimed(start, got(100, 100, false));
        assert_eq!(pace.failed(start, 1.0), Some(MS * 100));
        assert_eq!(pace.failed(start + MS, 1.0), None, "the same outage");
        pace.woken(start + MS);
        assert_eq!(pace.next(), start + MS * 100, "being woken does not bring the broker back");
        assert_eq!(pace.ask(start + MS * 100), 10);
        pace.claimed(start + MS * 100, got(10, 10, false));
        assert_eq!(pace.next(), start + MS * 5100, "the probe's answer comes first");
        assert_eq!(pace.failed(start + MS * 100, 1.0), Some(MS * 200));
        assert_eq!(pace.next(), start + MS * 300);
        assert!(!pace.is_idle());
        assert!(pace.heard());
        assert!(!pace.heard());
        assert_eq!(pace.ask(start), 100);
    }

    #[test]
    fn one_failing_topic_is_no_outage() {
        let (mut pace, start) = pace();
        pace.ask(start);
        pace.claimed(start, got(100, 100, false));
        pace.heard();
        assert_eq!(pace.failed(start, 1.0), None);
        assert_eq!(pace.next(), start);
    }

    #[test]
    fn a_clock_that_moved_ends_every_pause() {
        let (mut pace, start) = pace();
        pace.claimed(start, got(100, 0, false));
        pace.failed(start, 1.0);
        pace.moved(start + MS);
        assert_eq!(pace.next(), start + MS);
    }

    #[test]
    fn full_claims_grow_and_an_outage_makes_them_small_again() {
        let (mut pace, start) = pace();
        let mut sizes = Vec::new();
        for _ in 0..7 {
            let asked = pace.ask(start);
            sizes.push(asked);
            pace.heard();
            pace.claimed(start, got(asked, asked, true));
        }
        assert_eq!(sizes, [100, 200, 400, 800, 1_600, 2_000, 2_000]);
        pace.claimed(start, got(2_000, 10, true));
        assert_eq!(pace.batch(), 2_000, "one that is not full says nothing");
        pace.ask(start);
        pace.failed(start, 1.0);
        pace.heard();
        assert_eq!(pace.ask(start), 100);
    }

    #[test]
    fn claims_do_not_grow_before_the_broker_has_taken_something() {
        let (mut pace, start) = pace();
        pace.claimed(start, got(100, 100, true));
        assert_eq!(pace.ask(start), 100);
        pace.heard();
        pace.claimed(start, got(100, 100, true));
        pace.claimed(start, got(200, 200, true));
        assert_eq!(pace.ask(start), 200, "nothing was heard since");
    }

    #[test]
    fn large_rows_are_claimed_in_small_batches() {
        let (mut pace, start) = pace();
        let large = |asked, bytes: usize| Claimed { asked, got: asked, bytes: asked * bytes, busy: true };
        pace.claimed(start, large(100, 1024 * 1024));
        assert_eq!(pace.ask(start), 16);
        pace.claimed(start, large(16, 64 * 1024 * 1024));
        assert_eq!(pace.ask(start), 1);
        pace.heard();
        pace.claimed(start, large(1, 200));
        assert_eq!(pace.ask(start), 2);
        pace.heard();
        let none = Claimed { bytes: 0, ..got(2, 2, true) };
        pace.claimed(start, none);
        assert_eq!(pace.ask(start), 4, "rows without a payload");
    }

    #[test]
    fn no_claim_is_larger_than_is_allowed() {
        let now = Instant::now();
        let mut pace = Pace::new(&RelaySettings { batch: 7, ..RelaySettings::default() }, now);
        pace.heard();
        pace.claimed(now, got(7, 7, false));
        assert_eq!(pace.ask(now), 7);
    }
}
