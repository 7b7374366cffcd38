//! tower's own layers.

use std::pin::pin;
use std::time::Duration;

use cqrs::tower::around;
use cqrs::{CallKind, DispatchErrorKind};
use futures_util::StreamExt;
use futures_util::future::join_all;
use tower::ServiceBuilder;
use tower::limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer, RateLimitLayer};
use tower::load_shed::LoadShedLayer;
use tower::load_shed::error::Overloaded;
use tower::timeout::TimeoutLayer;
use tower::timeout::error::Elapsed;

use super::{COMMANDS, Count, How, Look, Work, is_rejected, layered, rejected, works};
use crate::support::{Refused, bounded};

const LONG: Duration = Duration::from_mins(10);
const SHORT: Duration = Duration::from_millis(30);

#[tokio::test]
async fn a_timeout_drops_the_call_and_what_it_wrote() {
    bounded(async {
        let app = layered([around(COMMANDS, TimeoutLayer::new(SHORT))]).await;
        let error = app.send(Work(How::Hangs)).await.unwrap_err();
        assert!(error.is_retryable() && error.name().is_none());
        let _: Elapsed = rejected(error);
        assert_eq!((app.probe.count("at work"), app.probe.count("gone")), (1, 1));
        assert!(app.rows().await.is_empty(), "it is rolled back");
        // The store is free again.
        works(&app).await;
        assert_eq!(app.rows().await, ["worked"]);
        assert_eq!(app.probe.count("told"), 1, "events of a call that went well are handled");
    })
    .await;
}

#[tokio::test]
async fn a_concurrency_limit_lets_so_many_in_and_the_next_when_one_ends() {
    bounded(async {
        let app = layered([around([CallKind::Query], ConcurrencyLimitLayer::new(2))]).await;
        app.probe.close("looking");
        let calls = join_all((0..6).map(|_| app.query(Look)));
        let watch = async {
            for ended in 0..6 {
                // Two are in, however many have ended.
                app.probe.noted("looked", (ended + 2).min(6)).await;
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
                assert_eq!(app.probe.count("looked"), (ended + 2).min(6));
                app.probe.open("looking");
            }
        };
        let (answers, ()) = tokio::join!(calls, watch);
        assert!(answers.into_iter().all(|answer| answer.is_ok()));
    })
    .await;
}

