//! One file, several apps; and files that cannot be used.

use std::sync::Arc;
use std::time::Duration;

use cqrs::prelude::*;
use cqrs::sqlx::sqlite::SqliteConnectOptions;
use cqrs::sqlx::{self, ConnectOptions, Connection, Sqlite, SqliteConnection};
use cqrs::store::StoreErrorKind;
use cqrs::{BoxError, DispatchErrorKind};
use serde::{Deserialize, Serialize};

use crate::support::{Probe, Running, bounded, directory, on_file, write};

#[derive(DomainEvent, Clone, Serialize, Deserialize)]
struct Filed {
    id: u32,
}

#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "filed", topic = "files", key = id)]
struct FiledV1 {
    id: u32,
}

#[derive(Command, Serialize, Deserialize)]
#[command(error = BoxError)]
struct File {
    id: u32,
}

#[command_handler]
async fn file(cmd: File, tx: &mut Tx<Sqlite>, events: &mut Events, probe: Inject<Probe>) -> Result<(), BoxError> {
    write(tx, format!("file {}", cmd.id)).await?;
    probe.note("file");
    events.raise(Filed { id: cmd.id });
    events.raise(FiledV1 { id: cmd.id });
    Ok(())
}

#[event_handler(durable)]
async fn filed(e: &Filed, tx: &mut Tx<Sqlite>, probe: Inject<Probe>) -> Result<(), BoxError> {
    write(tx, format!("durable {}", e.id)).await?;
    probe.note("durable");
    Ok(())
}

