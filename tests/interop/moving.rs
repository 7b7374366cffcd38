//! What the page on coming from python-cqrs tells to do, done as it stands there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cqrs::prelude::*;
use cqrs::sqlx::mysql::{MySqlConnectOptions, MySqlPool};
use cqrs::sqlx::{self, AssertSqlSafe};
use cqrs::{Delivery, Settings};
use cqrs_tests::python;
use cqrs_tests::services::{self, Private};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use serde_json::Value;
use uuid::Uuid;

use crate::support::{PAGE, Running, Schema, Tell, bounded};

const TOPIC: &str = "interop.joined";

async fn outbox(arguments: &[&str]) -> Vec<Value> {
    let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    let run = move || python::run("outbox.py", &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(run).await.expect("python did it")
}

fn ids<'a>(lines: impl IntoIterator<Item = &'a Value>) -> BTreeSet<Uuid> {
    lines.into_iter().map(|id| id.as_str().expect("an id").parse().expect("a UUID")).collect()
}

async fn noted(schema: &Schema, count: usize) -> BTreeSet<Uuid> {
    let rows = schema.noted(count).await;
    assert_eq!(rows.len(), count, "each once: {rows:?}");
    rows.into_iter().map(|row| row.0).collect()
}

async fn make_topic(url: &str) {
    let mut config = ClientConfig::new();
    let admin: AdminClient<_> =
        config.set("bootstrap.servers", url.trim_start_matches("kafka://")).create().expect("a client");
    let topic = NewTopic::new(TOPIC, 4, TopicReplication::Fixed(1));
    let made = admin.create_topics([&topic], &AdminOptions::new()).await.expect("the server answers");
    assert!(made.iter().all(Result::is_ok), "{made:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_ours_goes_on_where_its_python_consumer_has_committed() {
    let servers = tokio::task::block_in_place(|| Private::start(&["kafka"]));
    let url = servers.url("kafka");
    bounded(async {
        let schema = Schema::make().await;
        let (store, name) = ("postgres", schema.name.clone());
        make_topic(url).await;
        outbox(&[store, &name, "make"]).await;
        let all = ids(&outbox(&[store, &name, "add", TOPIC, "1,2,3,4,5,6,7,8,9"]).await);
        let waiting = PAGE.block("sql", "event_status");
        assert_eq!(schema.number(&waiting).await, 9);
        outbox(&[store, &name, "relay", url]).await;
        assert_eq!(schema.number(&waiting).await, 0);

        let arguments = [url, TOPIC, "interop-members", "pydantic", "4"].map(ToOwned::to_owned);
        let old = move || python::run("consume.py", &arguments.each_ref().map(String::as_str));
        let old = tokio::task::spawn_blocking(old).await.expect("python consumed");
        let theirs = ids(old.iter().filter(|line| line["handler"] == "note").map(|line| &line["id"]));
        assert_eq!(theirs.len(), 4);

        let new = Running::start(&schema, Broker::url(url), &["group:interop-members"]).await;
        let ours = noted(&schema, 5).await;
        // What would be handled again has time to come.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(noted(&schema, 5).await, ours);
        assert!(ours.is_disjoint(&theirs) && ours.union(&theirs).copied().collect::<BTreeSet<_>>() == all);
        new.end().await;
        schema.drop().await;
    })
    .await;
}

/// The text in quotes that begins so.
fn quoted(code: &str, begin: &str) -> String {
    let from = code.find(begin).unwrap_or_else(|| panic!("no `{begin}` in {code}"));
    code[from..].split('"').next().expect("its first part").to_owned()
}

/// What has used up its attempts is handed in, as the page does it, twice.
async fn hand_in(store: &str, name: &str, stuck: impl AsyncFn(String) -> Vec<(String, Vec<u8>)>) {
    let schema = Schema::make().await;
    let running = Running::start(&schema, Broker::url("memory:"), &["group:interop-members", "work"]).await;
    outbox(&[store, name, "make"]).await;
    let all = ids(&outbox(&[store, name, "add", TOPIC, "1,2,3"]).await);
    outbox(&[store, name, "fail"]).await;
    let sql = quoted(&PAGE.block("rust", "fn hand_in"), "SELECT topic");
    let rows = stuck(sql.clone()).await;
    assert_eq!(rows.len(), 3);
    for (topic, payload) in rows.iter().chain(&rows) {
        running.app.receive(Delivery::new(topic, payload.clone())).await.expect("it is handled");
    }
    assert_eq!(noted(&schema, 3).await, all);

    let compressed = ids(&outbox(&[store, name, "add", TOPIC, "4", "zlib"]).await);
    outbox(&[store, name, "fail", "zlib"]).await;
    let (topic, payload) = stuck(sql).await.pop().expect("the last one");
    running.app.receive(Delivery::new(&topic, payload.clone())).await.expect("it is a dead letter");
    assert_eq!(running.app.counts().await.expect("counts").dead, 1);
    let marked = Delivery::new(topic, payload).header("content-encoding", "zlib");
    running.app.receive(marked).await.expect("it is handled");
    assert_eq!(noted(&schema, 4).await, all.union(&compressed).copied().collect());
    running.end().await;
    schema.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_used_up_its_attempts_on_postgresql_is_handed_in_and_handled_once() {
    bounded(async {
        let old = Schema::make().await;
        hand_in("postgres", &old.name, async |sql| {
            sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&old.pool).await.expect("rows")
        })
        .await;
        assert_eq!(old.number(&PAGE.block("sql", "event_status")).await, 0, "it is selected by nobody");
        sqlx::query(AssertSqlSafe(PAGE.block("sql", "DROP TABLE outbox"))).execute(&old.pool).await.expect("it goes");
        old.drop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_used_up_its_attempts_on_mariadb_is_handed_in_and_handled_once() {
    bounded(async {
        let name = format!("interop_{}", Uuid::new_v4().simple());
        let options: MySqlConnectOptions = services::mysql_url().parse().expect("a sound URL");
        let pool = MySqlPool::connect_lazy_with(options.database(&name));
        hand_in("mysql", &name, async |sql| sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&pool).await.expect("rows"))
            .await;
        let waiting: i64 = sqlx::query_scalar(AssertSqlSafe(PAGE.block("sql", "event_status")))
            .fetch_one(&pool)
            .await
            .expect("a number");
        assert_eq!(waiting, 0, "it is selected by nobody");
        sqlx::query(AssertSqlSafe(PAGE.block("sql", "DROP TABLE outbox"))).execute(&pool).await.expect("it goes");
        pool.close().await;
        outbox(&["mysql", &name, "drop"]).await;
    })
    .await;
}

async fn inbox(arguments: &[&str]) -> BTreeSet<Uuid> {
    let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    let run = move || python::run("inbox.py", &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    ids(&tokio::task::spawn_blocking(run).await.expect("python did it"))
}

/// What is left of an inbox is handed in, as the page does it, twice: what the worker has not come to, and what it gave up.
async fn take_over(
    store: &str,
    name: &str,
    waiting: impl AsyncFn(String) -> i64,
    rest: impl AsyncFn(String) -> Vec<(String, Vec<u8>)>,
) {
    let schema = Schema::make().await;
    let running = Running::start(&schema, Broker::url("memory:"), &["group:interop-members", "work"]).await;
    outbox(&[store, name, "make"]).await;
    let page = PAGE.block("sql", "FROM inbox");
    let handled = inbox(&[store, name, "add", TOPIC, "1,2"]).await;
    assert_eq!((waiting(page.clone()).await, handled.len()), (2, 2));
    assert_eq!(inbox(&[store, name, "work"]).await, handled);
    assert_eq!(waiting(page.clone()).await, 0);
    let stuck = inbox(&[store, name, "add", TOPIC, "3"]).await;
    inbox(&[store, name, "fail"]).await;
    assert_eq!(waiting(page.clone()).await, 0, "it is selected by nobody");
    let new = inbox(&[store, name, "add", TOPIC, "4,5"]).await;
    assert_eq!(waiting(page).await, 2);
    let sql = quoted(&PAGE.block("rust", "fn take_over"), "SELECT message_name");
    let rows = rest(sql).await;
    assert_eq!(rows.len(), 3);
    for (name, payload) in rows.iter().chain(&rows) {
        let body: Value = serde_json::from_slice(payload).expect("JSON");
        assert_eq!((name.as_str(), &body["topic"]), ("member_joined", &Value::from(TOPIC)));
        running.app.receive(Delivery::new(TOPIC, payload.clone())).await.expect("it is handled");
    }
    assert_eq!(noted(&schema, 3).await, &stuck | &new);
    running.end().await;
    schema.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_an_inbox_on_postgresql_is_handed_in_and_handled_once() {
    bounded(async {
        let old = Schema::make().await;
        let rest = async |sql| sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&old.pool).await.expect("rows");
        take_over("postgres", &old.name, async |sql: String| old.number(&sql).await, rest).await;
        sqlx::query(AssertSqlSafe(PAGE.block("sql", "DROP TABLE inbox"))).execute(&old.pool).await.expect("it goes");
        old.drop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_an_inbox_on_mariadb_is_handed_in_and_handled_once() {
    bounded(async {
        let name = format!("interop_{}", Uuid::new_v4().simple());
        let options: MySqlConnectOptions = services::mysql_url().parse().expect("a sound URL");
        let pool = MySqlPool::connect_lazy_with(options.database(&name));
        let waiting = async |sql| sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&pool).await.expect("a number");
        let rest = async |sql| sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&pool).await.expect("rows");
        take_over("mysql", &name, waiting, rest).await;
        sqlx::query(AssertSqlSafe(PAGE.block("sql", "DROP TABLE inbox"))).execute(&pool).await.expect("it goes");
        pool.close().await;
        outbox(&["mysql", &name, "drop"]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_says_of_every_name_that_python_cqrs_exports_what_it_is_here() {
    let names = tokio::task::spawn_blocking(|| python::run("names.py", &[])).await.expect("python did it");
    assert!(names.len() > 50, "{names:?}");
    let names = names.iter().map(|name| name.as_str().expect("a name"));
    let missing: Vec<&str> = names.filter(|name| !PAGE.says(name)).collect();
    assert!(missing.is_empty(), "the page does not say what becomes of {missing:?}");
}

/// The properties that the page gives Debezium.
fn properties() -> BTreeMap<String, String> {
    let lines = PAGE.block("properties", "EventRouter");
    let named = lines.lines().filter_map(|line| line.split_once(" = "));
    named.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// An app that leaves publishing to others, with three events in its outbox.
async fn without_relay(schema: &Schema, more: &str) -> Running {
    let settings = format!("{}\n{more}", PAGE.block("toml", "relay"));
    let settings = Settings::from_toml(&settings).expect("sound settings");
    let running = Running::with(schema, Broker::url("memory:"), |builder| builder.settings(settings)).await;
    // So many places that their body is worth compressing.
    running.app.send(Tell { members: 3, places: 20 }).await.expect("a commit");
    running
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_relay_rows_stay_with_the_columns_that_debezium_is_told_of() {
    bounded(async {
        let schema = Schema::make().await;
        let running = without_relay(&schema, "").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let properties = properties();
        assert_eq!(properties["table.include.list"], "public.cqrs_outbox");
        let columns: BTreeSet<&str> = properties
            .iter()
            .filter(|(name, _)| name.contains(".table.field") || name.ends_with("route.by.field"))
            .flat_map(|(_, columns)| columns.split(','))
            .map(|column| column.split(':').next().expect("its first part"))
            .collect();
        assert_eq!(columns, ["id", "message_key", "name", "payload", "topic", "version"].into());
        for column in columns {
            let sql = format!("SELECT count({column}) FROM cqrs_outbox WHERE state = 'ready'");
            assert_eq!(schema.number(&sql).await, 3, "{column}");
        }
        let delete = PAGE.block("sql", "DELETE FROM cqrs_outbox");
        let deleted =
            async || sqlx::query(AssertSqlSafe(delete.clone())).execute(&schema.pool).await.expect("sound SQL");
        assert_eq!(deleted().await.rows_affected(), 0, "they are of today");
        sqlx::query("UPDATE cqrs_outbox SET raised_at = raised_at - 25 * 3600000000")
            .execute(&schema.pool)
            .await
            .expect("rows");
        assert_eq!(deleted().await.rows_affected(), 3);
        running.end().await;
        schema.drop().await;
    })
    .await;
}

/// What Debezium makes of each row: topic, key and headers are texts, of which it can only take those that the database calls so.
async fn routed(schema: &Schema) -> Vec<Delivery> {
    let properties = properties();
    let column = |name: &str| properties[&format!("transforms.outbox.{name}")].as_str();
    assert!(properties["key.converter"].ends_with(".StringConverter"));
    let (topic, key) = (column("route.by.field"), column("table.field.event.key"));
    let headers: Vec<(&str, &str)> = column("table.fields.additional.placement")
        .split(',')
        .map(|placed| placed.split_once(":header:").expect("a column and its header"))
        .collect();
    let texts: Vec<String> = headers.iter().map(|(column, _)| format!("{column}::text")).collect();
    let sql = format!(
        "SELECT {}, ARRAY[{topic}, {key}], ARRAY[{}] FROM cqrs_outbox ORDER BY seq",
        column("table.field.event.payload"),
        texts.join(", "),
    );
    let rows: Vec<(Vec<u8>, [String; 2], Vec<String>)> =
        sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&schema.pool).await.expect("rows");
    let deliveries = rows.into_iter().map(|(payload, [topic, key], values)| {
        let delivery = Delivery::new(topic, payload).key(key);
        headers.iter().zip(values).fold(delivery, |delivery, ((_, name), value)| delivery.header(*name, value))
    });
    deliveries.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_debezium_passes_on_is_read_where_it_is_json_and_not_compressed() {
    bounded(async {
        let settings = [("", 3, 0), ("compression = \"zlib\"", 0, 3), ("codec = \"cloudevents\"", 0, 3)];
        for (more, read, dead) in settings {
            let schema = Schema::make().await;
            let running = without_relay(&schema, more).await;
            let deliveries = routed(&schema).await;
            assert_eq!(deliveries.len(), 3);
            for delivery in deliveries {
                running.app.receive(delivery).await.expect("it is handled, or a dead letter");
            }
            assert_eq!(schema.noted(read).await.len(), read, "{more}");
            assert_eq!(running.app.counts().await.expect("counts").dead, dead, "{more}");
            running.end().await;
            schema.drop().await;
        }
    })
    .await;
}
