//! Commands and queries: one request, one answer.

use std::any::TypeId;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use ::axum::extract::{FromRef, Request};
use ::axum::handler::Handler;
use ::axum::http::header::CONTENT_TYPE;
use ::axum::http::request::Parts;
use ::axum::http::{HeaderValue, StatusCode};
use ::axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::idempotency::KeyedFn;
use super::intake::{Intake, Taken};
use super::{ProblemDetails, failure, idempotency};
use crate::message::Handled;
use crate::store::driver::BoxFuture;
use crate::{App, Command, Query, Sending};

/// An axum handler that sends a command to its handler, and answers with what that answers.
///
/// ```standalone_crate
/// use axum::Router;
/// use axum::body::{Body, to_bytes};
/// use axum::http::{Request, StatusCode};
/// use axum::routing::post;
/// use cqrs::axum::command;
/// use cqrs::prelude::*;
/// use serde::Deserialize;
/// use tower::ServiceExt;
///
/// #[derive(Command, Deserialize)]
/// #[command(response = u64)]
/// struct AddStock { sku: String, pieces: u64 }
///
/// #[command_handler]
/// async fn add_stock(cmd: AddStock) -> u64 {
///     cmd.pieces + cmd.sku.len() as u64
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), cqrs::BoxError> {
/// let app = cqrs::bootstrap!().await?;
/// let web = Router::new().route("/stock/{sku}", post(command::<AddStock>().status(201))).with_state(app);
///
/// let request = Request::post("/stock/tea").header("content-type", "application/json");
/// let response = web.oneshot(request.body(Body::from(r#"{"pieces": 4}"#))?).await?;
/// assert_eq!(response.status(), StatusCode::CREATED);
/// assert_eq!(to_bytes(response.into_body(), 100).await?, "7");
/// # Ok(())
/// # }
/// ```
pub fn command<C: Command + DeserializeOwned>() -> Endpoint<C>
where
    C::Response: Serialize,
{
    Endpoint::new()
}

/// An axum handler that asks a query, and answers with what its handler answers.
///
/// ```standalone_crate
/// use axum::Router;
/// use axum::body::{Body, to_bytes};
/// use axum::http::Request;
/// use axum::routing::get;
/// use cqrs::axum::query;
/// use cqrs::prelude::*;
/// use serde::Deserialize;
/// use tower::ServiceExt;
///
/// #[derive(Query, Deserialize)]
/// #[query(response = Vec<u32>)]
/// struct Multiples { of: u32, #[serde(default)] offset: Vec<u32> }
///
/// #[query_handler]
/// async fn multiples(q: Multiples) -> Vec<u32> {
///     q.offset.iter().map(|offset| q.of * offset).collect()
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), cqrs::BoxError> {
/// let app = cqrs::bootstrap!().await?;
/// let web = Router::new().route("/multiples/{of}", get(query::<Multiples>())).with_state(app);
///
/// let response = web.oneshot(Request::get("/multiples/3?offset=2&offset=5").body(Body::empty())?).await?;
/// assert_eq!(to_bytes(response.into_body(), 100).await?, "[6,15]");
/// # Ok(())
/// # }
/// ```
pub fn query<Q: Query + DeserializeOwned>() -> Endpoint<Q>
where
    Q::Response: Serialize,
{
    Endpoint::new()
}

/// Finds out whose a request's idempotency key is.
type KeyScope = Arc<dyn Fn(&Parts) -> Result<String, ProblemDetails> + Send + Sync>;

/// The axum handler of one command or query, made by [`command`] and [`query`]. Cheap to clone.
///
/// ```
/// use std::time::Duration;
///
/// use axum::Router;
/// use axum::routing::post;
/// use cqrs::axum::command;
/// use cqrs::prelude::*;
/// use serde::Deserialize;
///
/// #[derive(Command, Deserialize)]
/// struct CancelOrder { id: u64 }
///
/// let cancel = command::<CancelOrder>()
///     .status(202)
///     .headers(["authorization"])
///     .body_limit(10_000)
///     .timeout(Duration::from_secs(5));
/// let web: Router<App> = Router::new().route("/orders/{id}/cancel", post(cancel));
/// # drop(web);
/// ```
#[must_use = "an endpoint does nothing until it is routed to"]
pub struct Endpoint<M> {
    intake: Intake,
    status: Option<StatusCode>,
    none_is_404: bool,
    key_scope: Option<KeyScope>,
    message: PhantomData<fn() -> M>,
}

impl<M> Endpoint<M> {
    fn new() -> Self {
        Self { intake: Intake::default(), status: None, none_is_404: false, key_scope: None, message: PhantomData }
    }

    /// The status of a success: 200 unless said otherwise, 204 where the message's response is `()`.
    ///
    /// # Panics
    /// Panics where it is none of 200 to 299.
    #[track_caller]
    #[expect(clippy::panic, reason = "routes are made at the start; axum panics at wrong ones too")]
    pub fn status(mut self, status: u16) -> Self {
        match StatusCode::from_u16(status) {
            Ok(status) if status.is_success() => self.status = Some(status),
            _ => panic!("{status} is not the status of a success: it is 200 to 299"),
        }
        self
    }

    /// Answers with 404 where the handler answers `None`, which otherwise is a `null` like any other value.
    pub fn none_is_404(mut self) -> Self {
        self.none_is_404 = true;
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

    /// Says whose a request's idempotency key is, so that the keys of two callers never meet: one with another's key would be
    /// answered with what that one was answered, or be told that it is in use.
    ///
    /// Asked where a request has a key, before its body is read, of its head: its headers, and its extensions, where a layer
    /// that lets callers log in leaves who they are. What says nothing of who is asking fails with what the client is told. The
    /// store gets a digest of it.
    ///
    /// ```
    /// use axum::http::StatusCode;
    /// use cqrs::axum::{Endpoint, ProblemDetails, command};
    /// use cqrs::prelude::*;
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Command, Serialize, Deserialize)]
    /// struct Pay { cents: u64 }
    ///
    /// #[derive(Clone)]
    /// struct User { id: u64 }                  // what a layer put into the request's extensions
    ///
    /// fn pay() -> Endpoint<Pay> {
    ///     command::<Pay>().key_scope(|request| match request.extensions.get::<User>() {
    ///         Some(user) => Ok(user.id.to_string()),
    ///         None => Err(ProblemDetails::new(StatusCode::UNAUTHORIZED)),
    ///     })
    /// }
    /// # let _ = pay();
    /// ```
    pub fn key_scope(
        mut self,
        caller: impl Fn(&Parts) -> Result<String, ProblemDetails> + Send + Sync + 'static,
    ) -> Self {
        self.key_scope = Some(Arc::new(caller));
        self
    }

    /// How long a body may be, in bytes; the app's `payload_limit` unless said otherwise, which is 1 MiB.
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.intake.body_limit = Some(bytes);
        self
    }

    /// Gives each call at most so long, up to its commit; then the answer is 504.
    pub fn timeout(mut self, after: Duration) -> Self {
        self.intake.timeout = Some(after);
        self
    }
}

