//! The attempts at one handler, and what follows them.

use std::fmt::Display;
use std::pin::pin;
use std::sync::Arc;

use super::Cause;
use super::deadline::{Elapsed, within};
use super::fallback::{Backup, Lent};
use super::outcome::{Attempted, Counts};
use super::planned::PlannedPolicy;
use super::undo::{Before, enter};
use crate::breaker::{Open, Permit};
use crate::dispatch::thunk::HandleRef;
use crate::dispatch::{Caught, DispatchError, Failure};
use crate::message::{Erased, Message};
use crate::retry::{Verdict, random};
use crate::unit::Cx;

/// A call's message, kept for as long as somebody may still be given it.
pub(crate) enum Kept<M> {
    /// A command or query.
    Own(Option<M>),
    /// An event.
    Shared(Erased),
}

impl<M: Message> Kept<M> {
    #[expect(clippy::expect_used, reason = "only the fallback, which comes last, takes the message out")]
    fn get(&self) -> &M {
        match self {
            Self::Own(message) => message.as_ref(),
            Self::Shared(message) => message.downcast_ref(),
        }
        .expect("a message reached a handler of another type; please report this")
    }

    fn lend(&mut self) -> Lent<'_, M> {
        match self {
            Self::Own(message) => Lent::Own(message),
            Self::Shared(_) => Lent::Shared(self.get()),
        }
    }
}

/// The error of a handler's own function.
type Own<H, R, E, How> = <<H as HandleRef>::Output as Attempted<R, E, How>>::Own;

/// How one attempt ended.
enum Ended<R, Own> {
    Answered(R),
    Failed(Own),
    TimedOut,
    Panicked(String),
}

/// Runs a handler with a policy. `shared`: its transaction holds other handlers' work.
///
/// What it leaves in the context on an error is for the caller to abandon.
///
/// All is well in most calls: whatever is done only where something is not, or where there is a transaction, is boxed. The
/// future of a call that needs neither stays small, and with it what it costs to make.
pub(crate) async fn run<H, J, B, R, E, How>(
    message: &mut Kept<H::Message>,
    cx: &mut Cx<'_>,
    handler: u32,
    shared: bool,
) -> Result<R, Box<DispatchError<E>>>
where
    H: HandleRef,
    H::Message: Message,
    H::Output: Attempted<R, E, How>,
    J: Counts<Own<H, R, E, How>>,
    B: Backup<H::Message, Own<H, R, E, How>, R, E>,
    R: Send,
    E: Display,
{
    let policy = cx.app.planned(handler).policy.clone().unwrap_or_default();
    let attempts = Attempts { handler, shared, policy: &policy };
    let Ok(permit) = attempts.admit().await else {
        let given_up = attempts.give_up::<H, B, _, _, _>(message, cx, Cause::BreakerOpen);
        return Box::pin(given_up).await.map_err(Box::new);
    };
    let before = match &cx.unit {
        None => Before::slim(cx),
        Some(_) => Box::pin(attempts.prepare(cx)).await.map_err(|failure| Box::new(failure.widen()))?,
    };
    match attempts.one::<H, _, _, _>(message, cx).await {
        Ended::Answered(answer) => {
            if cx.unit.is_some() {
                Box::pin(before.keep(cx)).await.map_err(|failure| Box::new(failure.widen()))?;
            }
            tell(permit, Permit::success);
            Ok(answer)
        }
        ended => {
            let recovered = attempts.recover::<H, J, B, _, _, _>(message, cx, permit, before, ended);
            Box::pin(recovered).await.map_err(Box::new)
        }
    }
}

/// The attempts at one handler in one call.
#[derive(Clone, Copy)]
struct Attempts<'p> {
    handler: u32,
    shared: bool,
    policy: &'p Arc<PlannedPolicy>,
}

