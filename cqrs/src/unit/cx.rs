//! The context that travels through a handler's future and back.
//!
//! It is owned by the future while the handler runs, so that a dropped future drops the transaction with it, and small,
//! since the slim path moves it twice per call. Whatever a plain call does without is behind `unit`.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::Meta;
use super::slot::{TxAccess, TxSlot};
use crate::app::App;
use crate::dispatch::current;
use crate::event::Events;
use crate::inject::{Inject, Resolved, Scope};
use crate::message::Erased;
use crate::policy::Progress;
use crate::saga::StepKey;

/// The context of one handler call.
///
/// Copied into the handler's future and out again. In this order two words that are empty in most calls stand beside
/// each other: they are written as one, and read as one without a stall.
#[repr(C)]
pub struct Cx<'a> {
    pub(crate) events: Events,
    pub(crate) unit: Option<Box<Unit<'a>>>,
    pub(crate) app: App,
}

impl fmt::Debug for Cx<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cx").field("events", &self.events).finish_non_exhaustive()
    }
}

/// The part of a call's context that only some calls need.
#[derive(Default)]
pub(crate) struct Unit<'a> {
    pub(crate) tx: TxSlot<'a>,
    pub(crate) meta: Arc<Meta>,
    /// The handler's dependencies where some are message-scoped; replaces the plan's slots.
    pub(crate) slots: Option<Arc<[Resolved]>>,
    pub(crate) scope: Option<Arc<Scope>>,
    pub(crate) items: Option<Box<dyn Any + Send>>,
    /// How far a stream has come.
    pub(crate) progress: Option<Arc<Progress>>,
    /// Why a fallback is called: its `Cause<E>`.
    pub(crate) cause: Option<Box<dyn Any + Send>>,
    /// The idempotency key of a saga's step.
    pub(crate) key: Option<StepKey>,
    /// The event that a saga's step has waited for.
    pub(crate) event: Option<Erased>,
    /// Whether the handler has failed with an error that its `on` does not list: another attempt would be in vain.
    pub(crate) in_vain: bool,
    /// Whether rows were written that a worker waits for, beside those of what was raised.
    pub(crate) has_news: bool,
}

/// The parts of a context that parameters take.
pub struct Parts<'c> {
    pub(super) app: &'c App,
    slots: &'c [Resolved],
    next: usize,
    pub(super) events: Option<&'c mut Events>,
    /// Apart, so that a call without a unit of work writes one word for all of it.
    pub(super) unit: Option<UnitParts<'c>>,
}

/// The parts of a unit of work that parameters take.
pub(super) struct UnitParts<'c> {
    pub(super) tx: Option<&'c mut (dyn TxAccess + 'c)>,
    pub(super) meta: &'c Meta,
    pub(super) items: Option<&'c mut (dyn Any + Send)>,
    pub(super) cause: Option<Box<dyn Any + Send>>,
    pub(super) key: Option<&'c StepKey>,
}

impl fmt::Debug for Parts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parts")
    }
}

impl Parts<'_> {
    #[inline]
    pub(super) fn inject<T: ?Sized + Send + Sync + 'static>(&mut self) -> Option<Inject<T>> {
        let slot = self.slots.get(self.next)?;
        self.next += 1;
        slot.get()
    }
}

impl Cx<'_> {
    #[inline]
    pub(crate) fn new(app: App) -> Self {
        Self { events: Events::new(), unit: None, app }
    }

    /// Lends out the parts; `handler` is the handler's number in the app's plan.
    ///
    /// Called where parameters are taken, which is compiled once per list of them, not once per handler. The parts are used
    /// where they are put together: moved first, they would be read before they are written out (a tenth of a call).
    #[inline]
    pub(super) fn lend<'c, R>(&'c mut self, handler: u32, take: impl FnOnce(&mut Parts<'c>) -> R) -> R {
        let slots = self.app.slots(handler);
        let mut parts = Parts { app: &self.app, slots, next: 0, events: Some(&mut self.events), unit: None };
        if let Some(unit) = self.unit.as_deref_mut() {
            unit.lend(&mut parts, handler);
        }
        take(&mut parts)
    }
}

impl Unit<'_> {
    #[cold]
    fn lend<'c>(&'c mut self, parts: &mut Parts<'c>, handler: u32) {
        // A stream says by itself when it runs: parked, it does not.
        let running = self.items.is_none().then(|| parts.app.running(handler));
        current::announce(&self.meta, running);
        if let Some(slots) = &self.slots {
            parts.slots = slots;
        }
        parts.unit = Some(UnitParts {
            tx: Some(&mut self.tx),
            meta: &self.meta,
            items: self.items.as_deref_mut(),
            cause: self.cause.take(),
            key: self.key.as_ref(),
        });
    }
}
