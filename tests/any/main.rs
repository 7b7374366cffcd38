//! `Tx<Any>`: the same handlers on SQLite, PostgreSQL and MySQL, whichever the app's store is on.

mod places;

use cqrs::prelude::*;
use cqrs::sqlx;
use cqrs::store::{Any, AnyConnection, AnyPool};
use cqrs::{BoxError, DispatchErrorKind, OutsideUnit};
use serde::{Deserialize, Serialize};

use self::places::Place;

#[derive(Command, Clone, Serialize, Deserialize)]
#[command(error = BoxError)]
struct Order {
    id: i64,
    ends: End,
}

/// How a handler ends.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum End {
    Well,
    InAnError,
    /// It ignores what has undone its transaction.
    Ignoring,
}

#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(name = "ordered", topic = "orders", key = id)]
struct Ordered {
    id: i64,
}

#[derive(DomainEvent)]
struct Noted {
    id: i64,
}

#[command_handler]
async fn order(cmd: Order, tx: &mut Tx<Any>, events: &mut Events) -> Result<(), BoxError> {
    events.raise(Ordered { id: cmd.id });
    insert(tx, "orders", cmd.id).await?;
    match cmd.ends {
        End::Well => {
            events.raise(Noted { id: cmd.id });
            Ok(())
        }
        End::InAnError => Err("changed its mind".into()),
        End::Ignoring => undo_behind_the_back(tx).await,
    }
}

/// What PostgreSQL does to a transaction by itself the others are asked for.
async fn undo_behind_the_back(db: &mut AnyConnection) -> Result<(), BoxError> {
    if db.backend_name() == "PostgreSQL" {
        sqlx::query("SELECT 1 / 0").execute(db).await.unwrap_err();
    } else {
        sqlx::raw_sql("ROLLBACK").execute(db).await?;
    }
    Ok(())
}

#[event_handler(inline)]
async fn note(e: &Noted, tx: &mut Tx<Any>) -> Result<(), sqlx::Error> {
    insert(tx, "notes", e.id).await
}

/// Without a key of its own: twice handled would be two rows.
#[event_handler(group = "billing")]
async fn bill(e: Ordered, tx: &mut Tx<Any>) -> Result<(), sqlx::Error> {
    insert(tx, "bills", e.id).await
}

/// Raises so many messages at once.
#[derive(Command)]
#[command(error = BoxError)]
struct Share(std::ops::Range<i64>);

#[command_handler]
async fn share(cmd: Share, _tx: &mut Tx<Any>, events: &mut Events) -> Result<(), BoxError> {
    for id in cmd.0 {
        events.raise(Shared { id });
    }
    Ok(())
}

#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(name = "shared", topic = "shared")]
struct Shared {
    id: i64,
}

/// The message that fails when it is tried first.
const UNLUCKY: i64 = 90;

/// Leaves a bill for as much as it finds that only its own transaction sees. One at a time, so that the others wait together.
#[event_handler(group = "sharing", concurrency = 1, retry(max = 2, first = "1ms"))]
async fn shared(e: Shared, tx: &mut Tx<Any>, pool: Inject<AnyPool>, meta: &Meta) -> Result<(), BoxError> {
    insert(tx, "notes", e.id).await?;
    let outside = count(&mut pool.acquire().await?).await?;
    let unseen = count(tx).await? - outside;
    insert(tx, "bills", unseen).await?;
    if e.id == UNLUCKY && meta.attempt() == 1 {
        return Err("not yet".into());
    }
    Ok(())
}

async fn count(db: &mut AnyConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT COUNT(*) FROM notes").fetch_one(db).await
}

/// Sends orders within its own transaction, of which one fails and is undone alone.
#[derive(Command)]
#[command(error = BoxError)]
struct Nested;

#[command_handler]
async fn nested(_cmd: Nested, tx: &mut Tx<Any>, app: &App) -> Result<(), BoxError> {
    insert(tx, "notes", 100).await?;
    app.send(Order { id: 1, ends: End::Well }).within(tx).await?;
    app.send(Order { id: 2, ends: End::InAnError }).within(tx).await.unwrap_err();
    drop(app.send(Order { id: 3, ends: End::Well }).within(tx));
    insert(tx, "notes", 101).await?;
    Ok(())
}

