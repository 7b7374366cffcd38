//! Taking back what a failed attempt wrote and raised, and making room for the next.

use std::sync::Arc;

use crate::dispatch::{Failure, begin_in_turn, deadlock};
use crate::inject::Scope;
use crate::unit::{AttemptMark, Cx, TxSlot, Unit};

/// How things stood before an attempt.
pub(super) struct Before {
    raised: usize,
    tx: AttemptMark,
}

impl Before {
    /// Notes how things stand where there is no transaction, nor can be one.
    #[inline]
    pub(super) fn slim(cx: &Cx<'_>) -> Self {
        Self { raised: cx.events.len(), tx: AttemptMark::Nothing }
    }

    /// Notes how things stand, and begins what the attempt needs to be undone.
    ///
    /// `shared`: the transaction holds other handlers' work, so that the attempt gets a savepoint of its own. `goes_on`:
    /// something may run after a failed attempt; without that, whoever called the handler undoes the whole.
    pub(super) async fn attempt(cx: &mut Cx<'_>, handler: u32, shared: bool, goes_on: bool) -> Result<Self, Failure> {
        let raised = cx.events.len();
        let mut tx = AttemptMark::Nothing;
        if cx.unit.is_some() {
            begin(cx, handler).await?;
            if goes_on && let Some(unit) = cx.unit.as_mut() {
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
    /// `waits` for the database to have ended it, or leaves that to the database.
    pub(super) async fn undo(self, cx: &mut Cx<'_>, waits: bool) -> Result<(), Failure> {
        cx.events.truncate(self.raised);
        let Some(unit) = cx.unit.as_mut() else { return Ok(()) };
        unit.tx.end_late();
        let held = unit.tx.open.is_some();
        unit.tx.undo_attempt(self.tx, waits).await?;
        if held && unit.tx.open.is_none() {
            deadlock::let_go();
        }
        Ok(())
    }
}

/// Puts a handler's dependencies in place, and begins the transaction it takes if none is open: it runs in the unit of
/// work of the one before it.
pub(crate) async fn enter(cx: &mut Cx<'_>, handler: u32) -> Result<(), Failure> {
    let app = cx.app.clone();
    let planned = app.planned(handler);
    let unit =
        cx.unit.get_or_insert_with(|| Box::new(Unit { tx: TxSlot::empty(app.store().cloned()), ..Unit::default() }));
    let scope = Arc::clone(unit.scope.get_or_insert_with(|| Arc::new(Scope::new(Arc::clone(&unit.meta)))));
    unit.slots = if planned.scoped { Some(scope.slots(&app, planned).await?) } else { None };
    begin(cx, handler).await
}

/// Begins the transaction that a handler takes, if none is open.
async fn begin(cx: &mut Cx<'_>, handler: u32) -> Result<(), Failure> {
    let planned = cx.app.planned(handler);
    let (needs_tx, what) = (planned.needs_tx, planned.item.message.name);
    let Some(unit) = cx.unit.as_mut() else { return Ok(()) };
    if needs_tx && unit.tx.open.is_none() {
        unit.tx.open = Some(begin_in_turn(&cx.app, what, unit.tx.is_patient).await?);
        deadlock::hold();
    }
    Ok(())
}
