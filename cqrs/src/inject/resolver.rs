//! Resolved dependencies and the slots providers and middleware read them from.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::Inject;
use crate::unit::Meta;

/// A dependency that has been made: an `Inject<T>` whose `T` the reader knows.
#[derive(Clone)]
pub struct Resolved(Arc<dyn Any + Send + Sync>);

impl Resolved {
    pub(crate) fn new(inject: Arc<dyn Any + Send + Sync>) -> Self {
        Self(inject)
    }

    #[inline]
    pub(crate) fn get<T: ?Sized + Send + Sync + 'static>(&self) -> Option<Inject<T>> {
        self.0.downcast_ref::<Inject<T>>().cloned()
    }
}

impl fmt::Debug for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolved")
    }
}

/// What a provider or a middleware is called with: its dependencies, in the order of its parameters.
#[derive(Debug)]
pub struct Resolver<'a> {
    slots: &'a [Resolved],
    next: usize,
    meta: Option<&'a Meta>,
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(slots: &'a [Resolved], meta: Option<&'a Meta>) -> Self {
        Self { slots, next: 0, meta }
    }

    pub(crate) fn inject<T: ?Sized + Send + Sync + 'static>(&mut self) -> Option<Inject<T>> {
        let slot = self.slots.get(self.next)?;
        self.next += 1;
        slot.get()
    }

    pub(crate) fn meta(&self) -> Option<&'a Meta> {
        self.meta
    }
}
