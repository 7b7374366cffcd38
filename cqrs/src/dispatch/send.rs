//! The future of a call.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tracing::Instrument;
use tracing::level_filters::LevelFilter;
use uuid::Uuid;

use super::conclude::{Rest, plain_only};
use super::guard::panic_text;
use super::idempotent::Key;
use super::options::{CallOptions, Within};
use super::{Detached, DispatchError, Failure, full};
use crate::app::App;
use crate::message::{Command, Handled, Stored, StoredResponse};
use crate::middleware::CallKind;
use crate::registry::{CallFuture, WholeFuture, WholeThunk};
use crate::store::driver::BoxFuture;
use crate::unit::{Cx, Tx, TxOf};
use crate::wiring::CallEntry;

type Answer<M> = Result<<M as Handled>::Response, DispatchError<<M as Handled>::Error>>;

/// The future of [`App::send`] and [`App::query`]: nothing happens until it is polled.
///
/// It is `Unpin`, so it fits `join!` and `select!` as it is.
#[must_use = "a call does nothing until it is awaited"]
pub struct Sending<'a, M: Handled> {
    // Until the first poll. Apart from one another rather than in one variant of `state`: taken one by one they are read
    // the way they were written, while moving a whole variant stalls the processor on its own stores (a third of a call).
    app: Option<App>,
    message: Option<M>,
    options: Option<Box<CallOptions<'a>>>,
    state: State<'a, M>,
}

enum State<'a, M: Handled> {
    /// Not polled yet, or ended.
    Idle,
    /// The handler alone: no transaction, no middleware, no options.
    Slim(CallFuture<'a, M>, &'static str),
    /// The same of a chain, or of a handler with a policy.
    Whole(WholeFuture<'a, M>, &'static str),
    /// The handler has answered; what it raised is being settled.
    Settling(Option<M::Response>, Settling<'a>),
    /// Everything else.
    Full(BoxFuture<'a, Answer<M>>),
}

// Nothing in here is pinned in place: futures are boxed, the message is moved out before it is used.
impl<M: Handled> Unpin for Sending<'_, M> {}

impl<M: Handled> Sending<'static, M> {
    #[inline]
    pub(crate) fn new(app: App, message: M) -> Self {
        Self { app: Some(app), message: Some(message), options: None, state: State::Idle }
    }
}

impl<'a, M: Handled> Sending<'a, M> {
    /// Gives the call at most so long, up to its commit; then it fails with [`DispatchError::Timeout`] and is rolled back.
    pub fn timeout(mut self, after: Duration) -> Self {
        self.options(|options| options.timeout = Some(after));
        self
    }

    /// Sets a header, which the handler reads from `&Meta`.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options(|options| {
            options.meta.headers.insert(name.into(), value.into());
        });
        self
    }

    /// Sets the correlation id, which everything that the call sets off carries.
    pub fn correlation(mut self, id: Uuid) -> Self {
        self.options(|options| options.meta.correlation_id = Some(id));
        self
    }

    fn options(&mut self, change: impl FnOnce(&mut CallOptions<'a>)) {
        change(self.options.get_or_insert_with(Box::default));
    }
}

