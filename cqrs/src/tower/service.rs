//! The middleware that a layer's service is: hands calls in, and takes turns with the service.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::Mutex;

use super::request::Held;
use super::{Answering, Request, Service};
use crate::BoxError;
use crate::middleware::{Next, Outcome};

/// The service of a layer, standing in a chain.
pub(crate) struct Standing {
    name: &'static str,
    /// Held while a call is handed in, not while it runs.
    service: Mutex<Box<dyn Service>>,
}

impl Standing {
    pub(super) fn new(name: &'static str, service: Box<dyn Service>) -> Self {
        Self { name, service: Mutex::new(service) }
    }

    /// What names it where it panics.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Runs a call through the service.
    pub(crate) async fn run(&self, next: Next<'_>) -> Outcome {
        let (request, held) = next.request();
        let answering = match self.hand_in(request).await {
            Ok(answering) => answering,
            Err(error) => return Outcome::reject(error),
        };
        let mut turns = Turns { answering, rest: Rest::Waiting(next, held) };
        poll_fn(|cx| turns.poll(cx)).await
    }

    async fn hand_in(&self, request: Request) -> Result<Answering, BoxError> {
        let mut service = self.service.lock().await;
        poll_fn(|cx| service.poll_ready(cx)).await?;
        Ok(service.call(request))
    }
}

impl fmt::Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Standing").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The service's answer and the rest of the call, polled in turn.
struct Turns<'a> {
    answering: Answering,
    rest: Rest<'a>,
}

/// The rest of the call, as far as it is.
enum Rest<'a> {
    /// The service has not come to it.
    Waiting(Next<'a>, Held),
    Running(Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>, tokio::sync::oneshot::Sender<Outcome>),
    /// It has ended, or will not be run.
    Over,
}

impl Turns<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        loop {
            if let Poll::Ready(answer) = self.answering.as_mut().poll(cx) {
                // What the service did without is dropped here, before its answer is known to anybody.
                self.rest = Rest::Over;
                return Poll::Ready(answer.unwrap_or_else(Outcome::reject));
            }
            if !self.rest.advance(cx) {
                return Poll::Pending;
            }
        }
    }
}

impl Rest<'_> {
    /// Goes on as far as it can; whether the service's answer may have come closer by it.
    fn advance(&mut self, cx: &mut Context<'_>) -> bool {
        if let Self::Waiting(_, held) = self {
            match Pin::new(&mut held.begin).poll(cx) {
                Poll::Pending => return false,
                Poll::Ready(Err(_)) => *self = Self::Over,
                Poll::Ready(Ok(())) => {
                    if let Self::Waiting(next, held) = std::mem::replace(self, Self::Over) {
                        *self = Self::Running(Box::pin(next.run()), held.outcome);
                    }
                }
            }
        }
        let Self::Running(run, wanted) = self else { return false };
        if wanted.poll_closed(cx).is_ready() {
            *self = Self::Over;
            return false;
        }
        let Poll::Ready(outcome) = run.as_mut().poll(cx) else { return false };
        if let Self::Running(_, wanted) = std::mem::replace(self, Self::Over) {
            // Nobody wants to know where the service has just dropped it.
            let _ = wanted.send(outcome);
        }
        true
    }
}
