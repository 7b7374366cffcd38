//! The app as an axum extractor.

use std::convert::Infallible;

use ::axum::extract::{FromRef, FromRequestParts};
use ::axum::http::request::Parts;

use crate::App;

/// An axum handler takes the app as it is, over any state that has it.
///
/// ```standalone_crate
/// use axum::Router;
/// use axum::body::{Body, to_bytes};
/// use axum::http::Request;
/// use axum::routing::get;
/// use cqrs::prelude::*;
/// use tower::ServiceExt;
///
/// async fn health(app: App) -> String {
///     format!("{:?}", app.health())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), cqrs::BoxError> {
/// let web = Router::new().route("/health", get(health)).with_state(cqrs::bootstrap!().await?);
/// let response = web.oneshot(Request::get("/health").body(Body::empty())?).await?;
/// assert_eq!(to_bytes(response.into_body(), 100).await?, "Idle");
/// # Ok(())
/// # }
/// ```
impl<S> FromRequestParts<S> for App
where
    App: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Infallible;

    async fn from_request_parts(_: &mut Parts, state: &S) -> Result<Self, Infallible> {
        Ok(Self::from_ref(state))
    }
}