impl<'a, C: Command> Sending<'a, C> {
    /// Gives the call an idempotency key: however often it is made with the same key, it is done once, and answered with
    /// the same response.
    ///
    /// The response is stored in the transaction of the call, and kept for `idempotency_retention` (24 h unless said
    /// otherwise). A call that finds it is answered with it: middleware runs, the handler does not, and no event is raised
    /// again. A failure is not stored: the next call with the key tries anew.
    ///
    /// | the key | answer |
    /// |---|---|
    /// | of a call that was done | its response |
    /// | of a call that is running, in whichever process | [`InProgress`](DispatchError::InProgress), at once |
    /// | of a call with another payload | [`KeyReused`](DispatchError::KeyReused) |
    /// | empty, longer than 255 bytes, or with control characters | [`InvalidKey`](DispatchError::InvalidKey) |
    ///
    /// Keys are told apart by the command's stored name, payloads by their JSON, whatever the order of its fields. The key
    /// of a call that died with its process is free when its `lease` (5 s) has run out; on SQLite, where a call may have been kept
    /// from renewing it, a third of a lease after somebody has found that. A call that stalled for longer, so that another has
    /// taken its key, is rolled back and fails with `InProgress`.
    ///
    /// Everybody's keys are the same ones: where callers make them up, an app with more than one caller says whose a key is, with
    /// [`key_scope`](Self::key_scope) or as part of the key. What a handler takes that is made for each message is made before
    /// the key is looked at: a provider with `scope = "message"` that fails turns down who may not have the answer.
    ///
    /// Before the handler runs, the key is claimed in a transaction of its own; a call from a handler that holds a
    /// transaction is made [`within`](Self::within) that one, and so is its claim then: the key is taken when that
    /// transaction commits, and until it ends, others with the key wait for it. Without `within` it is
    /// [`WouldDeadlock`](DispatchError::WouldDeadlock).
    ///
    /// The app needs a store ([`NoStore`](DispatchError::NoStore)), the command a stored name of its own
    /// ([`AmbiguousName`](DispatchError::AmbiguousName)); command and response are limited in size as everything stored is
    /// ([`TooLarge`](DispatchError::TooLarge)).
    ///
    /// ```no_run,standalone_crate
    /// use cqrs::prelude::*;
    /// use cqrs::serde::{Deserialize, Serialize};
    ///
    /// #[derive(Command, Serialize, Deserialize)]
    /// #[serde(crate = "cqrs::serde")]
    /// #[command(response = u64)]
    /// struct Pay { cents: u64 }
    ///
    /// #[command_handler]
    /// async fn pay(cmd: Pay) -> u64 {
    ///     cmd.cents
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), cqrs::Error> {
    /// let app = cqrs::bootstrap!().store(Store::url("sqlite://shop.db")).await?;
    /// let paid = app.send(Pay { cents: 995 }).idempotency_key("9f2c").await?;
    /// let again = app.send(Pay { cents: 995 }).idempotency_key("9f2c").await?;   // the handler does not run
    /// assert_eq!(paid, again);
    /// # Ok(())
    /// # }
    /// ```
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self
    where
        C: Stored,
        C::Response: StoredResponse,
    {
        self.options(|options| options.key = Some(Key::new::<C>(key.into())));
        self
    }

    /// Says whose the [idempotency key](Self::idempotency_key) is: keys of one caller and those of another, or of nobody in
    /// particular, never meet. Any text: a digest of it is stored.
    ///
    /// ```no_run
    /// # use cqrs::prelude::*;
    /// # use cqrs::serde::{Deserialize, Serialize};
    /// # #[derive(Command, Serialize, Deserialize)]
    /// # #[serde(crate = "cqrs::serde")]
    /// # struct Pay;
    /// # async fn example(app: App, user: String) -> Result<(), cqrs::Error> {
    /// app.send(Pay).idempotency_key("9f2c").key_scope(user).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn key_scope(mut self, caller: impl Into<String>) -> Self {
        self.options(|options| options.key_scope = Some(caller.into()));
        self
    }

    /// Runs the command in the caller's transaction, on a savepoint: its failure undoes it alone, the plain handlers of
    /// its events run after the caller's commit.
    pub fn within<'b, Db: TxOf>(mut self, tx: &'b mut Tx<Db>) -> Sending<'b, C>
    where
        'a: 'b,
    {
        let mut options: CallOptions<'b> = match self.options.take() {
            Some(options) => {
                let CallOptions { timeout, meta, key, key_scope, .. } = *options;
                CallOptions { timeout, meta, within: None, key, key_scope }
            }
            None => CallOptions::default(),
        };
        let lent = Db::take_out(tx);
        options.within = Some(Within::new(lent, tx));
        let (app, message) = (self.app.take(), self.message.take());
        Sending { app, message, options: Some(Box::new(options)), state: State::Idle }
    }
}

