//! Idempotency keys.

use std::time::{Duration, Instant, SystemTime};

use sqlx::{Row, SqliteConnection, SqliteExecutor, SqlitePool};

use super::{SqliteStore, rows};
use crate::store::driver::IdempotentRequest;
use crate::store::{IdempotentClaim, IdempotentOutcome, StoreError};

/// How many keys one statement deletes: their responses may be large, and writers wait meanwhile.
const PURGED_AT_ONCE: u16 = 100;

/// A row that is not to be taken from whom it belongs to.
const LOOK: &str = "
SELECT payload, response, done_at IS NOT NULL AS done FROM cqrs_idempotent
WHERE name = ? AND idempotency_key = ? AND (done_at >= ? OR lease_until > ?)";

/// Any other row is taken over, but one whose lease has run out only once its owner was doubted.
const CLAIM: &str = "
INSERT INTO cqrs_idempotent (name, idempotency_key, payload, token, lease_until) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (name, idempotency_key) DO UPDATE
SET payload = excluded.payload, token = excluded.token, lease_until = excluded.lease_until, response = NULL, done_at = NULL,
    doubted = 0
WHERE cqrs_idempotent.done_at < ? OR (cqrs_idempotent.lease_until <= ? AND cqrs_idempotent.doubted = 1)";

/// Doubts an owner whose lease has run out, and gives it so much longer to say that it lives: see the outbox.
const DOUBT: &str = "
UPDATE cqrs_idempotent SET doubted = 1, lease_until = ?
WHERE name = ? AND idempotency_key = ? AND lease_until <= ? AND doubted = 0";

const RENEW: &str = "
UPDATE cqrs_idempotent SET lease_until = ?, doubted = 0
WHERE name = ? AND idempotency_key = ? AND token = ? AND done_at IS NULL";

const FREE: &str = "
DELETE FROM cqrs_idempotent WHERE name = ? AND idempotency_key = ? AND token = ? AND done_at IS NULL";

const FINISH: &str = "
UPDATE cqrs_idempotent SET response = ?, done_at = ?, lease_until = NULL
WHERE name = ? AND idempotency_key = ? AND token = ? AND done_at IS NULL";

pub(super) const PURGE_DONE: &str = "
DELETE FROM cqrs_idempotent WHERE rowid IN (SELECT rowid FROM cqrs_idempotent WHERE done_at < ? LIMIT ?)";

pub(super) const PURGE_LEFT: &str = "
DELETE FROM cqrs_idempotent WHERE rowid IN (SELECT rowid FROM cqrs_idempotent WHERE lease_until < ? LIMIT ?)";

/// Every statement of this file whose text is fixed, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[LOOK, CLAIM, DOUBT, RENEW, FREE, FINISH, PURGE_DONE, PURGE_LEFT];

impl SqliteStore {
    /// Asked without the write lock first: the call that has the key may hold it, for as long as its handler takes.
    pub(super) async fn claim_key(&self, request: IdempotentRequest) -> Result<IdempotentOutcome, StoreError> {
        if let Some(outcome) = self.named(look(&self.pool, &request).await)? {
            return Ok(outcome);
        }
        let asked = Instant::now();
        let mut tx = self.write().await?;
        let waited = asked.elapsed();
        let request = IdempotentRequest { lease_until: request.lease_until + waited, ..request };
        let mut outcome = self.named(claim(&mut tx, &request).await)?;
        if outcome.is_none() {
            self.named(doubt(&mut tx, &request, waited).await)?;
            outcome = self.named(look(&mut *tx, &request).await)?;
        }
        tx.commit().await?;
        Ok(outcome.unwrap_or(IdempotentOutcome::Running))
    }
}

