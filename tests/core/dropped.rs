//! Calls three deep in one transaction, dropped wherever they are.

use std::time::Duration;

use cqrs::BoxError;
use cqrs::prelude::*;
use cqrs::sqlx::sqlite::SqliteConnectOptions;
use cqrs::sqlx::{self, ConnectOptions, Connection, Sqlite};
use serde::{Deserialize, Serialize};

use crate::support::{Harness, bounded, polled, write};

/// After how many polls a call drops the one it makes; `None`: it waits for its end.
type Dropped = Option<u32>;

#[derive(Command)]
#[command(error = BoxError)]
struct Top {
    drops: Dropped,
    middle_drops: Dropped,
}

#[derive(Command)]
#[command(error = BoxError)]
struct Middle {
    drops: Dropped,
}

#[derive(Command)]
#[command(error = BoxError)]
struct Bottom;

#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(name = "dropped.done")]
struct Done;

async fn send<C: Command>(app: &App, tx: &mut Tx<Sqlite>, command: C, drops: Dropped) -> Result<(), BoxError>
where
    DispatchError<C::Error>: Into<BoxError>,
{
    let call = app.send(command).within(tx);
    let ended = match drops {
        Some(polls) => polled(polls, call).await,
        None => Some(call.await),
    };
    ended.transpose().map(drop).map_err(Into::into)
}

#[command_handler]
async fn top(cmd: Top, tx: &mut Tx<Sqlite>, app: &App) -> Result<(), BoxError> {
    write(tx, "top").await?;
    send(app, tx, Middle { drops: cmd.middle_drops }, cmd.drops).await?;
    write(tx, "top again").await?;
    Ok(())
}

#[command_handler]
async fn middle(cmd: Middle, tx: &mut Tx<Sqlite>, events: &mut Events, app: &App) -> Result<(), BoxError> {
    write(tx, "middle").await?;
    send(app, tx, Bottom, cmd.drops).await?;
    write(tx, "middle again").await?;
    events.raise(Done);
    Ok(())
}

#[command_handler]
async fn bottom(_cmd: Bottom, tx: &mut Tx<Sqlite>, events: &mut Events) -> Result<(), BoxError> {
    write(tx, "bottom").await?;
    events.raise(Done);
    Ok(())
}

/// What became of each call, by its rows and its outbox row.
#[tokio::test]
async fn g3_g7_within_three_deep_whoever_is_dropped_leaves_all_of_it_or_nothing() {
    bounded(async {
        let (mut seen, mut sound) = (std::collections::BTreeSet::new(), Vec::new());
        for (bottom, middle) in [[true, true], [true, false], [false, true], [false, false]].map(|[b, m]| (b, m)) {
            let middle_rows = ["middle", "bottom", "middle again"].into_iter().filter(|row| bottom || *row != "bottom");
            let rows = ["top"].into_iter().chain(middle_rows.filter(|_| middle)).chain(["top again"]);
            let events = if middle { 1 + u64::from(bottom) } else { 0 };
            sound.push((rows.map(str::to_owned).collect::<Vec<_>>(), events));
        }
        for middle_drops in [3, 5, 6, 7, 8, 9, 14] {
            for drops in (4..18).map(Some).chain([None]) {
                let app = Harness::idle().await;
                let top = Top { drops, middle_drops: Some(middle_drops) };
                app.send(top).await.unwrap_or_else(|error| panic!("{middle_drops} in {drops:?}: {error:?}"));
                let left = (app.rows().await, app.stored().await.0);
                assert!(sound.contains(&left), "{middle_drops} in {drops:?}: {left:?}");
                seen.insert(left);
            }
        }
        assert_eq!(seen.len(), 3, "with all, without the bottom, without both: {seen:?}");
    })
    .await;
}

/// Dropped as a whole, it holds no lock: another process writes at once, without anybody taking the connection up again.
#[tokio::test]
async fn g3_a_tree_of_calls_dropped_at_any_poll_lets_others_write() {
    bounded(async {
        let mut committed = 0;
        for polls in (0..32).cycle().take(160) {
            let app = Harness::idle().await;
            let ended = polled(polls, app.send(Top { drops: None, middle_drops: None })).await;
            let settings = SqliteConnectOptions::new()
                .filename(app.directory().join("test.db"))
                .busy_timeout(Duration::from_secs(10));
            let mut other = settings.connect().await.unwrap();
            sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap_or_else(|error| {
                panic!("after {polls} polls the dropped call holds the lock: {error}");
            });
            let rows: Vec<String> =
                sqlx::query_scalar("SELECT text FROM notes ORDER BY id").fetch_all(&mut other).await.unwrap();
            sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
            other.close().await.unwrap();
            assert!(rows.is_empty() || rows == ["top", "middle", "bottom", "middle again", "top again"], "{rows:?}");
            assert!(ended.is_none_or(|ended| ended.is_ok()));
            committed += usize::from(!rows.is_empty());
        }
        assert!(committed > 0 && committed < 160, "{committed} of 160");
    })
    .await;
}
