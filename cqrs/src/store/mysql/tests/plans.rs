//! No statement reads a whole table, however large it has grown.

use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, Row};

use super::*;
use crate::store::mysql::{
    claim, dead, find, idempotent, inbox, leases, operate, outbox, page, rows, sagas, settle, timer, upkeep, work,
};

/// So many rows of events and as many of work.
const ROWS: u32 = 1_000_000;

/// Fewer where a row is like any other.
const FEWER: u32 = 200_000;

/// Sagas, most of them ended, and what belongs to them.
const SAGAS: &str = "
INSERT INTO cqrs_sagas (id, name, version, phase, context, digest, headers, owner, fence, lease_until, due_at, started_at, newest,
    changed_at, ended_at)
SELECT CONCAT('saga-', n), CONCAT('name-', n % 7), 1, CASE WHEN n % 100 = 0 THEN 'stuck' WHEN n % 50 = 5 THEN 'forward' ELSE 'completed' END,
    '{}', UNHEX(SHA2(n, 256)), '{}', IF(n % 500 = 5, CONCAT('owner-', n % 50), NULL), 1, IF(n % 500 = 5, n, NULL),
    IF(n % 50 = 5 AND n % 500 <> 5, n, NULL), n, -n, n, IF(n % 100 = 0 OR n % 50 = 5, NULL, n) FROM n;
INSERT INTO cqrs_saga_steps (saga, step, progress, attempt, in_doubt, wait_digest)
SELECT CONCAT('saga-', n), 'step', IF(n % 10 = 1, 'awaiting', 'done'), 1, FALSE, UNHEX(SHA2(n, 256)) FROM n;
INSERT INTO cqrs_saga_log (saga, number, step, is_undo, attempt, began_at, ended_at, progress)
SELECT CONCAT('saga-', n), 1, 'step', FALSE, 1, n, n, 'done' FROM fewer;
INSERT INTO cqrs_saga_events (id, saga, event, wait_key, wait_digest, version, payload, headers, arrived_at, untold)
SELECT UNHEX(MD5(n)), 's', 'e', n, UNHEX(SHA2(n, 256)), 1, '', '{}', n, IF(n % 1000 = 0, 1, NULL) FROM n;";

/// Fills the tables with rows in every state, most of them ready. With nothing to compare them to, the server builds an index of an
/// empty table at once instead of row by row.
async fn fill(store: &MySqlStore) {
    let fill = format!(
        "SET SESSION unique_checks = 0, foreign_key_checks = 0;
        CREATE VIEW n AS SELECT seq AS n FROM seq_1_to_{ROWS};
        CREATE VIEW fewer AS SELECT seq AS n FROM seq_1_to_{FEWER};
        INSERT INTO cqrs_outbox (id, name, version, topic, message_key, lane, shard, payload, headers, raised_at, due_at, state)
        SELECT UNHEX(MD5(n)), 'n', 1, 't', n % 500, n % 500, n % 16, 'payload', '{{}}', n, n,
            CASE WHEN n % 50 = 0 THEN 'waiting' WHEN n % 50 = 1 THEN 'parked' WHEN n % 5000 = 2 THEN 'dead' ELSE 'ready' END
        FROM n;
        INSERT INTO cqrs_work (id, kind, handler, consumer_group, queue, name, version, topic, lane, lane_digest, timer_key,
            timer_digest, payload, headers, created_at, state, due_at, attempts, owner, lease_until)
        SELECT UNHEX(MD5(n)), CASE WHEN n % 20 = 0 THEN 'timer' ELSE 'durable' END, 'h', '', UNHEX(MD5(n % 40)), 'n', 1, '',
            n % 500, UNHEX(SHA2(n % 500, 256)), n, UNHEX(SHA2(n, 256)), 'payload', '{{}}', n,
            CASE WHEN n % 50 = 0 THEN 'waiting' WHEN n % 50 = 1 THEN 'parked' WHEN n % 5000 = 2 THEN 'dead'
                WHEN n % 5000 = 3 THEN 'claimed' ELSE 'ready' END, n, 0, 'o', n
        FROM n;
        INSERT INTO cqrs_inbox SELECT UNHEX(MD5(n % 9)), UNHEX(MD5(n)), '', '', n, UNHEX(MD5(n)) FROM fewer;
        INSERT INTO cqrs_idempotent SELECT UNHEX(SHA2(n, 256)), '', '', REPEAT('p', 32), UNHEX(MD5(n)), n, NULL, n FROM fewer;
        INSERT INTO cqrs_audit (done_at, done_by, action, source, row_seq, message_id, name, note)
        SELECT n, 'anna', 'replay', 'work', n, UNHEX(MD5(n)), 'n', '' FROM fewer;
        {SAGAS}
        SET SESSION unique_checks = 1, foreign_key_checks = 1;
        ANALYZE TABLE cqrs_audit, cqrs_outbox, cqrs_work, cqrs_inbox, cqrs_idempotent, cqrs_sagas, cqrs_saga_steps, cqrs_saga_log,
            cqrs_saga_events"
    );
    sqlx::raw_sql(AssertSqlSafe(fill)).execute(&store.pool).await.unwrap();
}

