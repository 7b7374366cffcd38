//! What a layer sees: a request, and the service that stands for the rest of the call.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use crate::message::MessageSpec;
use crate::middleware::{CallKind, Fault, Outcome};
use crate::unit::Meta;

/// A call, as a `tower` layer sees it.
///
/// Its message is not here: it stays with the call. What looks at messages is a
/// [`#[middleware]`](macro@crate::middleware).
pub struct Request {
    kind: CallKind,
    spec: &'static MessageSpec,
    meta: Arc<Meta>,
    turn: Turn,
}

/// The service's end of the way to the call.
#[derive(Debug)]
struct Turn {
    begin: oneshot::Sender<()>,
    outcome: oneshot::Receiver<Outcome>,
}

/// The call's end of the way to the service.
#[derive(Debug)]
pub(crate) struct Held {
    /// Told when the rest of the call is to begin.
    pub(super) begin: oneshot::Receiver<()>,
    /// Told how it ended; closed where nobody wants to know.
    pub(super) outcome: oneshot::Sender<Outcome>,
}

impl Request {
    pub(crate) fn new(kind: CallKind, spec: &'static MessageSpec, meta: &Arc<Meta>) -> (Self, Held) {
        let (begin, turn) = oneshot::channel();
        let (tell, outcome) = oneshot::channel();
        let request = Self { kind, spec, meta: Arc::clone(meta), turn: Turn { begin, outcome } };
        (request, Held { begin: turn, outcome: tell })
    }

    /// The kind of the call.
    pub fn kind(&self) -> CallKind {
        self.kind
    }

    /// The message's name.
    pub fn name(&self) -> &'static str {
        self.spec.name
    }

    /// What is known about the call: ids, times, headers.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("kind", &self.kind).field("name", &self.spec.name).finish_non_exhaustive()
    }
}

/// The rest of a call, as the service that layers are put around. Always ready; never fails, since how a call ended is an
/// [`Outcome`].
#[derive(Debug, Clone)]
pub struct Rest(());

impl Rest {
    pub(super) fn new() -> Self {
        Self(())
    }
}

impl tower_service::Service<Request> for Rest {
    type Response = Outcome;
    type Error = Infallible;
    type Future = RestFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> RestFuture {
        let Turn { begin, outcome } = request.turn;
        RestFuture { begin: Some(begin), outcome }
    }
}

/// Ends when the rest of the call has. The call begins when this is first polled, and is dropped with it.
#[derive(Debug)]
pub struct RestFuture {
    begin: Option<oneshot::Sender<()>>,
    outcome: oneshot::Receiver<Outcome>,
}

impl Future for RestFuture {
    type Output = Result<Outcome, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(begin) = self.begin.take() {
            // Nobody listens where the call was dropped; then nobody waits for this either.
            let _ = begin.send(());
        }
        Pin::new(&mut self.outcome).poll(cx).map(|outcome| {
            Ok(outcome.unwrap_or_else(|_| Outcome::reject(Fault::new("the call was dropped while a layer kept it"))))
        })
    }
}
