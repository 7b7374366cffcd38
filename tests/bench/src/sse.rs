//! What an open stream of server-sent events holds: bytes allocated, while its client waits for the second event.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::http::Request;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use axum::routing::get;
use cqrs::prelude::*;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tower::ServiceExt;

use crate::app::app;
use crate::harness::{Bench, Report, Scale, or_exit, runtime};

const STREAMS: u32 = 10_000;
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(crate) fn benches() -> Vec<Bench> {
    vec![Bench { path: "sse", run: open }]
}

#[derive(Query, Serialize, Deserialize)]
#[query(item = u32, error = Infallible)]
struct Ticks {}

/// One item, and then none for as long as anybody waits.
#[query_handler]
async fn ticks(_q: &Ticks, items: &mut Items<u32>) {
    items.send(1).await;
    std::future::pending::<()>().await;
}

/// The plain version: axum's own, over a stream that is as idle.
async fn plain() -> Sse<impl futures_util::Stream<Item = Result<Event, Infallible>>> {
    let first = futures_util::stream::once(async { Ok(Event::default().id("1").event("item").data("1")) });
    Sse::new(first.chain(futures_util::stream::pending())).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

/// Bytes a stream, with so many open at once; a tenth of them first, to show that it does not depend on how many there are.
fn open(path: &'static str, scale: Scale) -> Report {
    let runtime = runtime();
    let (app, _directory) = runtime.block_on(app(0));
    let router = Router::new()
        .route("/ours", get(cqrs::axum::sse::<Ticks>().keep_alive(KEEP_ALIVE)))
        .route("/plain", get(plain))
        .with_state(app);
    let streams = scale.of(STREAMS);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for count in [streams / 10, streams, streams] {
        ours.push(held(&runtime, &router, "/ours", count));
        theirs.push(held(&runtime, &router, "/plain", count));
    }
    Report::of_costs(path, "bytes", ours, theirs, None)
}

/// What so many streams hold, each with its first event read and the next one waited for.
fn held(runtime: &tokio::runtime::Runtime, router: &Router, at: &str, count: u32) -> f64 {
    let mut kept: Vec<BodyDataStream> = Vec::with_capacity(count as usize);
    let info = allocation_counter::measure(|| {
        runtime.block_on(async {
            for _ in 0..count {
                kept.push(one(router, at).await);
            }
        });
    });
    #[expect(clippy::cast_precision_loss, reason = "far below where a float counts no more in bytes")]
    let bytes = info.bytes_current as f64;
    bytes / f64::from(count)
}

async fn one(router: &Router, at: &str) -> BodyDataStream {
    let request = or_exit(Request::get(at).body(Body::empty()));
    let response = or_exit(router.clone().oneshot(request).await);
    let mut events = response.into_body().into_data_stream();
    if events.next().await.is_none() {
        or_exit::<(), _>(Err("a stream ended before its first event"));
    }
    // The client asks for more, and waits.
    if futures_util::poll!(events.next()).is_ready() {
        or_exit::<(), _>(Err("a stream went on by itself"));
    }
    events
}
