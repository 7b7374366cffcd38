//! The stream a caller reads.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use tokio_util::task::task_tracker::TaskTrackerToken;
use uuid::Uuid;

use super::channel::Channel;
use super::items::{Driver, Items};
use super::options::{StreamOptions, Timer};
use crate::BoxError;
use crate::app::{App, Running};
use crate::dispatch::{AnyCall, DispatchError, Failure, Guarded, Opening, abandon, call_context, conclude, open_unit};
use crate::event::{Events, Raised};
use crate::inject::Scope;
use crate::message::Streaming;
use crate::middleware::{CallKind, MessageCell, Refusal, Terminal};
use crate::store::driver::BoxFuture;
use crate::unit::{Meta, MetaInit, TxSlot, Unit};
use crate::wiring::CallEntry;

type Item<M> = Result<<M as Streaming>::Item, DispatchError<<M as crate::message::Handled>::Error>>;
type End<M> = Result<(), DispatchError<<M as crate::message::Handled>::Error>>;

/// The items of a streaming command or query, pulled one by one.
///
/// Dropping it drops the handler: delivered items stay delivered. The error, if any, is the last item. An app that stops
/// waits for an item that is asked for, not for a stream that nobody reads: read again after the stop, that one ends with
/// [`DispatchError::ShuttingDown`].
#[must_use = "a stream does nothing until it is read"]
pub struct ItemStream<M: Streaming> {
    options: StreamOptions,
    channel: Arc<Channel<M::Item>>,
    failure: Arc<Mutex<Option<Failure>>>,
    app: App,
    state: State<M>,
    /// Held from the wish for an item to the item: stopping waits for no stream that nobody reads. Dropped last, when
    /// the handler is gone.
    busy: Option<Busy>,
}

/// What stopping waits for, and how it is named there.
type Busy = (TaskTrackerToken, Option<Running>);

enum State<M: Streaming> {
    New(M),
    Running(BoxFuture<'static, End<M>>),
    /// The handler has ended, but its last item was just delivered: the error comes next.
    Ending(DispatchError<M::Error>),
    Done,
}

// Nothing in here is pinned in place: the handler is boxed, the message is moved out before it is used.
impl<M: Streaming> Unpin for ItemStream<M> {}

impl<M: Streaming> ItemStream<M> {
    pub(crate) fn new(app: App, message: M) -> Self {
        Self {
            options: StreamOptions::default(),
            channel: Arc::new(Channel::new()),
            failure: Arc::default(),
            app,
            state: State::New(message),
            busy: None,
        }
    }

    /// Gives the stream at most so long in all, from the first look at it on, whoever takes the time; then it ends with
    /// [`DispatchError::Timeout`]. What was delivered stays, what is open is rolled back.
    pub fn timeout(mut self, after: Duration) -> Self {
        self.options.total = Some(Timer::new(after));
        self
    }

    /// Gives each item at most so long, from the wish for it on, the end of the stream included; then it ends with
    /// [`DispatchError::Timeout`]. What was delivered stays, what is open is rolled back.
    pub fn item_timeout(mut self, after: Duration) -> Self {
        self.options.each = Some(Timer::new(after));
        self
    }

    /// Sets a header, which the handler reads from `&Meta`.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.headers.insert(name.into(), value.into());
        self
    }

    /// Sets the correlation id, which everything that the stream sets off carries.
    pub fn correlation(mut self, id: Uuid) -> Self {
        self.options.correlation_id = Some(id);
        self
    }

    /// The next item; `None` after the last.
    pub async fn next(&mut self) -> Option<Item<M>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    fn begin(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Done) {
            State::New(message) => {
                let ahead = self.app.clock().ahead();
                let meta = Arc::new(Meta::new(MetaInit { ahead, ..self.options.meta() }));
                let run = run(self.app.clone(), message, meta, Arc::clone(&self.channel), Arc::clone(&self.failure));
                State::Running(Box::pin(run))
            }
            begun => begun,
        };
    }
}

