//! Points at which tests end the process: the moments of relay, consumers, workers and sagas between which something is lasting.
//!
//! Without the feature `__fail-points`, which is for the tests of this workspace alone, passing a point is nothing: no branch, no
//! load, no name in the program.

macro_rules! points {
    ($($(#[$text:meta])* $point:ident => $name:literal,)*) => {
        /// A point. Each has a test that dies at it, since tests go through all of them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[cfg_attr(not(feature = "__fail-points"), expect(unreachable_pub, reason = "named by tests alone"))]
        pub enum FailPoint {
            $($(#[$text])* $point,)*
        }

        #[cfg(feature = "__fail-points")]
        impl FailPoint {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$point),*];

            /// The name by which a process is told.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)*
                }
            }
        }
    };
}

points! {
    /// Rows of the outbox are claimed, and none of them is with the broker.
    RelayClaimed => "relay.claimed",
    /// The rows of one key are on their way to the broker; others of the claim are not.
    RelayShipped => "relay.shipped",
    /// The broker has answered for the rows of one key, and nobody has noted it.
    RelayAnswered => "relay.answered",
    /// What the broker has confirmed is about to be settled.
    RelaySettling => "relay.settling",
    /// It is settled.
    RelaySettled => "relay.settled",
    /// The relay was told to stop: what is in flight has been waited for, the rest is about to be handed back.
    RelayHandingBack => "relay.handing-back",
    /// Messages have come from the broker.
    ConsumerReceived => "consumer.received",
    /// What was handled is committed, and the broker is about to be told.
    ConsumerSettling => "consumer.settling",
    /// The broker was told.
    ConsumerSettled => "consumer.settled",
    /// The group was told to stop: what has not begun is about to be handed back.
    ConsumerHandingBack => "consumer.handing-back",
    /// A message of a batch was handled, in the batch's transaction.
    BatchHandled => "batch.handled",
    /// What a batch raised is stored.
    BatchStored => "batch.stored",
    /// The messages of a batch are marked; only the commit is missing.
    BatchMarked => "batch.marked",
    /// A batch is committed.
    BatchCommitted => "batch.committed",
    /// A batch was rolled back; its messages are about to be handled one by one.
    BatchSpoiled => "batch.spoiled",
    /// A message is marked, and its handler has not been called.
    AttemptMarked => "attempt.marked",
    /// A handler has ended, and what it raised is stored.
    AttemptHandled => "attempt.handled",
    /// Stored work is ended in the transaction of its effects, which is not committed.
    AttemptEnded => "attempt.ended",
    /// A unit of work is about to be committed.
    UnitCommitting => "unit.committing",
    /// It is committed, and nobody has been told.
    UnitCommitted => "unit.committed",
    /// A message that failed is marked, and about to be kept for another attempt, or as a dead letter.
    KeepMarked => "keep.marked",
    /// It is stored; only the commit is missing.
    KeepStored => "keep.stored",
    /// It is kept.
    KeepCommitted => "keep.committed",
    /// Stored work is claimed, timers among it, and none of it has begun.
    WorkClaimed => "work.claimed",
    /// Work that failed is about to be put back.
    WorkRetrying => "work.retrying",
    /// It is put back.
    WorkRetried => "work.retried",
    /// Work that failed for the last time is about to become a dead letter.
    WorkBurying => "work.burying",
    /// It is one.
    WorkBuried => "work.buried",
    /// A message that was kept whole was given to its handlers, and its row is about to be ended.
    WorkOffered => "work.offered",
    /// A saga is stored, and none of it has begun.
    SagaStarted => "saga.started",
    /// A step's function, or its compensation, has returned, and nothing is stored of it.
    SagaCalled => "saga.called",
    /// The progress of a saga is in the transaction of its step, which is not committed.
    SagaSaved => "saga.saved",
    /// It is committed, and what comes next has not begun.
    SagaStored => "saga.stored",
    /// A saga is claimed that nobody held, and nothing was done with it.
    SagaTakenUp => "saga.taken-up",
    /// Nobody holds the saga any more, for it has ended or waits, and who held it has told nobody.
    SagaRested => "saga.rested",
    /// Sagas that wait for what has come are due, and none of them is claimed.
    SagaTold => "saga.told",
    /// What a saga waits for was found, and nothing is stored of that.
    SagaCame => "saga.came",
    /// It is noted that its owner was lost, and what was under way is about to begin again.
    SagaCut => "saga.cut",
}

#[cfg(feature = "__fail-points")]
mod watched {
    use std::sync::OnceLock;

    use super::FailPoint;

    static WATCHER: OnceLock<fn(FailPoint)> = OnceLock::new();

    /// Has a function called at every point from now on, by whoever passes it. The first one stays.
    pub fn watch(watcher: fn(FailPoint)) {
        let _ = WATCHER.set(watcher);
    }

    pub(crate) fn pass(point: FailPoint) {
        if let Some(watcher) = WATCHER.get() {
            watcher(point);
        }
    }
}

#[cfg(feature = "__fail-points")]
pub(crate) use self::watched::pass;
#[cfg(feature = "__fail-points")]
pub use self::watched::watch;

/// Nothing.
#[cfg(not(feature = "__fail-points"))]
pub(crate) const fn pass(_point: FailPoint) {}
