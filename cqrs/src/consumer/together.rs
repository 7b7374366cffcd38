//! The messages of a batch that share a transaction: the effects of all of them, what they raised, and the marks that they
//! were handled commit together or not at all.
//!
//! There is no savepoint for each, which would be two round trips. When one fails the transaction is rolled back, and all
//! are handled one by one, each in its own: the path of a single message decides what becomes of the failed one.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::batch::Way;
use super::deliver::mark;
use super::pace::Took;
use super::wire::Received;
use crate::app::App;
use crate::dispatch::{
    After, Detached, Failure, begin_in_turn, call_context, call_with_cell, commit_and_after, raised_in, span_of,
};
use crate::fail_points::{FailPoint, pass};
use crate::inject::Scope;
use crate::message::Erased;
use crate::middleware::MessageCell;
use crate::store::driver::{BoxFuture, Transaction};
use crate::store::{InboxMark, Record, Standing, StoreError, StoreErrorKind, WorkRecord};
use crate::unit::{Meta, TxSlot, Unit};
use crate::worker::{Commit, describe, in_time};

/// A message for one of its handlers.
pub(super) struct Member<'b> {
    pub(super) handler: u32,
    /// The message as it would be stored, but its payload.
    pub(super) record: WorkRecord,
    /// Where that lies.
    pub(super) received: Arc<Received<'b>>,
    pub(super) message: Erased,
    pub(super) meta: Arc<Meta>,
}

/// Until when a batch begins with messages.
pub(super) struct Told<'t> {
    pub(super) until: Instant,
    pub(super) stop: &'t CancellationToken,
}

impl Told<'_> {
    fn is_over(&self) -> bool {
        self.stop.is_cancelled() || Instant::now() >= self.until
    }
}

/// How a batch ended.
pub(super) struct Together {
    /// The messages that were handled, or stored, and committed.
    pub(super) done: Vec<usize>,
    pub(super) next: Next,
    /// What it took, where it was committed.
    pub(super) took: Option<Took>,
}

/// What is to be done with the messages that are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Those that are handled alone anyway have their turn.
    Others,
    /// They wait for the next batch.
    Nothing,
    /// This one is handled alone, the others wait.
    Alone(Failed),
    /// The batch was rolled back: all of it one by one. By which message it was spoiled, where it was one.
    Redo(Option<Failed>),
}

/// A message of a batch that failed, and with which of its handlers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) at: usize,
    pub(super) handler: u32,
}

/// A message of the batch: its number, how it is handled, and for whom.
pub(super) type Entry<'b> = (usize, Way, Vec<Member<'b>>);

/// Handles messages in one transaction: those whose handlers take none first, then the others.
pub(super) async fn handle(app: &App, group: &'static str, batch: Vec<Entry<'_>>, told: Told<'_>) -> Together {
    if batch.is_empty() {
        return Together { done: Vec::new(), next: Next::Others, took: None };
    }
    let begun = Instant::now();
    let mut work = Work { app, told, tx: None, kept: Kept::default(), inside: Duration::ZERO };
    let span = tracing::debug_span!("batch", group, messages = batch.len());
    let ended = async {
        let next = work.run(batch).await?;
        let done = std::mem::take(&mut work.kept.done);
        let messages = if work.kept.after.is_empty() { 0 } else { u32::try_from(done.len()).unwrap_or(u32::MAX) };
        let inside = work.inside;
        let inside = inside + work.finish().await.map_err(|error| Spoiled { by: None, error })?;
        let around = begun.elapsed().saturating_sub(inside);
        Ok(Together { done, next, took: Some(Took::Together { messages, inside, around }) })
    };
    let ended: Result<Together, Spoiled> = ended.instrument(span).await;
    ended.unwrap_or_else(|Spoiled { by, error }| {
        tracing::debug!(group, error, "a batch was rolled back: its messages are handled one by one");
        pass(FailPoint::BatchSpoiled);
        Together { done: Vec::new(), next: Next::Redo(by), took: None }
    })
}

/// Why a batch is rolled back.
struct Spoiled {
    by: Option<Failed>,
    error: String,
}

impl Spoiled {
    fn by(at: usize) -> impl FnOnce(Blamed) -> Self {
        move |(handler, error)| Self { by: Some(Failed { at, handler }), error }
    }
}

/// Which handler a message failed with, and why.
type Blamed = (u32, String);

/// What the messages so far leave to the commit.
#[derive(Default)]
struct Kept {
    done: Vec<usize>,
    marks: Vec<InboxMark>,
    /// What they raised, and messages that wait behind others, each with the message's number: stored in that order.
    records: Vec<(usize, Vec<Record>)>,
    after: Vec<(usize, After)>,
    /// Whether a message was stored to wait.
    waits: bool,
}

impl Kept {
    fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    fn add(&mut self, at: usize, other: Self) {
        self.done.push(at);
        self.marks.extend(other.marks);
        self.records.extend(other.records);
        self.after.extend(other.after);
        self.waits |= other.waits;
    }
}

