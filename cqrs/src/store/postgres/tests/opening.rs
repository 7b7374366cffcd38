//! Opening and migrating: names, the user's pool, and what every failure says.

use std::any::TypeId;
use std::path::Path;

use cqrs_tests::services;
use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use super::*;
use crate::store::{StoreError, StoreErrorKind};

fn says(error: &StoreError, kind: StoreErrorKind, parts: &[&str]) {
    assert_eq!(error.kind(), kind, "{error:?}");
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
    assert!(!text.contains("  "), "a line break left its indentation in: {text}");
}

async fn connect(store: Store) -> Result<PostgresStore, StoreError> {
    let store = PostgresStore::connect(store).await?;
    store.migrate().await?;
    Ok(store)
}

async fn tables(pool: &PgPool, schema: &str) -> Vec<String> {
    let sql = "SELECT tablename::text FROM pg_tables WHERE schemaname = $1 ORDER BY 1";
    sqlx::query_scalar(sql).bind(schema).fetch_all(pool).await.unwrap()
}

#[tokio::test]
async fn lends_its_handle_and_gives_its_pool() {
    let (_schema, store) = fresh().await;
    assert_eq!(store.name(), "postgres");
    assert_eq!(store.handle().unwrap().type_id, TypeId::of::<Tx<Postgres>>());
    assert_eq!(store.gifts()[0].type_id, crate::Inject::<PgPool>::id());
    store.close().await;
    assert_eq!(store.begin().await.unwrap_err().kind(), StoreErrorKind::Unavailable);
}

#[tokio::test]
async fn takes_the_users_pool_and_leaves_it_open() {
    let schema = Schema::new().await;
    let pool = schema.pool().await;
    let store = connect(Store::pool(pool.clone())).await.unwrap();
    keep_messages(&store, [message("placed", None)]).await;
    assert_eq!(number(&pool, "SELECT COUNT(*) FROM cqrs_outbox").await, 1);
    store.close().await;
    assert_eq!(number(&pool, "SELECT COUNT(*) FROM cqrs_outbox").await, 1);
}

#[tokio::test]
async fn both_schemes_of_the_url_are_taken() {
    let schema = Schema::new().await;
    let url = schema.url();
    let rest = url.split_once(':').unwrap().1;
    for scheme in ["postgres", "postgresql"] {
        let store = Store::url(format!("{scheme}:{rest}"));
        assert_eq!(store.handle().unwrap().unwrap().type_id, TypeId::of::<Tx<Postgres>>());
        store.connect().await.unwrap();
    }
}

/// The schema is made, and several apps share a database by a prefix each.
#[tokio::test]
async fn tables_have_the_prefix_and_are_in_the_schema() {
    let schema = Schema::new().await;
    let pool = schema.pool().await;
    let other = Schema { name: format!("{}_user", schema.name) };
    let named = || Store::pool(pool.clone()).schema(other.name.as_str()).prefix("shop_");
    let store = connect(named()).await.unwrap();
    let plain = connect(Store::pool(pool.clone()).schema(other.name.as_str())).await.unwrap();
    keep_messages(&store, [message("placed", Some("k"))]).await;
    assert!(claim(&plain, 1, 9).await.is_empty(), "another app's");
    assert_eq!(publish(&store, &claim(&store, 1, 9).await).await, 1);
    connect(named()).await.unwrap();
    assert!(tables(&pool, &schema.name).await.is_empty());
    let there = tables(&pool, &other.name).await;
    for name in ["_shop_migrations", "shop_outbox", "shop_work", "shop_shards", "_cqrs_migrations", "cqrs_outbox"] {
        assert!(there.iter().any(|table| table == name), "{name}: {there:?}");
    }
}

#[tokio::test]
async fn with_the_longest_prefix_every_name_still_fits() {
    let schema = Schema::new().await;
    let pool = schema.pool().await;
    let names = async || {
        let sql = "SELECT indexname::text FROM pg_indexes WHERE schemaname = $1 ORDER BY 1";
        let names: Vec<String> = sqlx::query_scalar(sql).bind(&schema.name).fetch_all(&pool).await.unwrap();
        names
    };
    connect(Store::pool(pool.clone())).await.unwrap();
    let plain: Vec<String> =
        names().await.into_iter().filter_map(|name| Some(name.strip_prefix("cqrs_")?.to_owned())).collect();
    let prefix = "p".repeat(32);
    connect(Store::pool(pool.clone()).prefix(prefix.as_str())).await.unwrap();
    let long: Vec<String> =
        names().await.into_iter().filter_map(|name| Some(name.strip_prefix(&prefix)?.to_owned())).collect();
    assert!(plain.len() > 20);
    assert_eq!(plain, long);
}

