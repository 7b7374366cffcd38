//! How many sagas of one name this process goes on with at once, and how many it takes on in a time. No clock is asked: the time is given.
//!
//! Who goes on with a saga has a place for it, from before it is started or claimed until it ends or is let go. Sagas without limits need
//! none.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Each of so many is remembered for its time.
const HIGHEST: usize = 100_000;

/// So many in such a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) count: usize,
    pub(crate) per: Duration,
}

impl Rate {
    /// `"100/s"`, `"30/m"`, `"500/h"`: as the attribute reads it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (count, unit) = text.split_once('/')?;
        let per = match unit {
            "s" => Duration::from_secs(1),
            "m" => Duration::from_mins(1),
            "h" => Duration::from_hours(1),
            _ => return None,
        };
        let is_number = count.bytes().all(|byte| byte.is_ascii_digit());
        let count = count.parse().ok().filter(|count| is_number && (1..=HIGHEST).contains(count))?;
        Some(Self { count, per })
    }
}

/// What is said about the limits of a saga.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LimitsItem {
    pub(crate) concurrency: Option<usize>,
    pub(crate) rate: Option<Rate>,
}

impl LimitsItem {
    pub(crate) const NONE: Self = Self { concurrency: None, rate: None };

    /// What these leave out comes from `before`.
    pub(crate) fn or(self, before: Self) -> Self {
        Self { concurrency: self.concurrency.or(before.concurrency), rate: self.rate.or(before.rate) }
    }
}

/// The places of every saga that has limits.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    all: BTreeMap<&'static str, Arc<Places>>,
    /// For the worker: a place is free again.
    freed: Arc<Notify>,
    turn: AtomicUsize,
}

