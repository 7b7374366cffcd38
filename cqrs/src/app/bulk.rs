//! Many dead letters at once.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use tokio::time::Instant;

use super::Operator;
use crate::Error;
use crate::error::chain;
use crate::store::{DeadFilter, DeadLetter, DeadLetterId, DeadSearch, Operation, StoreError, StoreErrorKind};

/// How many letters are looked up at a time, without their payloads.
const PAGE: usize = 200;

/// So many letters that fail one after the other fail for a reason that is not theirs.
const MOST_IN_A_ROW: u32 = 10;

/// Replays or discards every dead letter that a filter takes, oldest first, each in a transaction of its own; nothing happens
/// until it is awaited. Made by [`App::replay_all`](crate::App::replay_all) and its like.
///
/// It may be dropped at any time: what was done stays, and the rest is as it was. A letter is looked at once: one that is
/// dead again is left. What dies while it runs may be taken too; [`DeadFilter::until`] leaves it out.
///
/// A letter at which the store fails is passed over: it is named in the log with the reason, and counted as
/// [`failed`](BulkReport::failed). The run ends with an error where the store cannot be reached or written to, or has failed at ten
/// letters one after the other; what was done until then is in the log.
///
/// ```standalone_crate
/// use cqrs::prelude::*;
/// use cqrs::store::DeadFilter;
/// use cqrs::testing::TestApp;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(DomainEvent, Clone, Serialize, Deserialize)]
/// struct Placed(u32);
///
/// #[event_handler(durable, retry(max = 1))]
/// async fn ship(e: &Placed) -> Result<(), String> {
///     Err(format!("the depot is closed: {}", e.0))
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), cqrs::Error> {
/// let app = TestApp::new(cqrs::bootstrap!().store(Store::url("memory:"))).await?;
/// for id in 0..3 {
///     app.publish(Placed(id)).await?;
/// }
/// app.settle().await;
///
/// let closed = DeadFilter::new().name("Placed").error("the depot is closed");
/// let report = app.discard_all(closed.clone()).dry_run().await?;
/// assert_eq!((report.found, report.done), (3, 0));
/// let report = app.discard_all(closed).rate(100).await?;
/// assert_eq!((report.found, report.done), (3, 3));
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is done until it is awaited"]
#[derive(Clone)]
pub struct Bulk {
    operator: Operator,
    deed: Deed,
    filter: DeadFilter,
    rate: Option<u32>,
    is_dry: bool,
}

/// What is done to each letter.
#[derive(Debug, Clone, Copy)]
pub(super) enum Deed {
    Replay,
    Discard,
}

impl Deed {
    const fn on(self, id: DeadLetterId) -> Operation {
        match self {
            Self::Replay => Operation::Replay(id),
            Self::Discard => Operation::Discard(id),
        }
    }
}

/// What was done to many dead letters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BulkReport {
    /// How many letters the filter took.
    pub found: u64,
    /// How many of them were replayed or discarded: none on a dry run.
    pub done: u64,
    /// How many somebody else had replayed or discarded by the time it was their turn.
    pub gone: u64,
    /// At how many the store failed. They are named in the log, and are as they were, unless the answer to a commit was lost: the same run
    /// takes them again. A run that they keep from what is behind them goes on with a filter that begins later.
    pub failed: u64,
}

impl Bulk {
    pub(super) fn new(operator: Operator, deed: Deed, filter: DeadFilter) -> Self {
        Self { operator, deed, filter, rate: None, is_dry: false }
    }

    /// At most so many letters a second, evenly; at least one. As fast as it goes unless said otherwise.
    pub fn rate(mut self, per_second: u32) -> Self {
        self.rate = Some(per_second.max(1));
        self
    }

    /// Only counts what the filter takes.
    pub fn dry_run(mut self) -> Self {
        self.is_dry = true;
        self
    }

    async fn run(self) -> Result<BulkReport, Error> {
        let mut run = Run { note: format!("bulk: {}", self.filter), report: BulkReport::default(), in_a_row: 0 };
        let (mut after, begun) = (None, Instant::now());
        loop {
            let search = DeadSearch { filter: self.filter.clone(), after, limit: PAGE, with_payload: false };
            let page = self.operator.app.operations()?.find_dead(search).await;
            let page = page.inspect_err(|error| run.tell_end(error))?;
            let is_last = page.len() < PAGE;
            for letter in page {
                after = Some((letter.created_at, letter.id));
                if !self.is_dry {
                    self.pace(begun, run.report.found).await;
                    let ended = self.operator.operate(self.deed.on(letter.id), &run.note).await;
                    run.note_down(&letter, ended)?;
                }
                run.report.found += 1;
            }
            if is_last {
                return Ok(run.report);
            }
        }
    }

    /// Waits until it is the turn of a letter.
    async fn pace(&self, begun: Instant, number: u64) {
        if let Some(rate) = self.rate {
            let nanos = u128::from(number) * 1_000_000_000 / u128::from(rate);
            tokio::time::sleep_until(begun + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))).await;
        }
    }
}

/// How far one has come.
struct Run {
    /// What is written down with each letter.
    note: String,
    report: BulkReport,
    /// How many have failed since the last that did not.
    in_a_row: u32,
}

impl Run {
    /// Counts what became of a letter; fails where no other would fare better.
    fn note_down(&mut self, letter: &DeadLetter, ended: Result<bool, StoreError>) -> Result<(), StoreError> {
        let error = match ended {
            Ok(done) => {
                self.in_a_row = 0;
                *(if done { &mut self.report.done } else { &mut self.report.gone }) += 1;
                return Ok(());
            }
            Err(error) => error,
        };
        self.in_a_row += 1;
        if self.in_a_row >= MOST_IN_A_ROW || is_of_the_store(error.kind()) {
            self.tell_end(&error);
            return Err(error);
        }
        self.report.failed += 1;
        let (name, message) = (&letter.name, letter.message_id);
        let error = chain(&error);
        tracing::warn!(name, %message, id = ?letter.id, error, "{}: passed over", self.note);
        Ok(())
    }

    fn tell_end(&self, error: &StoreError) {
        let BulkReport { done, gone, failed, .. } = self.report;
        let error = chain(error);
        tracing::warn!(done, gone, failed, error, "{}: ended by an error; what is done stays", self.note);
    }
}

/// Whether every letter would fail by it.
const fn is_of_the_store(kind: StoreErrorKind) -> bool {
    use StoreErrorKind::{Configuration, ReadOnly, SchemaNewer, Unavailable, WouldDeadlock};
    matches!(kind, Configuration | Unavailable | ReadOnly | SchemaNewer | WouldDeadlock)
}

impl IntoFuture for Bulk {
    type Output = Result<BulkReport, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for Bulk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bulk")
            .field("action", &self.deed)
            .field("filter", &self.filter)
            .field("rate", &self.rate)
            .field("is_dry", &self.is_dry)
            .finish_non_exhaustive()
    }
}
