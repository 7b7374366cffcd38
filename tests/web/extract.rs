//! The app in handlers of the user's own, and in a state of the user's own.

use axum::Router;
use axum::extract::FromRef;
use axum::http::StatusCode;
use axum::routing::{get as on_get, post};
use cqrs::Health;
use cqrs::axum::command;
use cqrs::prelude::*;
use serde::Deserialize;

use crate::client::{ask, empty, get};
use crate::support::Harness;

#[derive(Command, Deserialize)]
#[command(response = &'static str)]
struct Knock;

#[command_handler]
async fn knock(_cmd: Knock) -> &'static str {
    "who is there"
}

/// A state that holds more than the app.
#[derive(Clone)]
struct State {
    app: App,
    name: &'static str,
}

impl FromRef<State> for App {
    fn from_ref(state: &State) -> Self {
        state.app.clone()
    }
}

impl FromRef<State> for &'static str {
    fn from_ref(state: &State) -> Self {
        state.name
    }
}

async fn own(app: App, axum::extract::State(name): axum::extract::State<&'static str>) -> String {
    format!("{name}: {}", app.send(Knock).await.unwrap())
}

#[tokio::test]
async fn the_app_is_an_extractor_and_endpoints_take_any_state_that_has_it() {
    let harness = Harness::start().await;
    let state = State { app: harness.plain(), name: "shop" };
    let router: Router =
        Router::new().route("/own", on_get(own)).route("/knock", post(command::<Knock>())).with_state(state);
    assert_eq!(ask(router.clone(), get("/own")).await.body, "shop: who is there");
    assert_eq!(ask(router, empty("POST", "/knock")).await.json(), "who is there");
}

#[tokio::test]
async fn the_app_is_an_extractor_where_it_is_the_state() {
    let harness = Harness::start().await;
    let health =
        async |app: App| if app.health() == Health::Running { StatusCode::OK } else { StatusCode::IM_A_TEAPOT };
    assert_eq!(harness.ask(Router::new().route("/", on_get(health)), get("/")).await.status, StatusCode::OK);
}