impl<'a, M: Handled> Sending<'a, M> {
    /// The first poll: most calls end in it.
    #[inline]
    fn begin(&mut self, cx: &mut Context<'_>) -> Poll<Answer<M>> {
        let (Some(app), Some(message)) = (self.app.take(), self.message.take()) else { return Poll::Pending };
        if app.is_stopped() {
            return Poll::Ready(Err(DispatchError::ShuttingDown));
        }
        let Some(entry) = app.plan().calls.get(&M::SPEC.type_id) else {
            return Poll::Ready(Err(DispatchError::NoHandler { message: std::any::type_name::<M>() }));
        };
        let (handler, name) = (entry.handler, entry.name);
        let slim = entry.slim && self.options.is_none() && !is_traced();
        if slim && entry.whole {
            let entry = *entry;
            return self.begin_whole(entry, Cx::new(app), message, cx);
        }
        match entry.plain::<M>() {
            Some(thunk) if slim => {
                // Polled where it stands: moved first, it would stall the processor on its own stores.
                let mut future = (thunk.0)(message, Cx::new(app), handler);
                match poll_handler::<M>(&mut future, cx) {
                    Polled::Pending => {
                        self.state = State::Slim(future, name);
                        Poll::Pending
                    }
                    polled => self.end_slim(polled, name, cx),
                }
            }
            _ => {
                self.begin_full(app, handler, message);
                self.poll_rest(cx)
            }
        }
    }

    /// Out of line: most handlers have no policy.
    #[inline(never)]
    fn begin_whole(&mut self, entry: CallEntry, unit: Cx<'a>, message: M, cx: &mut Context<'_>) -> Poll<Answer<M>> {
        let Some(thunk) = entry.thunk.downcast_ref::<WholeThunk<M>>() else {
            return Poll::Ready(Err(DispatchError::NoHandler { message: std::any::type_name::<M>() }));
        };
        let mut future = (thunk.0)(message, unit, entry.handler);
        match poll_whole::<M>(&mut future, cx) {
            Polled::Pending => {
                self.state = State::Whole(future, entry.name);
                Poll::Pending
            }
            polled => self.end_whole(polled, entry.name, cx),
        }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "left to itself it stays a call, and its copies a tenth of a call's cost")]
    fn end_whole(
        &mut self,
        polled: Polled<'a, M, Box<DispatchError<M::Error>>>,
        handler: &'static str,
        cx: &mut Context<'_>,
    ) -> Poll<Answer<M>> {
        match polled {
            Polled::Ready(Ok(response), unit) => self.settle(response, unit, cx),
            Polled::Ready(Err(error), _) => Poll::Ready(Err(*error)),
            Polled::Panicked(message) => Poll::Ready(Err(DispatchError::Panicked { handler, message })),
            Polled::Pending => Poll::Pending,
        }
    }

    /// The handler has answered: what it raised comes next.
    #[inline]
    fn settle(&mut self, response: M::Response, unit: Cx<'a>, cx: &mut Context<'_>) -> Poll<Answer<M>> {
        if unit.events.is_empty() {
            return Poll::Ready(Ok(response));
        }
        self.state = State::Settling(Some(response), Settling::new(unit, M::SPEC.name));
        self.poll_rest(cx)
    }

    /// Out of line: its future is large, and would be made room for on the stack of every call.
    #[inline(never)]
    fn begin_full(&mut self, app: App, handler: u32, message: M) {
        let options = self.options.take().map_or_else(CallOptions::default, |options| *options);
        let name = app.planned(handler).item.name;
        let span = tracing::debug_span!("call", kind = %CallKind::of(M::SPEC), name = M::SPEC.name, handler = name);
        self.state = State::Full(Box::pin(full::run(app, handler, message, options).instrument(span)));
    }

    #[inline]
    fn end_slim(
        &mut self,
        polled: Polled<'a, M, M::Error>,
        handler: &'static str,
        cx: &mut Context<'_>,
    ) -> Poll<Answer<M>> {
        match polled {
            Polled::Ready(Ok(response), unit) => self.settle(response, unit, cx),
            Polled::Ready(Err(error), _) => Poll::Ready(Err(DispatchError::Handler(error))),
            Polled::Panicked(message) => Poll::Ready(Err(DispatchError::Panicked { handler, message })),
            Polled::Pending => Poll::Pending,
        }
    }

    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Answer<M>> {
        match &mut self.state {
            State::Slim(future, handler) => {
                let polled = poll_handler::<M>(future, cx);
                let handler = *handler;
                if matches!(polled, Polled::Pending) {
                    return Poll::Pending;
                }
                self.state = State::Idle;
                self.end_slim(polled, handler, cx)
            }
            State::Whole(future, handler) => {
                let polled = poll_whole::<M>(future, cx);
                let handler = *handler;
                if matches!(polled, Polled::Pending) {
                    return Poll::Pending;
                }
                self.state = State::Idle;
                self.end_whole(polled, handler, cx)
            }
            State::Settling(response, settling) => {
                let settled = ready!(settling.poll(cx));
                let response = response.take();
                self.state = State::Idle;
                settled.map_err(Failure::widen)?;
                response.map_or(Poll::Pending, |response| Poll::Ready(Ok(response)))
            }
            State::Full(future) => {
                let answer = ready!(future.as_mut().poll(cx));
                self.state = State::Idle;
                Poll::Ready(answer)
            }
            State::Idle => Poll::Pending,
        }
    }
}

