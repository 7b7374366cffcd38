//! Layers that nobody should write, and what becomes of calls that meet them.

use std::sync::Arc;
use std::task::{Context, Poll};

use cqrs::DispatchErrorKind;
use cqrs::prelude::*;
use cqrs::tower::{Request, Rest, RestFuture, around};
use futures_util::future::BoxFuture;
use tower::Service;
use tower::layer::layer_fn;

use super::{COMMANDS, How, Look, Work, layered, rejected, works};
use crate::support::{Harness, Probe, Refused, bounded};

type Answer = Result<Outcome, Refused>;

/// A service that is two functions.
struct Strange<R, C> {
    ready: R,
    call: C,
    rest: Rest,
}

impl<R, C> Service<Request> for Strange<R, C>
where
    R: FnMut() -> Result<(), Refused>,
    C: FnMut(Request, &mut Rest) -> BoxFuture<'static, Answer>,
{
    type Response = Outcome;
    type Error = Refused;
    type Future = BoxFuture<'static, Answer>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Refused>> {
        Poll::Ready((self.ready)())
    }

    fn call(&mut self, request: Request) -> Self::Future {
        (self.call)(request, &mut self.rest)
    }
}

/// An app whose commands meet a service that does so when it is asked and called.
async fn strange(
    ready: impl FnMut() -> Result<(), Refused> + Clone + Send + 'static,
    call: impl FnMut(Request, &mut Rest) -> BoxFuture<'static, Answer> + Clone + Send + 'static,
) -> Harness {
    let layer = layer_fn(move |rest| Strange { ready: ready.clone(), call: call.clone(), rest });
    layered([around(COMMANDS, layer)]).await
}

fn ready() -> Result<(), Refused> {
    Ok(())
}

fn run(request: Request, rest: &mut Rest) -> RestFuture {
    rest.call(request)
}

async fn outcome(rest: RestFuture) -> Answer {
    rest.await.map_err(|never| match never {})
}

#[tokio::test]
async fn errors_of_readiness_and_of_calls_turn_calls_down() {
    bounded(async {
        let refuse = || Err(Refused("not ready".to_owned()));
        let app = strange(refuse, |request, rest| Box::pin(outcome(run(request, rest)))).await;
        assert_eq!(rejected::<Refused, _>(app.send(Work(How::Answers)).await.unwrap_err()).0, "not ready");
        let app = strange(ready, |_, _| Box::pin(async { Err(Refused("not today".to_owned())) })).await;
        assert_eq!(rejected::<Refused, _>(app.send(Work(How::Answers)).await.unwrap_err()).0, "not today");
        let app = strange(ready, |_, _| Box::pin(async { Ok(Outcome::reject("not you")) })).await;
        let error = app.send(Work(How::Answers)).await.unwrap_err();
        assert!(matches!(error, DispatchError::Rejected { source, .. } if source.to_string() == "not you"));
        assert!(app.probe.log().is_empty(), "nobody was called");
    })
    .await;
}