/// Begins late, in a savepoint that is kept, and one each that is undone and dropped.
#[derive(Command)]
#[command(error = BoxError)]
struct Late;

#[command_handler]
async fn late(_cmd: Late, begin: &mut Begin<Any>) -> Result<(), BoxError> {
    let tx = begin.begin().await?;
    let mut kept = tx.savepoint().await?;
    insert(&mut kept, "orders", 1).await?;
    kept.commit().await?;
    let mut undone = tx.savepoint().await?;
    insert(&mut undone, "orders", 2).await?;
    undone.rollback().await?;
    let mut dropped = tx.savepoint().await?;
    insert(&mut dropped, "orders", 3).await?;
    drop(dropped);
    insert(tx, "orders", 4).await?;
    Ok(())
}

#[derive(Command)]
#[command(item = i64, error = BoxError)]
struct Import(Vec<i64>);

#[command_handler]
async fn import(cmd: Import, tx: &mut Tx<Any>, items: &mut Items<i64>) -> Result<(), BoxError> {
    for id in cmd.0 {
        insert(tx, "orders", id).await?;
        items.commit(tx, id).await?;
    }
    insert(tx, "orders", 99).await?;
    Err("and then it fails".into())
}

#[derive(Command)]
#[command(error = BoxError)]
struct Retried;

#[command_handler(retry(max = 2, first = "1ms"), fallback = instead)]
async fn retried(_cmd: &Retried, tx: &mut Tx<Any>) -> Result<(), BoxError> {
    insert(tx, "orders", 1).await?;
    Err("not yet".into())
}

#[fallback]
async fn instead(_cmd: &Retried, _cause: Cause<BoxError>, tx: &mut Tx<Any>) -> Result<(), BoxError> {
    Ok(insert(tx, "orders", 2).await?)
}

#[derive(Command)]
#[command(error = sqlx::Error)]
struct Chained;

cqrs::chain!(Chained => [first, second]);

#[chain_link]
async fn first(cmd: Chained, tx: &mut Tx<Any>) -> Result<Link<Chained>, sqlx::Error> {
    insert(tx, "orders", 1).await?;
    Ok(Link::Pass(cmd))
}

#[chain_link]
async fn second(_cmd: Chained, tx: &mut Tx<Any>) -> Result<Link<Chained>, sqlx::Error> {
    insert(tx, "orders", 2).await?;
    Ok(Link::Answer(()))
}

