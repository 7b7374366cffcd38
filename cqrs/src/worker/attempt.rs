//! One attempt at stored work or at a consumed message, in its unit of work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::app::App;
use crate::dispatch::{
    Caught, DispatchError, Failure, Opening, abandon, begin_tx, call_context, call_event_handler, conclude, open_unit,
    undo,
};
use crate::message::Erased;
use crate::store::driver::Transaction;
use crate::store::{Claim, InboxMark};
use crate::unit::Meta;

/// Whether an attempt has come to its commit. From there on nobody can take it back, and what follows the commit takes as
/// long as it takes: neither the deadline nor a claim that is gone says anything about it.
#[derive(Debug, Default)]
pub(crate) struct Commit(AtomicBool);

impl Commit {
    pub(crate) fn begin(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Waits for an attempt and its surroundings, until the deadline at most. What is the user's outside of the handler (a
/// `Display`, a `Serialize`, a listener) may panic as well: the attempt has failed then.
pub(crate) async fn in_time<T>(app: &App, commit: &Commit, work: impl Future<Output = T>) -> Result<T, String> {
    let deadline = app.options().deadline;
    let late = async {
        tokio::time::sleep(deadline).await;
        if commit.has_begun() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        done = Caught(Box::pin(work)) => done.map_err(|panic| format!("it panicked: {panic}")),
        () = late => Err(format!("the attempt took longer than its deadline of {deadline:?}")),
    }
}

/// One attempt.
pub(crate) struct Attempt<'a> {
    pub(crate) handler: u32,
    pub(crate) message: Erased,
    pub(crate) meta: Arc<Meta>,
    /// The mark that it was handled, for messages just consumed.
    pub(crate) mark: Option<InboxMark>,
    /// The lane whose earlier messages go first, for messages just consumed.
    pub(crate) lane: Option<String>,
    /// The stored work that ends with it.
    pub(crate) claim: Option<Claim>,
    /// Told when it comes to its commit.
    pub(crate) commit: &'a Commit,
}

/// How an attempt ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was done, and committed.
    Done,
    /// It had been done before.
    Duplicate,
    /// An earlier message of its lane waits, or is dead: it was not tried.
    Behind,
    /// Somebody else owns the work by now: nothing was committed.
    Lost,
}

/// Makes an attempt: mark, effects, raised events and the end of the stored work commit together or not at all.
///
/// A handler that takes `&mut Tx` runs in the transaction that holds the mark. One that does not may be slow, and keeps
/// nobody from writing: what it has to know is asked before it, what it leaves is written after it.
pub(crate) async fn attempt(app: &App, attempt: Attempt<'_>) -> Result<Ended, Failure> {
    let planned = app.planned(attempt.handler);
    let what = planned.item.message.name;
    let Attempt { handler, message, meta, mark, lane, claim, commit } = attempt;
    if !planned.needs_tx && (mark.is_some() || lane.is_some()) {
        let mut tx = begin_tx(app, what).await?;
        let ended = look(&mut tx, mark.clone(), lane.as_deref()).await?;
        tx.rollback().await?;
        if let Some(ended) = ended {
            return Ok(ended);
        }
    }
    let opening = Opening { meta: Arc::clone(&meta), scope: None, within: None };
    let unit = open_unit(app, handler, opening).await?;
    let mut cx = call_context(app, unit);
    if planned.needs_tx
        && let Some(tx) = cx.unit.as_mut().and_then(|unit| unit.tx.open.as_mut())
        && let Some(ended) = look(tx, mark.clone(), lane.as_deref()).await?
    {
        abandon(cx).await;
        return Ok(ended);
    }
    let cx = call_event_handler(app, handler, message, cx, &meta).await?;
    let mut conclusion = conclude(cx, Some(meta), what).await?;
    if !planned.needs_tx
        && let Some(mark) = mark
        && let Some(ended) = look(conclusion.begun(app, what).await?, Some(mark), None).await?
    {
        // Handled by somebody else in the meantime.
        undo(conclusion, app).await;
        return Ok(ended);
    }
    if let Some(claim) = claim
        && !conclusion.begun(app, what).await?.finish_work(claim).await?
    {
        undo(conclusion, app).await;
        return Ok(Ended::Lost);
    }
    commit.begin();
    match conclusion.complete(app).await {
        // After the commit: reported where it happened, and no reason to do it again.
        Ok(()) | Err(DispatchError::EventFailed { .. } | DispatchError::EventDepth { .. }) => Ok(Ended::Done),
        Err(failure) => Err(failure),
    }
}

/// Marks the message as handled, unless there is a reason not to handle it.
async fn look(
    tx: &mut Box<dyn Transaction>,
    mark: Option<InboxMark>,
    lane: Option<&str>,
) -> Result<Option<Ended>, Failure> {
    if let Some(lane) = lane
        && tx.lane_is_held(lane).await?
    {
        return Ok(Some(Ended::Behind));
    }
    if let Some(mark) = mark
        && tx.mark_handled(vec![mark]).await?.first() == Some(&false)
    {
        return Ok(Some(Ended::Duplicate));
    }
    Ok(None)
}