#[tokio::test]
async fn wrong_names_are_said_before_anything_is_opened() {
    for (store, parts) in [
        (Store::url("postgres://x").prefix("Shop_"), ["prefix `Shop_`", "lower-case"]),
        (Store::url("postgres://x").schema("a b"), ["schema `a b`", "lower-case"]),
        (Store::url("sqlite://x.db").schema("ops"), ["`sqlite`", "no schema"]),
        (Store::url("sqlite://x.db").prefix("shop_"), ["`sqlite`", "no prefix"]),
    ] {
        says(&store.handle().unwrap_err(), StoreErrorKind::Configuration, &parts);
        says(&store.connect().await.unwrap_err(), StoreErrorKind::Configuration, &parts);
    }
    Store::url("sqlite://x.db").prefix("cqrs_").handle().unwrap();
}

#[tokio::test]
async fn what_cannot_be_connected_to_is_said_at_once() {
    let wrong = PostgresStore::connect(Store::url("postgres://user:secret@host:port/x")).await.unwrap_err();
    says(&wrong, StoreErrorKind::Configuration, &["URL is wrong", "postgres://user:password@"]);
    assert!(!format!("{wrong}").contains("secret"));
    let mut url = server();
    if let Some(end) = url.find('?') {
        url.truncate(end);
    }
    let (server, _) = url.rsplit_once('/').unwrap();
    let missing = PostgresStore::connect(Store::url(format!("{server}/no_such_database_here"))).await.unwrap_err();
    says(&missing, StoreErrorKind::Configuration, &["no such database", "create it"]);
    let away = PostgresStore::connect(Store::url("postgres://x@127.0.0.1:1/x")).await.unwrap_err();
    says(&away, StoreErrorKind::Unavailable, &["cannot be reached"]);
}

#[tokio::test]
async fn tls_is_by_url_and_needs_the_authority_to_be_trusted() {
    let url = services::tls_url("postgres");
    let store = PostgresStore::connect(Store::url(url.as_str())).await.unwrap();
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let is_encrypted: bool = sqlx::query_scalar(sql).fetch_one(&store.pool).await.unwrap();
    assert!(is_encrypted);
    let (untold, told) = url.split_once("&sslrootcert=").unwrap();
    assert_eq!(Path::new(told), services::tls_ca());
    // Nobody vouches for the server: neither whom the machine trusts, nor a stranger.
    for url in [untold.to_owned(), format!("{untold}&sslrootcert={}", services::strange_ca().display())] {
        let error = PostgresStore::connect(Store::url(url)).await.unwrap_err();
        says(&error, StoreErrorKind::Configuration, &["certificate", "sslrootcert"]);
        assert!(!format!("{error:?}").contains("cqrs:cqrs"), "{error:?}");
    }
}

fn migrator(names: &[(i64, &'static str)]) -> Migrator {
    let migration = |(version, sql): &(i64, &'static str)| {
        Migration::new(*version, "test".into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(names.iter().map(migration).collect())
}

#[tokio::test]
async fn runs_the_users_migrations_after_ours_in_tables_of_their_own() {
    let schema = Schema::new().await;
    let users =
        migrator(&[(1, "CREATE TABLE mine (seq BIGINT REFERENCES cqrs_outbox (seq)); SELECT * FROM cqrs_outbox")]);
    let store = connect(Store::url(schema.url()).migrations(users)).await.unwrap();
    store.migrate().await.unwrap();
    assert_eq!(number(&store.pool, "SELECT COUNT(*) FROM _cqrs_migrations").await, 4);
    assert_eq!(number(&store.pool, "SELECT COUNT(*) FROM _sqlx_migrations").await, 1);
    assert_eq!(number(&store.pool, "SELECT COUNT(*) FROM mine").await, 0);
}

#[tokio::test]
async fn a_failing_migration_leaves_nothing() {
    let schema = Schema::new().await;
    let users = migrator(&[(1, "CREATE TABLE mine (id INT)"), (2, "CREATE TABLE mine (id INT)")]);
    let store = PostgresStore::connect(Store::url(schema.url()).migrations(users)).await.unwrap();
    says(&store.migrate().await.unwrap_err(), StoreErrorKind::Database, &["your migration 2 failed"]);
    assert!(!tables(&store.pool, &schema.name).await.contains(&"mine".to_owned()));
    store.begin().await.unwrap();
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let (schema, store) = fresh().await;
    run_sql(
        &store.pool,
        "INSERT INTO _cqrs_migrations SELECT 7, description, installed_on, success, checksum, 0 FROM _cqrs_migrations LIMIT 1",
    )
    .await;
    let error = connect(Store::url(schema.url())).await.unwrap_err();
    says(&error, StoreErrorKind::SchemaNewer, &["at version 7", "up to 4", "deploy"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_processes_may_migrate_at_once() {
    let schema = Schema::new().await;
    let starts = (0..6).map(|_| {
        let store = Store::url(schema.url())
            .schema(schema.name.as_str())
            .migrations(migrator(&[(1, "CREATE TABLE mine (id INT)")]));
        tokio::spawn(async move { connect(store).await.map(drop) })
    });
    for start in starts.collect::<Vec<_>>() {
        start.await.unwrap().unwrap();
    }
}
