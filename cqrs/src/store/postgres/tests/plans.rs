//! No statement reads a whole table, however large it has grown.

use sqlx::Row;

use super::*;
use crate::store::postgres::{
    dead, find, idempotent, inbox, leases, operate, outbox, sagas, settle, timer, upkeep, work,
};

/// A million rows each of events and of work, in all states; fewer where a row is like any other.
const FILL: &[&str] = &[
    "INSERT INTO cqrs_outbox (id, name, version, topic, message_key, payload, headers, raised_at, due_at, shard, state)
     SELECT gen_random_uuid(), 'placed', 1, 'orders', 'key-' || n % 5000, '', '{}', n, n, n % 16,
        CASE WHEN n % 1000 = 0 THEN 'dead' WHEN n % 100 = 1 THEN 'waiting' WHEN n % 50 = 2 THEN 'parked' ELSE 'ready' END
     FROM generate_series(1, 1000000) AS n",
    "INSERT INTO cqrs_work (id, kind, handler, consumer_group, name, version, topic, lane, timer_key, payload, headers, created_at, state,
        due_at, owner, lease_until, attempts)
     SELECT gen_random_uuid(), CASE WHEN n % 10 = 0 THEN 'timer' ELSE 'consumed' END, 'handler-' || n % 20, 'billing', 'name-' || n % 7, 1,
        'orders', 'lane-' || n % 50000, CASE WHEN n % 10 = 0 THEN n::text END, '', '{}', n,
        (ARRAY['ready', 'waiting', 'waiting', 'parked', 'claimed', 'dead'])[1 + n % 6], n, 'owner-' || n % 50, n, 0
     FROM generate_series(1, 1000000) AS n",
    "INSERT INTO cqrs_inbox SELECT 'billing', 'handler-' || n % 20, gen_random_uuid(), n FROM generate_series(1, 300000) AS n",
    "INSERT INTO cqrs_idempotent (name, idempotency_key, payload, token, lease_until, done_at)
     SELECT 'name', n::text, '', gen_random_uuid(), CASE WHEN n % 2 = 0 THEN n END, CASE WHEN n % 2 = 1 THEN n END
     FROM generate_series(1, 200000) AS n",
    "INSERT INTO cqrs_audit (done_at, done_by, action, source, row_seq, message_id, name, note)
     SELECT n, 'anna', 'replay', 'work', n, gen_random_uuid(), 'name', '' FROM generate_series(1, 200000) AS n",
    "INSERT INTO cqrs_sagas (id, name, version, phase, context, digest, headers, owner, lease_until, due_at, started_at, changed_at, ended_at)
     SELECT 'saga-' || n, 'name-' || n % 7, 1,
        CASE WHEN n % 100 = 0 THEN 'stuck' WHEN n % 5 = 0 THEN 'forward' WHEN n % 100 = 1 THEN 'compensated' ELSE 'completed' END,
        '{}', '', '{}', CASE WHEN n % 500 = 5 THEN 'owner-' || n % 50 END, CASE WHEN n % 500 = 5 THEN n END,
        CASE WHEN n % 5 = 0 AND n % 100 <> 0 AND n % 500 <> 5 THEN n END, n, n, CASE WHEN n % 5 <> 0 THEN n END
     FROM generate_series(1, 1000000) AS n",
    "INSERT INTO cqrs_saga_steps (saga, step, progress, attempt, in_doubt, wait_saga, wait_event, wait_key)
     SELECT 'saga-' || n / 2, 'step-' || n % 2, CASE WHEN n % 10 = 1 THEN 'awaiting' ELSE 'done' END, 1, FALSE, 'name-' || n % 7,
        CASE WHEN n % 2 = 1 THEN 'event-' || n % 3 END, CASE WHEN n % 2 = 1 THEN n::text END
     FROM generate_series(1, 1000000) AS n",
    "INSERT INTO cqrs_saga_log (saga, number, step, is_undo, attempt, began_at, ended_at, progress)
     SELECT 'saga-' || n / 2, n % 2, 'step', FALSE, 1, n, n, 'done' FROM generate_series(1, 1000000) AS n",
    "INSERT INTO cqrs_saga_events (id, saga, event, wait_key, version, payload, headers, arrived_at, told)
     SELECT gen_random_uuid(), 'name-' || n % 7, 'event-' || n % 3, n::text, 1, '', '{}', n, n % 1000 > 0
     FROM generate_series(1, 1000000) AS n",
    "ANALYZE cqrs_audit, cqrs_outbox, cqrs_work, cqrs_inbox, cqrs_idempotent, cqrs_shards, cqrs_sagas, cqrs_saga_steps, cqrs_saga_log,
        cqrs_saga_events",
];