/// The batch's unit of work.
struct Work<'t> {
    app: &'t App,
    told: Told<'t>,
    tx: Option<Box<dyn Transaction>>,
    kept: Kept,
    /// How long handlers took, and what they depend on.
    inside: Duration,
}

/// A member, where it stands, and its dependencies once they are made.
type Standed<'b> = (Member<'b>, Standing, Option<Box<Unit<'static>>>);

impl Work<'_> {
    /// Calls the handlers; gives what is to be done with what is left.
    async fn run(&mut self, batch: Vec<Entry<'_>>) -> Result<Next, Spoiled> {
        let batch = standings(self.app, batch).await.map_err(|error| Spoiled { by: None, error })?;
        let (before, mut within): (Vec<_>, Vec<_>) = batch.into_iter().partition(|(_, way, _)| *way == Way::Before);
        for (at, _, members) in before {
            if self.is_cut() {
                return Ok(Next::Nothing);
            }
            match self.message(at, members).await {
                Ok(kept) => self.kept.add(at, kept),
                // It has left nothing, neither have the others to be undone.
                Err((handler, error)) if self.tx.is_none() => {
                    tracing::debug!(error, "a message of a batch failed: it is handled by itself");
                    return Ok(Next::Alone(Failed { at, handler }));
                }
                Err(blamed) => return Err(Spoiled::by(at)(blamed)),
            }
            if self.tx.is_some() {
                // An inline handler of what it raised has begun it: who takes none does not run within it.
                return Ok(Next::Nothing);
            }
        }
        // Dependencies first, the transaction last.
        let begins = Instant::now();
        for (at, _, members) in &mut within {
            open(self.app, members).await.map_err(Spoiled::by(*at))?;
        }
        self.inside += begins.elapsed();
        for (at, _, members) in within {
            if self.is_cut() {
                return Ok(Next::Nothing);
            }
            let kept = self.message(at, members).await.map_err(Spoiled::by(at))?;
            self.kept.add(at, kept);
            pass(FailPoint::BatchHandled);
        }
        Ok(Next::Others)
    }

    /// Whether nothing more is begun: something always is.
    fn is_cut(&self) -> bool {
        !self.kept.done.is_empty() && self.told.is_over()
    }

    /// One message, all its handlers.
    async fn message(&mut self, at: usize, mut members: Vec<Standed<'_>>) -> Result<Kept, Blamed> {
        let begins = Instant::now();
        open(self.app, &mut members).await?;
        self.inside += begins.elapsed();
        let (mut kept, commit) = (Kept::default(), Commit::default());
        for (member, standing, unit) in members {
            match (standing, unit) {
                (Standing::Behind, _) => {
                    kept.marks.push(mark(self.app, &member.record));
                    let whole = WorkRecord { payload: member.received.payload.to_vec(), ..member.record };
                    kept.records.push((at, vec![Record::Work(whole)]));
                    kept.waits = true;
                }
                (Standing::New, Some(unit)) => {
                    let handler = member.handler;
                    kept.marks.push(mark(self.app, &member.record));
                    let app = self.app;
                    // What a failure says is the user's, and may panic: within the attempt.
                    let called = async {
                        let called = self.call(member, unit).await;
                        called.map_err(|failure| text(app, handler, &failure))
                    };
                    let called = in_time(app, &commit, called).await.and_then(std::convert::identity);
                    let (after, records) = called.map_err(|error| (handler, error))?;
                    kept.records.push((at, records));
                    kept.after.push((at, after));
                }
                _ => {}
            }
        }
        Ok(kept)
    }

    /// Calls one handler, and the inline handlers of what it raised, in the transaction where it takes one.
    async fn call(
        &mut self,
        member: Member<'_>,
        mut unit: Box<Unit<'static>>,
    ) -> Result<(After, Vec<Record>), Failure> {
        let (app, planned) = (self.app, self.app.planned(member.handler));
        if planned.needs_tx && self.tx.is_none() {
            self.tx = Some(begin_in_turn(app, planned.item.message.name, true).await?);
        }
        let begun = self.tx.is_some();
        unit.tx.open = self.tx.take();
        let cell = MessageCell::shared(member.message);
        let span = tracing::debug_span!("deliver", group = member.record.group, topic = member.record.topic);
        let begins = Instant::now();
        let called = async {
            let cx = call_with_cell(app, member.handler, &cell, call_context(app, Some(unit))).await?;
            raised_in(cx, Some(member.meta)).await
        };
        let (mut slot, after, records) = called.instrument(span_of(planned.item)).instrument(span).await?;
        self.inside += begins.elapsed();
        self.tx = slot.open.take();
        match self.tx.as_mut() {
            Some(tx) => tx.check().await?,
            None if begun => return Err(gone().into()),
            None => {}
        }
        Ok((after, records))
    }

    /// Stores what was raised and the marks, commits, and runs what follows the commit, message by message. Gives how long what
    /// follows took.
    async fn finish(mut self) -> Result<Duration, String> {
        if self.kept.is_empty() {
            // All had been handled before.
            return Ok(Duration::ZERO);
        }
        let (app, commit) = (self.app, Commit::default());
        let finished = async {
            let tx = match self.tx.take() {
                Some(tx) => tx,
                None => begin_in_turn(app, "a batch", true).await?,
            };
            write_and_commit(app, tx, self.kept, &commit).await
        };
        let said = async { finished.await.map_err(|failure: Failure| failure.to_string()) };
        in_time(app, &commit, said).await?
    }
}

