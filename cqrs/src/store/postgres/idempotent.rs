//! Idempotency keys.

use std::time::{Duration, Instant, SystemTime};

use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{PgConnection, PgExecutor, PgPool, Postgres, Row};

use super::{PostgresStore, rows};
use crate::store::driver::IdempotentRequest;
use crate::store::names::Names;
use crate::store::{IdempotentClaim, IdempotentOutcome, StoreError};

/// How many keys one statement deletes: their responses may be large.
const PURGED_AT_ONCE: u16 = 100;

/// How often a key is asked for that somebody frees each time between a refusal and a look.
const ATTEMPTS: usize = 5;

/// A claim that did not wait asks for nothing more.
const NO_WAIT: Duration = Duration::from_millis(20);

/// A row that is not to be taken from whom it belongs to.
const LOOK: &str = "
SELECT payload, response, done_at IS NOT NULL AS done FROM cqrs_idempotent
WHERE name = $1 AND idempotency_key = $2 AND (done_at >= $3 OR lease_until > $4)";

/// Any other row is taken over. It waits for a transaction under way that has claimed the same key.
const CLAIM: &str = "
INSERT INTO cqrs_idempotent AS taken (name, idempotency_key, payload, token, lease_until) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (name, idempotency_key) DO UPDATE
SET payload = excluded.payload, token = excluded.token, lease_until = excluded.lease_until, response = NULL, done_at = NULL
WHERE taken.done_at < $6 OR taken.lease_until <= $7";

const RENEW: &str = "
UPDATE cqrs_idempotent SET lease_until = $1
WHERE name = $2 AND idempotency_key = $3 AND token = $4 AND done_at IS NULL";

const FREE: &str = "
DELETE FROM cqrs_idempotent WHERE name = $1 AND idempotency_key = $2 AND token = $3 AND done_at IS NULL";

const FINISH: &str = "
UPDATE cqrs_idempotent SET response = $1, done_at = $2, lease_until = NULL
WHERE name = $3 AND idempotency_key = $4 AND token = $5 AND done_at IS NULL";

const PURGE_DONE: &str = "
DELETE FROM cqrs_idempotent WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM cqrs_idempotent WHERE done_at < $1 ORDER BY done_at LIMIT $2 FOR UPDATE SKIP LOCKED
))";

const PURGE_LEFT: &str = "
DELETE FROM cqrs_idempotent WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM cqrs_idempotent WHERE lease_until < $1 ORDER BY lease_until LIMIT $2 FOR UPDATE SKIP LOCKED
))";

/// Every statement of this file, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[LOOK, CLAIM, RENEW, FREE, FINISH, PURGE_DONE, PURGE_LEFT];

impl PostgresStore {
    pub(super) async fn claim_key(&self, request: IdempotentRequest) -> Result<IdempotentOutcome, StoreError> {
        let asked = Instant::now();
        for _ in 0..ATTEMPTS {
            if let Some(outcome) = look(&self.names, &self.pool, &request).await? {
                return Ok(outcome);
            }
            let mut connection = self.pool.acquire().await?;
            if take(&self.names, &mut connection, &request).await? {
                begin_lease(&self.names, &mut connection, &request, asked).await?;
                return Ok(IdempotentOutcome::Claimed);
            }
        }
        Ok(IdempotentOutcome::Running)
    }
}

/// What is known of a key that is taken.
async fn look(
    names: &Names,
    executor: impl PgExecutor<'_>,
    request: &IdempotentRequest,
) -> Result<Option<IdempotentOutcome>, sqlx::Error> {
    let found = sqlx::query(names.sql(LOOK))
        .bind(rows::escaped(&request.claim.name))
        .bind(rows::escaped(&request.claim.key))
        .bind(rows::micros(request.kept_since))
        .bind(rows::micros(request.lease_now))
        .fetch_optional(executor)
        .await?;
    let Some(row) = found else { return Ok(None) };
    if row.try_get::<&[u8], _>("payload")? != request.payload {
        return Ok(Some(IdempotentOutcome::OtherPayload));
    }
    Ok(Some(if row.try_get("done")? {
        IdempotentOutcome::Done { response: row.try_get("response")? }
    } else {
        IdempotentOutcome::Running
    }))
}

