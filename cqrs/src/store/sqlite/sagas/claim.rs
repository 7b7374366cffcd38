//! Sagas: handed out, renewed, handed back, and when the next one is due.

use std::collections::HashMap;
use std::time::SystemTime;

use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection, SqlitePool};

use super::rows::{self, saga_columns, step_columns};
use crate::BoxError;
use crate::store::claiming::Request;
use crate::store::sqlite::SqliteStore;
use crate::store::{ClaimedSaga, SagaClaim, SagaNames, SagaStep, StoreError};

/// Sagas of the names that are meant. All that is asked for is in the index, where those of other names are passed by.
macro_rules! among {
    ($names:literal, $are_meant:literal) => {
        concat!("(name IN (SELECT value FROM json_each(", $names, "))) = ", $are_meant)
    };
}

/// Whether a claim would find something: asked without the write lock, so that an idle worker disturbs no writer.
pub(in crate::store::sqlite) const ANYTHING: &str = concat!(
    "SELECT EXISTS (SELECT 1 FROM cqrs_sagas WHERE due_at <= ?1 AND ",
    among!("?3", "?4"),
    ") OR EXISTS (SELECT 1 FROM cqrs_sagas WHERE lease_until <= ?2 AND ",
    among!("?3", "?4"),
    ")"
);