/// What became of a handler that needs no unit of work.
enum Polled<'a, M: Handled, E> {
    Pending,
    Ready(Result<M::Response, E>, Cx<'a>),
    Panicked(String),
}

/// Polls a slim handler.
#[inline(always)]
#[expect(clippy::inline_always, reason = "left to itself it stays a call, and its copies a tenth of a call's cost")]
fn poll_handler<'a, M: Handled>(future: &mut CallFuture<'a, M>, cx: &mut Context<'_>) -> Polled<'a, M, M::Error> {
    poll_apart(|| future.as_mut().poll(cx))
}

/// Polls a chain, or a slim handler with a policy.
#[inline(always)]
#[expect(clippy::inline_always, reason = "left to itself it stays a call, and its copies a tenth of a call's cost")]
fn poll_whole<'a, M: Handled>(
    future: &mut WholeFuture<'a, M>,
    cx: &mut Context<'_>,
) -> Polled<'a, M, Box<DispatchError<M::Error>>> {
    poll_apart(|| future.as_mut().poll(cx))
}

/// Polls once. The answer is taken out of `catch_unwind` word by word, as it was written: copied as a whole, it would stall
/// the processor on its own stores.
#[inline(always)]
#[expect(clippy::inline_always, reason = "left to itself it stays a call, and its copies a tenth of a call's cost")]
fn poll_apart<'a, M: Handled, E>(poll: impl FnOnce() -> Poll<(Result<M::Response, E>, Cx<'a>)>) -> Polled<'a, M, E> {
    let (mut answer, mut events, mut unit, mut app) = (None, None, None, None);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        if let Poll::Ready((result, left)) = poll() {
            answer = Some(result);
            events = Some(left.events);
            unit = left.unit;
            app = Some(left.app);
        }
    }));
    match (caught, answer, events, app) {
        (Ok(()), Some(result), Some(events), Some(app)) => Polled::Ready(result, Cx { events, unit, app }),
        (Ok(()), ..) => Polled::Pending,
        (Err(panic), ..) => Polled::Panicked(panic_text(&*panic)),
    }
}

/// Whether somebody may want to see the call: one relaxed load.
#[inline]
fn is_traced() -> bool {
    LevelFilter::current() >= LevelFilter::DEBUG
}

/// What follows a slim handler that raised something.
enum Settling<'a> {
    /// Nothing.
    Nothing,
    /// Plain handlers.
    Plain(Detached<Result<(), Failure>>),
    /// Inline handlers, or something to be stored.
    Full(BoxFuture<'a, Result<(), Failure>>),
}

impl<'a> Settling<'a> {
    fn new(mut cx: Cx<'a>, what: &'static str) -> Self {
        match plain_only(&mut cx) {
            Rest::Nothing => Self::Nothing,
            Rest::Plain(rest) => Self::Plain(rest),
            Rest::More => Self::Full(Box::pin(async move {
                let app = cx.app.clone();
                super::conclude(cx, None, what).await?.complete(&app).await
            })),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        match self {
            Self::Nothing => Poll::Ready(Ok(())),
            Self::Plain(rest) => Pin::new(rest).poll(cx),
            Self::Full(rest) => rest.as_mut().poll(cx),
        }
    }
}

impl<M: Handled> Future for Sending<'_, M> {
    type Output = Answer<M>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.message.is_some() { self.begin(cx) } else { self.poll_rest(cx) }
    }
}

impl<M: Handled> fmt::Debug for Sending<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sending({})", M::SPEC.name)
    }
}
