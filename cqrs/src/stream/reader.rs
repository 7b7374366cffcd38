//! The stream a caller reads.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_core::Stream;

use super::channel::Channel;
use super::items::{Driver, Items};
use crate::BoxError;
use crate::app::App;
use crate::dispatch::{DispatchError, Failure, Guarded, Opening, abandon, call_context, conclude, open_unit};
use crate::event::{Events, Raised};
use crate::inject::Scope;
use crate::message::Streaming;
use crate::middleware::{CallKind, MessageCell, Refusal, Terminal};
use crate::store::driver::BoxFuture;
use crate::unit::{Meta, TxSlot, Unit};
use crate::wiring::CallEntry;

type Item<M> = Result<<M as Streaming>::Item, DispatchError<<M as crate::message::Handled>::Error>>;
type End<M> = Result<(), DispatchError<<M as crate::message::Handled>::Error>>;

/// The items of a streaming command or query, pulled one by one.
///
/// Dropping it drops the handler: delivered items stay delivered. The error, if any, is the last item.
#[must_use = "a stream does nothing until it is read"]
pub struct ItemStream<M: Streaming> {
    channel: Arc<Channel<M::Item>>,
    failure: Arc<Mutex<Option<Failure>>>,
    state: State<M>,
}

enum State<M: Streaming> {
    New(App, M),
    Running(BoxFuture<'static, End<M>>),
    /// The handler has ended, but its last item was just delivered: the error comes next.
    Ending(DispatchError<M::Error>),
    Done,
}

// Nothing in here is pinned in place: the handler is boxed, the message is moved out before it is used.
impl<M: Streaming> Unpin for ItemStream<M> {}

impl<M: Streaming> ItemStream<M> {
    pub(crate) fn new(app: App, message: M) -> Self {
        Self { channel: Arc::new(Channel::new()), failure: Arc::default(), state: State::New(app, message) }
    }

    /// The next item; `None` after the last.
    pub async fn next(&mut self) -> Option<Item<M>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    fn begin(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Done) {
            State::New(app, message) => {
                let run = run(app, message, Arc::clone(&self.channel), Arc::clone(&self.failure));
                State::Running(Box::pin(run))
            }
            begun => begun,
        };
    }
}

impl<M: Streaming> Stream for ItemStream<M> {
    type Item = Item<M>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        this.begin();
        let future = match std::mem::replace(&mut this.state, State::Done) {
            State::Running(future) => future,
            State::Ending(error) => return Poll::Ready(Some(Err(error))),
            State::New(..) | State::Done => return Poll::Ready(None),
        };
        let mut future = future;
        this.channel.want();
        let poll = future.as_mut().poll(cx);
        let item = this.channel.take();
        let failure = this.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(failure) = failure {
            return Poll::Ready(Some(Err(failure.widen())));
        }
        match (poll, item) {
            (Poll::Pending, item) => {
                this.state = State::Running(future);
                item.map_or(Poll::Pending, |item| Poll::Ready(Some(Ok(item))))
            }
            (Poll::Ready(Err(error)), Some(item)) => {
                this.state = State::Ending(error);
                Poll::Ready(Some(Ok(item)))
            }
            (Poll::Ready(Ok(())), Some(item)) => Poll::Ready(Some(Ok(item))),
            (Poll::Ready(Ok(())), None) => Poll::Ready(None),
            (Poll::Ready(Err(error)), None) => Poll::Ready(Some(Err(error))),
        }
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
    channel: Arc<Channel<M::Item>>,
    failure: Arc<Mutex<Option<Failure>>>,
) -> End<M> {
    if app.is_stopped() {
        return Err(DispatchError::ShuttingDown);
    }
    let Some(entry) = app.plan().calls.get(&M::SPEC.type_id).copied() else {
        return Err(DispatchError::NoHandler { message: std::any::type_name::<M>() });
    };
    let _running = app.calling();
    let meta = Arc::new(Meta::default());
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
        let Some(thunk) = self.entry.thunk::<M>() else {
            return Err(DispatchError::NoHandler { message: std::any::type_name::<M>() });
        };
        let scope = Arc::new(Scope::new());
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
        let holds = unit.tx.open.is_some();
        let mut context = call_context(app, Some(unit));
        context.events = Events::shared(raised);
        match Guarded::new((thunk.0)(message, context, handler), holds).await {
            Ok((Ok(()), cx)) => {
                // What was written and raised after the last item.
                let conclusion =
                    conclude(cx, Some(Arc::clone(&self.meta)), M::SPEC.name).await.map_err(Failure::widen)?;
                conclusion.complete_at_once(app, app.options().stream_event_concurrency).await.map_err(Failure::widen)
            }
            Ok((Err(error), cx)) => {
                abandon(cx).await;
                Err(DispatchError::Handler(error))
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
