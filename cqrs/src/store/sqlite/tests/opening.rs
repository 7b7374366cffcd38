//! Opening and migrating: what works, and what every failure says.

use std::time::Instant;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{ConnectOptions, Connection, SqlSafeStr};

use super::*;
use crate::store::{StoreError, StoreErrorKind};

async fn refused(url: String) -> StoreError {
    SqliteStore::connect(Store::url(url)).await.unwrap_err()
}

fn says(error: &StoreError, kind: StoreErrorKind, parts: &[&str]) {
    assert_eq!(error.kind(), kind, "{error:?}");
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
    assert!(!text.contains("  "), "a line break left its indentation in: {text}");
}

async fn pragma(pool: &SqlitePool, name: &str) -> String {
    let sql = format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}");
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(pool).await.unwrap()
}

#[tokio::test]
async fn creates_the_file_with_the_promised_settings() {
    let dir = Dir::new();
    let store = SqliteStore::connect(Store::url(dir.url())).await.unwrap();
    assert!(dir.file().exists());
    for pool in [&store.pool, &store.writer] {
        assert_eq!(pragma(pool, "journal_mode").await, "wal");
        assert_eq!(pragma(pool, "foreign_keys").await, "1");
        assert_eq!(number(pool, "SELECT timeout FROM pragma_busy_timeout").await, 5_000);
        assert_eq!(pragma(pool, "synchronous").await, "2", "FULL");
    }
    let fast = SqliteStore::connect(dir.store()).await.unwrap();
    assert_eq!(pragma(&fast.writer, "synchronous").await, "0", "OFF, for tests");
}

#[tokio::test]
async fn lends_its_handle_and_gives_its_pool() {
    let (_dir, store) = fresh().await;
    assert_eq!(store.name(), "sqlite");
    assert_eq!(store.handle().unwrap().type_id, std::any::TypeId::of::<Tx<Sqlite>>());
    assert_eq!(store.gifts()[0].type_id, crate::Inject::<SqlitePool>::id());
    store.close().await;
    assert_eq!(store.begin().await.unwrap_err().kind(), StoreErrorKind::Unavailable);
}

#[tokio::test]
async fn takes_the_users_pool_as_it_is() {
    let dir = Dir::new();
    let options = SqliteConnectOptions::new().filename(dir.file()).create_if_missing(true);
    let pool = SqlitePoolOptions::new().max_connections(3).connect_with(options).await.unwrap();
    let store = SqliteStore::connect(Store::pool(pool.clone())).await.unwrap();
    store.migrate().await.unwrap();
    keep_messages(&store, [message("placed", None)]).await;
    assert_eq!(number(&pool, "SELECT COUNT(*) FROM cqrs_outbox").await, 1);
    assert_eq!(pragma(&pool, "journal_mode").await, "delete", "left alone");
}

#[tokio::test]
async fn a_missing_directory_is_named_with_the_mend() {
    let dir = Dir::new();
    let missing = dir.0.join("var").join("lib");
    let error = refused(format!("sqlite://{}/app.db", missing.display())).await;
    let mend = format!("mkdir -p {}", missing.display());
    says(&error, StoreErrorKind::Configuration, &["app.db", "does not exist", &mend]);
}