impl<M: Streaming> ItemStream<M> {
    /// Notes that somebody waits for the next item; `false` where the app has stopped in the meantime.
    fn wake(&mut self) -> bool {
        if self.busy.is_some() || !matches!(self.state, State::New(_) | State::Running(_)) {
            return true;
        }
        if self.app.is_stopped() {
            self.state = State::Done;
            return false;
        }
        if let Some(timer) = &mut self.options.each {
            timer.reset();
        }
        let handler = self.app.plan().calls.get(&M::SPEC.type_id).map(|entry| entry.handler);
        self.busy = Some((self.app.calling(), handler.map(|handler| self.app.running(handler))));
        true
    }

    /// Goes on, unless the stream has had its time, or while an item still has some.
    fn poll_in_time(&mut self, cx: &mut Context<'_>) -> Poll<Option<Item<M>>> {
        if matches!(self.state, State::New(_) | State::Running(_))
            && let Poll::Ready(after) = self.options.poll_total(cx)
        {
            return Poll::Ready(Some(Err(self.cut_off(after))));
        }
        if let ready @ Poll::Ready(_) = self.advance(cx) {
            return ready;
        }
        self.options.poll_each(cx).map(|after| Some(Err(self.cut_off(after))))
    }

    /// Drops the handler, which rolls back what is open.
    fn cut_off(&mut self, after: Duration) -> DispatchError<M::Error> {
        self.state = State::Done;
        self.late(after)
    }

    /// What it fails with that has had its time.
    pub(crate) fn late(&self, after: Duration) -> DispatchError<M::Error> {
        let handler = self.app.plan().calls.get(&M::SPEC.type_id).map_or(M::SPEC.name, |entry| entry.name);
        DispatchError::Timeout { handler, after }
    }

    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<Option<Item<M>>> {
        self.begin();
        let mut future = match std::mem::replace(&mut self.state, State::Done) {
            State::Running(future) => future,
            State::Ending(error) => return Poll::Ready(Some(Err(error))),
            State::New(_) | State::Done => return Poll::Ready(None),
        };
        self.channel.want();
        let poll = future.as_mut().poll(cx);
        let item = self.channel.take();
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(failure) = failure {
            return Poll::Ready(Some(Err(failure.widen())));
        }
        match (poll, item) {
            (Poll::Pending, item) => {
                self.state = State::Running(future);
                item.map_or(Poll::Pending, |item| Poll::Ready(Some(Ok(item))))
            }
            (Poll::Ready(Err(error)), Some(item)) => {
                self.state = State::Ending(error);
                Poll::Ready(Some(Ok(item)))
            }
            (Poll::Ready(Ok(())), Some(item)) => Poll::Ready(Some(Ok(item))),
            (Poll::Ready(Ok(())), None) => Poll::Ready(None),
            (Poll::Ready(Err(error)), None) => Poll::Ready(Some(Err(error))),
        }
    }
}

impl<M: Streaming> Stream for ItemStream<M> {
    type Item = Item<M>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if !self.wake() {
            return Poll::Ready(Some(Err(DispatchError::ShuttingDown)));
        }
        let polled = self.poll_in_time(cx);
        if polled.is_ready() {
            // Parked, or at its end.
            self.busy = None;
        }
        polled
    }
}

impl<M: Streaming> fmt::Debug for ItemStream<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ItemStream({})", M::SPEC.name)
    }
}