/// The plan that is made once, without looking at values, as PostgreSQL does for statements that stay prepared.
async fn plan(connection: &mut PgConnection, sql: &str) -> Vec<String> {
    let parameters = (1..=64).rev().find(|number| sql.contains(&format!("${number}"))).unwrap_or(0);
    run_on(connection, &format!("PREPARE it AS {sql}")).await.unwrap();
    let values = vec!["NULL"; parameters].join(", ");
    let call = if parameters == 0 { "it".to_owned() } else { format!("it ({values})") };
    let explain = sqlx::raw_sql(AssertSqlSafe(format!("EXPLAIN EXECUTE {call}")));
    let lines = sqlx::Executor::fetch_all(&mut *connection, explain).await.unwrap();
    run_on(connection, "DEALLOCATE it").await.unwrap();
    lines.iter().map(|line| line.get::<String, _>(0)).collect()
}

/// Whether a line of a plan reads a table from end to end. Of shards and processes there are a few.
fn scans(line: &str) -> bool {
    ["outbox", "work", "inbox", "idempotent", "audit", "sagas", "saga_steps", "saga_log", "saga_events"]
        .iter()
        .any(|table| line.contains(&format!("Seq Scan on cqrs_{table}")))
}

/// What the whole of a plan costs, by the planner's estimate.
fn cost(plan: &[String]) -> f64 {
    plan[0].split_once("..").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok()).unwrap()
}

/// Above it PostgreSQL compiles a statement each time before it runs it (`jit_above_cost`), which takes tens of milliseconds.
const COMPILED: f64 = 100_000.0;

