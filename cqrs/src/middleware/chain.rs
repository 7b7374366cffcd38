//! The middlewares around one call, outermost first.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::call::{Call, CallKind, MessageCell};
use super::outcome::Outcome;
use crate::BoxError;
use crate::dispatch::{Caught, DispatchError, Failure};
use crate::inject::{Resolved, Resolver};
use crate::message::MessageSpec;
use crate::registry::MiddlewareItem;
use crate::store::driver::BoxFuture;
use crate::unit::Meta;

/// What the innermost `next.run()` runs: the call itself.
pub(crate) trait Terminal: Send {
    fn run(&mut self) -> BoxFuture<'_, Result<(), BoxError>>;
}

/// One of the middlewares around a call.
#[derive(Debug)]
pub(crate) enum Link {
    /// A function, and its dependencies.
    Function { item: MiddlewareItem, slots: Box<[Resolved]> },
    /// The service of a `tower` layer.
    #[cfg(feature = "tower")]
    Layer(crate::tower::Standing),
}

impl Link {
    fn name(&self) -> &'static str {
        match self {
            Self::Function { item, .. } => item.name,
            #[cfg(feature = "tower")]
            Self::Layer(layer) => layer.name(),
        }
    }
}

/// The middlewares of one kind of call.
#[derive(Debug, Default)]
pub(crate) struct Chain(Vec<Arc<Link>>);

impl Chain {
    pub(crate) fn new(links: Vec<Arc<Link>>) -> Self {
        Self(links)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Runs the chain around a call.
    pub(crate) async fn run(
        &self,
        kind: CallKind,
        spec: &'static MessageSpec,
        meta: &Arc<Meta>,
        cell: &MessageCell,
        terminal: &mut dyn Terminal,
    ) -> Result<Outcome, Failure> {
        let left = AtomicUsize::new(self.0.len());
        let next = Next { links: &self.0, left: &left, kind, spec, meta, cell, terminal };
        Caught(Box::pin(next.run())).await.map_err(|message| {
            let at = self.0.len().saturating_sub(left.load(Ordering::Relaxed));
            let handler = self.0.get(at).map_or(spec.name, |link| link.name());
            DispatchError::Panicked { handler, message }
        })
    }
}

/// The rest of a call, from the point of view of a middleware: [`run`](Self::run) it, or do not.
pub struct Next<'a> {
    links: &'a [Arc<Link>],
    /// How many links are left from the one that runs, itself included: names the one that panics.
    left: &'a AtomicUsize,
    kind: CallKind,
    spec: &'static MessageSpec,
    meta: &'a Arc<Meta>,
    cell: &'a MessageCell,
    terminal: &'a mut dyn Terminal,
}

impl Next<'_> {
    /// What a layer is told of the call, and what stays here meanwhile.
    #[cfg(feature = "tower")]
    pub(crate) fn request(&self) -> (crate::tower::Request, crate::tower::Held) {
        crate::tower::Request::new(self.kind, self.spec, self.meta)
    }

    /// Runs the rest of the call.
    pub async fn run(self) -> Outcome {
        let begun = Instant::now();
        let (left, own) = (self.left, self.links.len());
        left.store(own, Ordering::Relaxed);
        let outcome = match self.links.split_first() {
            Some((first, links)) => {
                let call = Call::new(self.kind, self.spec, self.meta, self.cell);
                let next = Next { links, ..self };
                match &**first {
                    Link::Function { item, slots } => {
                        let resolver = Resolver::new(slots, Some(next.meta));
                        (item.thunk)(call, next, resolver).await
                    }
                    #[cfg(feature = "tower")]
                    Link::Layer(layer) => Box::pin(layer.run(next)).await,
                }
            }
            None => Outcome::of(self.terminal.run().await),
        };
        left.store(own + 1, Ordering::Relaxed);
        outcome.after(begun.elapsed())
    }
}

impl fmt::Debug for Next<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next").field("middlewares", &self.links.len()).finish_non_exhaustive()
    }
}
