//! A Kafka consumer into PostgreSQL: what arrives together shares a transaction, and what arrives twice is booked once. The
//! payments come from a service that knows nothing of this framework, and sends all of them twice.
//!
//! ```sh
//! tests/services up postgres kafka && eval "$(tests/services env)"      # or servers of yours: see `compose.yaml`
//! CQRS_STORE=$CQRS_TEST_POSTGRES_URL CQRS_BROKER=$CQRS_TEST_KAFKA_URL cargo run -p kafka_postgres
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::env;
use std::time::Duration;

use cqrs::prelude::*;
use cqrs::sqlx::{self, PgPool, Postgres};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing_subscriber::filter::LevelFilter;
use uuid::Uuid;

const ACCOUNTS: u32 = 10;
const PAYMENTS: u32 = 50;

#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(name = "payment_received", topic = "example_payments", key = account)]
struct PaymentReceived {
    account: String,
    cents: i64,
}

/// In the same topic and with the same key, so that it comes after the payments.
#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(name = "month_ended", topic = "example_payments", key = account)]
struct MonthEnded {
    account: String,
}

/// An ordinary function. The transaction is that of up to 100 messages: their bookings, and the marks in the inbox that they
/// were handled, commit together; after that the offsets are committed. A message that fails is rolled back alone.
#[event_handler(group = "ledger", batch = 100, concurrency = 4)]
async fn book(e: PaymentReceived, tx: &mut Tx<Postgres>) -> Result<(), sqlx::Error> {
    let insert = sqlx::query("INSERT INTO example_ledger (account, cents) VALUES ($1, $2)");
    insert.bind(e.account).bind(e.cents).execute(&mut **tx).await?;
    Ok(())
}

#[event_handler(group = "ledger")]
async fn end_month(e: MonthEnded, tx: &mut Tx<Postgres>) -> Result<(), sqlx::Error> {
    let sum = "INSERT INTO example_months (account, cents) SELECT account, sum(cents) FROM example_ledger WHERE account = $1 GROUP BY account";
    sqlx::query(sum).bind(e.account).execute(&mut **tx).await?;
    Ok(())
}

/// The other service: plain Kafka, and JSON that says what it is. A header `event_id` would do as well.
fn send_all(broker: &str) -> Result<(), cqrs::BoxError> {
    let mut config = ClientConfig::new();
    // One request at a time: of several under way, one that is refused and sent again comes after those that were sent behind it.
    config.set("bootstrap.servers", broker.trim_start_matches("kafka://")).set("max.in.flight", "1");
    let producer: BaseProducer = config.create()?;
    let send = |account: &str, event_name: &str, payload: &Value, event_id: Uuid| {
        let body = json!({ "event_id": event_id, "event_name": event_name, "payload": payload }).to_string();
        producer.send(BaseRecord::to("example_payments").key(account).payload(&body)).map_err(|(error, _)| error)
    };
    for account in (0..ACCOUNTS).map(|number| format!("account-{number}")) {
        for cents in 1..=PAYMENTS {
            let (payment, id) = (json!({ "account": account, "cents": cents }), Uuid::now_v7());
            send(&account, "payment_received", &payment, id)?;
            send(&account, "payment_received", &payment, id)?;
        }
        send(&account, "month_ended", &json!({ "account": account }), Uuid::now_v7())?;
    }
    Ok(producer.flush(Duration::from_mins(1))?)
}

#[tokio::main]
async fn main() -> Result<(), cqrs::Error> {
    tracing_subscriber::fmt().with_max_level(LevelFilter::WARN).with_writer(std::io::stderr).init();
    let (pool, broker) = (PgPool::connect(&url("CQRS_STORE")?).await?, url("CQRS_BROKER")?);
    let tables = "DROP TABLE IF EXISTS example_ledger, example_months;
        CREATE TABLE example_ledger (account text NOT NULL, cents bigint NOT NULL);
        CREATE TABLE example_months (account text PRIMARY KEY, cents numeric NOT NULL)";
    sqlx::raw_sql(tables).execute(&pool).await?;

    let store = Store::pool(pool.clone()).prefix("kafka_postgres_");
    let app = cqrs::bootstrap!().store(store).broker(Broker::url(broker.clone())).await?;
    let mut sent = Ok(());
    app.run_until(async {
        // By now the app has seen to the topic.
        let sending = tokio::task::spawn_blocking(move || send_all(&broker)).await;
        sent = sending.map_err(cqrs::BoxError::from).flatten();
        let ended = || sqlx::query_scalar("SELECT count(*) FROM example_months").fetch_one(&pool);
        while sent.is_ok() && ended().await.is_ok_and(|months: i64| months < ACCOUNTS.into()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await?;
    sent?;

    println!("sent: {} payments, each twice", ACCOUNTS * PAYMENTS);
    // PostgreSQL knows which transaction wrote a row.
    let count = "SELECT count(*), count(DISTINCT xmin::text) FROM example_ledger";
    let (booked, transactions): (i64, i64) = sqlx::query_as(count).fetch_one(&pool).await?;
    println!("booked: {booked}, with fewer transactions than payments: {}", transactions < booked);
    let right = "SELECT count(*) FROM example_months WHERE cents = $1";
    let expected = i64::from(PAYMENTS * (PAYMENTS + 1) / 2);
    let right: i64 = sqlx::query_scalar(right).bind(expected).fetch_one(&pool).await?;
    println!("accounts that are right to the cent: {right}");
    Ok(())
}

/// The URL of a server, from the environment.
fn url(variable: &str) -> Result<String, cqrs::BoxError> {
    env::var(variable).map_err(|_| {
        let start = "start servers by `tests/services up`, or by `docker compose up`";
        format!("`{variable}` is not set: {start}, and see the first lines of this example").into()
    })
}