#[tokio::test]
async fn no_statement_scans_a_table_of_a_million_rows() {
    let (_schema, store) = fresh().await;
    for sql in FILL {
        run_sql(&store.pool, sql).await;
    }
    let statements = [
        outbox::STATEMENTS,
        settle::STATEMENTS,
        leases::STATEMENTS,
        work::STATEMENTS,
        timer::STATEMENTS,
        inbox::STATEMENTS,
        idempotent::STATEMENTS,
        dead::STATEMENTS,
        upkeep::STATEMENTS,
        find::STATEMENTS,
        operate::STATEMENTS,
    ]
    .into_iter()
    .chain(sagas::STATEMENTS)
    .collect::<Vec<_>>()
    .concat();
    assert!(statements.len() > 50);
    let mut connection = store.pool.acquire().await.unwrap();
    run_on(&mut connection, "SET plan_cache_mode = force_generic_plan").await.unwrap();
    let mut wrong = Vec::new();
    for sql in statements {
        let plan = plan(&mut connection, sql).await;
        // Once in a while it looks at all that is parked.
        let is_costly = cost(&plan) > COMPILED && sql != work::FREE_STRANDED;
        if plan.iter().any(|line| scans(line)) || is_costly {
            wrong.push(format!("{sql}\n{}", plan.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    // With the values of everyday, too: a claim in the middle of a backlog takes what it needs, and nothing else is read.
    let claimed = claim(&store, 1, 100).await;
    assert_eq!(claimed.len(), 100);
    assert_eq!(publish(&store, &claimed).await, 100);
}

/// Who counts reads what is counted. It is an index that is read, where a vacuum has been there since most of it came; what reads a table
/// is named, with why, where it stands.
#[tokio::test]
async fn what_is_counted_is_counted_by_indexes_alone() {
    let (_schema, store) = fresh().await;
    for sql in &FILL[..3] {
        run_sql(&store.pool, sql).await;
    }
    // Of what somebody may still see otherwise it takes no note: others read and write in this database.
    let unseen = "SELECT (SELECT COUNT(*) FROM pg_class WHERE oid IN ('cqrs_outbox'::regclass, 'cqrs_work'::regclass)
        AND relallvisible < relpages)";
    for _ in 0..240 {
        run_sql(&store.pool, "VACUUM (ANALYZE) cqrs_outbox, cqrs_work, cqrs_inbox").await;
        if number(&store.pool, unseen).await == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let mut connection = store.pool.acquire().await.unwrap();
    run_on(&mut connection, "SET plan_cache_mode = force_generic_plan").await.unwrap();
    for sql in [upkeep::COUNTING, find::COUNTING].concat() {
        let plan = plan(&mut connection, sql).await;
        let read: Vec<&String> = plan.iter().filter(|line| line.contains("Scan ")).collect();
        assert!(read.len() > 5, "{}", plan.join("\n"));
        for (above, line) in plan.iter().zip(&plan[1..]).filter(|(_, line)| line.contains("Scan ")) {
            // The first of an order is one row.
            let is_first = line.contains("Index Scan using") && above.contains("Limit");
            // All of them are counted, and none is wider than its key: no index is read sooner than the table.
            let is_inbox = line.contains("Seq Scan on cqrs_inbox");
            assert!(is_first || is_inbox || line.contains("Index Only Scan"), "{line}\n{sql}\n{}", plan.join("\n"));
        }
    }
    for sql in upkeep::READING {
        let plan = plan(&mut connection, sql).await;
        assert!(plan.iter().any(|line| scans(line)), "it does not any more: {sql}\n{}", plan.join("\n"));
    }
}

/// Of how many rows a line of a plan says that they were given, or read and left out.
fn given(line: &str) -> Option<f64> {
    if let Some((_, left_out)) = line.split_once("Rows Removed by ") {
        return left_out.rsplit(' ').next()?.parse().ok();
    }
    let (_, told) = line.split_once("(actual rows=")?;
    told.split(' ').next()?.parse().ok()
}

#[tokio::test]
async fn a_claim_reads_what_it_gives_whatever_is_known_of_the_table() {
    let (_schema, store) = fresh().await;
    run_sql(&store.pool, "ALTER TABLE cqrs_outbox SET (autovacuum_enabled = false)").await;
    run_sql(&store.pool, FILL[0]).await;
    // Its rows are looked for.
    let mut under_way = store.pool.begin().await.unwrap();
    run_on(&mut under_way, "SELECT pg_current_xact_id()").await.unwrap();
    let mut connection = store.pool.acquire().await.unwrap();
    run_on(&mut connection, &format!("PREPARE it AS {}", outbox::READ)).await.unwrap();
    let shards = (0..16).map(|shard| shard.to_string()).collect::<Vec<_>>().join(",");
    let call = format!("it (5000, pg_current_snapshot()::text, 1000, '{{{shards}}}', -1, 1062, FALSE)");
    for known in ["SELECT 1", "ANALYZE cqrs_outbox"] {
        run_on(&mut connection, known).await.unwrap();
        for mode in ["force_custom_plan", "force_generic_plan"] {
            run_on(&mut connection, &format!("SET plan_cache_mode = {mode}")).await.unwrap();
            let explain = sqlx::raw_sql(AssertSqlSafe(format!("EXPLAIN (ANALYZE, TIMING OFF) EXECUTE {call}")));
            let lines = sqlx::Executor::fetch_all(&mut *connection, explain).await.unwrap();
            let plan: Vec<String> = lines.iter().map(|line| line.get(0)).collect();
            let (most, text) = (plan.iter().filter_map(|line| given(line)).fold(0.0, f64::max), plan.join("\n"));
            assert!((900.0..1500.0).contains(&most), "{known}, {mode}: {most} rows\n{text}");
            assert!(cost(&plan) < COMPILED, "{known}, {mode}\n{text}");
            assert!(!plan.iter().any(|line| scans(line)), "{known}, {mode}\n{text}");
        }
    }
}

/// A hundred thousand sagas wait, and ten thousand events have been told; some of each are due.
const WAITING: &[&str] = &[
    "ALTER TABLE cqrs_sagas SET (autovacuum_enabled = false)",
    "ALTER TABLE cqrs_saga_steps SET (autovacuum_enabled = false)",
    "INSERT INTO cqrs_sagas (id, name, version, phase, context, digest, headers, due_at, started_at, changed_at)
     SELECT 'saga-' || n, 'name', 1, 'forward', '{}', '', '{}', n, n, n FROM generate_series(1, 100000) AS n",
    "INSERT INTO cqrs_saga_steps (saga, step, progress, attempt, in_doubt, wait_saga, wait_event, wait_key)
     SELECT 'saga-' || n, 'step', 'awaiting', 0, FALSE, 'name', 'event', n::text FROM generate_series(1, 100000) AS n",
    "INSERT INTO cqrs_saga_events (id, saga, event, wait_key, version, payload, headers, arrived_at, told)
     SELECT gen_random_uuid(), 'name', 'event', n::text, 1, '', '{}', n, n > 5 FROM generate_series(1, 10000) AS n",
];

#[tokio::test]
async fn what_waits_costs_a_claim_of_sagas_nothing_and_neither_who_tells_them() {
    let (_schema, store) = fresh().await;
    for sql in WAITING {
        run_sql(&store.pool, sql).await;
    }
    let mut connection = store.pool.acquire().await.unwrap();
    let keys = (1..=20).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let all = |text: &str| format!("array_fill('{text}'::text, ARRAY[20])");
    let first = format!("it ({}, '{{{keys}}}', {}, 16384)", all("event"), all("name"));
    for (sql, call) in [
        (sagas::CLAIM, "it (5, 5, 10, 'owner', 1000000, '{}', FALSE)"),
        (sagas::TELL, "it (5, 1000)"),
        (sagas::FIRST_OF_EACH, &*first),
    ] {
        run_on(&mut connection, &format!("PREPARE it AS {sql}")).await.unwrap();
        for known in ["SELECT 1", "ANALYZE cqrs_sagas, cqrs_saga_steps, cqrs_saga_events"] {
            run_on(&mut connection, known).await.unwrap();
            for mode in ["force_custom_plan", "force_generic_plan"] {
                run_on(&mut connection, &format!("SET plan_cache_mode = {mode}; BEGIN")).await.unwrap();
                let explain = sqlx::raw_sql(AssertSqlSafe(format!("EXPLAIN (ANALYZE, TIMING OFF) EXECUTE {call}")));
                let lines = sqlx::Executor::fetch_all(&mut *connection, explain).await.unwrap();
                run_on(&mut connection, "ROLLBACK").await.unwrap();
                let plan: Vec<String> = lines.iter().map(|line| line.get(0)).collect();
                let (most, text) = (plan.iter().filter_map(|line| given(line)).fold(0.0, f64::max), plan.join("\n"));
                assert!((5.0..30.0).contains(&most), "{known}, {mode}: {most} rows\n{text}");
                assert!(!plan.iter().any(|line| scans(line)), "{known}, {mode}\n{text}");
            }
        }
        run_on(&mut connection, "DEALLOCATE it").await.unwrap();
    }
}

/// What each batch asks, and what settles what was published, is planned for any number of rows and not anew with each call: the
/// server makes five plans for the values at hand and compares.
#[tokio::test]
async fn what_every_batch_needs_keeps_its_plan() {
    let (schema, _) = fresh().await;
    let store = schema.lent(1).await;
    for n in 0..20_u128 {
        let mark = |which: u128| crate::store::InboxMark {
            group: "g".to_owned(),
            handler: "h".to_owned(),
            event_id: Uuid::from_u128(2 * n + which),
            at: at(1),
        };
        store.standings([0, 1].map(|which| (mark(which), Some("lane".to_owned()))).to_vec()).await.unwrap();
        keep_messages(&store, [message("m", Some("a")), message("m", Some("b"))]).await;
        let outcomes = claim(&store, 1, 10).await.iter().map(|row| (row.claim, OutboxOutcome::Published)).collect();
        assert_eq!(store.settle_outbox(outcomes).await.unwrap(), 2);
    }
    for statement in ["%AS asked%", "%, gone AS%"] {
        let kept = "SELECT COUNT(*) FROM pg_prepared_statements WHERE statement LIKE $1 AND generic_plans >= 10";
        let kept: i64 = sqlx::query_scalar(kept).bind(statement).fetch_one(&store.pool).await.unwrap();
        assert_eq!(kept, 1, "{statement}");
    }
}

/// What was published lies in the index until a vacuum, for as long as somebody has an old snapshot: a claim that finds nothing walks over
/// none of it.
#[tokio::test]
async fn an_empty_claim_walks_over_nothing_that_was_published() {
    let (_schema, store) = fresh().await;
    run_sql(&store.pool, "ALTER TABLE cqrs_outbox SET (autovacuum_enabled = false)").await;
    let fill = "INSERT INTO cqrs_outbox (id, name, version, topic, message_key, payload, headers, raised_at, due_at, shard)
        SELECT gen_random_uuid(), 'placed', 1, 'orders', 'key-' || n % 5000, '', '{}', n, n, n % 16 FROM generate_series(1, 100000) AS n";
    run_sql(&store.pool, fill).await;
    let mut old = store.pool.begin().await.unwrap();
    run_on(&mut old, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    run_on(&mut old, "SELECT COUNT(*) FROM cqrs_outbox").await.unwrap();
    run_sql(&store.pool, "DELETE FROM cqrs_outbox").await;
    let mut connection = store.pool.acquire().await.unwrap();
    run_on(&mut connection, &format!("PREPARE it AS {}", outbox::READ)).await.unwrap();
    let call = "it (100000, pg_current_snapshot()::text, 1000, '{0,1,2,3}', -1, 1062, FALSE)";
    let explain = sqlx::raw_sql(AssertSqlSafe(format!("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) EXECUTE {call}")));
    let lines = sqlx::Executor::fetch_all(&mut *connection, explain).await.unwrap();
    let plan: Vec<String> = lines.iter().map(|line| line.get(0)).collect();
    let pages = |line: &String| {
        line.split_once("shared hit=").and_then(|(_, rest)| rest.split(' ').next()?.parse::<u32>().ok())
    };
    let most = plan.iter().take_while(|line| !line.starts_with("Planning")).filter_map(pages).max().unwrap();
    assert!(most < 100, "{most} pages\n{}", plan.join("\n"));
}