/// What is due, and what a process held that died or stalled, and was doubted; those first that were due first.
pub(in crate::store::sqlite) const FIND: &str = concat!(
    "SELECT seq, was_held FROM (
    SELECT * FROM (
        SELECT seq, id, due_at AS since, 0 AS was_held FROM cqrs_sagas
        WHERE due_at <= ?1 AND ",
    among!("?4", "?5"),
    " ORDER BY due_at, id LIMIT ?3)
    UNION ALL
    SELECT * FROM (
        SELECT seq, id, lease_until AS since, 1 AS was_held FROM cqrs_sagas
        WHERE lease_until <= ?2 AND doubted = 1 AND ",
    among!("?4", "?5"),
    " ORDER BY lease_until, id LIMIT ?3)
) ORDER BY since, id LIMIT ?3"
);

/// Doubts an owner whose lease has run out, and gives it so much longer to say that it lives: a renewal has to wait for whoever writes.
const DOUBT: &str = "
UPDATE cqrs_sagas SET doubted = 1, lease_until = ?2
WHERE seq IN (SELECT seq FROM cqrs_sagas WHERE lease_until <= ?1 AND doubted = 0 ORDER BY lease_until LIMIT 1000)";

const CLAIM: &str = concat!(
    "UPDATE cqrs_sagas
    SET owner = ?, lease_until = ?, fence = fence + 1, doubted = 0, due_at = NULL, poked = 0
    WHERE seq IN (SELECT value FROM json_each(?))
    RETURNING seq, fence, ",
    saga_columns!()
);

const STEPS: &str = concat!(
    "SELECT ",
    step_columns!(),
    " FROM cqrs_saga_steps
    WHERE saga IN (SELECT id FROM cqrs_sagas WHERE seq IN (SELECT value FROM json_each(?)))"
);

/// Takes one out of the way that cannot be read. Somebody has to look, as at any that is stuck.
const SET_ASIDE: &str = "
UPDATE cqrs_sagas SET phase = 'stuck', why = 'unreadable', error = ?, owner = NULL, lease_until = NULL WHERE seq = ?";

const HAND_BACK: &str = "
UPDATE cqrs_sagas SET owner = NULL, lease_until = NULL, fence = fence + 1, doubted = 0, due_at = ?
WHERE lease_until IS NOT NULL AND owner = ?";

pub(in crate::store::sqlite) const NEXT_DUE: &str = concat!(
    "SELECT due_at FROM cqrs_sagas WHERE due_at IS NOT NULL AND ",
    among!("?1", "?2"),
    " ORDER BY due_at, id LIMIT 1"
);

/// Every statement of this file whose text is fixed.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[ANYTHING, FIND, DOUBT, CLAIM, STEPS, SET_ASIDE, HAND_BACK, NEXT_DUE];

impl SqliteStore {
    pub(super) async fn is_any_saga_due(&self, now: i64, lease_now: i64, names: SagaNames) -> Result<bool, StoreError> {
        let (listed, are_meant) = listed(names);
        let anything = sqlx::query_scalar(ANYTHING).bind(now).bind(lease_now).bind(listed).bind(are_meant);
        self.named(anything.fetch_one(&self.pool).await)
    }

    pub(super) async fn take_sagas(&self, request: Request, names: SagaNames) -> Result<Vec<ClaimedSaga>, StoreError> {
        let (listed, are_meant) = listed(names);
        if request.limit == 0 {
            return Ok(Vec::new());
        }
        let mut tx = self.write().await?;
        let claimed = self.named(claim(&mut tx, &request.granted(), listed, are_meant).await)?;
        tx.commit().await?;
        Ok(claimed)
    }

    pub(super) async fn hold_sagas(
        &self,
        claims: Vec<SagaClaim>,
        lease_until: SystemTime,
    ) -> Result<Vec<SagaClaim>, StoreError> {
        if claims.is_empty() {
            return Ok(claims);
        }
        let mut tx = self.write().await?;
        let held = self.named(renew(&mut tx, claims, lease_until).await)?;
        tx.commit().await?;
        Ok(held)
    }
}

/// The names that are listed, as JSON, and whether they are those that are meant.
fn listed(names: SagaNames) -> (String, bool) {
    let (names, are_meant) = names.listed();
    (serde_json::Value::from(names).to_string(), are_meant)
}

async fn claim(
    connection: &mut SqliteConnection,
    request: &Request,
    listed: String,
    are_meant: bool,
) -> Result<Vec<ClaimedSaga>, sqlx::Error> {
    let found = sqlx::query_as(FIND).bind(request.now).bind(request.lease_now).bind(rows::limit(request.limit));
    let found: Vec<(i64, bool)> = found.bind(listed).bind(are_meant).fetch_all(&mut *connection).await?;
    let doubt = sqlx::query(DOUBT).bind(request.lease_now).bind(request.doubt_until());
    doubt.execute(&mut *connection).await?;
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let numbers = rows::list(&found.iter().map(|(seq, _)| *seq).collect::<Vec<_>>());
    let mut steps = steps_of(connection, &numbers).await?;
    let claim = sqlx::query(CLAIM).bind(request.owner.as_str()).bind(request.lease_until).bind(numbers);
    let mut taken = HashMap::with_capacity(found.len());
    for row in claim.fetch_all(&mut *connection).await? {
        let (id, fence): (String, i64) = (row.try_get("id")?, row.try_get("fence")?);
        let own = steps.remove(&id).unwrap_or_default();
        let seq: i64 = row.try_get("seq")?;
        match rows::saga(&row).and_then(|row| Ok((row, own.into_iter().collect::<Result<_, _>>()?))) {
            Ok((row, steps)) => drop(taken.insert(seq, (SagaClaim { id, fence }, row, steps))),
            // One bad row must not hold up the others.
            Err(error) => set_aside(connection, seq, &id, &error).await?,
        }
    }
    // `RETURNING` promises no order.
    let in_order = found.into_iter().filter_map(|(seq, was_held)| Some((taken.remove(&seq)?, was_held)));
    Ok(in_order
        .map(|((claim, row, steps), was_held)| ClaimedSaga { claim, row, steps, was_held, events: Vec::new() })
        .collect())
}

/// The steps of sagas, by their ids.
async fn steps_of(
    connection: &mut SqliteConnection,
    numbers: &str,
) -> Result<HashMap<String, Vec<Result<SagaStep, BoxError>>>, sqlx::Error> {
    let mut steps: HashMap<String, Vec<_>> = HashMap::new();
    for row in sqlx::query(STEPS).bind(numbers.to_owned()).fetch_all(connection).await? {
        steps.entry(row.try_get("step_saga")?).or_default().push(rows::step(&row));
    }
    Ok(steps)
}

async fn set_aside(connection: &mut SqliteConnection, seq: i64, id: &str, error: &BoxError) -> Result<(), sqlx::Error> {
    tracing::error!(saga = id, %error, "a saga cannot be read: it is stuck");
    let error = format!("the row cannot be read: {error}");
    sqlx::query(SET_ASIDE).bind(error).bind(seq).execute(connection).await.map(drop)
}

async fn renew(
    connection: &mut SqliteConnection,
    claims: Vec<SagaClaim>,
    lease_until: SystemTime,
) -> Result<Vec<SagaClaim>, sqlx::Error> {
    let mut held = Vec::with_capacity(claims.len());
    for claims in rows::chunks(claims, rows::rows_per_statement(2)) {
        let count = claims.len();
        for row in rows::fetch(connection, renewing(claims, lease_until), count).await? {
            held.push(SagaClaim { id: row.try_get("id")?, fence: row.try_get("fence")? });
        }
    }
    Ok(held)
}

/// The owner is part of it: a fence moves on with the next owner only, so a saga that waits carries that of the claim it came from.
pub(in crate::store::sqlite) fn renewing(claims: Vec<SagaClaim>, lease_until: SystemTime) -> QueryBuilder<Sqlite> {
    let mut statement = QueryBuilder::new("UPDATE cqrs_sagas SET doubted = 0, lease_until = ");
    statement.push_bind(rows::micros(lease_until)).push(" WHERE owner IS NOT NULL AND (id, fence) IN (");
    statement.push_values(claims, |mut row, claim| {
        row.push_bind(claim.id).push_bind(claim.fence);
    });
    statement.push(") RETURNING id, fence");
    statement
}

pub(super) async fn hand_back(writer: &SqlitePool, owner: String, now: SystemTime) -> Result<(), sqlx::Error> {
    sqlx::query(HAND_BACK).bind(rows::micros(now)).bind(owner).execute(writer).await.map(drop)
}

pub(super) async fn next_due(pool: &SqlitePool, names: SagaNames) -> Result<Option<SystemTime>, sqlx::Error> {
    let (listed, are_meant) = listed(names);
    let next: Option<i64> = sqlx::query_scalar(NEXT_DUE).bind(listed).bind(are_meant).fetch_optional(pool).await?;
    Ok(next.map(rows::time))
}