/// With values in the place of marks: what a list or a mark is, an optimizer has to know.
fn filled(template: &str) -> String {
    let mut text = String::new();
    let listed = template
        .replace("lane_digest IN (#)", "lane_digest IN (UNHEX(SHA2(1, 256)), UNHEX(SHA2(2, 256)))")
        .replace("queue IN (#)", "queue IN (UNHEX(MD5(1)), UNHEX(MD5(2)))")
        .replace("queue = ?", "queue = UNHEX(MD5(1))")
        .replace("digest = ?", "digest = UNHEX(MD5(1))")
        .replace("digest IN (#)", "digest IN (UNHEX(SHA2(1, 256)), UNHEX(SHA2(2, 256)))")
        .replace("timer_slot IN (#)", "timer_slot IN (UNHEX(SHA2(1, 256)), UNHEX(SHA2(2, 256)))")
        .replace("owner = ?", "owner = '7'")
        .replace("timer_id = ?", "timer_id = UNHEX(MD5(1))")
        .replace("event_id = ?", "event_id = UNHEX(MD5(1))")
        .replace(" id = ?", " id = 'saga-7'")
        .replace("(id = ?", "(id = 'saga-7'")
        .replace(" id > ?", " id > 'saga-7'")
        .replace(" id IN (#)", " id IN ('saga-7', 'saga-8')")
        .replace("saga = ?", "saga = 'saga-7'")
        .replace("saga IN (#)", "saga IN ('saga-7', 'saga-8')")
        .replace("awaits IN (#)", "awaits IN (UNHEX(SHA2(1, 256)), UNHEX(SHA2(2, 256)))")
        .replace("phase = ?", "phase = 'stuck'")
        .replace("name = ?", "name = 'name-6'")
        .replace("shard IN (#)", "shard IN (1, 2, 3)")
        .replace("dead_lane IN (#)", "dead_lane IN (1, 2, 3)")
        .replace("lane IN (#)", "lane IN (1, 2, 3)")
        .replace("seq < ?", "seq < 9000");
    for (at, part) in listed.split(['?', '#']).enumerate() {
        text.push_str(if at == 0 { "" } else { "7" });
        text.push_str(part);
    }
    text
}

/// Those that are written anew for each list: with lists as long as they become.
fn built() -> Vec<String> {
    let numbers: Vec<i64> = (0..1_000).map(|n| if n < 500 { 5_000 + n } else { 5_000 + 7 * n }).collect();
    let few = &numbers[..rows::MOST_ROWS];
    let (_, published) = settle::PUBLISHED.rsplit_once(';').unwrap();
    let cases = few.iter().map(|seq| format!(" WHEN {seq} THEN 7")).collect::<Vec<_>>().concat();
    let listed = few.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
    let claimed = few
        .iter()
        .fold(rows::claimed_marks(few.len()), |text, seq| text.replacen("seq = ?", &format!("seq = {seq}"), 1));
    let marks: Vec<String> = few.iter().map(|n| format!("(UNHEX(MD5({})), UNHEX(MD5({n})))", n % 9)).collect();
    vec![
        published.replace('#', &settle::among("mine.seq", &numbers)),
        filled(&settle::RETRY.replace('#', &listed).replace('~', &cases)),
        filled(&format!("{}{claimed})", work::HOLD)),
        filled(&format!("{}{claimed})", work::HELD)),
        filled(&format!("{}({})", inbox::MINE, marks.join(", "))),
    ]
}

/// How many rows the server expects to read. It writes `17|3 (20%)` where it would filter them by another index.
fn expected(line: &MySqlRow) -> Option<i64> {
    let rows: Option<String> = line.get_unchecked("rows");
    rows?.split('|').next()?.parse().ok()
}

/// What the server would do: of each table, how it is read and by which index.
async fn plan(store: &MySqlStore, sql: &str) -> Vec<(Option<String>, Option<String>, Option<String>, Option<i64>)> {
    let text = AssertSqlSafe(format!("EXPLAIN {sql}"));
    let lines = sqlx::raw_sql(text).fetch_all(&store.pool).await.unwrap_or_else(|error| panic!("{sql}\n{error}"));
    lines.iter().map(|line| (line.get("table"), line.get("type"), line.get("key"), expected(line))).collect()
}