#[event_handler(group = "files")]
async fn consume(e: FiledV1, probe: Inject<Probe>, begin: &mut Begin<Sqlite>) -> Result<(), BoxError> {
    write(begin.begin().await?, format!("consumed {}", e.id)).await?;
    probe.note("consumed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g9_g12_two_apps_on_one_file_share_the_work_without_doubling() {
    bounded(async {
        const MANY: u32 = 30;
        let directory = directory();
        let place = directory.path().join("shared.db");
        // What both share is the probe, too: it counts what either does.
        let probe = Arc::new(Probe::default());
        let one = on_file(&place, &probe, |builder| builder).await;
        let two = on_file(&place, &probe, |builder| builder).await;
        for id in 0..MANY {
            let app = if id % 2 == 0 { &one } else { &two };
            app.schedule(File { id }).await.unwrap();
        }
        let (one, two) = (Running::start(one), Running::start(two));
        for what in ["file", "durable", "consumed"] {
            probe.noted(what, MANY as usize).await;
        }
        one.stop().await;
        two.stop().await;

        let last = on_file(&place, &probe, |builder| builder).await;
        let mut rows = probe.rows().await;
        rows.sort();
        let mut expected: Vec<_> = (0..MANY)
            .flat_map(|id| [format!("file {id}"), format!("durable {id}"), format!("consumed {id}")])
            .collect();
        expected.sort();
        assert_eq!(rows, expected);
        let counts = last.counts().await.unwrap();
        assert_eq!((counts.outbox, counts.work, counts.dead, counts.claimed), (0, 0, 0, 0));
        last.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn a_read_only_file_gives_a_clear_error() {
    bounded(async {
        let directory = directory();
        let place = directory.path().join("read-only.db");
        let probe = Arc::new(Probe::default());
        on_file(&place, &probe, |builder| builder).await.shutdown().await;
        let url = format!("sqlite://{}?mode=ro", place.display());
        let error = crate::support::app(&probe).store(Store::url(url)).await.unwrap_err();
        let cqrs::Error::Store(error) = &error else { panic!("{error:?}") };
        assert_eq!(error.kind(), StoreErrorKind::ReadOnly);
        let text = error.to_string();
        assert!(text.contains("read-only.db` is read-only") && text.contains("mode=ro"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn a_missing_directory_gives_a_clear_error() {
    bounded(async {
        let directory = directory();
        let place = directory.path().join("nowhere").join("shop.db");
        let builder = crate::support::app(&Arc::default()).store(Store::url(format!("sqlite://{}", place.display())));
        let error = builder.await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("does not exist") && text.contains("mkdir -p"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn a_locked_file_gives_a_clear_error_and_the_next_call_goes_through() {
    bounded(async {
        let directory = directory();
        let place = directory.path().join("locked.db");
        let probe = Arc::new(Probe::default());
        let app = on_file(&place, &probe, |builder| builder).await;
        let settings = SqliteConnectOptions::new().filename(&place).busy_timeout(Duration::from_secs(30));
        let mut other: SqliteConnection = settings.connect().await.unwrap();
        sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
        let error = app.send(File { id: 1 }).await.unwrap_err();
        assert_eq!(error.kind(), DispatchErrorKind::Store);
        assert!(error.is_retryable());
        assert!(error.to_string().contains("locked.db` was locked by another writer"), "{error}");
        sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
        app.send(File { id: 2 }).await.unwrap();
        assert_eq!(probe.rows().await, ["file 2"]);
        other.close().await.unwrap();
        app.shutdown().await;
    })
    .await;
}

#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(topic = "files")]
struct Bulky {
    text: String,
}

/// Leaves no page to the file, by a limit that its connection forgets, and says what a full disk is to it.
#[derive(Command)]
#[command(response = Option<StoreErrorKind>, error = cqrs::StoreError)]
struct Fill {
    by_hand: bool,
}

#[command_handler]
async fn fill(cmd: Fill, tx: &mut Tx<Sqlite>, events: &mut Events) -> Result<Option<StoreErrorKind>, cqrs::StoreError> {
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&mut **tx).await?;
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"))).execute(&mut **tx).await?;
    let text = "x".repeat(500_000);
    if cmd.by_hand {
        write(tx, text).await?;
    } else {
        events.raise(Bulky { text });
    }
    Ok(None)
}

#[tokio::test]
async fn a_full_disk_is_a_clear_error_worth_another_try() {
    bounded(async {
        let directory = directory();
        let place = directory.path().join("full.db");
        let probe = Arc::new(Probe::default());
        let app = on_file(&place, &probe, |builder| builder).await;
        // The outbox has no place for the event.
        let error = app.send(Fill { by_hand: false }).await.unwrap_err();
        assert!(matches!(&error, DispatchError::Store { source } if source.kind() == StoreErrorKind::Unavailable));
        assert!(error.is_retryable());
        assert!(error.to_string().contains("the disk is full: make room"), "{error}");
        // Nor the user's own table for a row.
        let error = app.send(Fill { by_hand: true }).await.unwrap_err().into_handler().unwrap();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        assert!(error.is_retryable());
        // There is room again, and nothing was left behind.
        app.send(File { id: 1 }).await.unwrap();
        assert_eq!(probe.rows().await, ["file 1"]);
        assert_eq!(app.counts().await.unwrap().outbox, 1);
        app.shutdown().await;
    })
    .await;
}

/// A store of the user's own pool: what it is asked for goes through it.
#[tokio::test]
async fn a_pool_of_the_users_own() {
    bounded(async {
        let directory = directory();
        let settings = SqliteConnectOptions::new().filename(directory.path().join("own.db")).create_if_missing(true);
        let pool = sqlx::SqlitePool::connect_with(settings).await.unwrap();
        let probe = Arc::new(Probe::default());
        let app = crate::support::app(&probe).store(Store::pool(pool.clone())).await.unwrap();
        app.send(File { id: 1 }).await.unwrap();
        let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM notes").fetch_one(&pool).await.unwrap();
        assert_eq!((rows, app.counts().await.unwrap().work), (1, 1));
        app.shutdown().await;
    })
    .await;
}

const FILE: &str = "CQRS_TEST_FILE";

/// Run in a process of its own by the test below, as somebody whom the rights of files bind.
#[tokio::test]
#[ignore = "not a test by itself: another runs it, for whom a file is read-only"]
async fn what_is_said_of_a_file() {
    let file = std::env::var(FILE).unwrap();
    let builder = crate::support::app(&Arc::default()).store(Store::url(format!("sqlite://{file}")));
    match builder.await {
        Ok(_) => println!("opened"),
        Err(error) => println!("refused: {error}"),
    }
}

/// A file, and a directory, that this process has no right to write: the error names both and says how to mend it.
#[cfg(unix)]
#[test]
fn a_file_that_may_not_be_written_is_named_with_the_mend() {
    use std::os::unix::fs::PermissionsExt;
    let directory = directory();
    let file = directory.path().join("app.db");
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let mut process = crate::support::bound_process(directory.path(), "files::what_is_said_of_a_file");
    process.env(FILE, &file);
    let text = crate::support::printed(&mut process);
    assert!(text.contains("opened") && file.exists(), "with the right to write it is made: {text}");
    let refused = |process: &mut std::process::Command| {
        let text = crate::support::printed(process);
        mode(directory.path(), 0o777);
        assert!(text.contains("refused: ") && text.contains("app.db`"), "{text}");
        assert!(text.contains("right to") && text.contains("directory"), "{text}");
    };
    mode(&file, 0o444);
    refused(&mut process);
    for beside in ["app.db", "app.db-wal", "app.db-shm"] {
        let _ = std::fs::remove_file(directory.path().join(beside));
    }
    mode(directory.path(), 0o555);
    refused(&mut process);
}
