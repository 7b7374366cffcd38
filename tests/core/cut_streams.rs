//! G3, G7: a stream that is dropped, at whichever of its polls: what belongs to a delivered item is there, what belongs to
//! no committed one is not, and nothing is there in part.

use std::pin::Pin;
use std::task::Poll;

use cqrs::BoxError;
use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;
use futures_util::Stream;
use serde::{Deserialize, Serialize};

use crate::support::{Harness, Probe, bounded, write};

const ROWS: u32 = 3;

/// Delivers with `commit`.
#[derive(Command)]
#[command(item = u32, error = BoxError)]
struct Fetch {
    batch: u32,
}

/// Delivers with `send`.
#[derive(Command)]
#[command(item = u32, error = BoxError)]
struct Tell {
    batch: u32,
}

#[derive(DomainEvent, Clone)]
struct Fetched(String);

#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(name = "fetched", topic = "fetched")]
struct FetchedV1(String);

fn raise(events: &mut Events, name: &str) {
    events.raise(Fetched(name.to_owned()));
    events.raise(FetchedV1(name.to_owned()));
}

#[command_handler]
async fn fetch(cmd: Fetch, items: &mut Items<u32>, tx: &mut Tx<Sqlite>, events: &mut Events) -> Result<(), BoxError> {
    for row in 1..=ROWS {
        let name = format!("{}.{row}", cmd.batch);
        write(tx, name.clone()).await?;
        raise(events, &name);
        items.commit(tx, row).await?;
    }
    Ok(())
}

#[command_handler]
async fn say(cmd: Tell, items: &mut Items<u32>, events: &mut Events) {
    for row in 1..=ROWS {
        raise(events, &format!("{}.{row}", cmd.batch));
        items.send(row).await;
    }
}

#[event_handler(inline)]
async fn fetched_inline(e: &Fetched, tx: &mut Tx<Sqlite>) -> Result<(), BoxError> {
    Ok(write(tx, format!("{} inline", e.0)).await?)
}

#[event_handler]
async fn fetched(e: &Fetched, probe: Inject<Probe>) {
    // Comes back later, so that the stream can be dropped while it waits.
    tokio::task::yield_now().await;
    probe.note(e.0.clone());
}

/// Reads a stream for so many polls, and drops it. Gives how many items were delivered, and whether it came to its end.
async fn read_for<T>(
    mut polls: u32,
    mut stream: impl Stream<Item = Result<T, DispatchError<BoxError>>> + Unpin,
) -> (u32, bool) {
    let mut delivered = 0;
    let ended = std::future::poll_fn(|cx| {
        loop {
            if polls == 0 {
                return Poll::Ready(false);
            }
            polls -= 1;
            match Pin::new(&mut stream).poll_next(cx) {
                Poll::Ready(Some(item)) => delivered += item.map(|_| 1).unwrap(),
                Poll::Ready(None) => return Poll::Ready(true),
                Poll::Pending => return Poll::Pending,
            }
        }
    });
    let ended = ended.await;
    (delivered, ended)
}

/// Judges what is there of a batch of which so many items were delivered. Gives of how many it is.
async fn judge(app: &Harness, batch: u32, delivered: u32, has_rows: bool) -> u32 {
    app.settle().await;
    let ours = |name: &str| name.starts_with(&format!("{batch}."));
    let handled: Vec<_> = app.probe.log().into_iter().filter(|name| ours(name)).collect();
    let committed = u32::try_from(handled.len()).unwrap();
    let names: Vec<_> = (1..=committed).map(|row| format!("{batch}.{row}")).collect();
    assert_eq!(handled, names, "each once, in order");
    // The one that was just being committed may be there though nobody was told.
    assert!((delivered..=delivered + 1).contains(&committed), "{delivered} delivered, {committed} committed");
    let published: Vec<_> = app.events::<FetchedV1>().iter().map(|e| e.0.clone()).filter(|name| ours(name)).collect();
    assert_eq!(published, names);
    let rows: Vec<_> = app.rows().await.into_iter().filter(|name| ours(name)).collect();
    let inline = |name: &String| format!("{name} inline");
    let expected: Vec<_> = match has_rows {
        true => names.iter().flat_map(|name| [name.clone(), inline(name)]).collect(),
        false => names.iter().map(inline).collect(),
    };
    assert_eq!(rows, expected);
    committed
}

#[tokio::test]
async fn g3_g7_a_stream_dropped_at_any_poll_keeps_all_of_its_items_or_nothing() {
    bounded(async {
        let app = Harness::start().await;
        for has_rows in [true, false] {
            let (mut batch, mut undelivered) = (u32::from(!has_rows) * 1000, 0);
            for polls in 0.. {
                batch += 1;
                let (delivered, ended) = match has_rows {
                    true => read_for(polls, app.stream(Fetch { batch })).await,
                    false => read_for(polls, app.stream(Tell { batch })).await,
                };
                undelivered += judge(&app, batch, delivered, has_rows).await - delivered;
                if ended {
                    assert_eq!(delivered, ROWS);
                    break;
                }
            }
            assert!(undelivered > 0, "no stream was dropped between a commit and its item");
        }
        // Whatever was dropped, nobody is kept from writing.
        app.send(crate::nested::InnerTx { fails: false }).await.unwrap();
    })
    .await;
}
