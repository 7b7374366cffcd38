//! Where a layer stands, and what of a call it sees.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use cqrs::prelude::*;
use cqrs::tower::{Layered, Request, Rest, around};
use cqrs::{CallKind, ProblemKind};
use futures_util::future::BoxFuture;
use tower::limit::RateLimitLayer;
use tower::{Layer, Service};

use super::{COMMANDS, How, Look, Work, layered};
use crate::support::{Harness, Probe, bounded, with_middleware};

/// Notes calls that come and go.
pub(crate) struct Noting(pub &'static str, pub Arc<Probe>);

pub(crate) struct NotingService<S> {
    name: &'static str,
    probe: Arc<Probe>,
    inner: S,
}

impl<S> Layer<S> for Noting {
    type Service = NotingService<S>;

    fn layer(&self, inner: S) -> NotingService<S> {
        NotingService { name: self.0, probe: Arc::clone(&self.1), inner }
    }
}

impl<S> Service<Request> for NotingService<S>
where
    S: Service<Request, Response = Outcome> + Send,
    S::Future: Send + 'static,
{
    type Response = Outcome;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Outcome, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let (name, probe) = (self.name, Arc::clone(&self.probe));
        let user = request.meta().header("user").unwrap_or("nobody");
        probe.note(format!("{name} > {} {} of {user}", request.kind(), request.name()));
        let answer = self.inner.call(request);
        Box::pin(async move {
            let outcome = answer.await?;
            let error = outcome.error().map(ToString::to_string);
            probe.note(format!("{name} < {}", error.unwrap_or_else(|| "ok".to_owned())));
            Ok(outcome)
        })
    }
}

#[middleware(order = 5, kinds = [command])]
async fn at_five(_call: Call<'_>, next: Next<'_>, probe: Inject<Probe>) -> Outcome {
    probe.note("function > ");
    let outcome = next.run().await;
    probe.note("function <");
    outcome
}

async fn with(layers: impl FnOnce(&Arc<Probe>) -> Vec<Layered>) -> Harness {
    let probe = Arc::new(Probe::default());
    let builder = with_middleware(&probe).retain_middlewares(|name| name == "at_five").run([""; 0]);
    let builder = layers(&probe).into_iter().fold(builder, cqrs::Builder::layer);
    Harness { app: cqrs::testing::TestApp::new(builder).await.unwrap(), probe }
}

#[tokio::test]
async fn layers_stand_by_order_then_outside_of_functions_then_as_given() {
    bounded(async {
        let app = with(|probe| {
            let noting = |name, order| around(COMMANDS, Noting(name, Arc::clone(probe))).order(order);
            vec![noting("last", 6), noting("second", 5), noting("third", 5), noting("first", -1)]
        })
        .await;
        app.send(Work(How::Fails)).header("user", "ada").await.unwrap_err();
        let seen = "command Work of ada";
        let expected = [
            format!("first > {seen}"),
            format!("second > {seen}"),
            format!("third > {seen}"),
            "function > ".to_owned(),
            format!("last > {seen}"),
            "at work".to_owned(),
            "gone".to_owned(),
            "last < refused: no".to_owned(),
            "function <".to_owned(),
            "third < refused: no".to_owned(),
            "second < refused: no".to_owned(),
            "first < refused: no".to_owned(),
        ];
        assert_eq!(app.probe.log(), expected);
    })
    .await;
}

#[tokio::test]
async fn a_layer_is_around_its_kinds_only() {
    bounded(async {
        let probe = Arc::new(Probe::default());
        let kinds = [CallKind::Query, CallKind::Event];
        let app = layered([around(kinds, Noting("layer", Arc::clone(&probe)))]).await;
        app.query(Look).await.unwrap();
        app.send(Work(How::Answers)).await.unwrap();
        app.send(Work(How::Fails)).await.unwrap_err();
        let expected = ["layer > query Look of nobody", "layer < ok", "layer > event Worked of nobody", "layer < ok"];
        assert_eq!(probe.log(), expected);
    })
    .await;
}

#[test]
fn layers_are_applied_within_the_runtime_and_not_before() {
    // A rate limit needs a runtime's timer when it is applied; building and checking an app does not.
    let layer = || around(COMMANDS, RateLimitLayer::new(1, Duration::from_secs(1)));
    crate::support::app(&Arc::default()).layer(layer()).check().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { super::works(&layered([layer()]).await).await });
}

#[test]
fn a_layer_around_nothing_is_a_wiring_error() {
    let layer = around([], tower::layer::util::Identity::new());
    let error = crate::support::app(&Arc::default()).layer(layer).check().unwrap_err();
    let [problem] = error.problems() else { panic!("{error}") };
    assert_eq!(problem.kind, ProblemKind::Setting);
    assert!(problem.what.contains("no kind of call") && problem.mend.contains("CallKind::Command"), "{problem}");
    assert!(problem.to_string().contains(file!()), "{problem}");
}

/// What is put around the rest of a call is a service as any other.
fn is_a_service<S: Service<Request, Response = Outcome> + Clone + Send + 'static>(_: Option<S>) {}

#[test]
fn the_rest_of_a_call_is_a_service() {
    is_a_service::<Rest>(None);
}
