//! No statement reads a whole table, however large it has grown.

use sqlx::{QueryBuilder, Row};

use super::*;
use crate::store::sqlite::{
    dead, find, idempotent, inbox, leases, operate, outbox, rows, sagas, settle, timer, upkeep, work,
};
use crate::store::{InboxMark, SagaClaim, SagaProgress, SagaStep};

/// What SQLite would do, line by line.
async fn plan(store: &SqliteStore, sql: &str) -> Vec<String> {
    let lines = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"))).fetch_all(&store.pool).await.unwrap();
    lines.iter().map(|line| line.get::<String, _>("detail")).collect()
}

/// Whether a line of a plan reads a table of ours from end to end. An index may be: a partial one holds few rows, and
/// counting is reading, the inbox's own order being an index too.
fn scans(line: &str) -> bool {
    let ours = ["cqrs_", "mine", "earlier", "found", "known", "saga", "step"]
        .iter()
        .any(|name| line.starts_with(&format!("SCAN {name}")));
    ours && !line.contains("INDEX") && line != "SCAN cqrs_inbox"
}

fn held(text: &str) -> String {
    let mut statement = QueryBuilder::new(text);
    rows::push_held(&mut statement, &[Claim { seq: 1, fence: 1 }, Claim { seq: 2, fence: 1 }]);
    statement.sql().as_str().to_owned()
}

fn of_sagas() -> [String; 2] {
    let claims = ["a", "b"].map(|id| SagaClaim { id: id.to_owned(), fence: 1 }).to_vec();
    let step = SagaStep {
        step: "s".to_owned(),
        progress: SagaProgress::Done,
        attempt: 1,
        in_doubt: false,
        due_at: None,
        wait: None,
        event: None,
        returned: None,
        error: None,
    };
    [
        sagas::renewing(claims, SystemTime::UNIX_EPOCH).sql().as_str().to_owned(),
        sagas::upserting("a", vec![step]).sql().as_str().to_owned(),
    ]
}

#[tokio::test]
async fn no_statement_scans_a_table() {
    let (_dir, store) = fresh().await;
    let fixed = [
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
    ];
    let mark =
        InboxMark { group: "g".to_owned(), handler: "h".to_owned(), event_id: Uuid::nil(), at: SystemTime::UNIX_EPOCH };
    let built = [
        inbox::standings_of(&[(mark.clone(), None), (mark, Some("lane".to_owned()))]).sql().as_str().to_owned(),
        held("UPDATE cqrs_work SET lease_until = 1 WHERE "),
        timer::replacing(vec![("a".to_owned(), "b".to_owned()); 3]).sql().as_str().to_owned(),
    ];
    let built = built.into_iter().chain(of_sagas()).collect::<Vec<_>>();
    let fixed = [fixed.concat(), sagas::STATEMENTS.concat()].concat();
    let statements: Vec<&str> = fixed.into_iter().chain(built.iter().map(String::as_str)).collect();
    assert!(statements.len() > 30);
    for sql in statements {
        let plan = plan(&store, sql).await;
        assert!(!plan.iter().any(|line| scans(line)), "{sql}\n{plan:#?}");
    }
}

#[tokio::test]
async fn claims_use_the_index_that_gives_their_order() {
    let (_dir, store) = fresh().await;
    for (sql, index) in [
        (outbox::READ, "cqrs_outbox_state"),
        (outbox::READ, "cqrs_outbox_held"),
        (work::STATEMENTS[3], "cqrs_work_state"),
        (work::STATEMENTS[3], "cqrs_work_lane"),
        (timer::STATEMENTS[1], "cqrs_work_timer_due"),
        (find::LIST, "cqrs_outbox_state"),
        (find::FIND_OUTBOX, "cqrs_outbox_dead"),
        (find::FIND_WORK, "cqrs_work_dead"),
        (find::TIMERS, "cqrs_work_timer_due"),
        (sagas::LIST, "cqrs_sagas_started"),
        (sagas::LIST_NAMED, "cqrs_sagas_name"),
        (sagas::LIST_PHASE, "cqrs_sagas_phase"),
        (sagas::AWAITED, "cqrs_saga_events_wait"),
    ] {
        let plan = plan(&store, sql).await;
        assert!(plan.iter().any(|line| line.contains(index)), "{index}\n{sql}\n{plan:#?}");
        assert!(!plan.iter().any(|line| line.contains("TEMP B-TREE FOR ORDER BY")), "{sql}\n{plan:#?}");
    }
}

/// What looks for a time finds it by its time, and what names rows by their number: an index of states holds as many rows
/// as wait.
#[tokio::test]
async fn statements_of_every_poll_use_the_narrowest_index() {
    let (_dir, store) = fresh().await;
    let [renewing, _] = of_sagas();
    for (sql, index) in [
        (leases::STATEMENTS[0], "cqrs_outbox_due"),
        (leases::STATEMENTS[1], "cqrs_outbox_due"),
        (outbox::NEXT, "cqrs_outbox_due"),
        (settle::STATEMENTS[0], "INTEGER PRIMARY KEY"),
        (work::PARK, "INTEGER PRIMARY KEY"),
        (idempotent::PURGE_DONE, "cqrs_idempotent_done"),
        (idempotent::PURGE_LEFT, "cqrs_idempotent_lease"),
        (find::TIMERS_NAMED, "cqrs_work_timer_key"),
        (find::PURGE_AUDIT, "cqrs_audit_age"),
        (operate::BY_ID, "cqrs_work_timer_id"),
        (sagas::ANYTHING, "cqrs_sagas_due"),
        (sagas::ANYTHING, "cqrs_sagas_lease"),
        (sagas::DUE, "cqrs_sagas_due"),
        (sagas::DUE, "cqrs_sagas_lease"),
        (sagas::NEXT_DUE, "cqrs_sagas_due"),
        (sagas::WAKE, "cqrs_saga_steps_wait"),
        (sagas::PURGE, "cqrs_sagas_ended"),
        (sagas::PURGE_EVENTS, "cqrs_saga_events_age"),
        (&renewing, "cqrs_sagas_id"),
    ] {
        let plan = plan(&store, sql).await;
        assert!(plan.iter().any(|line| line.contains(index)), "{index}\n{sql}\n{plan:#?}");
    }
}
