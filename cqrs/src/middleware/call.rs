//! What a middleware sees of a call.

use std::any::{Any, TypeId};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::Fault;
use crate::BoxError;
use crate::message::{Erased, Message, MessageKind, MessageSpec, erased};
use crate::registry::{EventMode, HandlerItem, HandlerKind};
use crate::unit::Meta;

/// The kinds of call a middleware can be around.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallKind {
    /// A command that answers once.
    Command,
    /// A query that answers once.
    Query,
    /// A streaming command or query.
    Stream,
    /// One handler of an event.
    Event,
    /// One step of a saga.
    Step,
}

impl CallKind {
    pub(crate) const ALL: [Self; 5] = [Self::Command, Self::Query, Self::Stream, Self::Event, Self::Step];

    pub(crate) fn of(spec: &MessageSpec) -> Self {
        match spec.kind {
            _ if spec.streaming => Self::Stream,
            MessageKind::Command => Self::Command,
            MessageKind::Query => Self::Query,
            MessageKind::DomainEvent | MessageKind::NotificationEvent => Self::Event,
            MessageKind::Saga => Self::Step,
        }
    }

    /// The kind as `kinds = [..]` spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Query => "query",
            Self::Stream => "stream",
            Self::Event => "event",
            Self::Step => "step",
        }
    }
}

impl fmt::Display for CallKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A call, as a middleware sees it: its kind, name, meta and message.
pub struct Call<'a> {
    kind: CallKind,
    spec: &'static MessageSpec,
    meta: &'a Meta,
    cell: &'a MessageCell,
    seen: OnceLock<Option<Erased>>,
}

impl<'a> Call<'a> {
    pub(super) fn new(kind: CallKind, spec: &'static MessageSpec, meta: &'a Meta, cell: &'a MessageCell) -> Self {
        Self { kind, spec, meta, cell, seen: OnceLock::new() }
    }

    /// The kind of the call.
    pub fn kind(&self) -> CallKind {
        self.kind
    }

    /// The message's name.
    pub fn name(&self) -> &'static str {
        self.spec.name
    }

    /// The function, where the call is one of a step of a saga or of a compensation; [`name`](Self::name) is the saga's then, and the
    /// message its context as it was before.
    pub fn step(&self) -> Option<&'static str> {
        self.cell.step
    }

    /// What is known about the call: ids, times, headers.
    pub fn meta(&self) -> &Meta {
        self.meta
    }

    /// The message, if it is an `M` and the handler has not got it yet.
    ///
    /// Who looks at a message keeps it: the handler is then given a clone. A message that is not `Clone` can be looked
    /// at only by a middleware that does not run the call: running it is [`Rejected`](crate::DispatchError::Rejected), a fault
    /// of the program that clients of a web endpoint see as a 500.
    pub fn message<M: Message>(&self) -> Option<&M> {
        // Asked for another type, nothing is looked at: the call need not be cloneable for that.
        if self.spec.type_id != TypeId::of::<M>() {
            return None;
        }
        self.seen().and_then(|message| message.downcast_ref())
    }

    /// The message, as its `Debug` shows it; its name where it has none, or where the handler has the message.
    pub fn debug(&self) -> String {
        let shown = match (self.seen.get(), self.spec.codec.debug) {
            (_, None) => None,
            (Some(seen), Some(show)) => seen.as_ref().and_then(|message| (show.0)(&**message)),
            (None, Some(show)) => self.cell.with(show.0),
        };
        shown.unwrap_or_else(|| self.spec.name.to_owned())
    }

    fn seen(&self) -> Option<&Erased> {
        self.seen.get_or_init(|| self.cell.look()).as_ref()
    }
}

impl fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("kind", &self.kind).field("name", &self.spec.name).finish_non_exhaustive()
    }
}

/// Holds a call's message until the handler takes it.
pub(crate) struct MessageCell {
    message: Mutex<Option<Erased>>,
    step: Option<&'static str>,
}

impl MessageCell {
    pub(crate) fn new<M: Message>(message: M) -> Self {
        Self::shared(erased(message))
    }

    /// The cell of a message that is shared anyway: an event.
    pub(crate) fn shared(message: Erased) -> Self {
        Self { message: Mutex::new(Some(message)), step: None }
    }

    /// The cell of a saga's context, which a step is given otherwise; `None` where it cannot be read, as the step will say.
    pub(crate) fn of_step(context: Option<Erased>, step: &'static str) -> Self {
        Self { message: Mutex::new(context), step: Some(step) }
    }

    fn look(&self) -> Option<Erased> {
        self.lock().clone()
    }

    fn with<R>(&self, look: impl FnOnce(&(dyn Any + Send + Sync)) -> Option<R>) -> Option<R> {
        self.lock().as_deref().and_then(look)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Erased>> {
        self.message.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the message for a handler that knows its type; one that owns what it decoded gets a clone where a
    /// middleware keeps looking at it.
    pub(crate) fn take_erased(&self, item: &HandlerItem) -> Result<Erased, BoxError> {
        let message = self.lock().take().ok_or_else(run_already)?;
        let owned = !matches!(item.kind, HandlerKind::Event(EventMode::Plain | EventMode::Inline));
        if !owned || Arc::strong_count(&message) == 1 {
            return Ok(message);
        }
        let copy = item.message.codec.duplicate.and_then(|duplicate| (duplicate.0)(&*message));
        copy.ok_or_else(|| needs_clone(item.message.type_name()))
    }

    /// Takes the message for the handler; a clone where a middleware keeps looking at it.
    pub(crate) fn take<M: Message>(&self) -> Result<M, BoxError> {
        let message = self.lock().take().and_then(|message| message.downcast::<M>().ok());
        let Some(message) = message else { return Err(run_already()) };
        Arc::try_unwrap(message).or_else(|message| {
            let copy = M::SPEC.codec.duplicate.and_then(|duplicate| (duplicate.0)(&*message));
            copy.and_then(|copy| copy.downcast::<M>().ok())
                .and_then(Arc::into_inner)
                .ok_or_else(|| needs_clone(std::any::type_name::<M>()))
        })
    }
}

fn run_already() -> BoxError {
    Fault::new("the call was run already").into()
}

fn needs_clone(name: &str) -> BoxError {
    Fault::new(format!("a middleware looked at the message and ran the call, which needs a clone of it; help: derive `Clone` for `{name}`")).into()
}
