//! G13: tables stay bounded: what is done with leaves, what waits for a decision stays.

use std::time::Duration;

use cqrs::broker::MemoryBroker;
use cqrs::sqlx;
use uuid::Uuid;

use crate::support::{Harness, bounded, message, publish};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// One message that is handled and answered by an event, one that its three handlers cannot read, and a call with a key.
async fn traffic(app: &Harness, broker: &MemoryBroker) {
    for payload in [serde_json::json!({"id": 1}), serde_json::json!({"id": "one"})] {
        let id = Uuid::now_v7();
        publish(broker, id, message("payments", "paid", id, &payload)).await;
    }
    app.send(crate::idempotency::pay(1)).idempotency_key(Uuid::now_v7()).await.unwrap();
    app.settle().await;
}

/// Sweeps, and waits until it is done: a mark and a key older than any other are gone.
async fn sweep(app: &Harness) {
    let pool = app.probe.pool();
    sqlx::query("INSERT INTO cqrs_inbox VALUES ('old', 'old', x'00', 0)").execute(&pool).await.unwrap();
    let key = "INSERT INTO cqrs_idempotent VALUES ('old', 'old', x'00', x'00', NULL, '1', 0, 0)";
    sqlx::query(key).execute(&pool).await.unwrap();
    app.advance(Duration::from_secs(11 * 60)).await;
    let old = "SELECT (SELECT COUNT(*) FROM cqrs_inbox WHERE consumer_group = 'old')
        + (SELECT COUNT(*) FROM cqrs_idempotent WHERE name = 'old')";
    while sqlx::query_scalar::<_, i64>(old).fetch_one(&pool).await.unwrap() > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The rows of all our tables: outbox, work, inbox and idempotency keys, and the dead letters.
async fn rows(app: &Harness) -> ([i64; 4], usize) {
    let pool = app.probe.pool();
    let tables = "SELECT name FROM sqlite_master WHERE name LIKE 'cqrs%' AND type = 'table' ORDER BY name";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&pool).await.unwrap();
    assert_eq!(
        tables,
        [
            "cqrs_audit",
            "cqrs_idempotent",
            "cqrs_inbox",
            "cqrs_outbox",
            "cqrs_published",
            "cqrs_relay",
            "cqrs_saga_events",
            "cqrs_saga_log",
            "cqrs_saga_steps",
            "cqrs_sagas",
            "cqrs_work"
        ],
        "a new table: what keeps it small?"
    );
    let count = async |what: &'static str| sqlx::query_scalar(what).fetch_one(&pool).await.unwrap();
    let counts = [
        count("SELECT COUNT(*) FROM cqrs_outbox WHERE state <> 'dead'").await,
        count("SELECT COUNT(*) FROM cqrs_work WHERE state <> 'dead'").await,
        count("SELECT COUNT(*) FROM cqrs_inbox").await,
        count("SELECT COUNT(*) FROM cqrs_idempotent").await,
    ];
    (counts, app.dead().await.len())
}

#[tokio::test]
async fn g13_what_is_done_with_leaves_its_tables_and_dead_letters_stay() {
    bounded(async {
        let (app, broker) = Harness::with_broker(|builder| builder).await;
        traffic(&app, &broker).await;
        // What was published has left at once; the marks are there, those of dead letters among them.
        assert_eq!(app.events::<crate::inbox::BookedV1>().len(), 1);
        assert_eq!(rows(&app).await, ([0, 0, 6, 1], 3));

        app.advance(6 * DAY).await;
        sweep(&app).await;
        assert_eq!(rows(&app).await, ([0, 0, 6, 0], 3), "within their window the marks stay");

        app.advance(DAY / 2).await;
        traffic(&app, &broker).await;
        assert_eq!(rows(&app).await, ([0, 0, 12, 1], 6));
        app.advance(DAY).await;
        sweep(&app).await;
        assert_eq!(rows(&app).await, ([0, 0, 6, 0], 6), "past their window they go, and no others");

        app.advance(365 * DAY).await;
        sweep(&app).await;
        assert_eq!(
            rows(&app).await,
            ([0, 0, 0, 0], 6),
            "an idle app keeps what nobody has decided about, and nothing else"
        );
        for dead in app.dead().await {
            assert!(app.discard(dead.id).await.unwrap());
        }
        assert_eq!(rows(&app).await, ([0, 0, 0, 0], 0));
        // What somebody did is remembered for 90 days.
        app.advance(89 * DAY).await;
        sweep(&app).await;
        assert_eq!(app.audit(9, None).await.unwrap().len(), 6);
        app.advance(2 * DAY).await;
        while !app.audit(9, None).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn g13_what_was_published_is_kept_for_the_outbox_retention() {
    bounded(async {
        let settings = cqrs::Settings::from_toml("outbox_retention = '2d'").unwrap();
        let (app, broker) = Harness::with_broker(|builder| builder.settings(settings)).await;
        traffic(&app, &broker).await;
        let kept = async || -> Vec<String> {
            let names = sqlx::query_scalar("SELECT name FROM cqrs_published ORDER BY seq");
            names.fetch_all(&app.probe.pool()).await.unwrap()
        };
        let names = kept().await;
        assert!(!names.is_empty());
        assert_eq!(rows(&app).await.0[0], 0, "it is not in the outbox any more");
        app.advance(DAY).await;
        sweep(&app).await;
        assert_eq!(kept().await, names);
        app.advance(2 * DAY).await;
        while !kept().await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