#[tokio::test]
async fn a_layer_that_panics_fails_its_own_call_and_is_named() {
    bounded(async {
        let probe = Arc::new(Probe::default());
        let (first, second, third) = (Arc::clone(&probe), Arc::clone(&probe), Arc::clone(&probe));
        let burns = |probe: &Probe, what: &str| assert!(probe.try_it(what).is_ok(), "{what} burns");
        let app = strange(
            move || {
                burns(&first, "ready");
                Ok(())
            },
            move |request, rest| {
                burns(&second, "call");
                let (rest, probe) = (run(request, rest), Arc::clone(&third));
                Box::pin(async move {
                    burns(&probe, "future");
                    let outcome = outcome(rest).await;
                    burns(&probe, "end");
                    outcome
                })
            },
        )
        .await;
        for what in ["ready", "call", "future", "end"] {
            probe.fail(what, 1);
            let error = app.send(Work(How::Answers)).await.unwrap_err();
            assert_eq!(error.kind(), DispatchErrorKind::Panicked, "{what}");
            assert!(error.name().is_some_and(|name| name.contains("LayerFn")), "{:?}", error.name());
            assert!(error.to_string().contains(what), "{error}");
            works(&app).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_service_that_drops_the_rest_and_goes_on_drops_the_call_at_once() {
    bounded(async {
        let probe = Arc::new(Probe::default());
        let there = Arc::clone(&probe);
        let app = strange(ready, move |request, rest| {
            let (rest, probe) = (run(request, rest), Arc::clone(&there));
            Box::pin(async move {
                let mut rest = Box::pin(outcome(rest));
                assert!(futures_util::poll!(&mut rest).is_pending());
                // The call has begun with that; it is left to work for a while.
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                drop(rest);
                probe.pass("after").await;
                Err(Refused("enough".to_owned()))
            })
        })
        .await;
        probe.close("after");
        let mut call = Box::pin(app.send(Work(How::Hangs)));
        tokio::select! {
            _ = &mut call => panic!("it waits"),
            () = probe.arrived("after") => {}
        }
        // The answer is still to come, and nothing of the call is left.
        tokio::select! {
            _ = &mut call => panic!("it waits"),
            () = app.probe.noted("gone", 1) => {}
        }
        probe.open("after");
        assert_eq!(rejected::<Refused, _>(call.await.unwrap_err()).0, "enough");
        assert!(app.rows().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_service_may_begin_late_or_never() {
    bounded(async {
        let app = strange(ready, |request, rest| {
            let rest = run(request, rest);
            Box::pin(async move {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                outcome(rest).await
            })
        })
        .await;
        works(&app).await;
        let app = strange(ready, |request, rest| {
            drop(run(request, rest));
            Box::pin(async { Err(Refused("never".to_owned())) })
        })
        .await;
        assert_eq!(rejected::<Refused, _>(app.send(Work(How::Answers)).await.unwrap_err()).0, "never");
        assert!(app.probe.log().is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_may_wait_for_the_rest_in_another_task() {
    bounded(async {
        let app = strange(ready, |request, rest| {
            let rest = tokio::spawn(outcome(run(request, rest)));
            Box::pin(async move { rest.await.expect("no panic") })
        })
        .await;
        for _ in 0..50 {
            works(&app).await;
        }
        let error = app.send(Work(How::Fails)).await.unwrap_err();
        assert_eq!(error.into_handler(), Some(Refused("no".to_owned())));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_call_ends_when_it_is_dropped_in_another_task() {
    bounded(async {
        let app = strange(ready, |request, rest| {
            let rest = run(request, rest);
            Box::pin(async move {
                let task = tokio::spawn(outcome(rest));
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                task.abort();
                // Never answers: only the call's end can be seen.
                std::future::pending().await
            })
        })
        .await;
        let call = app.send(Work(How::Hangs));
        tokio::select! {
            _ = call => panic!("nobody answers"),
            () = app.probe.noted("gone", 1) => {}
        }
    })
    .await;
}

#[tokio::test]
async fn the_rest_that_outlives_its_call_ends_with_a_refusal() {
    bounded(async {
        let kept: Arc<std::sync::Mutex<Option<RestFuture>>> = Arc::default();
        let keep = Arc::clone(&kept);
        let app = strange(ready, move |request, rest| {
            *keep.lock().unwrap() = Some(run(request, rest));
            Box::pin(async { Err(Refused("kept".to_owned())) })
        })
        .await;
        app.send(Work(How::Answers)).await.unwrap_err();
        let rest = kept.lock().unwrap().take().expect("it is kept");
        let outcome = outcome(rest).await.expect("the rest never fails");
        assert!(outcome.error().is_some_and(|error| error.to_string().contains("was dropped")));
        assert!(app.probe.log().is_empty());
    })
    .await;
}

#[tokio::test]
async fn dropping_a_call_drops_what_the_service_made_of_it() {
    bounded(async {
        let probe = Arc::new(Probe::default());
        let there = Arc::clone(&probe);
        let app = strange(ready, move |request, rest| {
            let (rest, noting) = (run(request, rest), super::Noting(Inject::from(Arc::clone(&there)), "service gone"));
            Box::pin(async move {
                let _noting = noting;
                outcome(rest).await
            })
        })
        .await;
        let mut call = Box::pin(app.send(Work(How::Hangs)));
        tokio::select! {
            _ = &mut call => panic!("it hangs"),
            () = app.probe.noted("at work", 1) => {}
        }
        drop(call);
        assert_eq!((probe.count("service gone"), app.probe.count("gone")), (1, 1));
        works(&app).await;
        app.query(Look).await.unwrap();
    })
    .await;
}
