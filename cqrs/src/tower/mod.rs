//! `tower` layers around calls: timeout, rate limit, concurrency limit, load shed, and layers of your own.
//!
//! ```
//! use std::time::Duration;
//! use cqrs::CallKind;
//! use tower::ServiceBuilder;
//!
//! # fn app(builder: cqrs::Builder) -> cqrs::Builder {
//! builder.layer(cqrs::tower::around(
//!     [CallKind::Command, CallKind::Query],
//!     ServiceBuilder::new().load_shed().concurrency_limit(64).timeout(Duration::from_secs(2)),
//! ))
//! # }
//! ```
//!
//! A layer stands among the app's middleware, by [`order`](Layered::order), around the unit of work, once per call. A call
//! of a kind that no layer and no middleware is around pays nothing.
//!
//! # One service
//!
//! The layer is applied once, when the app starts, and the one service that comes of it takes every call of its kinds: a
//! limit of 64 is 64 calls in all. Two limits are two layers. The service need not be `Clone` (a rate limit's is not): one
//! call at a time asks it whether it is ready and hands itself in, in the order in which the calls came; what the service
//! makes of a call then runs beside the others. Calls wait where `poll_ready` does, and a call that is dropped while it
//! waits gives its turn to the next.
//!
//! A layer's requests and answers are [`Request`] and [`Outcome`]. Layers that pass them on fit; one that repeats a request
//! (`tower`'s retry, hedge) does not compile, since a request is one call: repeating is what `retry(..)` on a handler does.
//!
//! # Errors
//!
//! A layer's error turns the call down: [`DispatchError::Rejected`](crate::DispatchError::Rejected), with the layer's error as
//! the source, and so does a `poll_ready` that fails. That a layer of `tower` ran out of time is no
//! [`Timeout`](crate::DispatchError::Timeout), which names a handler and the time *it* was given; it is told by its type:
//!
//! ```
//! use cqrs::DispatchError;
//!
//! fn is_overload<E>(error: &DispatchError<E>) -> bool {
//!     matches!(error, DispatchError::Rejected { source, .. } if source.is::<tower::load_shed::error::Overloaded>())
//! }
//!
//! fn ran_out_of_time<E>(error: &DispatchError<E>) -> bool {
//!     matches!(error, DispatchError::Rejected { source, .. } if source.is::<tower::timeout::error::Elapsed>())
//! }
//! # let error: DispatchError<std::io::Error> = DispatchError::ShuttingDown;
//! # assert!(!is_overload(&error) && !ran_out_of_time(&error));
//! ```
//!
//! Both say that the same call may succeed later ([`is_retryable`](crate::DispatchError::is_retryable)). A client of a web endpoint
//! gets 503 with `Retry-After` for the first and 504 for the second; any other error of a layer is 403, unless it is a problem of
//! its own.
//!
//! The handler's own failure is no error to a layer: it is an [`Outcome`] that is not ok, and reaches the caller as it is. A
//! layer that gives up on a call (a timeout) drops it as a caller would: what is not committed is rolled back.
//!
//! # Limits and calls within calls
//!
//! What a handler sends through `&App`, and the event handlers that follow a command, run within the call that set them off.
//! A concurrency limit that is around both waits for itself once it is used up. Give inner kinds a limit of their own, or put
//! `load_shed` outside of it: then the inner call is turned down instead of waiting for ever.
//!
//! # How it works
//!
//! A service's future owns what it works on, for as long as it likes; the rest of a call borrows from its caller. So the rest
//! never enters the service. What the layers are put around is [`Rest`], and its future only takes turns with the middleware
//! that holds the real rest of the call: once it is polled it says "your turn" over one channel, and waits for the outcome on
//! another. The middleware polls the service's answer and, from that turn on, the rest of the call, and carries the outcome
//! over. The rest is dropped as soon as either end is gone: the service has answered without it, or has dropped the future
//! that waits for it, wherever that was kept.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tower_layer::Layer;

use crate::message::SourceLocation;
use crate::middleware::{CallKind, Outcome};
use crate::registry::MiddlewareKinds;
use crate::wiring::{Problem, ProblemKind};

mod request;
mod service;
#[cfg(test)]
mod tests;

