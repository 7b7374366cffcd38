//! What a store must be able to do.
//!
//! Two traits: [`Driver`], shared by the whole app, and [`Transaction`], one unit of work's. Everything that must commit
//! together goes through the transaction: the user's rows (by the handle it lends to handlers), outbox rows, stored work,
//! inbox marks, the end of the stored work that is being done, and the response to a call with an idempotency key.
//!
//! Claims are fenced. A claim carries a [`fence`](super::Claim::fence) that grows with every new owner; whatever ends a
//! piece of work checks it, so that an owner that stalled past its lease and wakes up cannot commit.
//!
//! Times come from the app's clock, as arguments: a store reads no clock of its own, so virtual time works on every store.

use std::any::{Any, TypeId};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use futures_core::stream::BoxStream;
use uuid::Uuid;

use super::{
    AwaitedEvent, Claim, ClaimedOutbox, ClaimedWork, Counts, DeadLetter, DeadLetterId, IdempotentClaim,
    IdempotentOutcome, InboxMark, Operations, OutboxOutcome, Record, SagaChange, SagaSaved, Sagas, Standing,
    StoreError, StoreErrorKind, TimerRecord, WorkQueue,
};
use crate::inject::Resolved;

#[doc(hidden)]
pub use crate::unit::Carried;

/// A boxed future, as the object-safe traits of this module return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The handle a store's transactions lend to handlers.
#[derive(Debug, Clone, Copy)]
pub struct HandleSpec {
    /// The type id of `Tx<Db>`.
    pub type_id: TypeId,
    /// The path of `Db`.
    pub name: &'static str,
}

/// A value a store gives out as a dependency: its pool.
#[derive(Debug, Clone)]
pub struct Gift {
    /// The type id of `Inject<T>`.
    pub type_id: TypeId,
    /// The path of `T`.
    pub name: &'static str,
    /// The dependency.
    pub value: Resolved,
}

impl Gift {
    /// Gives out a value as `Inject<T>`.
    pub fn new<T: Send + Sync + 'static>(value: T) -> Self {
        let inject = crate::Inject::new(value);
        Self { type_id: crate::Inject::<T>::id(), name: crate::Inject::<T>::name(), value: inject.resolved() }
    }
}

/// A request for work: who asks, for how long, and how much.
#[derive(Debug, Clone)]
pub struct ClaimRequest<'a> {
    /// The instance that asks: unique per process start. Who has forgotten what it was given asks under another name: a store
    /// may give an owner what comes behind that.
    pub owner: &'a str,
    /// Now, by the app's clock: what is due by then is claimed.
    pub now: SystemTime,
    /// Now, by the clock that leases run by: what ran out by then is taken back. The same time, but where tests move the
    /// app's clock: what falls due by that is due, while whoever holds a lease still holds it.
    pub lease_now: SystemTime,
    /// Until when the claim holds unless it is renewed, by the clock of leases.
    pub lease_until: SystemTime,
    /// At most so many.
    pub limit: usize,
}

/// A part of a claim of stored work: so many pieces of some queues together.
#[derive(Clone, Copy)]
pub struct WorkShare<'a> {
    /// The queues.
    pub queues: &'a [WorkQueue],
    /// At most so many of them, however many others are claimed. Asked by a store that waits for nothing any more: who asks for
    /// work holds what it is done with only from then on.
    pub limit: &'a (dyn Fn() -> usize + Send + Sync),
}

impl fmt::Debug for WorkShare<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkShare").field("queues", &self.queues).finish_non_exhaustive()
    }
}

/// A wish to claim an idempotency key.
#[derive(Debug, Clone)]
pub struct IdempotentRequest {
    /// The claim.
    pub claim: IdempotentClaim,
    /// A digest of the command: the same for the same payload.
    pub payload: [u8; 32],
    /// Now, by the clock that leases run by: the key of a call whose lease ran out by then may be taken over.
    pub lease_now: SystemTime,
    /// Until when the claim holds unless it is renewed, by the clock of leases.
    pub lease_until: SystemTime,
    /// The key of a call that was done before then is free, whether its row has been deleted or not.
    pub kept_since: SystemTime,
}

