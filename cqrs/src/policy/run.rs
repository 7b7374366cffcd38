//! The attempts at one handler, and what follows them.

use std::fmt::Display;
use std::marker::PhantomData;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::Cause;
use super::deadline::{Call, Called, Progress};
use super::fallback::{Backup, Lent};
use super::outcome::{Attempted, Counts};
use super::planned::PlannedPolicy;
use super::undo::{Before, enter};
use crate::BoxError;
use crate::breaker::{Open, Permit, Ticket};
use crate::dispatch::thunk::HandleLent;
use crate::dispatch::{Caught, DispatchError, Failure};
use crate::message::{Erased, Message};
use crate::retry::{Verdict, random};
use crate::unit::Cx;

/// A call's message, kept for as long as somebody may still be given it.
pub(crate) enum Kept<M> {
    /// A command or query, or an event that is for this handler alone.
    Own(Option<M>),
    /// An event that is for others, too.
    Shared(Arc<M>),
    /// The context of a saga, which its step may change.
    Stored {
        value: Option<M>,
        /// As it is stored: what a failed step has changed, its fallback does not see.
        bytes: Arc<[u8]>,
        read: fn(&[u8]) -> Result<M, BoxError>,
    },
}

impl<M: Message> Kept<M> {
    /// An event.
    #[expect(clippy::expect_used, reason = "handlers are looked up by the event's type")]
    pub(crate) fn event(event: Erased) -> Self {
        let event = event.downcast().expect("an event reached a handler of another type; please report this");
        Arc::try_unwrap(event).map_or_else(Self::Shared, |event| Self::Own(Some(event)))
    }

    /// The context of a saga as it is stored.
    pub(crate) fn stored(bytes: Arc<[u8]>, read: fn(&[u8]) -> Result<M, BoxError>) -> Result<Self, BoxError> {
        Ok(Self::Stored { value: Some(read(&bytes)?), bytes, read })
    }

    /// What there is of it.
    pub(crate) fn value(&self) -> Option<&M> {
        match self {
            Self::Own(value) | Self::Stored { value, .. } => value.as_ref(),
            Self::Shared(value) => Some(value),
        }
    }

    /// Makes it again what it was before the first attempt.
    fn restore(&mut self) {
        if let Self::Stored { value, bytes, read } = self {
            // It was read before.
            *value = read(bytes).ok();
        }
    }

    fn lend(&mut self) -> Lent<'_, M> {
        match self {
            Self::Own(message) | Self::Stored { value: message, .. } => Lent::Own(message),
            Self::Shared(message) => Lent::Shared(message),
        }
    }
}

/// The error of a handler's own function.
type Own<H, R, E, How> = <<H as HandleLent>::Output as Attempted<R, E, How>>::Own;

/// How one attempt ended.
enum Ended<R, Own> {
    Answered(R),
    Failed(Own),
    TimedOut,
    Panicked(String),
}

impl<R, Own> Ended<R, Own> {
    #[inline]
    fn of<E, How, O: Attempted<R, E, How, Own = Own>>(called: Called<O>) -> Self {
        match called {
            Called::Returned(output) => match output.attempted() {
                Ok(answer) => Self::Answered(answer),
                Err(own) => Self::Failed(own),
            },
            Called::TimedOut => Self::TimedOut,
            Called::Panicked(panic) => Self::Panicked(panic),
        }
    }
}