/// What is known of a key that is taken.
async fn look(
    executor: impl SqliteExecutor<'_>,
    request: &IdempotentRequest,
) -> Result<Option<IdempotentOutcome>, sqlx::Error> {
    let found = sqlx::query(LOOK)
        .bind(request.claim.name.as_str())
        .bind(request.claim.key.as_str())
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

/// Claims a key in a transaction of the user's, or says why not. Nobody can have renewed a lease since that began: a key is its
/// owner's until the call is done.
pub(super) async fn claim_within(
    connection: &mut SqliteConnection,
    request: IdempotentRequest,
) -> Result<IdempotentOutcome, sqlx::Error> {
    let request = IdempotentRequest { lease_now: SystemTime::UNIX_EPOCH, ..request };
    Ok(claim(connection, &request).await?.unwrap_or(IdempotentOutcome::Running))
}

/// Claims a key, or says why not; `None` where the lease of whom it belongs to has run out, and it was not doubted yet.
async fn claim(
    connection: &mut SqliteConnection,
    request: &IdempotentRequest,
) -> Result<Option<IdempotentOutcome>, sqlx::Error> {
    let claimed = sqlx::query(CLAIM)
        .bind(request.claim.name.as_str())
        .bind(request.claim.key.as_str())
        .bind(request.payload.as_slice())
        .bind(rows::id_bytes(request.claim.token))
        .bind(rows::micros(request.lease_until))
        .bind(rows::micros(request.kept_since))
        .bind(rows::micros(request.lease_now))
        .execute(&mut *connection)
        .await?;
    if claimed.rows_affected() > 0 {
        return Ok(Some(IdempotentOutcome::Claimed));
    }
    look(connection, request).await
}

/// Doubts whom a key belongs to. Whoever looks holds the write lock: after it the owner can write, too. It had to wait for its
/// own turn as long as this one did.
async fn doubt(
    connection: &mut SqliteConnection,
    request: &IdempotentRequest,
    waited: Duration,
) -> Result<(), sqlx::Error> {
    let lease = request.lease_until.duration_since(request.lease_now).unwrap_or_default().saturating_sub(waited);
    let statement = sqlx::query(DOUBT)
        .bind(rows::micros(request.lease_now + waited + lease / 3))
        .bind(request.claim.name.as_str())
        .bind(request.claim.key.as_str())
        .bind(rows::micros(request.lease_now));
    statement.execute(connection).await.map(drop)
}

pub(super) async fn renew(
    writer: &SqlitePool,
    claim: IdempotentClaim,
    lease_until: SystemTime,
) -> Result<bool, sqlx::Error> {
    let statement = sqlx::query(RENEW).bind(rows::micros(lease_until));
    let statement = statement.bind(claim.name).bind(claim.key).bind(rows::id_bytes(claim.token));
    Ok(statement.execute(writer).await?.rows_affected() > 0)
}

pub(super) async fn free(writer: &SqlitePool, claim: IdempotentClaim) -> Result<bool, sqlx::Error> {
    let statement = sqlx::query(FREE).bind(claim.name).bind(claim.key).bind(rows::id_bytes(claim.token));
    Ok(statement.execute(writer).await?.rows_affected() > 0)
}

pub(super) async fn finish(
    connection: &mut SqliteConnection,
    claim: IdempotentClaim,
    response: Vec<u8>,
    now: SystemTime,
) -> Result<bool, sqlx::Error> {
    let statement = sqlx::query(FINISH).bind(response).bind(rows::micros(now));
    let statement = statement.bind(claim.name).bind(claim.key).bind(rows::id_bytes(claim.token));
    Ok(statement.execute(connection).await?.rows_affected() > 0)
}

/// Deletes keys that nobody asks for any more, a few at a time.
pub(super) async fn purge(
    writer: &SqlitePool,
    done_before: SystemTime,
    lease_before: SystemTime,
) -> Result<u64, sqlx::Error> {
    let mut purged = 0;
    for (statement, before) in [(PURGE_DONE, done_before), (PURGE_LEFT, lease_before)] {
        loop {
            let few = sqlx::query(statement).bind(rows::micros(before)).bind(i64::from(PURGED_AT_ONCE));
            let count = few.execute(writer).await?.rows_affected();
            purged += count;
            if count < u64::from(PURGED_AT_ONCE) {
                break;
            }
        }
    }
    Ok(purged)
}