/// A store, connected.
pub trait Driver: Send + Sync + fmt::Debug + 'static {
    /// The store's name, as error texts say it: `sqlite`.
    fn name(&self) -> &'static str;

    /// The handle its transactions lend to handlers; `None` where there is no `Tx<Db>` for it.
    fn handle(&self) -> Option<HandleSpec>;

    /// What the store gives out as dependencies: its pool.
    fn gifts(&self) -> Vec<Gift>;

    /// Brings the schema up to date: ours first, the user's after it.
    ///
    /// # Errors
    /// [`StoreErrorKind::SchemaNewer`] where the schema is newer than the program;
    /// otherwise what the database said.
    fn migrate(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Begins a unit of work's transaction, ready to write.
    ///
    /// # Errors
    /// Fails when no connection is to be had in time or the database refuses.
    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn Transaction>, StoreError>>;

    /// Makes a transaction of a handle that a handler holds: the `Tx<Db>`, boxed.
    ///
    /// # Errors
    /// Gives the handle back where it is none of this store's.
    fn adopt(&self, handle: Box<dyn Any + Send>) -> Result<Box<dyn Transaction>, Box<dyn Any + Send>>;

    /// Claims outbox rows that are due, oldest first. Of one key (within its topic) it gives rows only in order: none
    /// while an earlier row of the key is claimed by somebody else, or waits for a retry, or is dead. One claim may
    /// hold several rows of a key, in order; and where the owner that asks holds earlier rows of a key, a store may give it
    /// the next ones: the owner keeps their order. Rows behind a dead one of their key may be parked, as work is.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn claim_outbox(&self, request: ClaimRequest<'_>) -> BoxFuture<'_, Result<Vec<ClaimedOutbox>, StoreError>>;

    /// Ends claims of outbox rows: published rows are deleted or kept elsewhere, others wait or are dead. Rows whose fence has moved on
    /// are left alone. Gives the number of rows settled.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn settle_outbox(&self, outcomes: Vec<(Claim, OutboxOutcome)>) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Renews claims of outbox rows while the broker has not confirmed them yet: their leases now end at `lease_until`.
    /// Gives the claims that are still held; one that is missing (its fence has moved on, or its row is gone) belongs to
    /// another owner now, and settling it would change nothing.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn renew_outbox(
        &self,
        claims: Vec<Claim>,
        lease_until: SystemTime,
    ) -> BoxFuture<'_, Result<Vec<Claim>, StoreError>>;

    /// Claims stored work that is due, of the queues of the given shares, oldest first, and of timers that have waited those first
    /// that were due first: of each share up to its limit, and up to the request's limit in all. A share's limit is asked for once there is something to claim and nothing to wait for (a
    /// lock, a connection), and again where the claim is begun anew. Of one lane it gives only the oldest row, and
    /// none while that row is claimed, waiting or dead.
    ///
    /// What is claimed begins at once, so a claim that has run out is taken back as an attempt, whoever asks. Where a renewal
    /// has to wait for others who write, a store first gives the owner a chance: it may not have been able to renew.
    ///
    /// However many rows stand behind others of their lane, a claim must not look at them each time. A store may park them,
    /// in the claim that finds them: whatever takes a row out of its lane (finish, bury with `skip_lane`, discard) makes the
    /// next one ready in the same transaction. Where transactions run side by side, it parks only while it holds a lock on
    /// the row in front, and skips what is behind one that is locked (`FOR UPDATE SKIP LOCKED`): that row may be on its way
    /// out, and whoever takes it out does not see yet that somebody is being parked behind it.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn claim_work<'a>(
        &'a self,
        shares: &[WorkShare<'a>],
        request: ClaimRequest<'_>,
    ) -> BoxFuture<'a, Result<Vec<ClaimedWork>, StoreError>>;

    /// Renews claims of stored work. Gives those that are still held.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn renew_work(&self, claims: Vec<Claim>, lease_until: SystemTime) -> BoxFuture<'_, Result<Vec<Claim>, StoreError>>;

    /// Gives up a claim after a failed attempt: the work waits until `due`, its attempts counted, its error kept.
    /// `false` where the fence has moved on.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn retry_work(&self, claim: Claim, due: SystemTime, error: &str) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Gives up a claim for good: the work becomes a dead letter, which holds its lane unless `skip_lane`.
    /// `false` where the fence has moved on.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn bury_work(&self, claim: Claim, error: &str, skip_lane: bool) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Puts off work that this program cannot do, while another one may: it waits until `due` as if it had not been
    /// attempted. The first time is remembered, until it is done, tried or replayed: see [`ClaimedWork::deferred_since`].
    /// `false` where the fence has moved on.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn defer_work(
        &self,
        claim: Claim,
        now: SystemTime,
        due: SystemTime,
        error: &str,
    ) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Hands back unfinished claims of an owner, outbox and work, as if they had not been attempted.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn release(&self, owner: &str) -> BoxFuture<'_, Result<(), StoreError>>;

    /// When the next outbox row is due, if any waits. What is claimed does not count, nor does a row that may not be taken
    /// yet.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn next_outbox_due(&self) -> BoxFuture<'_, Result<Option<SystemTime>, StoreError>>;

    /// The same for the stored work of the given queues.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn next_work_due(&self, queues: &[WorkQueue]) -> BoxFuture<'_, Result<Option<SystemTime>, StoreError>>;

    /// How much stored work waits in each queue that has any. What somebody is busy with does not wait, nor do dead letters;
    /// what is claimed waits again when the claim has run out by `lease_now`, though nobody has taken it back.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn work_by_queue(&self, lease_now: SystemTime) -> BoxFuture<'_, Result<Vec<(WorkQueue, u64)>, StoreError>>;

    /// Cancels a timer by command name and key. `false` where there is none.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn cancel_timer(&self, name: &str, key: &str) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// The timers that wait, soonest first, at most `limit`.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn timers(&self, limit: usize) -> BoxFuture<'_, Result<Vec<TimerRecord>, StoreError>>;

    /// Dead letters, oldest first, at most `limit`.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn dead_letters(&self, limit: usize) -> BoxFuture<'_, Result<Vec<DeadLetter>, StoreError>>;

    /// Makes a dead letter due again, its attempts forgotten. `false` where there is none.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn replay(&self, id: DeadLetterId, now: SystemTime) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Deletes a dead letter. `false` where there is none.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn discard(&self, id: DeadLetterId) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Where a consumed message stands with a handler of its group, before it is handed to it. Asked outside of any
    /// transaction, without waiting for those who write: whoever handles the message still marks it as handled in the
    /// transaction of the effects, and may find that somebody else was quicker.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn standing(&self, mark: &InboxMark, lane: Option<&str>) -> BoxFuture<'_, Result<Standing, StoreError>>;

    /// Where several messages stand, each with a handler: [`standing`](Self::standing) of each, in one query where the store can.
    /// Without it, each is asked for alone.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn standings(&self, asked: Vec<(InboxMark, Option<String>)>) -> BoxFuture<'_, Result<Vec<Standing>, StoreError>> {
        Box::pin(async move {
            let mut standings = Vec::with_capacity(asked.len());
            for (mark, lane) in asked {
                standings.push(self.standing(&mark, lane.as_deref()).await?);
            }
            Ok(standings)
        })
    }

    /// How much of everything there is.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn counts(&self) -> BoxFuture<'_, Result<Counts, StoreError>>;

    /// Deletes inbox marks older than `before`. Gives their number.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn purge_inbox(&self, before: SystemTime) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Claims an idempotency key, committed by itself, unless it is taken: by a call that was done since `kept_since`, or by
    /// one whose lease has not run out. Names and keys are told apart byte by byte, whatever the database's collation.
    ///
    /// A lease counts from when the key is claimed: a store that has to wait for others who write adds the time that took.
    /// Where a renewal has to wait for them too, a store does not take over a key whose lease has run out before it has given
    /// the owner a chance, as for stored work: until then the key is [`Running`](IdempotentOutcome::Running).
    ///
    /// Looks before it asks for a lock: a call that runs may hold its transaction for long, and the others are to be
    /// answered meanwhile. Only a key that is claimed in a transaction that has not ended
    /// ([`Transaction::claim_idempotent`]) cannot be seen: there it waits for that transaction's end.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn claim_idempotent(&self, request: IdempotentRequest) -> BoxFuture<'_, Result<IdempotentOutcome, StoreError>>;

    /// Renews the claim of an idempotency key. `false` where it is gone: freed, deleted, another call's, or done.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn renew_idempotent(
        &self,
        claim: IdempotentClaim,
        lease_until: SystemTime,
    ) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Frees an idempotency key whose call failed: deletes the row where the claim still holds and the call is not done.
    /// `false` where there is no such row. While a transaction under way has ended the call
    /// ([`Transaction::finish_idempotent`]) it waits for that transaction's end, and then tells it from one rolled back.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn free_idempotent(&self, claim: IdempotentClaim) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Deletes idempotency keys of calls that were done before `done_before`, and of calls that never ended, whose lease
    /// ran out before `lease_before`. Gives their number.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn purge_idempotent(
        &self,
        done_before: SystemTime,
        lease_before: SystemTime,
    ) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Deletes published events that were [kept](OutboxOutcome::Kept) until now. Gives their number; 0 where the store keeps none.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn purge_published(&self, now: SystemTime) -> BoxFuture<'_, Result<u64, StoreError>> {
        let _ = now;
        Box::pin(async { Ok(0) })
    }

    /// Makes rows ready again, of work and of the outbox, that are parked though nothing stands before them: somebody has
    /// deleted rows by hand. Gives the number of rows; 0 where the store parks nothing.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn free_stranded(&self) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// What people who operate a service ask of the store. Without it, rows of the outbox are not listed, dead letters and
    /// timers not found, and what is done to them is written down nowhere.
    fn operations(&self) -> Option<&dyn Operations> {
        None
    }

    /// What the store does for sagas. Without it, an app with sagas does not start.
    fn sagas(&self) -> Option<&dyn Sagas> {
        None
    }

    /// By what processes tell each other that something was stored, where the store has such a thing and it is asked for. Without it
    /// a process finds by polling what another has stored.
    fn notices(&self) -> Option<Arc<dyn Notices>> {
        None
    }

    /// Closes what the store opened; nothing works after it. What was lent to it, a pool of the user's, stays open.
    ///
    /// Called when the last clone of the app is dropped, in the background: a call under way holds one, and still stores
    /// after the app was told to stop. Where no runtime is left to run it, the driver is dropped without it.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// Words from process to process, over the store. They may be lost: what they tell of is found by polling, too.