/// Runs a handler with a policy. `shared`: its transaction holds other handlers' work.
///
/// What it leaves in the context on an error is for the caller to abandon.
///
/// All is well in most calls. A call that nothing has to be undone for, behind a breaker that is closed, makes its attempt
/// here; whatever else may be necessary is boxed, so that the future of such a call stays small, and with it what it costs
/// to make.
pub(crate) async fn run<H, J, B, R, E, How>(
    message: &mut Kept<H::Message>,
    cx: &mut Cx<'_>,
    handler: u32,
    shared: bool,
) -> Result<R, Box<DispatchError<E>>>
where
    H: HandleLent,
    H::Message: Message,
    H::Output: Attempted<R, E, How>,
    J: Counts<Own<H, R, E, How>>,
    B: Backup<H::Message, Own<H, R, E, How>, R, E>,
    R: Send,
    E: Display,
{
    let Some(pass) = Pass::of(cx, handler) else {
        return Box::pin(Attempts::<H, J, B, R, E, How>::carefully(message, cx, handler, shared)).await;
    };
    let called = {
        let call = pin!(H::call(message.lend(), cx, handler));
        Call::new(call, pass.timeout, None).await
    };
    match Ended::of(called) {
        Ended::Answered(answer) => {
            pass.success(cx, handler);
            Ok(answer)
        }
        ended => Box::pin(Attempts::<H, J, B, R, E, How>::on_from(message, cx, handler, pass, ended)).await,
    }
}

/// Leave to call a handler at once: it has no unit of work, and its breaker is closed.
#[derive(Clone, Copy)]
struct Pass {
    timeout: Option<Duration>,
    ticket: Option<Ticket>,
    /// How many events were raised before.
    raised: usize,
}

impl Pass {
    #[inline]
    fn of(cx: &Cx<'_>, handler: u32) -> Option<Self> {
        let policy = cx.app.planned(handler).policy.as_ref()?;
        if cx.unit.is_some() {
            return None;
        }
        let ticket = match &policy.breaker {
            Some(breaker) => Some(breaker.pass()?),
            None => None,
        };
        Some(Self { timeout: policy.timeout, ticket, raised: cx.events.len() })
    }

    #[inline]
    fn success(self, cx: &Cx<'_>, handler: u32) {
        if let Some(ticket) = self.ticket
            && let Some(breaker) = cx.app.planned(handler).policy.as_ref().and_then(|policy| policy.breaker.as_ref())
        {
            breaker.passed(ticket);
        }
    }
}

/// Leave to call a handler, until the breaker knows how that went.
struct Admitted<'p> {
    permit: Option<Permit<'p>>,
    /// Of a stream: how far it has come.
    stream: Option<Arc<Progress>>,
}

impl Admitted<'_> {
    fn success(mut self) {
        if let Some(permit) = self.permit.take() {
            permit.success();
        }
    }

    fn failure(mut self) {
        if let Some(permit) = self.permit.take() {
            permit.failure();
        }
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        // Dropped by a reader who has had enough, a stream that delivered is no less of a success.
        if self.stream.as_ref().is_some_and(|progress| progress.has_delivered())
            && let Some(permit) = self.permit.take()
        {
            permit.success();
        }
    }
}

/// What the attempts at one handler in one call go by.
#[derive(Clone, Copy)]
struct Terms<'p> {
    handler: u32,
    shared: bool,
    policy: &'p PlannedPolicy,
}

impl<'p> Terms<'p> {
    /// Asks the breaker, if there is one.
    async fn admit(self, stream: Option<Arc<Progress>>) -> Result<Admitted<'p>, Open> {
        let permit = match &self.policy.breaker {
            None => None,
            Some(breaker) => Some(breaker.admit().await?),
        };
        Ok(Admitted { permit, stream })
    }

    async fn prepare(self, cx: &mut Cx<'_>) -> Result<Before, Failure> {
        Before::attempt(cx, self.handler, self.shared, self.policy.goes_on()).await
    }

    /// Waits, and makes room for the next attempt; none where the store does not.
    async fn prepare_again(self, cx: &mut Cx<'_>, pause: Duration) -> Option<Before> {
        tokio::time::sleep(pause).await;
        let prepared = self.prepare(cx).await;
        if let Err(failure) = &prepared {
            tracing::warn!(handler = self.name(cx), %failure, "a handler could not be tried again");
        }
        prepared.ok()
    }

    fn verdict(self, cx: &Cx<'_>, attempt: u32) -> Verdict {
        let retry = self.policy.retry.filter(|_| !has_delivered(cx));
        retry.map_or(Verdict::GiveUp, |retry| retry.verdict(attempt, random()))
    }

    fn name(self, cx: &Cx<'_>) -> &'static str {
        cx.app.planned(self.handler).item.name
    }
}