impl<M: Handled + DeserializeOwned> Endpoint<M>
where
    M::Response: Serialize,
{
    async fn answer(&self, app: App, request: Request) -> Result<Response, ProblemDetails> {
        let (key, request) = self.key(request)?;
        let Taken { message, headers } = self.intake.take::<M>(&app, request).await?;
        let mut sending =
            headers.into_iter().fold(Sending::new(app, message), |sending, (name, value)| sending.header(name, value));
        if let Some(after) = self.intake.timeout {
            sending = sending.timeout(after);
        }
        if let Some((keyed, key, scope)) = key {
            sending = keyed(sending, key, scope);
        }
        let response = sending.await.map_err(|error| failure::told::<M>(&error))?;
        self.write(&response)
    }

    /// The request's key, how its call is given it, and whose it is.
    #[expect(clippy::type_complexity, reason = "taken apart where it is asked for")]
    fn key(&self, request: Request) -> Result<(Option<(KeyedFn<M>, String, Option<String>)>, Request), ProblemDetails> {
        let Some((keyed, key)) = idempotency::key::<M>(request.headers())? else { return Ok((None, request)) };
        let (head, body) = request.into_parts();
        let scope = self.key_scope.as_ref().map(|caller| caller(&head)).transpose()?;
        Ok((Some((keyed, key, scope)), Request::from_parts(head, body)))
    }

    fn write(&self, response: &M::Response) -> Result<Response, ProblemDetails> {
        if TypeId::of::<M::Response>() == TypeId::of::<()>() {
            return Ok(self.status.unwrap_or(StatusCode::NO_CONTENT).into_response());
        }
        let body = serde_json::to_vec(response).map_err(|error| failure::unwritable::<M>(&error))?;
        if self.none_is_404 && body == b"null" {
            return Err(ProblemDetails::new(StatusCode::NOT_FOUND));
        }
        let json = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        Ok((self.status.unwrap_or(StatusCode::OK), json, body).into_response())
    }
}

impl<M, S> Handler<(), S> for Endpoint<M>
where
    M: Handled + DeserializeOwned,
    M::Response: Serialize,
    App: FromRef<S>,
    S: Clone + Send + Sync + 'static,
{
    type Future = BoxFuture<'static, Response>;

    fn call(self, request: Request, state: S) -> Self::Future {
        let app = App::from_ref(&state);
        Box::pin(async move { self.answer(app, request).await.unwrap_or_else(IntoResponse::into_response) })
    }
}

impl<M> Clone for Endpoint<M> {
    fn clone(&self) -> Self {
        let (intake, key_scope) = (self.intake.clone(), self.key_scope.clone());
        Self { intake, key_scope, message: PhantomData, ..*self }
    }
}

impl<M> fmt::Debug for Endpoint<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("status", &self.status).finish_non_exhaustive()
    }
}
