//! Streaming messages as server-sent events: pulled by the reader, one item at a time.

use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use ::axum::extract::{FromRef, Request};
use ::axum::handler::Handler;
use ::axum::http::{HeaderName, HeaderValue, StatusCode};
use ::axum::response::sse::{Event, KeepAlive, Sse};
use ::axum::response::{IntoResponse, Response};
use futures_util::Stream;
use futures_util::stream::unfold;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::intake::{Intake, Taken};
use super::last_event_id::{self, LastEventId};
use super::watched::Watched;
use super::{ProblemDetails, failure, idempotency};
use crate::App;
use crate::message::Streaming;
use crate::store::driver::BoxFuture;

/// How often a silent stream says that it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Below it, a connection would carry little else.
const SHORTEST: Duration = Duration::from_millis(100);

/// An axum handler that streams the items of a command or query as server-sent events.
///
/// Each item is an event `item` with its JSON as data and ids that count from 1. The last event is `end`, or `error` with
/// the problem document where the stream failed. Items are made as the client reads them; one that goes away drops the
/// handler. An app that stops ends its streams at once, those that nobody reads as well.
///
/// ```standalone_crate
/// use axum::Router;
/// use axum::body::{Body, to_bytes};
/// use axum::http::Request;
/// use axum::routing::get;
/// use cqrs::axum::sse;
/// use cqrs::prelude::*;
/// use serde::Deserialize;
/// use tower::ServiceExt;
///
/// #[derive(Query, Deserialize)]
/// #[query(item = u32)]
/// struct CountDown { from: u32 }
///
/// #[query_handler]
/// async fn count_down(q: CountDown, items: &mut Items<u32>) {
///     for number in (1..=q.from).rev() {
///         items.send(number).await;
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), cqrs::BoxError> {
/// let app = cqrs::bootstrap!().await?;
/// let web = Router::new().route("/count/{from}", get(sse::<CountDown>())).with_state(app);
///
/// let response = web.oneshot(Request::get("/count/2").body(Body::empty())?).await?;
/// assert_eq!(
///     to_bytes(response.into_body(), 1000).await?,
///     "id: 1\nevent: item\ndata: 2\n\nid: 2\nevent: item\ndata: 1\n\nid: end\nevent: end\ndata: {}\n\n"
/// );
/// # Ok(())
/// # }
/// ```
pub fn sse<M: Streaming + DeserializeOwned>() -> SseEndpoint<M>
where
    M::Item: Serialize,
{
    SseEndpoint {
        intake: Intake::default(),
        keep_alive: KEEP_ALIVE,
        item_timeout: None,
        resume: None,
        message: PhantomData,
    }
}

type Resume<M> = Arc<dyn Fn(u64, M) -> Option<M> + Send + Sync>;

/// The axum handler of one streaming command or query, made by [`sse`]. Cheap to clone.
#[must_use = "an endpoint does nothing until it is routed to"]
pub struct SseEndpoint<M> {
    intake: Intake,
    keep_alive: Duration,
    item_timeout: Option<Duration>,
    resume: Option<Resume<M>>,
    message: PhantomData<fn() -> M>,
}

impl<M> SseEndpoint<M> {
    /// Rebuilds the message for a client that comes back: what comes after the item with the id it had last. Ids go on
    /// from there. `None` says that nothing comes after it: the answer is 204.
    ///
    /// The id is what the client says, any number from 0 to `i64::MAX`. Everything else is answered with 400.
    ///
    /// ```
    /// use cqrs::axum::{SseEndpoint, sse};
    /// use cqrs::prelude::*;
    /// use serde::Deserialize;
    ///
    /// #[derive(Query, Deserialize)]
    /// #[query(item = String)]
    /// struct Lines { #[serde(default)] skip: u64 }
    ///
    /// fn lines() -> SseEndpoint<Lines> {
    ///     sse::<Lines>().resume(|last_event_id, _| Lines { skip: last_event_id })
    /// }
    /// # let _ = lines();
    /// ```
    pub fn resume<R: Into<Option<M>>>(mut self, resume: impl Fn(u64, M) -> R + Send + Sync + 'static) -> Self {
        self.resume = Some(Arc::new(move |last, message| resume(last, message).into()));
        self
    }

    /// How often a stream that has nothing to say sends a comment, so that nobody on the way takes it for dead: 15 s unless
    /// said otherwise, 100 ms at the least.
    pub fn keep_alive(mut self, every: Duration) -> Self {
        self.keep_alive = every.max(SHORTEST);
        self
    }

    /// Copies HTTP headers into the call's [`Meta`](crate::Meta), by their lower-case names.
    ///
    /// A header that is given more than once is one value, joined by commas; what is not UTF-8 is left out.
    ///
    /// # Panics
    /// Panics where a name cannot be that of a header.
    #[track_caller]
    pub fn headers<N: AsRef<str>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.intake.copy_headers(names);
        self
    }

    /// How long a body may be, in bytes; the app's `payload_limit` unless said otherwise, which is 1 MiB.
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.intake.body_limit = Some(bytes);
        self
    }

    /// Gives each item at most so long, from the client's wish for it on; then the handler is dropped, and the last event is
    /// an `error` with 504.
    pub fn item_timeout(mut self, after: Duration) -> Self {
        self.item_timeout = Some(after);
        self
    }

    /// Gives the whole stream at most so long, whoever takes the time, a client that does not read it too; then the handler is
    /// dropped, and the last event is an `error` with 504.
    pub fn timeout(mut self, after: Duration) -> Self {
        self.intake.timeout = Some(after);
        self
    }
}