/// The attempts at the handler `H`, whose errors `J` judges and which `B` stands in for.
struct Attempts<H, J, B, R, E, How>(PhantomData<(H, J, B, R, E, How)>);

impl<H, J, B, R, E, How> Attempts<H, J, B, R, E, How>
where
    H: HandleLent,
    H::Message: Message,
    H::Output: Attempted<R, E, How>,
    J: Counts<Own<H, R, E, How>>,
    B: Backup<H::Message, Own<H, R, E, How>, R, E>,
    R: Send,
    E: Display,
{
    /// Runs a handler that has a unit of work, or whose breaker has to be asked.
    async fn carefully(
        message: &mut Kept<H::Message>,
        cx: &mut Cx<'_>,
        handler: u32,
        shared: bool,
    ) -> Result<R, Box<DispatchError<E>>> {
        let policy = cx.app.planned(handler).policy.clone().unwrap_or_default();
        let terms = Terms { handler, shared, policy: &policy };
        let stream = cx.unit.as_ref().and_then(|unit| unit.progress.clone());
        let admitted = match terms.admit(stream).await {
            Ok(admitted) => admitted,
            Err(Open { retry_after }) => {
                let refused = Self::give_up(terms, message, cx, Cause::BreakerOpen, Some(retry_after));
                return refused.await.map_err(Box::new);
            }
        };
        // Only now: a call that is refused waits for no transaction.
        let before = match terms.prepare(cx).await {
            Ok(before) => before,
            Err(failure) => return Err(Box::new(failure.widen())),
        };
        let ended = Self::one(terms, message, cx).await;
        Self::recover(terms, message, cx, admitted, before, ended).await.map_err(Box::new)
    }

    /// What follows a first attempt that was made at once and did not answer.
    async fn on_from(
        message: &mut Kept<H::Message>,
        cx: &mut Cx<'_>,
        handler: u32,
        pass: Pass,
        ended: Ended<R, Own<H, R, E, How>>,
    ) -> Result<R, Box<DispatchError<E>>> {
        let policy = cx.app.planned(handler).policy.clone().unwrap_or_default();
        let permit = policy.breaker.as_deref().zip(pass.ticket).map(|(breaker, ticket)| breaker.permit(ticket));
        let (admitted, before) = (Admitted { permit, stream: None }, Before::slim(pass.raised));
        let terms = Terms { handler, shared: false, policy: &policy };
        Self::recover(terms, message, cx, admitted, before, ended).await.map_err(Box::new)
    }

    /// Makes one attempt.
    async fn one(terms: Terms<'_>, message: &mut Kept<H::Message>, cx: &mut Cx<'_>) -> Ended<R, Own<H, R, E, How>> {
        let progress = cx.unit.as_ref().and_then(|unit| unit.progress.clone());
        let call = pin!(H::call(message.lend(), cx, terms.handler));
        Ended::of(Call::new(call, terms.policy.timeout, progress).await)
    }

    /// What follows a first attempt: keeping what it did, or others, then the fallback.
    async fn recover(
        terms: Terms<'_>,
        message: &mut Kept<H::Message>,
        cx: &mut Cx<'_>,
        admitted: Admitted<'_>,
        mut before: Before,
        mut ended: Ended<R, Own<H, R, E, How>>,
    ) -> Result<R, DispatchError<E>> {
        let name = terms.name(cx);
        let mut attempt = 1;
        loop {
            let cause = match ended {
                Ended::Answered(answer) => {
                    before.keep(cx).await.map_err(Failure::widen)?;
                    admitted.success();
                    return Ok(answer);
                }
                Ended::Panicked(message) => {
                    admitted.failure();
                    before.undo(cx, true).await;
                    return Err(DispatchError::Panicked { handler: name, message });
                }
                Ended::Failed(own) if !J::counts(&own) => {
                    before.undo(cx, true).await;
                    if let Some(unit) = cx.unit.as_mut() {
                        unit.in_vain = true;
                    }
                    return Err(DispatchError::Handler(H::Output::widen(own)));
                }
                Ended::Failed(own) => Cause::Error(own),
                Ended::TimedOut => Cause::Timeout,
            };
            if !before.undo(cx, !matches!(cause, Cause::Timeout)).await {
                // What it wrote is still there, among what others wrote: nothing may follow.
                admitted.failure();
                return Err(Self::failed(terms, cx, cause, None));
            }
            let Verdict::Again(pause) = terms.verdict(cx, attempt) else {
                admitted.failure();
                return Self::give_up(terms, message, cx, cause, None).await;
            };
            tracing::info!(handler = name, attempt, ?pause, %cause, "a handler failed; it is tried again");
            let Some(prepared) = terms.prepare_again(cx, pause).await else {
                admitted.failure();
                return Self::give_up(terms, message, cx, cause, None).await;
            };
            before = prepared;
            attempt += 1;
            ended = Self::one(terms, message, cx).await;
        }
    }

    /// What the call fails with where no fallback is asked.
    fn failed(
        terms: Terms<'_>,
        cx: &Cx<'_>,
        cause: Cause<Own<H, R, E, How>>,
        retry_after: Option<Duration>,
    ) -> DispatchError<E> {
        let handler = terms.name(cx);
        match cause {
            Cause::Error(own) => DispatchError::Handler(H::Output::widen(own)),
            Cause::Timeout => DispatchError::Timeout { handler, after: terms.policy.timeout.unwrap_or_default() },
            Cause::BreakerOpen => DispatchError::BreakerOpen { handler, retry_after: retry_after.unwrap_or_default() },
        }
    }

    /// Calls the fallback, or answers with what went wrong where there is none.
    async fn give_up(
        terms: Terms<'_>,
        message: &mut Kept<H::Message>,
        cx: &mut Cx<'_>,
        cause: Cause<Own<H, R, E, How>>,
        retry_after: Option<Duration>,
    ) -> Result<R, DispatchError<E>> {
        let handler = terms.name(cx);
        let Some(number) = terms.policy.fallback.filter(|_| !has_delivered(cx)) else {
            return Err(Self::failed(terms, cx, cause, retry_after));
        };
        let (primary, fallback) = (cause.to_string(), cx.app.planned(number).item.name);
        if matches!(cause, Cause::BreakerOpen) {
            // The breaker has said so when it opened.
            tracing::debug!(handler, fallback, "a handler is not called; its fallback is asked");
        } else {
            tracing::warn!(handler, fallback, cause = primary, "a handler failed; its fallback is asked");
        }
        fall_back::<B, _, _, R, E>(message, cx, number, cause).await.map_err(|error| {
            tracing::error!(handler, fallback, cause = primary, %error, "a fallback failed as well");
            DispatchError::FallbackFailed { primary, source: Box::new(error) }
        })
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
    message.restore();
    let handler = cx.app.planned(number).item.name;
    if let Some(unit) = cx.unit.as_mut() {
        unit.cause = Some(Box::new(cause));
    }
    let Some(call) = B::call(message.lend(), cx, number) else {
        return Err(DispatchError::NoHandler { message: M::SPEC.type_name() });
    };
    match Caught(pin!(call)).await {
        Ok(answer) => answer.map_err(DispatchError::Handler),
        Err(message) => Err(DispatchError::Panicked { handler, message }),
    }
}
