//! The events that both sides know, a schema of one's own, and apps that run.

use std::sync::Arc;
use std::time::Duration;

use cqrs::Builder;
use cqrs::prelude::*;
use cqrs::sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use cqrs::sqlx::{self, AssertSqlSafe, PgPool, Postgres};
use cqrs_tests::page::Page;
use cqrs_tests::services;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// What the tests do is what this page tells to do.
pub const PAGE: Page = Page::new(include_str!("../../docs/coming-from-python-cqrs.md"));

/// How long something that has to happen may take.
const PATIENCE: Duration = Duration::from_mins(3);

/// Ends a test that hangs.
pub async fn bounded<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, test).await.expect("an end in time")
}

/// Of python-cqrs, which publishes it from a pydantic model or from a dataclass, whose keys are in camel case.
#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(name = "member_joined", topic = "interop.joined", key = member_id)]
#[serde(rename_all = "camelCase")]
pub struct MemberJoined {
    #[serde(alias = "member_id")]
    pub member_id: i64,
    #[serde(alias = "full_name")]
    pub full_name: String,
    pub items: Vec<Address>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    #[serde(alias = "postal_code")]
    pub postal_code: String,
    pub city: Option<String>,
}

/// Ours, in the keys of python-cqrs.
#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(name = "member_noted", topic = "interop.noted", key = member_id)]
pub struct MemberNoted {
    pub member_id: i64,
    pub full_name: String,
    pub items: Vec<Place>,
}

#[derive(Serialize, Deserialize)]
pub struct Place {
    pub postal_code: String,
    pub city: Option<String>,
}

#[derive(DomainEvent)]
pub struct Noted {
    id: Uuid,
}

/// What the handlers of a member's joining leave.
#[event_handler(group = "interop-members")]
async fn note(e: MemberJoined, tx: &mut Tx<Postgres>, meta: &Meta, events: &mut Events) -> Result<(), sqlx::Error> {
    let MemberJoined { member_id, full_name, items } = e;
    let micros = meta.time().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_micros();
    sqlx::query("INSERT INTO noted (id, at, member_id, full_name, postal_code, city) VALUES ($1, $2, $3, $4, $5, $6)")
        .bind(meta.id())
        .bind(i64::try_from(micros).unwrap_or_default())
        .bind(member_id)
        .bind(&full_name)
        .bind(&items[0].postal_code)
        .bind(&items[0].city)
        .execute(&mut **tx)
        .await?;
    events.raise(Noted { id: meta.id() });
    Ok(())
}

/// What an outbox event router publishes of ours, read by us.
#[event_handler(group = "interop-routed")]
async fn note_routed(e: MemberNoted, tx: &mut Tx<Postgres>, meta: &Meta) -> Result<(), sqlx::Error> {
    let insert = "INSERT INTO noted (id, at, member_id, full_name, postal_code) VALUES ($1, 0, $2, $3, $4)";
    let code = &e.items[0].postal_code;
    sqlx::query(insert)
        .bind(meta.id())
        .bind(e.member_id)
        .bind(&e.full_name)
        .bind(code)
        .execute(&mut **tx)
        .await
        .map(drop)
}

/// A domain event that follows what came over the wire, in the same transaction.
#[event_handler(inline)]
async fn count(e: &Noted, tx: &mut Tx<Postgres>) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO counted (id) VALUES ($1)").bind(e.id).execute(&mut **tx).await.map(drop)
}

/// Of python-cqrs as well, as Protocol Buffers.
#[derive(Clone, PartialEq, NotificationEvent, Serialize, Deserialize, prost::Message)]
#[event(name = "member_counted", topic = "interop.counted", codec = "protobuf")]
pub struct MemberCounted {
    #[prost(int64, tag = "1")]
    pub member_id: i64,
}