impl<'p> Attempts<'p> {
    /// Asks the breaker, if there is one.
    #[inline]
    async fn admit(self) -> Result<Option<Permit<'p>>, Open> {
        match &self.policy.breaker {
            None => Ok(None),
            Some(breaker) => match breaker.try_admit() {
                Some(answer) => answer.map(Some),
                None => Box::pin(breaker.admit()).await.map(Some),
            },
        }
    }

    async fn prepare(self, cx: &mut Cx<'_>) -> Result<Before, Failure> {
        Before::attempt(cx, self.handler, self.shared, self.policy.goes_on()).await
    }

    /// Makes one attempt.
    #[inline]
    async fn one<H, R, E, How>(self, message: &Kept<H::Message>, cx: &mut Cx<'_>) -> Ended<R, Own<H, R, E, How>>
    where
        H: HandleRef,
        H::Message: Message,
        H::Output: Attempted<R, E, How>,
    {
        let progress = cx.unit.as_ref().and_then(|unit| unit.progress.clone());
        let call = pin!(H::call(message.get(), cx.parts(self.handler)));
        match within(self.policy.timeout, progress.as_deref(), Caught(call)).await {
            Err(Elapsed) => Ended::TimedOut,
            Ok(Err(panic)) => Ended::Panicked(panic),
            Ok(Ok(output)) => match output.attempted() {
                Ok(answer) => Ended::Answered(answer),
                Err(own) => Ended::Failed(own),
            },
        }
    }

    /// What follows a first attempt that did not answer: others, then the fallback.
    async fn recover<H, J, B, R, E, How>(
        self,
        message: &mut Kept<H::Message>,
        cx: &mut Cx<'_>,
        permit: Option<Permit<'p>>,
        mut before: Before,
        mut ended: Ended<R, Own<H, R, E, How>>,
    ) -> Result<R, DispatchError<E>>
    where
        H: HandleRef,
        H::Message: Message,
        H::Output: Attempted<R, E, How>,
        J: Counts<Own<H, R, E, How>>,
        B: Backup<H::Message, Own<H, R, E, How>, R, E>,
        E: Display,
    {
        let name = cx.app.planned(self.handler).item.name;
        let mut attempt = 1;
        loop {
            let cause = match ended {
                Ended::Answered(answer) => {
                    before.keep(cx).await.map_err(Failure::widen)?;
                    tell(permit, Permit::success);
                    return Ok(answer);
                }
                Ended::Panicked(message) => {
                    tell(permit, Permit::failure);
                    before.undo(cx, true).await.map_err(Failure::widen)?;
                    return Err(DispatchError::Panicked { handler: name, message });
                }
                Ended::Failed(own) if !J::counts(&own) => {
                    before.undo(cx, true).await.map_err(Failure::widen)?;
                    if let Some(unit) = cx.unit.as_mut() {
                        unit.in_vain = true;
                    }
                    return Err(DispatchError::Handler(H::Output::widen(own)));
                }
                Ended::Failed(own) => Cause::Error(own),
                Ended::TimedOut => Cause::Timeout,
            };
            before.undo(cx, !matches!(cause, Cause::Timeout)).await.map_err(Failure::widen)?;
            let Verdict::Again(pause) = self.verdict(cx, attempt) else {
                tell(permit, Permit::failure);
                return self.give_up::<H, B, R, E, How>(message, cx, cause).await;
            };
            tracing::info!(handler = name, attempt, ?pause, %cause, "a handler failed; it is tried again");
            drop(cause);
            tokio::time::sleep(pause).await;
            attempt += 1;
            before = self.prepare(cx).await.map_err(Failure::widen)?;
            ended = self.one::<H, R, E, How>(message, cx).await;
        }
    }

    fn verdict(self, cx: &Cx<'_>, attempt: u32) -> Verdict {
        let retry = self.policy.retry.filter(|_| !has_delivered(cx));
        retry.map_or(Verdict::GiveUp, |retry| retry.verdict(attempt, random()))
    }

    /// Calls the fallback, or answers with what went wrong where there is none.
    async fn give_up<H, B, R, E, How>(
        self,
        message: &mut Kept<H::Message>,
        cx: &mut Cx<'_>,
        cause: Cause<Own<H, R, E, How>>,
    ) -> Result<R, DispatchError<E>>
    where
        H: HandleRef,
        H::Message: Message,
        H::Output: Attempted<R, E, How>,
        B: Backup<H::Message, Own<H, R, E, How>, R, E>,
        E: Display,
    {
        let handler = cx.app.planned(self.handler).item.name;
        let Some(number) = self.policy.fallback.filter(|_| !has_delivered(cx)) else {
            return Err(match cause {
                Cause::Error(own) => DispatchError::Handler(H::Output::widen(own)),
                Cause::Timeout => DispatchError::Timeout { handler, after: self.policy.timeout.unwrap_or_default() },
                Cause::BreakerOpen => DispatchError::BreakerOpen { handler },
            });
        };
        let (primary, fallback) = (cause.to_string(), cx.app.planned(number).item.name);
        tracing::warn!(handler, fallback, cause = primary, "a handler failed; its fallback is asked");
        fall_back::<B, _, _, R, E>(message, cx, number, cause).await.map_err(|error| {
            tracing::error!(handler, fallback, cause = primary, %error, "a fallback failed as well");
            DispatchError::FallbackFailed { primary, source: Box::new(error) }
        })
    }
}

/// Tells the breaker, if there is one, how the call ended.
fn tell<'b>(permit: Option<Permit<'b>>, how: fn(Permit<'b>)) {
    if let Some(permit) = permit {
        how(permit);
    }
}

/// Whether a stream's handler has delivered something: from then on it is not begun anew.
fn has_delivered(cx: &Cx<'_>) -> bool {
    cx.unit.as_ref().and_then(|unit| unit.progress.as_ref()).is_some_and(|progress| progress.has_delivered())
}

async fn fall_back<B, M, Own, R, E>(
    message: &mut Kept<M>,
    cx: &mut Cx<'_>,
    number: u32,
    cause: Cause<Own>,
) -> Result<R, DispatchError<E>>
where
    M: Message,
    Own: Send + 'static,
    B: Backup<M, Own, R, E>,
{
    enter(cx, number).await.map_err(Failure::widen)?;
    let handler = cx.app.planned(number).item.name;
    if let Some(unit) = cx.unit.as_mut() {
        unit.cause = Some(Box::new(cause));
    }
    let Some(call) = B::call(message.lend(), cx.parts(number)) else {
        return Err(DispatchError::NoHandler { message: M::SPEC.type_name() });
    };
    match Caught(pin!(call)).await {
        Ok(answer) => answer.map_err(DispatchError::Handler),
        Err(message) => Err(DispatchError::Panicked { handler, message }),
    }
}