impl Limits {
    pub(crate) fn new(items: impl IntoIterator<Item = (&'static str, LimitsItem)>) -> Self {
        let freed = Arc::new(Notify::new());
        let limited = items.into_iter().filter(|(_, item)| *item != LimitsItem::NONE);
        let all = limited.map(|(name, item)| (name, Arc::new(Places::new(item, Arc::clone(&freed)))));
        Self { all: all.collect(), freed, turn: AtomicUsize::new(0) }
    }

    /// The places of a saga, where it has limits.
    pub(crate) fn of(&self, name: &str) -> Option<&Arc<Places>> {
        self.all.get(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, &Arc<Places>)> {
        self.all.iter().map(|(name, places)| (*name, places))
    }

    /// Every saga that has limits.
    pub(crate) fn names(&self) -> Vec<String> {
        self.all.keys().map(|name| (*name).to_owned()).collect()
    }

    /// In another order each time: so none of them is always the first.
    pub(crate) fn turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// Sagas of which this process takes on no more now.
    pub(crate) fn full(&self, now: Instant) -> Vec<String> {
        self.iter().filter(|(_, places)| places.room(now) == 0).map(|(name, _)| name.to_owned()).collect()
    }

    /// Until there may be room again for one of them that is full.
    pub(crate) async fn room(&self) {
        let freed = self.freed.notified();
        let now = Instant::now();
        let room = self.all.values().filter_map(|places| places.next_room(now)).min();
        tokio::select! {
            () = freed => {}
            () = sleep_until(room) => {}
        }
    }
}

async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// The places of one saga in this process.
#[derive(Debug)]
pub(crate) struct Places {
    item: LimitsItem,
    state: Mutex<State>,
    /// For those who wait for a place: one is free again.
    free: Notify,
    /// For the worker, who waits for a place of any saga.
    freed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    going: usize,
    /// When those were taken on that count still, in their order.
    taken_on: VecDeque<Instant>,
    /// Whether some were stored here that wait for their turn. Until none is found, nobody goes before them.
    is_behind: bool,
}

impl State {
    /// How many may be taken on.
    fn room(&mut self, item: &LimitsItem, now: Instant) -> usize {
        let free = item.concurrency.map_or(usize::MAX, |most| most.saturating_sub(self.going));
        let Some(rate) = item.rate else { return free };
        while self.taken_on.front().is_some_and(|at| now.saturating_duration_since(*at) >= rate.per) {
            self.taken_on.pop_front();
        }
        free.min(rate.count.saturating_sub(self.taken_on.len()))
    }
}

impl State {
    /// Whether one that was taken on then did count.
    fn give_back(&mut self, since: Instant) -> bool {
        let at = self.taken_on.iter().rposition(|at| *at == since);
        at.and_then(|at| self.taken_on.remove(at)).is_some()
    }
}

impl Places {
    fn new(item: LimitsItem, freed: Arc<Notify>) -> Self {
        Self { item, state: Mutex::default(), free: Notify::new(), freed }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn room(&self, now: Instant) -> usize {
        self.state().room(&self.item, now)
    }

    /// Takes so many places, or as many as there are.
    pub(crate) fn take(self: &Arc<Self>, most: usize, now: Instant) -> Vec<Place> {
        let mut state = self.state();
        let count = state.room(&self.item, now).min(most);
        state.going += count;
        if self.item.rate.is_some() {
            state.taken_on.extend(std::iter::repeat_n(now, count));
        }
        (0..count).map(|_| Place { of: Arc::clone(self), since: now, is_used: false }).collect()
    }

    /// A place for one that begins here, unless others have waited for longer. Where there is none, it is stored and waits like those.
    pub(crate) fn take_first(self: &Arc<Self>, now: Instant) -> Option<Place> {
        if self.state().is_behind { None } else { self.take(1, now).pop() }
    }

    /// One is stored that waits.
    pub(crate) fn fall_behind(&self) {
        self.state().is_behind = true;
    }

    /// A place for one that begins here, where nobody takes up what is stored: as soon as there is one.
    pub(crate) async fn wait(self: &Arc<Self>) -> Place {
        loop {
            // It hears of places that are given back from here on.
            let free = self.free.notified();
            let now = Instant::now();
            if let Some(place) = self.take(1, now).pop() {
                return place;
            }
            let room = self.next_room(now);
            tokio::select! {
                () = free => {}
                () = sleep_until(room) => {}
            }
        }
    }

    /// None was found that waits.
    pub(crate) fn caught_up(&self) {
        self.state().is_behind = false;
    }

    fn next_room(&self, now: Instant) -> Option<Instant> {
        let mut state = self.state();
        let is_free = self.item.concurrency.is_none_or(|most| state.going < most);
        if !is_free || state.room(&self.item, now) > 0 {
            return None;
        }
        Some(*state.taken_on.front()? + self.item.rate?.per)
    }
}

/// A place for a saga, for as long as this process goes on with it.
pub(crate) struct Place {
    of: Arc<Places>,
    since: Instant,
    is_used: bool,
}

impl Place {
    /// The same for a saga that is there, and that counts from now on: it may have taken long to find it.
    pub(crate) fn used(mut self, now: Instant) -> Self {
        self.is_used = true;
        let mut state = self.of.state();
        if state.give_back(self.since) {
            state.taken_on.push_back(now);
        }
        drop(state);
        self
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("since", &self.since).finish_non_exhaustive()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.of.state();
        state.going = state.going.saturating_sub(1);
        if !self.is_used {
            state.give_back(self.since);
        }
        drop(state);
        // All of them: one that is told may give up, or find that the time of the rate is not over.
        self.of.free.notify_waiters();
        // The worker gives back what it finds nothing for: told of that, it would turn in circles.
        if self.is_used {
            self.of.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::{Limits, LimitsItem, Place, Places, Rate};

    fn places(concurrency: Option<usize>, rate: Option<(usize, u64)>) -> Arc<Places> {
        let rate = rate.map(|(count, seconds)| Rate { count, per: Duration::from_secs(seconds) });
        Arc::new(Places::new(LimitsItem { concurrency, rate }, Arc::default()))
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn used(places: Vec<Place>) -> Vec<Place> {
        let used_then = |place: Place| {
            let then = place.since;
            place.used(then)
        };
        places.into_iter().map(used_then).collect()
    }

    #[test]
    fn so_many_go_on_at_once_and_a_place_is_free_when_its_saga_is_let_go() {
        let (places, now) = (places(Some(3), None), Instant::now());
        let mut taken = used(places.take(2, now));
        taken.extend(used(places.take(9, now)));
        assert_eq!((taken.len(), places.room(now), places.take(1, now).len()), (3, 0, 0));
        assert_eq!(places.next_room(now), None, "nobody knows when");
        drop(taken.pop());
        assert_eq!(places.room(now), 1);
        drop(taken);
        assert_eq!(places.room(now), 3);
    }

    #[test]
    fn so_many_are_taken_on_in_any_such_time() {
        let (places, start) = (places(None, Some((3, 10))), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        drop(used(places.take(2, at(0))));
        drop(used(places.take(9, at(4))));
        assert_eq!((places.room(at(9)), places.next_room(at(9))), (0, Some(at(10))));
        assert_eq!((places.room(at(10)), places.next_room(at(10))), (2, None));
        assert_eq!(used(places.take(9, at(10))).len(), 2);
        assert_eq!((places.room(at(13)), places.next_room(at(13))), (0, Some(at(14))));
        assert_eq!(places.room(at(20)), 3);
    }

    #[test]
    fn a_place_that_nothing_was_found_for_was_not_taken() {
        let (places, now) = (places(Some(5), Some((2, 10))), Instant::now());
        let mut taken = places.take(2, now);
        let later = now + Duration::from_secs(9);
        let one = taken.pop().map(|place| place.used(later));
        drop(taken);
        assert_eq!(places.room(now), 1);
        drop(one);
        assert_eq!(places.room(later), 1, "it was taken on");
        assert_eq!(places.room(later + Duration::from_secs(9)), 1, "when it was found");
        assert_eq!(places.room(later + Duration::from_secs(10)), 2);
    }

    #[test]
    fn what_begins_does_not_go_before_what_waits() {
        let (places, now) = (places(Some(1), None), Instant::now());
        let first = places.take_first(now);
        assert!(first.is_some() && places.take_first(now).is_none());
        places.fall_behind();
        drop(first);
        assert!(places.take_first(now).is_none(), "one is stored that waits");
        assert_eq!(places.take(1, now).len(), 1, "for that one there is a place");
        places.caught_up();
        assert!(places.take_first(now).is_some());
    }

    #[test]
    fn both_limits_hold_and_what_has_none_has_no_places() {
        let item =
            |concurrency, count| LimitsItem { concurrency, rate: Some(Rate { count, per: Duration::from_secs(1) }) };
        let limits = Limits::new([("none", LimitsItem::NONE), ("a", item(Some(1), 9)), ("b", item(Some(9), 1))]);
        let now = Instant::now();
        assert!(limits.of("none").is_none());
        let taken: Vec<_> = limits.iter().flat_map(|(_, places)| used(places.take(9, now))).collect();
        assert_eq!((taken.len(), limits.full(now), limits.names()), (2, names(&["a", "b"]), names(&["a", "b"])));
    }

    /// Otherwise the worker, which takes places before it knows of any saga, would look again and again.
    #[tokio::test(start_paused = true)]
    async fn nobody_is_told_of_a_place_that_nothing_was_found_for() {
        let limits = Limits::new([("a", LimitsItem { concurrency: Some(1), rate: None })]);
        let places = limits.of("a").unwrap();
        let told = async || tokio::time::timeout(Duration::from_mins(1), limits.room()).await.is_ok();
        drop(places.take(1, Instant::now()));
        assert!(!told().await);
        drop(used(places.take(1, Instant::now())));
        assert!(told().await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_place_gets_the_next_one() {
        let (of_one, rated) = (places(Some(1), None), places(None, Some((1, 1))));
        let held = of_one.wait().await.used(Instant::now());
        let waiting = tokio::spawn({
            let places = Arc::clone(&of_one);
            async move { drop(places.wait().await) }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(held);
        waiting.await.unwrap();
        // One that waits for the time of the rate hears of a place that is given back before.
        let unused = rated.wait().await;
        let waiting = tokio::spawn({
            let places = Arc::clone(&rated);
            async move { places.wait().await.used(Instant::now()) }
        });
        tokio::task::yield_now().await;
        drop(unused);
        let place = tokio::time::timeout(Duration::from_millis(500), waiting).await.expect("it is free").unwrap();
        assert!(rated.next_room(place.since).is_some());
    }

    /// Two wait, and one of them gives up when it was told.
    #[tokio::test(start_paused = true)]
    async fn who_gives_up_takes_no_place_from_who_waits_on() {
        let places = places(Some(1), None);
        let held = places.wait().await;
        let mut first = Box::pin(places.wait());
        let mut second = Box::pin(places.wait());
        assert!(futures_util::poll!(&mut first).is_pending() && futures_util::poll!(&mut second).is_pending());
        drop(held);
        drop(first);
        tokio::time::timeout(Duration::from_mins(1), second).await.expect("it gets the place");
    }
}