impl<M: Streaming + DeserializeOwned> SseEndpoint<M>
where
    M::Item: Serialize,
{
    async fn answer(&self, app: App, request: Request) -> Result<Response, ProblemDetails> {
        let last = last_event_id::read(request.headers());
        let resume = match (&last, &self.resume) {
            (LastEventId::None, _) => None,
            (LastEventId::End, _) | (_, None) => return Ok(StatusCode::NO_CONTENT.into_response()),
            (LastEventId::Wrong, Some(_)) => return Err(last_event_id::refused()),
            (LastEventId::Item(last), Some(resume)) => Some((*last, resume)),
        };
        // A stream cannot be answered again: a command that streams refuses the header.
        idempotency::key::<M>(request.headers())?;
        let Taken { message, headers } = self.intake.take::<M>(&app, request).await?;
        let (last, message) = match resume {
            None => (0, Some(message)),
            Some((last, resume)) => (last, resume(last, message)),
        };
        let Some(message) = message else { return Ok(StatusCode::NO_CONTENT.into_response()) };
        let mut items = headers.into_iter().fold(app.stream(message), |items, (name, value)| items.header(name, value));
        if let Some(after) = self.intake.timeout {
            items = items.timeout(after);
        }
        if let Some(after) = self.item_timeout {
            items = items.item_timeout(after);
        }
        let items = Watched::new(&app, items, self.intake.timeout);
        let reading = Reading { items, last, has_delivered: false };
        // Proxies that gather answers before they pass them on would hold events back.
        let unbuffered = [(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"))];
        let events = Sse::new(reading.events()).keep_alive(KeepAlive::new().interval(self.keep_alive));
        Ok((unbuffered, events).into_response())
    }
}

/// A stream that is being read.
struct Reading<M: Streaming> {
    items: Watched<M>,
    /// The id of the last event.
    last: u64,
    /// Whether it has had an item.
    has_delivered: bool,
}

impl<M: Streaming> Reading<M>
where
    M::Item: Serialize,
{
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> + Send {
        unfold(Some(self), |reading| async {
            let (event, reading) = reading?.next().await;
            Some((Ok(event), reading))
        })
    }

    /// The next event; the last one ends the stream, and with it the handler.
    async fn next(mut self) -> (Event, Option<Self>) {
        let written = match poll_fn(|cx| self.items.poll_next(cx)).await {
            None => return (Event::default().id(last_event_id::END).event("end").data("{}"), None),
            Some(Ok(item)) => serde_json::to_string(&item).map_err(|error| failure::unwritable::<M>(&error)),
            Some(Err(error)) => Err(failure::told_after::<M>(&error, self.has_delivered)),
        };
        match written {
            Ok(data) => {
                self.last += 1;
                self.has_delivered = true;
                (Event::default().id(self.last.to_string()).event("item").data(data), Some(self))
            }
            Err(problem) => {
                let data = serde_json::to_string(&problem).unwrap_or_default();
                (Event::default().event("error").data(data), None)
            }
        }
    }
}

impl<M, S> Handler<(), S> for SseEndpoint<M>
where
    M: Streaming + DeserializeOwned,
    M::Item: Serialize,
    App: FromRef<S>,
    S: Clone + Send + Sync + 'static,
{
    type Future = BoxFuture<'static, Response>;

    fn call(self, request: Request, state: S) -> Self::Future {
        let app = App::from_ref(&state);
        Box::pin(async move { self.answer(app, request).await.unwrap_or_else(IntoResponse::into_response) })
    }
}

impl<M> Clone for SseEndpoint<M> {
    fn clone(&self) -> Self {
        Self {
            intake: self.intake.clone(),
            keep_alive: self.keep_alive,
            item_timeout: self.item_timeout,
            resume: self.resume.clone(),
            message: PhantomData,
        }
    }
}

impl<M> fmt::Debug for SseEndpoint<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SseEndpoint")
            .field("keep_alive", &self.keep_alive)
            .field("resumes", &self.resume.is_some())
            .finish_non_exhaustive()
    }
}