#[tokio::test]
async fn a_directory_is_no_file() {
    let dir = Dir::new();
    let error = refused(format!("sqlite://{}", dir.0.display())).await;
    says(&error, StoreErrorKind::Configuration, &["is a directory", "app.db"]);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named_and_left_alone() {
    let dir = Dir::new();
    std::fs::write(dir.file(), "this is a text of some length, and certainly no database".repeat(30)).unwrap();
    let error = refused(dir.url()).await;
    says(&error, StoreErrorKind::Configuration, &["app.db", "not an SQLite database"]);
    assert!(std::fs::read_to_string(dir.file()).unwrap().starts_with("this is a text"));
}

#[tokio::test]
async fn a_read_only_file_is_named_with_the_mend() {
    let (dir, store) = fresh().await;
    store.close().await;
    let error = refused(format!("{}?mode=ro", dir.url())).await;
    says(&error, StoreErrorKind::ReadOnly, &["app.db", "read-only", "mode=ro", "directory"]);
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn a_database_in_memory_is_refused() {
    for url in ["sqlite::memory:", "sqlite://:memory:", "sqlite://", "sqlite:", "sqlite://x.db?mode=memory"] {
        let error = refused(url.to_owned()).await;
        says(&error, StoreErrorKind::Configuration, &[url, "memory", "sqlite://shop.db"]);
    }
}

#[tokio::test]
async fn a_wrong_url_is_named() {
    let error = refused("sqlite://app.db?mood=good".to_owned()).await;
    says(&error, StoreErrorKind::Configuration, &["mood=good", "sqlite://shop.db"]);
}

#[tokio::test]
async fn a_locked_file_is_named_after_the_timeout() {
    let (dir, store) = fresh().await;
    let mut other = SqliteConnectOptions::new().filename(dir.file()).connect().await.unwrap();
    let lock = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let begun = Instant::now();
    let error = store.begin().await.unwrap_err();
    assert!(begun.elapsed() >= Duration::from_secs(4), "{:?}", begun.elapsed());
    says(&error, StoreErrorKind::Busy, &["app.db", "locked", "5 s"]);
    assert!(error.is_retryable());
    // Connecting does not fail because somebody writes, and reading goes on.
    SqliteStore::connect(dir.store()).await.unwrap();
    assert_eq!(store.counts().await.unwrap(), crate::store::Counts::default());
    lock.rollback().await.unwrap();
    store.begin().await.unwrap();
}

#[tokio::test]
async fn a_second_unit_of_the_same_process_waits_for_the_first() {
    let (_dir, store) = fresh().await;
    let first = store.begin().await.unwrap();
    let begun = Instant::now();
    let error = store.begin().await.unwrap_err();
    assert!(begun.elapsed() >= Duration::from_secs(4), "{:?}", begun.elapsed());
    says(&error, StoreErrorKind::Busy, &["app.db", "other units of work", "5 s"]);
    first.rollback().await.unwrap();
    store.begin().await.unwrap().rollback().await.unwrap();
}

fn migrator(names: &[(i64, &'static str)]) -> Migrator {
    let migration = |(version, sql): &(i64, &'static str)| {
        Migration::new(*version, "test".into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(names.iter().map(migration).collect())
}

#[tokio::test]
async fn runs_the_users_migrations_after_ours_in_tables_of_their_own() {
    let dir = Dir::new();
    // Refers to a table of ours: comes after it.
    let users =
        migrator(&[(1, "CREATE TABLE mine (seq INTEGER REFERENCES cqrs_outbox (seq)); SELECT * FROM cqrs_outbox")]);
    let store = SqliteStore::connect(dir.store().migrations(users)).await.unwrap();
    store.migrate().await.unwrap();
    store.migrate().await.unwrap();
    assert_eq!(number(&store.pool, "SELECT COUNT(*) FROM _cqrs_migrations").await, 8);
    assert_eq!(number(&store.pool, "SELECT COUNT(*) FROM _sqlx_migrations").await, 1);
    assert_eq!(number(&store.pool, "SELECT COUNT(*) FROM mine").await, 0);
}

#[tokio::test]
async fn a_failing_migration_leaves_nothing() {
    let dir = Dir::new();
    let users = migrator(&[(1, "CREATE TABLE mine (id INTEGER)"), (2, "CREATE TABLE mine (id INTEGER)")]);
    let store = SqliteStore::connect(dir.store().migrations(users)).await.unwrap();
    let error = store.migrate().await.unwrap_err();
    says(&error, StoreErrorKind::Database, &["app.db", "your migration 2 failed"]);
    assert_eq!(number(&store.pool, "SELECT COUNT(*) FROM sqlite_schema WHERE name = 'mine'").await, 0);
    store.begin().await.unwrap();
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let (dir, store) = fresh().await;
    sqlx::query(
        "INSERT INTO _cqrs_migrations SELECT 9, description, installed_on, success, checksum, 0 FROM _cqrs_migrations LIMIT 1",
    )
    .execute(&store.pool)
    .await
    .unwrap();
    let error = SqliteStore::connect(dir.store()).await.unwrap().migrate().await.unwrap_err();
    says(&error, StoreErrorKind::SchemaNewer, &["app.db", "at version 9", "up to 8", "deploy"]);
}

#[tokio::test]
async fn a_newer_schema_of_the_users_is_refused() {
    let dir = Dir::new();
    let newer = migrator(&[(1, "CREATE TABLE one (id INTEGER)"), (2, "CREATE TABLE two (id INTEGER)")]);
    SqliteStore::connect(dir.store().migrations(newer)).await.unwrap().migrate().await.unwrap();
    let older = migrator(&[(1, "CREATE TABLE one (id INTEGER)")]);
    let store = SqliteStore::connect(dir.store().migrations(older)).await.unwrap();
    says(&store.migrate().await.unwrap_err(), StoreErrorKind::SchemaNewer, &["your schema", "version 2", "up to 1"]);
    let changed = migrator(&[(1, "CREATE TABLE uno (id INTEGER)"), (2, "CREATE TABLE two (id INTEGER)")]);
    let store = SqliteStore::connect(dir.store().migrations(changed)).await.unwrap();
    says(&store.migrate().await.unwrap_err(), StoreErrorKind::Configuration, &["your migration 1 was changed"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_processes_may_open_and_migrate_at_once() {
    let dir = Dir::new();
    let starts = (0..6).map(|_| {
        let store = dir.store().migrations(migrator(&[(1, "CREATE TABLE mine (id INTEGER)")]));
        tokio::spawn(async move { SqliteStore::connect(store).await?.migrate().await })
    });
    for start in starts.collect::<Vec<_>>() {
        start.await.unwrap().unwrap();
    }
}

/// What a program of before had claimed row by row when the schema was brought up to date is published by this one.
#[tokio::test]
async fn what_was_claimed_before_claims_were_by_lease_is_ready() {
    let dir = Dir::new();
    let pool = SqlitePool::connect(&format!("{}?mode=rwc", dir.url())).await.unwrap();
    for before in [
        include_str!("../migrations/0001_messages.sql"),
        include_str!("../migrations/0003_doubted.sql"),
        "INSERT INTO cqrs_outbox (id, name, version, topic, payload, headers, raised_at, due_at, state, owner, lease_until)
            VALUES (x'00', 'a', 1, 'orders', x'', '{}', 1, 1, 'claimed', 'b', 2), (x'01', 'b', 1, 'orders', x'', '{}', 1, 1, 'dead', NULL, NULL)",
        include_str!("../migrations/0006_relay.sql"),
    ] {
        sqlx::raw_sql(before).execute(&pool).await.unwrap();
    }
    let states: Vec<String> =
        sqlx::query_scalar("SELECT state FROM cqrs_outbox ORDER BY seq").fetch_all(&pool).await.unwrap();
    assert_eq!(states, ["ready", "dead"]);
}
