//! One attempt at stored work or at a consumed message, in its unit of work.

use std::sync::Arc;

use crate::app::App;
use crate::dispatch::{
    DispatchError, Failure, Opening, abandon, begin_tx, call_context, call_event_handler, conclude, open_unit, undo,
};
use crate::message::Erased;
use crate::store::driver::Transaction;
use crate::store::{Claim, InboxMark};
use crate::unit::Meta;

/// One attempt.
pub(crate) struct Attempt {
    pub(crate) handler: u32,
    pub(crate) message: Erased,
    pub(crate) meta: Arc<Meta>,
    /// The mark that it was handled, for messages just consumed.
    pub(crate) mark: Option<InboxMark>,
    /// The lane whose earlier messages go first, for messages just consumed.
    pub(crate) lane: Option<String>,
    /// The stored work that ends with it.
    pub(crate) claim: Option<Claim>,
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
pub(crate) async fn attempt(app: &App, attempt: Attempt) -> Result<Ended, Failure> {
    let planned = app.planned(attempt.handler);
    let what = planned.item.message.name;
    let Attempt { handler, message, meta, mark, lane, claim } = attempt;
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