pub(crate) use self::request::Held;
pub use self::request::{Request, Rest, RestFuture};
pub(crate) use self::service::Standing;

/// Puts a `tower` layer around every call of some kinds, for [`Builder::layer`](crate::Builder::layer).
///
/// The layer is applied when the app starts, within its runtime. See the [module](self) for what it sees.
///
/// ```
/// use cqrs::CallKind;
/// use tower::limit::ConcurrencyLimitLayer;
///
/// let writes = cqrs::tower::around([CallKind::Command], ConcurrencyLimitLayer::new(8)).order(-10);
/// # let _ = writes;
/// ```
#[track_caller]
pub fn around<L>(kinds: impl IntoIterator<Item = CallKind>, layer: L) -> Layered
where
    L: Layer<Rest> + Send + 'static,
    L::Service: tower_service::Service<Request, Response = Outcome, Error: Into<crate::BoxError>, Future: Send>,
    L::Service: Send + 'static,
{
    let caller = std::panic::Location::caller();
    let mut around = MiddlewareKinds::NONE;
    for kind in kinds {
        match kind {
            CallKind::Command => around.command = true,
            CallKind::Query => around.query = true,
            CallKind::Stream => around.stream = true,
            CallKind::Event => around.event = true,
            CallKind::Step => around.step = true,
        }
    }
    Layered {
        name: std::any::type_name::<L>(),
        kinds: around,
        order: 0,
        location: SourceLocation { module: "", file: caller.file(), line: caller.line() },
        apply: Box::new(move || Box::new(layer.layer(Rest::new()))),
    }
}

/// A layer, and which calls it is around. Made by [`around`].
#[must_use = "a layer does nothing until the builder is given it"]
pub struct Layered {
    pub(crate) name: &'static str,
    pub(crate) kinds: MiddlewareKinds,
    pub(crate) order: i32,
    location: SourceLocation,
    apply: Box<dyn FnOnce() -> Box<dyn Service> + Send>,
}

impl Layered {
    /// Where it stands among the app's middleware: the lowest is outermost; 0 unless said otherwise.
    ///
    /// Of one order, layers stand outside of `#[middleware]` functions, the first that the builder was given outermost.
    pub fn order(mut self, order: i32) -> Self {
        self.order = order;
        self
    }

    /// What is wrong with it, if anything.
    pub(crate) fn problem(&self) -> Option<Problem> {
        let mend = "name the kinds: `cqrs::tower::around([CallKind::Command], ..)`";
        let problem = || Problem::new(ProblemKind::Setting, "a layer is around no kind of call", mend);
        (self.kinds == MiddlewareKinds::NONE).then(|| problem().at(self.name, self.location))
    }

    /// Applies the layer, within the app's runtime.
    pub(crate) fn stand(self) -> Standing {
        Standing::new(self.name, (self.apply)())
    }
}

impl fmt::Debug for Layered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layered").field("name", &self.name).field("order", &self.order).finish_non_exhaustive()
    }
}

/// What an error of one of `tower`'s layers says of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Temporary {
    /// There was too much to do.
    Overload,
    /// It took too long.
    Timeout,
}

impl Temporary {
    /// What it says, if that passes by itself.
    pub(crate) fn of(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        if error.is::<::tower::load_shed::error::Overloaded>() {
            Some(Self::Overload)
        } else if error.is::<::tower::timeout::error::Elapsed>() {
            Some(Self::Timeout)
        } else {
            None
        }
    }
}

/// What a service makes of a call.
type Answering = Pin<Box<dyn Future<Output = Result<Outcome, crate::BoxError>> + Send>>;

/// A layer's service, whatever its type.
trait Service: Send {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), crate::BoxError>>;
    fn call(&mut self, request: Request) -> Answering;
}

impl<S> Service for S
where
    S: tower_service::Service<Request, Response = Outcome, Error: Into<crate::BoxError>, Future: Send + 'static> + Send,
{
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), crate::BoxError>> {
        tower_service::Service::poll_ready(self, cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request) -> Answering {
        let answering = tower_service::Service::call(self, request);
        Box::pin(async move { answering.await.map_err(Into::into) })
    }
}