/// Asks where all stand, in one query. A message that is in the batch twice is handled once.
async fn standings<'b>(app: &App, batch: Vec<Entry<'b>>) -> Result<Vec<(usize, Way, Vec<Standed<'b>>)>, String> {
    let Some(store) = app.store() else { return Err("no store".to_owned()) };
    let members = || batch.iter().flat_map(|(.., members)| members);
    let asked = members().map(|member| (mark(app, &member.record), member.record.lane.clone())).collect();
    let standings = store.standings(asked).await.map_err(|error| error.to_string())?;
    let (mut standings, mut seen) = (standings.into_iter(), HashSet::new());
    let mut stand = |member: Member<'b>| {
        let first = seen.insert((member.handler, member.record.id));
        let standing = standings.next().unwrap_or(Standing::New);
        (member, if first { standing } else { Standing::Handled }, None)
    };
    let entries = batch.into_iter();
    Ok(entries.map(|(at, way, members)| (at, way, members.into_iter().map(&mut stand).collect())).collect())
}

/// Makes the dependencies of those whose handlers are called.
async fn open(app: &App, members: &mut [Standed<'_>]) -> Result<(), Blamed> {
    let commit = Commit::default();
    for (member, standing, unit) in members {
        if *standing == Standing::New && unit.is_none() {
            let opened = async {
                let opened = unit_of(app, member).await;
                opened.map_err(|failure| text(app, member.handler, &failure))
            };
            let opened = in_time(app, &commit, opened).await.and_then(std::convert::identity);
            *unit = Some(opened.map_err(|error| (member.handler, error))?);
        }
    }
    Ok(())
}

/// What makes up the unit of work of one handler, but the transaction.
async fn unit_of(app: &App, member: &Member<'_>) -> Result<Box<Unit<'static>>, Failure> {
    let (planned, meta) = (app.planned(member.handler), Arc::clone(&member.meta));
    let scope = Arc::new(Scope::new(Arc::clone(&meta)));
    let slots = if planned.scoped { Some(scope.slots(app, planned).await?) } else { None };
    let mut tx = TxSlot::empty(app.store().cloned());
    tx.is_patient = true;
    Ok(Box::new(Unit { tx, meta, slots, scope: Some(scope), ..Unit::default() }))
}

/// Writes what the batch leaves in one go each, and commits. From then on nobody can drop the rest. Gives how long that took.
async fn write_and_commit(
    app: &App,
    mut tx: Box<dyn Transaction>,
    kept: Kept,
    commit: &Commit,
) -> Result<Duration, Failure> {
    let Kept { marks, mut records, mut after, waits, .. } = kept;
    // In the order in which the messages came, whichever was handled first.
    records.sort_by_key(|(at, _)| *at);
    after.sort_by_key(|(at, _)| *at);
    let records: Vec<Record> = records.into_iter().flat_map(|(_, records)| records).collect();
    if !records.is_empty() {
        tx.store(records).await?;
        pass(FailPoint::BatchStored);
    }
    // At the end, of those that were handled: one that the batch had no time for is not marked.
    if tx.mark_handled(marks).await?.contains(&false) {
        tx.rollback().await?;
        let what = "somebody else has handled a message of the batch in the meantime";
        return Err(StoreError::new(StoreErrorKind::Database, what).into());
    }
    pass(FailPoint::BatchMarked);
    commit.begin();
    let (rest, tracker) = (app.clone(), app.tracker().clone());
    let rest: BoxFuture<'static, Result<Duration, Failure>> = Box::pin(async move {
        tx.commit().await?;
        pass(FailPoint::BatchCommitted);
        let committed = Instant::now();
        if waits {
            rest.wake();
        }
        let limit = rest.options().event_concurrency;
        for (_, after) in after {
            // What fails after the commit is reported where it happens, and no reason to do anything again.
            let _ = commit_and_after(rest.clone(), None, after, limit).await;
        }
        Ok(committed.elapsed())
    });
    Detached::new(tracker, rest).await
}

fn text(app: &App, handler: u32, failure: &Failure) -> String {
    describe(failure, app.planned(handler).item)
}

fn gone() -> StoreError {
    StoreError::new(StoreErrorKind::Database, "a handler of a batch has not given its transaction back")
}
