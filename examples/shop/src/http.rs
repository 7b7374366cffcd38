//! The shop over HTTP: ordinary axum handlers that send messages to the app.

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use cqrs::prelude::*;

use crate::messages::{CancelOrder, GetOrder, ListOrders, Order, PayOrder, PlaceOrder, ShopError};

pub fn router(app: App) -> Router {
    Router::new()
        .route("/orders", post(place).get(list))
        .route("/orders/{id}", get(show))
        .route("/orders/{id}/pay", post(pay))
        .route("/orders/{id}/cancel", post(cancel))
        .fallback(async || HttpError(StatusCode::NOT_FOUND, "no_such_page", "nothing is at this address".to_owned()))
        .with_state(app)
}

type Answer<T> = Result<T, HttpError>;

async fn place(State(app): State<App>, body: Result<Json<PlaceOrder>, JsonRejection>) -> Answer<impl IntoResponse> {
    let Json(order) = body.map_err(|bad| HttpError(bad.status(), "bad_body", bad.body_text()))?;
    Ok((StatusCode::CREATED, Json(app.send(order).await?)))
}

async fn pay(State(app): State<App>, Path(id): Path<String>) -> Answer<Json<Order>> {
    Ok(Json(app.send(PayOrder(id)).await?))
}

async fn cancel(State(app): State<App>, Path(id): Path<String>) -> Answer<Json<Order>> {
    Ok(Json(app.send(CancelOrder(id)).await?))
}

async fn show(State(app): State<App>, Path(id): Path<String>) -> Answer<Json<Order>> {
    Ok(Json(app.query(GetOrder(id)).await?))
}

async fn list(State(app): State<App>, query: Result<Query<ListOrders>, QueryRejection>) -> Answer<Json<Vec<Order>>> {
    let Query(list) = query.map_err(|bad| HttpError(bad.status(), "bad_query", bad.body_text()))?;
    Ok(Json(app.query(list).await?))
}

/// An error as JSON: a name for programs, a message for people.
struct HttpError(StatusCode, &'static str, String);

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        (self.0, Json(serde_json::json!({"error": self.1, "message": self.2}))).into_response()
    }
}

impl From<DispatchError<ShopError>> for HttpError {
    fn from(error: DispatchError<ShopError>) -> Self {
        use DispatchError::{Handler, TooLarge};
        use ShopError::{Database, EmptyOrder, NoSuchOrder, UnknownSku, ZeroQuantity};
        let status = match &error {
            Handler(EmptyOrder | UnknownSku(_) | ZeroQuantity(_)) => StatusCode::UNPROCESSABLE_ENTITY,
            Handler(NoSuchOrder(_)) => StatusCode::NOT_FOUND,
            Handler(Database(_)) => StatusCode::INTERNAL_SERVER_ERROR,
            Handler(_) => StatusCode::CONFLICT,
            TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            failure if failure.is_retryable() => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        match error {
            Handler(refused) if status.is_client_error() => Self(status, (&refused).into(), refused.to_string()),
            // What went wrong inside is for the log, not for strangers.
            failure => {
                tracing::error!(?failure, "a call failed");
                Self(status, "failed", "the shop cannot answer right now".to_owned())
            }
        }
    }
}