async fn run<M: Streaming>(
    app: App,
    message: M,
    meta: Arc<Meta>,
    channel: Arc<Channel<M::Item>>,
    failure: Arc<Mutex<Option<Failure>>>,
) -> End<M> {
    let Some(entry) = app.plan().calls.get(&M::SPEC.type_id).copied() else {
        return Err(DispatchError::NoHandler { message: std::any::type_name::<M>() });
    };
    let stream = StreamCall { app: &app, entry, meta: Arc::clone(&meta), channel, failure };
    let chain = app.plan().middleware(CallKind::Stream);
    if chain.is_empty() {
        return stream.run(message).await;
    }
    let cell = MessageCell::new(message);
    let mut around = StreamTerminal::<M> { stream, cell: &cell };
    let outcome = chain.run(CallKind::Stream, M::SPEC, &meta, &cell, &mut around).await.map_err(Failure::widen)?;
    match outcome.into_result() {
        Ok(()) => Ok(()),
        Err(Refusal::Rejected(source)) => Err(DispatchError::Rejected { message: M::SPEC.name, source }),
        Err(Refusal::Failed(source)) => Err(match source.downcast::<DispatchError<M::Error>>() {
            Ok(error) => *error,
            Err(source) => DispatchError::Rejected { message: M::SPEC.name, source },
        }),
    }
}

struct StreamCall<'t, T> {
    app: &'t App,
    entry: CallEntry,
    meta: Arc<Meta>,
    channel: Arc<Channel<T>>,
    failure: Arc<Mutex<Option<Failure>>>,
}

impl<T: Send + 'static> StreamCall<'_, T> {
    async fn run<M: Streaming<Item = T>>(&self, message: M) -> End<M> {
        let app = self.app;
        let handler = self.entry.handler;
        let scope = Arc::new(Scope::new(Arc::clone(&self.meta)));
        let opening = Opening { meta: Arc::clone(&self.meta), scope: Some(Arc::clone(&scope)), within: None };
        let unit = open_unit(app, handler, opening).await.map_err(Failure::widen)?;
        let mut unit = unit.unwrap_or_else(|| Box::new(self.bare_unit(&scope)));
        let raised: Arc<Mutex<Vec<Raised>>> = Arc::default();
        unit.items = Some(Box::new(Items::reader(Driver {
            channel: Arc::clone(&self.channel),
            raised: Arc::clone(&raised),
            app: app.clone(),
            meta: Arc::clone(&self.meta),
            scope: Arc::clone(&scope),
            failure: Arc::clone(&self.failure),
            handler: self.entry.name,
            what: M::SPEC.name,
        })));
        unit.progress = Some(Arc::clone(self.channel.progress()));
        let holds = unit.tx.open.is_some();
        let mut context = call_context(app, Some(unit));
        context.events = Events::shared(raised);
        let Ok(call) = AnyCall::<M>::new(self.entry.thunk, message, context, handler) else {
            return Err(DispatchError::NoHandler { message: std::any::type_name::<M>() });
        };
        match Guarded::new(call, holds).await {
            Ok((Ok(()), cx)) => {
                // What was written and raised after the last item.
                let conclusion =
                    conclude(cx, Some(Arc::clone(&self.meta)), M::SPEC.name).await.map_err(Failure::widen)?;
                conclusion.complete_at_once(app, app.options().stream_event_concurrency).await.map_err(Failure::widen)
            }
            Ok((Err(error), cx)) => {
                abandon(cx).await;
                Err(error)
            }
            Err(message) => Err(DispatchError::Panicked { handler: self.entry.name, message }),
        }
    }

    fn bare_unit(&self, scope: &Arc<Scope>) -> Unit<'static> {
        Unit {
            tx: TxSlot::empty(self.app.store().cloned()),
            meta: Arc::clone(&self.meta),
            scope: Some(Arc::clone(scope)),
            ..Unit::default()
        }
    }
}

struct StreamTerminal<'t, M: Streaming> {
    stream: StreamCall<'t, M::Item>,
    cell: &'t MessageCell,
}

impl<M: Streaming> Terminal for StreamTerminal<'_, M> {
    fn run(&mut self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async move {
            let message = self.cell.take::<M>()?;
            self.stream.run(message).await.map_err(BoxError::from)
        })
    }
}