#[tokio::test]
async fn a_call_that_is_dropped_gives_its_place_to_the_next() {
    bounded(async {
        let app = layered([around([CallKind::Query], ConcurrencyLimitLayer::new(1))]).await;
        app.probe.close("looking");
        let mut running = pin!(app.query(Look));
        assert!(futures_util::poll!(&mut running).is_pending());
        // One waits for its place, holding the way in; one waits behind it; both go.
        let mut first = Box::pin(app.query(Look));
        let mut second = Box::pin(app.query(Look));
        assert!(futures_util::poll!(&mut first).is_pending());
        assert!(futures_util::poll!(&mut second).is_pending());
        let mut third = Box::pin(app.query(Look));
        assert!(futures_util::poll!(&mut third).is_pending());
        drop(first);
        drop(second);
        app.probe.open("looking");
        running.await.unwrap();
        app.probe.open("looking");
        third.await.unwrap();
        assert_eq!(app.probe.count("looked"), 2);

        // One that runs gives its place up as well.
        let mut dropped = Box::pin(app.query(Look));
        assert!(futures_util::poll!(&mut dropped).is_pending());
        assert_eq!(app.probe.count("looked"), 3);
        drop(dropped);
        app.probe.open("looking");
        app.query(Look).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_rate_limit_makes_calls_wait() {
    bounded(async {
        let app = layered([around([CallKind::Query], RateLimitLayer::new(2, Duration::from_millis(100)))]).await;
        let begun = std::time::Instant::now();
        for answer in join_all((0..5).map(|_| app.query(Look))).await {
            answer.unwrap();
        }
        // The fifth is in the third hundred.
        assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());
    })
    .await;
}

#[tokio::test]
async fn load_shed_turns_down_what_would_have_to_wait() {
    bounded(async {
        let layers = ServiceBuilder::new().layer(LoadShedLayer::new()).layer(RateLimitLayer::new(2, LONG));
        let app = layered([around([CallKind::Query], layers)]).await;
        for _ in 0..2 {
            app.query(Look).await.unwrap();
        }
        for _ in 0..3 {
            let _: Overloaded = rejected(app.query(Look).await.unwrap_err());
        }
        assert_eq!(app.probe.count("looked"), 2);
        works(&app).await;
    })
    .await;
}

#[tokio::test]
async fn load_shed_lets_in_again_when_a_place_is_free() {
    bounded(async {
        let layers = ServiceBuilder::new().load_shed().concurrency_limit(1);
        let app = layered([around([CallKind::Query], layers)]).await;
        app.probe.close("looking");
        for _ in 0..3 {
            let mut running = Box::pin(app.query(Look));
            assert!(futures_util::poll!(&mut running).is_pending());
            let _: Overloaded = rejected(app.query(Look).await.unwrap_err());
            app.probe.open("looking");
            running.await.unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stack_of_all_of_them_holds_under_many_calls() {
    bounded(async {
        let layers = ServiceBuilder::new()
            .load_shed()
            .rate_limit(1000, LONG)
            .concurrency_limit(3)
            .timeout(Duration::from_secs(30));
        let app = std::sync::Arc::new(layered([around([CallKind::Query], layers)]).await);
        let mut answered = 0;
        for _ in 0..10 {
            let calls = (0..50).map(|_| {
                let app = std::sync::Arc::clone(&app);
                tokio::spawn(async move { app.query(Look).await })
            });
            for call in join_all(calls).await {
                match call.unwrap() {
                    Ok(answer) => {
                        assert_eq!(answer, "seen");
                        answered += 1;
                    }
                    Err(error) => {
                        let _: Overloaded = rejected(error);
                    }
                }
            }
        }
        assert!(answered >= 10, "{answered}");
        assert_eq!(app.probe.count("looked"), answered, "each answer is of one call, and none was made twice");
        // Whatever was turned down, nothing is held: three may wait at once.
        app.probe.close("looking");
        let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(app.query(Look))).collect();
        for call in &mut waiting {
            assert!(futures_util::poll!(call).is_pending());
        }
        let _: Overloaded = rejected(app.query(Look).await.unwrap_err());
    })
    .await;
}

#[tokio::test]
async fn the_same_layer_twice_is_two_limits_and_a_global_one_is_one() {
    bounded(async {
        let one = || ServiceBuilder::new().load_shed().concurrency_limit(1);
        let app = layered([around([CallKind::Query], one()), around(COMMANDS, one())]).await;
        app.probe.close("looking");
        let mut running = Box::pin(app.query(Look));
        assert!(futures_util::poll!(&mut running).is_pending());
        works(&app).await;

        let global = GlobalConcurrencyLimitLayer::new(1);
        let shared = || ServiceBuilder::new().load_shed().layer(global.clone());
        let app = layered([around([CallKind::Query], shared()), around(COMMANDS, shared())]).await;
        app.probe.close("looking");
        let mut running = Box::pin(app.query(Look));
        assert!(futures_util::poll!(&mut running).is_pending());
        assert!(is_rejected(&app.send(Work(How::Answers)).await.unwrap_err()));
    })
    .await;
}

#[tokio::test]
async fn a_layer_is_around_the_whole_of_a_stream() {
    bounded(async {
        let layers = ServiceBuilder::new().load_shed().concurrency_limit(1);
        let app = layered([around([CallKind::Stream], layers)]).await;
        let mut first = app.stream(Count);
        assert_eq!(first.next().await.unwrap().unwrap(), 0);
        let second: Vec<_> = app.stream(Count).collect().await;
        assert!(matches!(&second[..], [Err(error)] if is_rejected(error)), "{second:?}");
        drop(first);
        assert_eq!(app.probe.count("count gone"), 1);
        let third: Vec<_> = app.stream(Count).map(Result::unwrap).collect().await;
        assert_eq!(third, [0, 1, 2]);
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_takes_too_long_ends_with_the_layers_error() {
    bounded(async {
        let app = layered([around([CallKind::Stream], TimeoutLayer::new(SHORT))]).await;
        let mut stream = app.stream(Count);
        assert_eq!(stream.next().await.unwrap().unwrap(), 0);
        tokio::time::sleep(2 * SHORT).await;
        let _: Elapsed = rejected(stream.next().await.unwrap().unwrap_err());
        assert!(stream.next().await.is_none());
        assert_eq!(app.probe.count("count gone"), 1);
    })
    .await;
}

#[tokio::test]
async fn a_handlers_error_and_panic_pass_through_as_they_are() {
    bounded(async {
        let layers = ServiceBuilder::new().load_shed().concurrency_limit(1).timeout(LONG);
        let app = layered([around(COMMANDS, layers)]).await;
        for _ in 0..3 {
            let error = app.send(Work(How::Fails)).await.unwrap_err();
            assert_eq!(error.into_handler(), Some(Refused("no".to_owned())));
            let error = app.send(Work(How::Panics)).await.unwrap_err();
            assert_eq!((error.kind(), error.name()), (DispatchErrorKind::Panicked, Some("work")));
        }
        works(&app).await;
        assert_eq!(app.rows().await, ["worked"], "of those that failed nothing is left");
    })
    .await;
}
