//! The shop over HTTP: which message an address stands for. Reading it, and telling errors, is `cqrs::axum`'s.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use cqrs::App;
use cqrs::axum::{ProblemDetails, command, query, sse};

use crate::messages::{CancelOrder, CheckOut, GetOrder, GetQuote, ImportOrders, ListOrders, PlaceOrder};

pub fn router(app: App) -> Router {
    let nothing =
        |status| async move { ProblemDetails::new(status).detail("the shop has nothing like this at this address") };
    Router::new()
        // Far below what can be stored, so that what is made of an order fits, too.
        .route("/orders", post(command::<PlaceOrder>().status(201).body_limit(64 << 10)).get(query::<ListOrders>()))
        .route("/orders/{id}", get(query::<GetOrder>()))
        .route("/orders/{id}/pay", post(command::<CheckOut>()))
        .route("/orders/{id}/cancel", post(command::<CancelOrder>()))
        .route("/quotes", post(query::<GetQuote>()))
        // Whoever comes back sends the whole again: what is placed already is accepted.
        .route("/imports", post(sse::<ImportOrders>().resume(|_, import| import)))
        .fallback(move || nothing(StatusCode::NOT_FOUND))
        .method_not_allowed_fallback(move || nothing(StatusCode::METHOD_NOT_ALLOWED))
        .with_state(app)
}
