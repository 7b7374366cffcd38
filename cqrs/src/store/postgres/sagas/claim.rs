//! Sagas: handed out, renewed, handed back, and when the next one is due.

use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use sqlx::{PgConnection, PgPool, Row};

use super::events::first_of_each;
use super::rows::{self, saga_columns, step_columns};
use crate::BoxError;
use crate::store::claiming::Request;
use crate::store::names::Names;
use crate::store::postgres::PostgresStore;
use crate::store::{AwaitedEvent, ClaimedSaga, SagaClaim, SagaNames, SagaProgress, SagaStep, SagaWait, StoreError};

/// Sagas of the names that are meant. All that is asked for is in the index, where those of other names are passed by.
macro_rules! among {
    ($names:literal, $are_meant:literal) => {
        concat!("(name = ANY (", $names, "::text[])) = ", $are_meant, "::bool")
    };
}

/// Whether a claim would find something: asked outside of a transaction, so that an idle worker locks nothing. By what is due first: for
/// whether there is any the planner, which does not know the time, would read the table.
const ANYTHING: &str = concat!(
    "SELECT COALESCE((SELECT TRUE FROM cqrs_sagas WHERE due_at <= $1 AND ",
    among!("$3", "$4"),
    " ORDER BY due_at, id LIMIT 1), (SELECT TRUE FROM cqrs_sagas WHERE lease_until <= $2 AND ",
    among!("$3", "$4"),
    " ORDER BY lease_until, id LIMIT 1), FALSE)"
);