#[derive(Query)]
#[query(response = Vec<i64>, error = sqlx::Error)]
struct Ids(&'static str);

#[query_handler]
async fn ids(Ids(table): Ids, pool: Inject<AnyPool>) -> Result<Vec<i64>, sqlx::Error> {
    let sql = sqlx::AssertSqlSafe(format!("SELECT id FROM {table} ORDER BY id"));
    sqlx::query_scalar(sql).fetch_all(&mut pool.acquire().await?).await
}

async fn insert(db: &mut AnyConnection, table: &str, id: i64) -> Result<(), sqlx::Error> {
    let argument = if db.backend_name() == "MySQL" { "?" } else { "$1" };
    let sql = sqlx::AssertSqlSafe(format!("INSERT INTO {table} (id) VALUES ({argument})"));
    sqlx::query(sql).bind(id).execute(db).await.map(drop)
}

async fn app_at(place: &Place) -> App {
    cqrs::bootstrap!().store(Store::url(place.url())).broker(Broker::url("memory:")).await.unwrap()
}

/// An app on a store of each kind, one after the other.
async fn on_each(test: impl AsyncFn(&App)) {
    for kind in ["sqlite", "postgres", "mysql"] {
        let place = Place::new(kind).await;
        let app = app_at(&place).await;
        let mut unit = app.unit::<Any>().await.unwrap();
        for table in ["orders", "notes", "bills"] {
            let sql = sqlx::AssertSqlSafe(format!("CREATE TABLE {table} (id BIGINT NOT NULL)"));
            sqlx::raw_sql(sql).execute(&mut **unit.tx()).await.unwrap();
        }
        if kind == "mysql" {
            // DDL has committed it.
            drop(unit);
        } else {
            unit.commit().await.unwrap();
        }
        test(&app).await;
        app.shutdown().await;
        place.remove().await;
    }
}

/// Runs the app until it is shut down, and waits until nothing stored is left to do.
async fn settle(app: &App) {
    let running = app.clone();
    tokio::spawn(async move { running.run_until(std::future::pending::<()>()).await });
    idle(app).await;
}

async fn idle(app: &App) {
    for _ in 0..1200 {
        let counts = app.counts().await.unwrap();
        if counts.outbox + counts.work == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("stored work does not move");
}

async fn found(app: &App, table: &'static str) -> Vec<i64> {
    app.query(Ids(table)).await.unwrap()
}

#[tokio::test]
async fn g7_g9_rows_and_events_commit_together_and_what_is_consumed_counts_once() {
    on_each(async |app| {
        for id in 1..=20 {
            app.send(Order { id, ends: End::Well }).await.unwrap();
        }
        settle(app).await;
        let all: Vec<i64> = (1..=20).collect();
        for table in ["orders", "notes", "bills"] {
            assert_eq!(found(app, table).await, all, "{table}");
        }
    })
    .await;
}

/// The messages of a batch are handled in one transaction; with one that fails it is undone, and all have their effects once.
#[tokio::test]
async fn g7_g9_consumed_messages_share_one_and_each_counts_once() {
    on_each(async |app| {
        app.send(Share(0..60)).await.unwrap();
        settle(app).await;
        assert_eq!(found(app, "notes").await, (0..60).collect::<Vec<_>>());
        let unseen = found(app, "bills").await;
        assert_eq!((unseen.len(), unseen[0]), (60, 1), "{unseen:?}");
        assert!(unseen[59] > 1, "no message has seen what another had left in its transaction: {unseen:?}");

        app.send(Share(60..120)).await.unwrap();
        idle(app).await;
        assert_eq!(found(app, "notes").await, (0..120).collect::<Vec<_>>());
        assert_eq!(found(app, "bills").await.len(), 120);
    })
    .await;
}

#[tokio::test]
async fn g7_a_handler_that_fails_leaves_nothing() {
    on_each(async |app| {
        app.send(Order { id: 1, ends: End::InAnError }).await.unwrap_err();
        assert_eq!(app.counts().await.unwrap().outbox, 0);
        assert!(found(app, "orders").await.is_empty());
    })
    .await;
}

/// As with the store's own `Tx`.
#[tokio::test]
async fn g7_a_unit_that_the_database_has_undone_is_not_reported_as_done() {
    on_each(async |app| {
        let error = app.send(Order { id: 1, ends: End::Ignoring }).await.unwrap_err();
        assert_eq!(error.kind(), DispatchErrorKind::Store, "{error:?}");
        assert_eq!(app.counts().await.unwrap().outbox, 0);
        assert!(found(app, "orders").await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_call_within_it_is_undone_alone() {
    on_each(async |app| {
        app.send(Nested).await.unwrap();
        assert_eq!(found(app, "orders").await, [1]);
        assert_eq!(found(app, "notes").await, [1, 100, 101]);
        assert_eq!(app.counts().await.unwrap().outbox, 1);
    })
    .await;
}

#[tokio::test]
async fn savepoints_of_a_late_transaction_are_kept_or_undone() {
    on_each(async |app| {
        app.send(Late).await.unwrap();
        assert_eq!(found(app, "orders").await, [1, 4]);
    })
    .await;
}

#[tokio::test]
async fn items_that_were_committed_stay() {
    on_each(async |app| {
        let mut items = app.stream(Import(vec![1, 2]));
        assert_eq!(items.next().await.unwrap().unwrap(), 1);
        assert_eq!(items.next().await.unwrap().unwrap(), 2);
        items.next().await.unwrap().unwrap_err();
        assert_eq!(found(app, "orders").await, [1, 2]);
    })
    .await;
}

#[tokio::test]
async fn what_a_failed_attempt_wrote_is_undone_before_the_fallback() {
    on_each(async |app| {
        app.send(Retried).await.unwrap();
        assert_eq!(found(app, "orders").await, [2]);
    })
    .await;
}

#[tokio::test]
async fn links_of_a_chain_share_it() {
    on_each(async |app| {
        app.send(Chained).await.unwrap();
        assert_eq!(found(app, "orders").await, [1, 2]);
    })
    .await;
}

#[tokio::test]
async fn a_unit_outside_of_a_handler_is_committed_or_dropped() {
    on_each(async |app| {
        let mut unit: OutsideUnit<Any> = app.unit().await.unwrap();
        let (tx, events) = unit.parts();
        insert(tx, "orders", 1).await.unwrap();
        app.send(Order { id: 2, ends: End::Well }).within(tx).await.unwrap();
        events.raise(Noted { id: 3 });
        unit.commit().await.unwrap();
        let mut dropped = app.unit::<Any>().await.unwrap();
        insert(dropped.tx(), "orders", 4).await.unwrap();
        drop(dropped);
        assert_eq!(found(app, "orders").await, [1, 2]);
        assert_eq!(found(app, "notes").await, [2, 3]);
    })
    .await;
}

/// Both are the unit's one transaction.
#[tokio::test]
async fn a_call_with_it_runs_within_the_stores_own() {
    let place = Place::new("sqlite").await;
    let app = app_at(&place).await;
    let mut unit = app.unit::<sqlx::Sqlite>().await.unwrap();
    let tables = "CREATE TABLE orders (id BIGINT); CREATE TABLE notes (id BIGINT)";
    sqlx::raw_sql(tables).execute(&mut **unit.tx()).await.unwrap();
    app.send(Order { id: 1, ends: End::Well }).within(unit.tx()).await.unwrap();
    sqlx::query("UPDATE orders SET id = id + 1").execute(&mut **unit.tx()).await.unwrap();
    unit.commit().await.unwrap();
    assert_eq!(found(&app, "orders").await, [2]);
}

#[tokio::test]
async fn a_handler_is_called_as_a_function_with_one_made_by_hand() {
    let pool = sqlx::SqlitePool::connect("sqlite::memory:").await.unwrap();
    sqlx::raw_sql("CREATE TABLE orders (id BIGINT)").execute(&pool).await.unwrap();
    let mut tx: Tx<Any> = Tx::begin(&pool).await.unwrap().into();
    let mut events = Events::new();
    order(Order { id: 1, ends: End::Well }, &mut tx, &mut events).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(events.of::<Ordered>().len(), 1);

    let mut begin: Begin<Any> = Begin::new(&pool).into();
    late(Late, &mut begin).await.unwrap();
    begin.into_tx().unwrap().commit().await.unwrap();
    let mut dropped: Tx<Any> = Tx::begin(&pool).await.unwrap().into();
    insert(&mut dropped, "orders", 9).await.unwrap();
    drop(dropped);
    let ids: Vec<i64> = sqlx::query_scalar("SELECT id FROM orders ORDER BY id").fetch_all(&pool).await.unwrap();
    assert_eq!(ids, [1, 1, 4]);
}

#[tokio::test]
async fn g1_an_app_without_an_sql_store_says_who_wants_one() {
    let broker = || Broker::url("memory:");
    let error = cqrs::bootstrap!().broker(broker()).await.unwrap_err().to_string();
    assert!(error.contains("command handler `order` takes a transaction, and the app has no store"), "{error}");

    let store = Store::url("memory:");
    let error = cqrs::bootstrap!().store(store).broker(broker()).await.unwrap_err().to_string();
    for what in [
        "command handler `order` takes a transaction of `cqrs::unit::any::Any`, but the app's store gives none",
        "nobody provides `cqrs::unit::any::AnyPool`",
    ] {
        assert!(error.contains(what), "{error}");
    }
}
