//! Connecting, and the schema.

use std::borrow::Cow;
use std::path::Path;

use cqrs_tests::services;
use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use super::*;
use crate::store::{StoreError, StoreErrorKind};

async fn refused(url: String) -> StoreError {
    MySqlStore::connect(Store::url(url)).await.unwrap_err()
}

#[tokio::test]
async fn lends_its_handle_and_gives_its_pool() {
    let (place, store) = fresh().await;
    assert_eq!(store.handle().unwrap().type_id, std::any::TypeId::of::<Tx<MySql>>());
    assert_eq!(store.gifts()[0].type_id, crate::Inject::<sqlx::MySqlPool>::id());
    for scheme in ["mysql", "mariadb"] {
        let url = place.url.replacen("mysql", scheme, 1);
        let connected = Store::url(url).connect().await.unwrap();
        assert_eq!(connected.name(), "mysql");
        connected.close().await;
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_or_refuses_is_named_with_the_mend() {
    let server = server();
    let there = format!("{}:{}", server.get_host(), server.get_port());
    for (url, kind, says) in [
        ("mysql://cqrs:hush@127.0.0.1:1/shop".to_owned(), StoreErrorKind::Unavailable, "is the server up"),
        (format!("mysql://nobody:hush@{there}/shop"), StoreErrorKind::Configuration, "refuses the user"),
        (place_url("no_such_database"), StoreErrorKind::Configuration, "CREATE DATABASE no_such_database"),
    ] {
        let error = refused(url).await;
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(error.to_string().contains(says), "{error}");
        assert!(!format!("{error:?}").contains("hush"), "{error:?}");
    }
}

#[tokio::test]
async fn tls_is_by_url_and_needs_the_authority_to_be_trusted() {
    let url = services::tls_url("mysql");
    let store = MySqlStore::connect(Store::url(url.as_str())).await.unwrap();
    let row = sqlx::raw_sql("SHOW SESSION STATUS LIKE 'Ssl_cipher'").fetch_one(&store.pool).await.unwrap();
    assert_ne!(row.get::<String, _>(1), "", "not encrypted");
    let (untold, told) = url.split_once("&ssl-ca=").unwrap();
    assert_eq!(Path::new(told), services::tls_ca());
    // Nobody vouches for the server: neither whom the machine trusts, nor a stranger.
    for url in [untold.to_owned(), format!("{untold}&ssl-ca={}", services::strange_ca().display())] {
        let error = refused(url).await;
        assert_eq!(error.kind(), StoreErrorKind::Configuration, "{error:?}");
        assert!(error.to_string().contains("certificate") && error.to_string().contains("ssl-ca"), "{error}");
    }
}

fn place_url(database: &str) -> String {
    server().database(database).to_url_lossy().to_string()
}

fn migrator(migrations: &[(i64, &'static str)]) -> Migrator {
    let migration = |(version, sql): &(i64, &'static str)| {
        Migration::new(*version, Cow::Borrowed("a"), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(migrations.iter().map(migration).collect())
}

async fn migrate(place: &Place, migrations: &[(i64, &'static str)]) -> Result<MySqlStore, StoreError> {
    let store = MySqlStore::connect(place.store().migrations(migrator(migrations))).await?;
    store.migrate().await.map(|()| store)
}

#[tokio::test]
async fn runs_the_users_migrations_after_ours_in_tables_of_their_own() {
    let place = Place::new().await;
    let one = (1, "CREATE TABLE mine (id INT)");
    migrate(&place, &[one]).await.unwrap();
    let store = migrate(&place, &[one, (2, "INSERT INTO mine VALUES (7)")]).await.unwrap();
    migrate(&place, &[one, (2, "INSERT INTO mine VALUES (7)")]).await.unwrap();
    assert_eq!(number(&store, "SELECT COUNT(*) FROM mine").await, 1);
    assert_eq!(number(&store, "SELECT COUNT(*) FROM _sqlx_migrations").await, 2);
    let error = migrate(&place, &[one]).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::SchemaNewer, "{error}");
}

#[tokio::test]
async fn a_migration_of_ours_that_was_cut_off_is_done_again() {
    let (_place, store) = fresh().await;
    // As a server leaves it that is stopped in the middle.
    run_on(&store, "DROP TABLE cqrs_idempotent; DROP TABLE cqrs_inbox; UPDATE _cqrs_migrations SET success = FALSE")
        .await;
    store.migrate().await.unwrap();
    assert_eq!(store.counts().await.unwrap().inbox, 0);
    assert_eq!(number(&store, "SELECT COUNT(*) FROM cqrs_shards").await, 16);
}

#[tokio::test]
async fn a_migration_of_the_users_that_fails_says_what_to_do() {
    let place = Place::new().await;
    let broken = [(1, "CREATE TABLE half (id INT); CREATE TABLE half (id INT)")];
    let error = migrate(&place, &broken).await.unwrap_err();
    assert!(error.to_string().contains("your migration 1 failed"), "{error}");
    let error = migrate(&place, &broken).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Configuration);
    assert!(error.to_string().contains("cut off in the middle"), "{error}");
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let (_place, store) = fresh().await;
    run_on(&store, "INSERT INTO _cqrs_migrations VALUES (99, 'x', NOW(), TRUE, '', 0)").await;
    let error = store.migrate().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::SchemaNewer);
    assert!(error.to_string().contains("version 99"), "{error}");
}

#[tokio::test]
async fn several_processes_may_migrate_at_once() {
    let place = Place::new().await;
    let migrations = [(1, "CREATE TABLE mine (id INT)"), (2, "INSERT INTO mine VALUES (7)")];
    let mut starting = Vec::new();
    for _ in 0..6 {
        let store = MySqlStore::connect(place.store().migrations(migrator(&migrations))).await.unwrap();
        starting.push(tokio::spawn(async move { store.migrate().await }));
    }
    for started in starting {
        started.await.unwrap().unwrap();
    }
    let store = place.open().await;
    assert_eq!(number(&store, "SELECT COUNT(*) FROM mine").await, 1);
}

#[tokio::test]
async fn two_prefixes_in_one_database_are_two_stores() {
    let (place, store) = fresh().await;
    let other = MySqlStore::connect(place.store().prefix("shop_")).await.unwrap();
    other.migrate().await.unwrap();
    keep(&other, [Record::Outbox(message("placed", None)), Record::Work(timer("remind", "7", at(60)))]).await;
    let counts = other.counts().await.unwrap();
    assert_eq!((counts.outbox, counts.timers), (1, 1));
    assert_eq!(names(&claim(&other, "one", 1).await), ["placed"]);
    assert!(claim(&store, "one", 1).await.is_empty());
    assert_eq!(number(&store, "SELECT COUNT(*) FROM _shop_migrations").await, 4);
    assert_eq!(store.counts().await.unwrap(), crate::store::Counts::default());
}

/// A statement pays for no other one: of a connection that was used just now nobody asks whether it is still there.
#[tokio::test]
async fn a_connection_that_was_used_just_now_is_not_asked_whether_it_is_there() {
    let (_place, store) = fresh().await;
    let mut connection = store.pool.acquire().await.unwrap();
    let pings = async |connection: &mut MySqlConnection| {
        let row = sqlx::raw_sql("SHOW SESSION STATUS LIKE 'Com_admin_commands'").fetch_one(connection).await.unwrap();
        row.get::<String, _>(1).parse::<i64>().unwrap()
    };
    let id = "SELECT CAST(CONNECTION_ID() AS SIGNED)";
    let this: i64 = sqlx::query_scalar(id).fetch_one(&mut *connection).await.unwrap();
    let before = pings(&mut connection).await;
    drop(connection);
    let mut seen = 0;
    for _ in 0..20 {
        let mut connection = store.pool.acquire().await.unwrap();
        let same = sqlx::query_scalar::<_, i64>(id).fetch_one(&mut *connection).await.unwrap() == this;
        seen += i64::from(same);
        if seen == 10 {
            let asked = pings(&mut connection).await - before;
            return assert!(asked < 5, "{asked} pings for {seen} statements");
        }
    }
    assert!(seen > 0, "the pool gave out other connections only");
}