pub trait Notices: Send + Sync + 'static {
    /// Tells a word to every process that listens, this one included.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn announce(&self, word: String) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Listens, until the connection is lost: the stream ends with why.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn listen(&self) -> BoxFuture<'_, Result<BoxStream<'static, Result<String, StoreError>>, StoreError>>;
}

fn no_sagas() -> StoreError {
    StoreError::new(StoreErrorKind::Configuration, "this store has no sagas")
}

/// One unit of work's transaction. Dropped, it is rolled back.
pub trait Transaction: Send + fmt::Debug + 'static {
    /// The handle for handlers: the `Tx<Db>`.
    fn handle(&mut self) -> Option<&mut (dyn Any + Send)>;

    /// Takes the handle out: the `Tx<Db>`, boxed.
    fn into_any(self: Box<Self>) -> Box<dyn Any + Send>;

    /// What calls made within this transaction raised: the handle's own list.
    #[doc(hidden)]
    fn carried(&mut self) -> Option<&mut Carried>;

    /// Stores outbox rows and work, all in one go. Gives the id under which each is stored: its own, but for a timer that
    /// takes the place of another, which keeps that one's.
    ///
    /// Keys, lanes, names and headers hold any character, U+0000 included, and come back as they were; in the text of an error
    /// that one may come back as U+FFFD.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn store(&mut self, records: Vec<Record>) -> BoxFuture<'_, Result<Vec<Uuid>, StoreError>>;

    /// Marks messages as handled, all in one go. Gives for each whether it is the first time.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn mark_handled(&mut self, marks: Vec<InboxMark>) -> BoxFuture<'_, Result<Vec<bool>, StoreError>>;

    /// Fails where this is no longer the transaction that was begun. Asked between the handlers of a batch, which share
    /// one: a database that rolls back by itself, whatever a handler makes of the error, would take what the next one
    /// writes for a transaction each. A store whose database never does so, or then refuses whatever comes next, need not
    /// say anything.
    ///
    /// # Errors
    /// Fails where the database has rolled back by itself.
    fn check(&mut self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Whether a lane has earlier work that is claimed, waiting or dead.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn lane_is_held(&mut self, lane: &str) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Ends stored work: deletes it if the claim still holds. `false` where the fence has moved on: roll back then.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn finish_work(&mut self, claim: Claim) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Claims an idempotency key in this transaction, for a call made within it: undone with it, and seen by others from
    /// its commit on. It says the same as [`Driver::claim_idempotent`], but that a key whose lease has run out is still
    /// [`Running`](IdempotentOutcome::Running) where renewals have to wait for this transaction: it may be what keeps the
    /// owner from renewing it.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn claim_idempotent(&mut self, request: IdempotentRequest) -> BoxFuture<'_, Result<IdempotentOutcome, StoreError>>;

    /// Ends a call with an idempotency key: stores its response if the claim still holds. `false` where it is gone: roll
    /// back then.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn finish_idempotent(
        &mut self,
        claim: IdempotentClaim,
        response: Vec<u8>,
        now: SystemTime,
    ) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Stores what has become of a saga, in this transaction: [`Sagas::save`] of it. Where the saga is
    /// [`Lost`](SagaSaved::Lost), nothing was stored: roll back then.
    ///
    /// # Errors
    /// Fails with what the database said, and where the store has no sagas.
    fn save_saga(&mut self, change: SagaChange) -> BoxFuture<'_, Result<SagaSaved, StoreError>> {
        drop(change);
        Box::pin(std::future::ready(Err(no_sagas())))
    }

    /// Keeps an event that came for sagas. Those that wait for it are due when they are [told](Sagas::tell), after the commit.
    ///
    /// # Errors
    /// Fails with what the database said, and where the store has no sagas.
    fn keep_awaited(&mut self, event: AwaitedEvent, now: SystemTime) -> BoxFuture<'_, Result<(), StoreError>> {
        let _ = (event, now);
        Box::pin(std::future::ready(Err(no_sagas())))
    }

    /// Begins a savepoint.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn savepoint(&mut self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Keeps what was done since the innermost savepoint.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn release_savepoint(&mut self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Undoes what was done since the innermost savepoint, and ends it.
    ///
    /// # Errors
    /// Fails with what the database said.
    fn rollback_to_savepoint(&mut self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The same from a destructor: queued, done before the connection's next statement.
    ///
    /// `false`, and nothing is undone, where the savepoint's release has been asked for and was given up before its
    /// answer: nobody can tell whether it has happened, so it counts as done, and what comes next sees to it. A store that cannot
    /// see to it fails what comes next, and the unit as a whole: then nothing of it is committed.
    #[must_use]
    fn start_rollback_to_savepoint(&mut self) -> bool;

    /// Commits.
    ///
    /// # Errors
    /// [`StoreErrorKind::CommitUnknown`] where the answer was lost; otherwise
    /// nothing was committed.
    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>>;

    /// Rolls back.
    ///
    /// # Errors
    /// Fails with what the database said; the transaction is gone all the same.
    fn rollback(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>>;
}