/// Claims a key in a transaction of the user's, or says why not. A renewal elsewhere waits for nobody's transaction: a lease that
/// has run out is over.
pub(super) async fn claim_within(
    names: &Names,
    connection: &mut PgConnection,
    request: IdempotentRequest,
) -> Result<IdempotentOutcome, sqlx::Error> {
    let asked = Instant::now();
    for _ in 0..ATTEMPTS {
        if take(names, connection, &request).await? {
            begin_lease(names, connection, &request, asked).await?;
            return Ok(IdempotentOutcome::Claimed);
        }
        if let Some(outcome) = look(names, &mut *connection, &request).await? {
            return Ok(outcome);
        }
    }
    Ok(IdempotentOutcome::Running)
}

async fn take(names: &Names, connection: &mut PgConnection, request: &IdempotentRequest) -> Result<bool, sqlx::Error> {
    let claimed = sqlx::query(names.sql(CLAIM))
        .bind(rows::escaped(&request.claim.name))
        .bind(rows::escaped(&request.claim.key))
        .bind(request.payload.as_slice())
        .bind(request.claim.token)
        .bind(rows::micros(request.lease_until))
        .bind(rows::micros(request.kept_since))
        .bind(rows::micros(request.lease_now))
        .execute(connection)
        .await?;
    Ok(claimed.rows_affected() > 0)
}

/// A lease counts from when the key is claimed: whoever waited for another's transaction begins only now.
async fn begin_lease(
    names: &Names,
    connection: &mut PgConnection,
    request: &IdempotentRequest,
    asked: Instant,
) -> Result<(), sqlx::Error> {
    let waited = asked.elapsed();
    if waited > NO_WAIT {
        renewal(names, request.claim.clone(), request.lease_until + waited).execute(connection).await?;
    }
    Ok(())
}

fn renewal(names: &Names, claim: IdempotentClaim, lease_until: SystemTime) -> Query<'static, Postgres, PgArguments> {
    let statement = sqlx::query(names.sql(RENEW)).bind(rows::micros(lease_until));
    statement.bind(rows::escape(claim.name)).bind(rows::escape(claim.key)).bind(claim.token)
}

pub(super) async fn renew(
    names: &Names,
    pool: &PgPool,
    claim: IdempotentClaim,
    lease_until: SystemTime,
) -> Result<bool, sqlx::Error> {
    Ok(renewal(names, claim, lease_until).execute(pool).await?.rows_affected() > 0)
}

pub(super) async fn free(names: &Names, pool: &PgPool, claim: IdempotentClaim) -> Result<bool, sqlx::Error> {
    let statement =
        sqlx::query(names.sql(FREE)).bind(rows::escape(claim.name)).bind(rows::escape(claim.key)).bind(claim.token);
    Ok(statement.execute(pool).await?.rows_affected() > 0)
}

pub(super) async fn finish(
    names: &Names,
    connection: &mut PgConnection,
    claim: IdempotentClaim,
    response: Vec<u8>,
    now: SystemTime,
) -> Result<bool, sqlx::Error> {
    let statement = sqlx::query(names.sql(FINISH)).bind(response).bind(rows::micros(now));
    let statement = statement.bind(rows::escape(claim.name)).bind(rows::escape(claim.key)).bind(claim.token);
    Ok(statement.execute(connection).await?.rows_affected() > 0)
}

/// Deletes keys that nobody asks for any more, a few at a time.
pub(super) async fn purge(
    names: &Names,
    pool: &PgPool,
    done_before: SystemTime,
    lease_before: SystemTime,
) -> Result<u64, sqlx::Error> {
    let mut purged = 0;
    for (statement, before) in [(PURGE_DONE, done_before), (PURGE_LEFT, lease_before)] {
        loop {
            let few = sqlx::query(names.sql(statement)).bind(rows::micros(before)).bind(i64::from(PURGED_AT_ONCE));
            let count = few.execute(pool).await?.rows_affected();
            purged += count;
            if count < u64::from(PURGED_AT_ONCE) {
                break;
            }
        }
    }
    Ok(purged)
}
