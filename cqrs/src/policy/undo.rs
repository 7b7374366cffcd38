//! Taking back what a failed attempt wrote and raised, and making room for the next.

use crate::dispatch::{Failure, begin_needed, deadlock, join_unit};
use crate::error::chain;
use crate::unit::{AttemptMark, Cx};

/// How things stood before an attempt.
pub(super) struct Before {
    raised: usize,
    tx: AttemptMark,
}

impl Before {
    /// How things stood where there is no transaction, nor can be one.
    pub(super) fn slim(raised: usize) -> Self {
        Self { raised, tx: AttemptMark::Nothing }
    }

    /// Notes how things stand, and begins what the attempt needs to be undone.
    ///
    /// `shared`: the transaction holds other handlers' work, so that the attempt gets a savepoint of its own. `goes_on`:
    /// something may run after a failed attempt; without that, whoever called the handler undoes a shared one.
    pub(super) async fn attempt(cx: &mut Cx<'_>, handler: u32, shared: bool, goes_on: bool) -> Result<Self, Failure> {
        let raised = cx.events.len();
        let mut tx = AttemptMark::Nothing;
        if let Some(unit) = cx.unit.as_mut() {
            if begin_needed(&cx.app, handler, unit).await? {
                deadlock::hold();
            }
            if goes_on || !unit.tx.is_shared(shared) {
                tx = unit.tx.begin_attempt(shared).await?;
            }
        }
        Ok(Self { raised, tx })
    }

    /// Keeps what the attempt did.
    pub(super) async fn keep(self, cx: &mut Cx<'_>) -> Result<(), Failure> {
        match cx.unit.as_mut() {
            Some(unit) => {
                unit.tx.end_late();
                Ok(unit.tx.keep_attempt(self.tx).await?)
            }
            None => Ok(()),
        }
    }

    /// Takes back what the attempt wrote and raised. A transaction that was the attempt's alone is gone afterwards:
    /// `waits` for the database to have ended it, or leaves that to the database. Gives whether all of it is gone.
    pub(super) async fn undo(self, cx: &mut Cx<'_>, waits: bool) -> bool {
        cx.events.truncate(self.raised);
        let Some(unit) = cx.unit.as_mut() else { return true };
        unit.tx.end_late();
        let held = unit.tx.open.is_some();
        if let Err(error) = unit.tx.undo_attempt(self.tx, waits).await {
            tracing::warn!(
                error = chain(&error),
                "what a failed handler wrote could not be taken back by itself: all of its call is"
            );
            return false;
        }
        if held && unit.tx.open.is_none() {
            deadlock::let_go();
        }
        true
    }
}

/// Makes a handler's context that of another one, which runs in the same unit of work: its dependencies, and the
/// transaction it takes. Only while the first is being polled, which then holds it.
///
/// Without a unit of work there is nothing to do: wiring gives one to whoever may be followed by a handler that needs it.
pub(crate) async fn enter(cx: &mut Cx<'_>, handler: u32) -> Result<(), Failure> {
    let app = cx.app.clone();
    let Some(unit) = cx.unit.as_mut() else { return Ok(()) };
    if join_unit(&app, handler, unit).await? {
        deadlock::hold();
    }
    Ok(())
}