/// What is due, and what a process held that died or stalled; those first that were due first. What somebody else has locked he is about to
/// change: it is passed by.
pub(in crate::store::postgres) const CLAIM: &str = concat!(
    "WITH due AS (
        SELECT * FROM (
            SELECT id, due_at AS since, FALSE AS was_held FROM cqrs_sagas
            WHERE due_at <= $1 AND ",
    among!("$6", "$7"),
    " ORDER BY due_at, id LIMIT $3 FOR UPDATE SKIP LOCKED) AS free
        UNION ALL
        SELECT * FROM (
            SELECT id, lease_until, TRUE FROM cqrs_sagas
            WHERE lease_until <= $2 AND ",
    among!("$6", "$7"),
    " ORDER BY lease_until, id LIMIT $3 FOR UPDATE SKIP LOCKED) AS late
    ), mine AS (
        SELECT * FROM due ORDER BY since, id LIMIT $3
    ), taken AS (
        UPDATE cqrs_sagas SET owner = $4, lease_until = $5, fence = fence + 1, due_at = NULL, poked = FALSE
        WHERE id = ANY (ARRAY(SELECT id FROM mine)) RETURNING fence, ",
    saga_columns!(),
    ")
    SELECT taken.*, mine.was_held FROM taken JOIN mine ON mine.id = taken.id ORDER BY mine.since, mine.id"
);

/// Asked after the claim, in a statement of its own: what that one sees of steps may be older than the rows which it has locked.
const STEPS: &str = concat!("SELECT ", step_columns!(), " FROM cqrs_saga_steps WHERE saga = ANY ($1)");

/// Takes one out of the way that cannot be read. Somebody has to look, as at any that is stuck.
const SET_ASIDE: &str = "
UPDATE cqrs_sagas SET phase = 'stuck', why = 'unreadable', error = $2, owner = NULL, lease_until = NULL WHERE id = $1";

/// The owner is part of it: a fence moves on with the next owner only, so a saga that waits carries that of the claim it came from.
const RENEW: &str = "
UPDATE cqrs_sagas AS mine SET lease_until = $1
FROM unnest($2::text[], $3::bigint[]) AS held (id, fence)
WHERE mine.id = held.id AND mine.fence = held.fence AND mine.owner IS NOT NULL
RETURNING mine.id, mine.fence";

/// In one order, as everybody locks several rows. Few are held, and those have a lease.
const HAND_BACK: &str = "
UPDATE cqrs_sagas SET owner = NULL, lease_until = NULL, fence = fence + 1, due_at = $2
WHERE id = ANY (ARRAY(SELECT id FROM cqrs_sagas WHERE lease_until IS NOT NULL AND owner = $1 ORDER BY id FOR UPDATE))";

const NEXT_DUE: &str = concat!(
    "SELECT due_at FROM cqrs_sagas WHERE due_at IS NOT NULL AND ",
    among!("$1", "$2"),
    " ORDER BY due_at, id LIMIT 1"
);

/// Every statement of this file.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[ANYTHING, CLAIM, STEPS, SET_ASIDE, RENEW, HAND_BACK, NEXT_DUE];

impl PostgresStore {
    pub(super) async fn is_any_saga_due(&self, now: i64, lease_now: i64, names: SagaNames) -> Result<bool, StoreError> {
        let (listed, are_meant) = listed(names);
        let anything = sqlx::query_scalar(self.names.sql(ANYTHING)).bind(now).bind(lease_now).bind(listed);
        Ok(anything.bind(are_meant).fetch_one(&self.pool).await?)
    }

    pub(super) async fn take_sagas(&self, request: Request, names: SagaNames) -> Result<Vec<ClaimedSaga>, StoreError> {
        let (listed, are_meant) = listed(names);
        if request.limit == 0 {
            return Ok(Vec::new());
        }
        let mut tx = self.write().await?;
        let claimed = claim(&self.names, &mut tx, &request.granted(), &listed, are_meant).await?;
        tx.commit().await?;
        Ok(claimed)
    }
}

/// The names that are listed, as they are stored, and whether they are those that are meant.
fn listed(names: SagaNames) -> (Vec<String>, bool) {
    let (names, are_meant) = names.listed();
    (names.into_iter().map(rows::escape).collect(), are_meant)
}

async fn claim(
    names: &Names,
    connection: &mut PgConnection,
    request: &Request,
    listed: &[String],
    are_meant: bool,
) -> Result<Vec<ClaimedSaga>, sqlx::Error> {
    let found = sqlx::query(names.sql(CLAIM))
        .bind(request.now)
        .bind(request.lease_now)
        .bind(rows::limit(request.limit))
        .bind(request.owner.as_str())
        .bind(request.lease_until)
        .bind(listed)
        .bind(are_meant)
        .fetch_all(&mut *connection)
        .await?;
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let ids = found.iter().map(|row| row.try_get("id")).collect::<Result<Vec<String>, _>>()?;
    let mut steps = steps_of(names, connection, &ids).await?;
    let events = events_of(names, connection, &steps).await?;
    let mut claimed = Vec::with_capacity(found.len());
    for (row, stored) in found.iter().zip(ids) {
        let own = steps.remove(&stored).unwrap_or_default();
        match rows::saga(row).and_then(|row| Ok((row, own.into_iter().collect::<Result<Vec<_>, _>>()?))) {
            Ok((saga, steps)) => claimed.push(ClaimedSaga {
                claim: SagaClaim { id: saga.id.clone(), fence: row.try_get("fence")? },
                row: saga,
                events: steps.iter().filter_map(|step| events.get(waits_for(step)?)).cloned().collect(),
                steps,
                was_held: row.try_get("was_held")?,
            }),
            // One bad row must not hold up the others.
            Err(error) => set_aside(names, connection, stored, &error).await?,
        }
    }
    Ok(claimed)
}

/// The steps of sagas, by their ids as they are stored.
async fn steps_of(
    names: &Names,
    connection: &mut PgConnection,
    ids: &[String],
) -> Result<HashMap<String, Vec<Result<SagaStep, BoxError>>>, sqlx::Error> {
    let mut steps: HashMap<String, Vec<_>> = HashMap::new();
    for row in sqlx::query(names.sql(STEPS)).bind(ids).fetch_all(connection).await? {
        steps.entry(row.try_get("step_saga")?).or_default().push(rows::step(&row));
    }
    Ok(steps)
}

/// Events that have come for what steps wait for.
async fn events_of(
    names: &Names,
    connection: &mut PgConnection,
    steps: &HashMap<String, Vec<Result<SagaStep, BoxError>>>,
) -> Result<HashMap<SagaWait, AwaitedEvent>, sqlx::Error> {
    // Several sagas may wait for the same.
    let waits: HashSet<&SagaWait> = steps.values().flatten().flatten().filter_map(waits_for).collect();
    if waits.is_empty() { Ok(HashMap::new()) } else { first_of_each(names, connection, &waits).await }
}

fn waits_for(step: &SagaStep) -> Option<&SagaWait> {
    step.wait.as_ref().filter(|_| step.progress == SagaProgress::Awaiting)
}

async fn set_aside(
    names: &Names,
    connection: &mut PgConnection,
    id: String,
    error: &BoxError,
) -> Result<(), sqlx::Error> {
    tracing::error!(saga = id, %error, "a saga cannot be read: it is stuck");
    let error = rows::error_text(format!("the row cannot be read: {error}"));
    sqlx::query(names.sql(SET_ASIDE)).bind(id).bind(error).execute(connection).await.map(drop)
}

pub(super) async fn renew(
    names: &Names,
    pool: &PgPool,
    mut claims: Vec<SagaClaim>,
    lease_until: SystemTime,
) -> Result<Vec<SagaClaim>, sqlx::Error> {
    if claims.is_empty() {
        return Ok(claims);
    }
    // In one order, as everybody locks several rows.
    claims.sort_unstable_by(|one, other| one.id.cmp(&other.id));
    let (ids, fences): (Vec<String>, Vec<i64>) =
        claims.into_iter().map(|claim| (rows::escape(claim.id), claim.fence)).unzip();
    let statement = sqlx::query(names.sql(RENEW)).bind(rows::micros(lease_until)).bind(ids).bind(fences);
    let held = statement.fetch_all(pool).await?;
    held.iter().map(|row| Ok(SagaClaim { id: rows::text_of(row, "id")?, fence: row.try_get("fence")? })).collect()
}

pub(super) async fn hand_back(names: &Names, pool: &PgPool, owner: String, now: SystemTime) -> Result<(), sqlx::Error> {
    sqlx::query(names.sql(HAND_BACK)).bind(owner).bind(rows::micros(now)).execute(pool).await.map(drop)
}

pub(super) async fn next_due(
    names: &Names,
    pool: &PgPool,
    among: SagaNames,
) -> Result<Option<SystemTime>, sqlx::Error> {
    let (listed, are_meant) = listed(among);
    let next: Option<i64> =
        sqlx::query_scalar(names.sql(NEXT_DUE)).bind(listed).bind(are_meant).fetch_optional(pool).await?;
    Ok(next.map(rows::time))
}
