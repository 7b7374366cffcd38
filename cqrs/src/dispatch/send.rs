//! The future of a call.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use sqlx::Database;
use uuid::Uuid;

use super::guard::poll_caught;
use super::options::{CallOptions, Within};
use super::{DispatchError, Failure, full};
use crate::app::App;
use crate::message::{Command, Handled};
use crate::middleware::CallKind;
use crate::registry::CallFuture;
use crate::store::driver::BoxFuture;
use crate::unit::{Cx, Tx};

type Answer<M> = Result<<M as Handled>::Response, DispatchError<<M as Handled>::Error>>;

/// The future of [`App::send`] and [`App::query`]: nothing happens until it is polled.
///
/// It is `Unpin`, so it fits `join!` and `select!` as it is.
#[must_use = "a call does nothing until it is awaited"]
pub struct Sending<'a, M: Handled> {
    state: State<'a, M>,
}

enum State<'a, M: Handled> {
    New(App, M, Option<Box<CallOptions<'a>>>),
    /// The handler alone: no transaction, no middleware, no options.
    Slim(CallFuture<'a, M>, &'static str),
    /// The handler has answered; what it raised is being settled.
    Settling(Option<M::Response>, BoxFuture<'a, Result<(), Failure>>),
    /// Everything else.
    Full(BoxFuture<'a, Answer<M>>),
    Done,
}

// Nothing in here is pinned in place: futures are boxed, the message is moved out before it is used.
impl<M: Handled> Unpin for Sending<'_, M> {}

impl<M: Handled> Sending<'static, M> {
    #[inline]
    pub(crate) fn new(app: App, message: M) -> Self {
        Self { state: State::New(app, message, None) }
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
        if let State::New(_, _, options) = &mut self.state {
            change(options.get_or_insert_with(Box::default));
        }
    }
}

impl<'a, C: Command> Sending<'a, C> {
    /// Runs the command in the caller's transaction, on a savepoint: its failure undoes it alone, the plain handlers of
    /// its events run after the caller's commit.
    pub fn within<'b, Db: Database>(mut self, tx: &'b mut Tx<Db>) -> Sending<'b, C>
    where
        'a: 'b,
    {
        let State::New(app, message, options) = std::mem::replace(&mut self.state, State::Done) else {
            return Sending { state: State::Done };
        };
        let mut options: CallOptions<'b> = match options {
            Some(options) => CallOptions { timeout: options.timeout, meta: options.meta, within: None },
            None => CallOptions::default(),
        };
        let lent = Box::new(tx.borrow_out());
        options.within = Some(Within::new(lent, tx));
        Sending { state: State::New(app, message, Some(Box::new(options))) }
    }
}

impl<'a, M: Handled> Sending<'a, M> {
    /// Begins: the slim way where nothing but the handler is needed.
    fn begin(app: App, message: M, options: Option<Box<CallOptions<'a>>>) -> Result<State<'a, M>, Failure> {
        if app.is_stopped() {
            return Err(DispatchError::ShuttingDown);
        }
        let plan = app.plan();
        let Some(handler) = plan.calls.get(&M::SPEC.type_id).copied() else {
            return Err(DispatchError::NoHandler { message: std::any::type_name::<M>() });
        };
        let planned = app.planned(handler);
        let slim = options.is_none() && !planned.needs_unit && plan.middleware(CallKind::of(M::SPEC)).is_empty();
        match planned.call_thunk::<M>() {
            Some(thunk) if slim => {
                let name = planned.item.name;
                Ok(State::Slim((thunk.0)(message, Cx::new(app, handler)), name))
            }
            _ => {
                let options = options.map_or_else(CallOptions::default, |options| *options);
                Ok(State::Full(Box::pin(full::run(app, handler, message, options))))
            }
        }
    }
}

/// What follows a slim handler that raised something. Not generic, and boxed: most calls raise nothing.
fn settle<'a>(cx: Cx<'a>, what: &'static str) -> BoxFuture<'a, Result<(), Failure>> {
    Box::pin(async move {
        let app = cx.app.clone();
        super::conclude(cx, None, what).await?.complete(&app).await
    })
}

impl<M: Handled> Future for Sending<'_, M> {
    type Output = Answer<M>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::New(..) => {
                    let State::New(app, message, options) = std::mem::replace(&mut this.state, State::Done) else {
                        return Poll::Pending;
                    };
                    this.state = Self::begin(app, message, options).map_err(Failure::widen)?;
                }
                State::Slim(future, handler) => {
                    let caught = ready!(poll_caught(future, cx));
                    let handler = *handler;
                    this.state = State::Done;
                    match caught {
                        Err(message) => return Poll::Ready(Err(DispatchError::Panicked { handler, message })),
                        Ok((Err(error), _)) => return Poll::Ready(Err(DispatchError::Handler(error))),
                        Ok((Ok(response), unit)) if unit.events.is_empty() => return Poll::Ready(Ok(response)),
                        Ok((Ok(response), unit)) => {
                            this.state = State::Settling(Some(response), settle(unit, M::SPEC.name));
                        }
                    }
                }
                State::Settling(response, settling) => {
                    let settled = ready!(settling.as_mut().poll(cx));
                    let response = response.take();
                    this.state = State::Done;
                    settled.map_err(Failure::widen)?;
                    return response.map_or(Poll::Pending, |response| Poll::Ready(Ok(response)));
                }
                State::Full(future) => {
                    let answer = ready!(future.as_mut().poll(cx));
                    this.state = State::Done;
                    return Poll::Ready(answer);
                }
                State::Done => return Poll::Pending,
            }
        }
    }
}

impl<M: Handled> fmt::Debug for Sending<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sending({})", M::SPEC.name)
    }
}