#[event_handler(group = "interop-members")]
async fn note_count(e: MemberCounted, tx: &mut Tx<Postgres>, meta: &Meta) -> Result<(), sqlx::Error> {
    let insert = "INSERT INTO noted (id, at, member_id, full_name, postal_code) VALUES ($1, 0, $2, 'counted', '')";
    sqlx::query(insert).bind(meta.id()).bind(e.member_id).execute(&mut **tx).await.map(drop)
}

#[derive(Command)]
#[command(error = cqrs::BoxError)]
pub struct Tell {
    pub members: i64,
    pub places: usize,
}

#[command_handler]
async fn tell(cmd: Tell, _tx: &mut Tx<Postgres>, events: &mut Events) -> Result<(), cqrs::BoxError> {
    for member_id in 0..cmd.members {
        let place = || Place { postal_code: "75001".to_owned(), city: None };
        let items = std::iter::repeat_with(place).take(cmd.places).collect();
        events.raise(MemberNoted { member_id, full_name: format!("Zoë {member_id}"), items });
    }
    Ok(())
}

/// A schema of its own, which goes when the test has passed.
pub struct Schema {
    pub name: String,
    pub pool: PgPool,
    admin: PgPool,
}

impl Schema {
    pub async fn make() -> Self {
        let url = services::postgres_url();
        let name = format!("interop_{}", Uuid::new_v4().simple());
        let admin = PgPool::connect(&url).await.expect("the server answers");
        sqlx::query(AssertSqlSafe(format!("CREATE SCHEMA {name}"))).execute(&admin).await.expect("a schema");
        let options: PgConnectOptions = url.parse().expect("a sound URL");
        let pool = PgPoolOptions::new().max_connections(8);
        let pool = pool.connect_with(options.options([("search_path", &name)])).await.expect("the server answers");
        for table in [
            "CREATE TABLE noted (id UUID, at BIGINT, member_id BIGINT, full_name TEXT, postal_code TEXT, city TEXT)",
            "CREATE TABLE counted (id UUID)",
        ] {
            sqlx::query(table).execute(&pool).await.expect("a table");
        }
        Self { name, pool, admin }
    }

    pub async fn drop(self) {
        let drop = format!("DROP SCHEMA {} CASCADE", self.name);
        sqlx::query(AssertSqlSafe(drop)).execute(&self.admin).await.expect("the schema goes");
    }

    /// Waits until so many have been noted, and gives time, member and more of each by its id.
    pub async fn noted(&self, count: usize) -> Vec<Row> {
        let rows = async || {
            let rows = "SELECT id, at, member_id, full_name, postal_code, city FROM noted ORDER BY id";
            sqlx::query_as(rows).fetch_all(&self.pool).await.expect("rows")
        };
        let mut found: Vec<Row> = rows().await;
        while found.len() < count {
            tokio::time::sleep(Duration::from_millis(100)).await;
            found = rows().await;
        }
        found
    }

    pub async fn number(&self, sql: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&self.pool).await.expect("a number")
    }
}

pub type Row = (Uuid, i64, i64, String, String, Option<String>);

/// An app that runs some of its parts.
pub struct Running {
    pub app: App,
    stop: Arc<Notify>,
    task: JoinHandle<Result<(), cqrs::Error>>,
}

impl Running {
    pub async fn start(schema: &Schema, broker: Broker, parts: &[&'static str]) -> Self {
        Self::with(schema, broker, |builder| builder.run(parts.to_vec())).await
    }

    pub async fn with(schema: &Schema, broker: Broker, change: impl FnOnce(Builder) -> Builder) -> Self {
        let builder = cqrs::bootstrap!().store(Store::pool(schema.pool.clone())).broker(broker);
        let app = change(builder).await.expect("a sound app");
        let stop = Arc::new(Notify::new());
        let (running, stopped) = (app.clone(), Arc::clone(&stop));
        let task = tokio::spawn(async move { running.run_until(stopped.notified()).await });
        Self { app, stop, task }
    }

    pub async fn end(self) {
        self.stop.notify_one();
        self.task.await.expect("no panic").expect("a sound run");
    }
}