/// Counting and grouping reads an index from end to end; so does whoever looks once an hour for what is stranded, of what is
/// parked alone.
const COUNTING: [&str; 2] = ["COUNT(*)", "NOT EXISTS ("];

#[tokio::test]
async fn no_statement_scans_a_table_of_a_million_rows() {
    let (_place, store) = fresh().await;
    fill(&store).await;
    no_statement_scans_a_table(&store).await;
    what_every_poll_asks_is_found_by_the_narrowest_index(&store).await;
}

async fn no_statement_scans_a_table(store: &MySqlStore) {
    let fixed = [
        outbox::STATEMENTS,
        page::STATEMENTS,
        settle::STATEMENTS,
        work::STATEMENTS,
        claim::STATEMENTS,
        timer::STATEMENTS,
        inbox::STATEMENTS,
        idempotent::STATEMENTS,
        dead::STATEMENTS,
        upkeep::STATEMENTS,
        leases::STATEMENTS,
        find::STATEMENTS,
        operate::STATEMENTS,
    ]
    .into_iter()
    .chain(sagas::STATEMENTS)
    .collect::<Vec<_>>()
    .concat();
    assert!(fixed.len() > 60);
    let mut wrong = Vec::new();
    for sql in fixed.iter().map(|template| filled(template)).chain(built()) {
        for (table, kind, key, rows) in plan(store, &sql).await {
            let line = format!("{table:?} {kind:?} {key:?} {rows:?}\n{sql}");
            let table = table.unwrap_or_default();
            // Those of sixteen rows, and what the server has made itself, are small.
            if table.starts_with('<') || ["cqrs_shards", "held", "counted"].contains(&table.as_str()) || kind.is_none()
            {
                continue;
            }
            let is_scan = kind.as_deref() == Some("ALL");
            let is_counting = COUNTING.iter().any(|word| sql.contains(word));
            // A read in the order of an index ends with its limit, and who asks whether there is some with the first.
            let is_asking = sql.trim_start().starts_with("SELECT EXISTS (");
            let ends_early = is_asking || sql.contains("LIMIT") || sql.contains("MIN(");
            if is_scan || !(is_counting || ends_early || rows.is_none_or(|rows| rows < i64::from(FEWER) / 4)) {
                wrong.push(line);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

async fn what_every_poll_asks_is_found_by_the_narrowest_index(store: &MySqlStore) {
    for (template, index) in [
        (page::NEAR, "cqrs_outbox_state"),
        (page::NEAR, "cqrs_outbox_lane"),
        (page::READ, "cqrs_outbox_state"),
        (page::LAST, "cqrs_outbox_lane"),
        (page::FRONT, "cqrs_outbox_lane"),
        (page::BETWEEN, "cqrs_outbox_lane"),
        (outbox::DUE, "cqrs_outbox_wait"),
        (outbox::PARK, "PRIMARY"),
        (claim::LOCK, "PRIMARY"),
        (claim::FIND, "cqrs_work_state"),
        (claim::FIND, "cqrs_work_lane"),
        (claim::OVERDUE, "cqrs_work_due"),
        (claim::DUE, "cqrs_work_due"),
        (timer::LIST, "cqrs_work_timer_due"),
        (find::READY, "cqrs_outbox_state"),
        (find::TIMERS, "cqrs_work_timer_due"),
        (find::PURGE_AUDIT, "cqrs_audit_age"),
        (operate::TIMER_BY_ID, "cqrs_work_timer_id"),
        (idempotent::PURGE_DONE, "cqrs_idempotent_done"),
        (idempotent::PURGE_LEFT, "cqrs_idempotent_lease"),
        (sagas::DUE, "cqrs_sagas_due"),
        (sagas::LATE, "cqrs_sagas_lease"),
        (sagas::OWNED, "cqrs_sagas_lease"),
        (sagas::UNTOLD, "cqrs_saga_events_untold"),
        (sagas::WAITING, "cqrs_saga_steps_wait"),
        (sagas::AWAITED, "cqrs_saga_events_wait"),
        (sagas::LIST, "cqrs_sagas_started"),
        (sagas::LIST_NAMED, "cqrs_sagas_name"),
        (sagas::LIST_PHASE, "cqrs_sagas_phase"),
        (sagas::ENDED, "cqrs_sagas_ended"),
        (sagas::PURGE_EVENTS, "cqrs_saga_events_age"),
    ] {
        let sql = filled(template);
        let plan = plan(store, &sql).await;
        assert!(plan.iter().any(|(_, _, key, _)| key.as_deref() == Some(index)), "{index}\n{sql}\n{plan:#?}");
    }
}
