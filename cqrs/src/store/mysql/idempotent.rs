//! Idempotency keys.

use std::time::{Duration, Instant, SystemTime};

use sqlx::{MySqlConnection, MySqlExecutor, Row};

use super::{MySqlStore, rows};
use crate::store::driver::IdempotentRequest;
use crate::store::names::Names;
use crate::store::{IdempotentClaim, IdempotentOutcome, StoreError};

/// How many keys one statement deletes: their responses may be large, and writers wait meanwhile.
const PURGED_AT_ONCE: u16 = 100;

/// How often a claim looks again, where the row was there and has gone, or the other way round.
const LOOKS: usize = 8;

/// A claim that did not wait asks for nothing more.
const NO_WAIT: Duration = Duration::from_millis(20);

/// Whether a row may be taken from whom it belongs to is asked with it: one lock less where it may not.
const LOOK: &str = "
SELECT payload, response, done_at IS NOT NULL AS done,
    COALESCE(done_at < ?, FALSE) OR COALESCE(lease_until <= ?, FALSE) AS free
FROM cqrs_idempotent WHERE digest = ?";

/// Waits where a transaction that has not ended has a row of this key.
const INSERT: &str = "
INSERT IGNORE INTO cqrs_idempotent (digest, name, idempotency_key, payload, token, lease_until)
VALUES (?, ?, ?, ?, ?, ?)";

const TAKE_OVER: &str = "
UPDATE cqrs_idempotent SET payload = ?, token = ?, lease_until = ?, response = NULL, done_at = NULL
WHERE digest = ? AND (done_at < ? OR lease_until <= ?)";

const RENEW: &str = "
UPDATE cqrs_idempotent SET lease_until = ? WHERE digest = ? AND token = ? AND done_at IS NULL";

const FREE: &str = "DELETE FROM cqrs_idempotent WHERE digest = ? AND token = ? AND done_at IS NULL";

const FINISH: &str = "
UPDATE cqrs_idempotent SET response = ?, done_at = ?, lease_until = NULL
WHERE digest = ? AND token = ? AND done_at IS NULL";

pub(super) const PURGE_DONE: &str = "DELETE FROM cqrs_idempotent WHERE done_at < ? ORDER BY done_at LIMIT ?";

pub(super) const PURGE_LEFT: &str = "DELETE FROM cqrs_idempotent WHERE lease_until < ? ORDER BY lease_until LIMIT ?";

/// Every statement of this file whose text is fixed, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[LOOK, TAKE_OVER, RENEW, FREE, FINISH, PURGE_DONE, PURGE_LEFT];

impl MySqlStore {
    /// Asked outside of any transaction first: the call that has the key may have its row locked, for as long as its
    /// transaction takes to commit.
    pub(super) async fn claim_key(&self, request: IdempotentRequest) -> Result<IdempotentOutcome, StoreError> {
        match self.named(look(&self.pool, &self.names, &request).await)? {
            Look::Taken(outcome) => return Ok(outcome),
            Look::Free | Look::Nothing => {}
        }
        let mut tx = self.write().await?;
        let outcome = self.named(claim(&mut tx, &self.names, request).await)?;
        self.named(tx.commit().await)?;
        Ok(outcome)
    }

    pub(super) async fn renew_key(&self, claim: IdempotentClaim, lease_until: SystemTime) -> Result<bool, StoreError> {
        let statement = sqlx::query(self.names.sql(RENEW)).bind(rows::micros(lease_until));
        let statement = statement.bind(digest(&claim)).bind(rows::id_bytes(claim.token));
        Ok(self.named(statement.execute(&self.pool).await)?.rows_affected() > 0)
    }

    pub(super) async fn free_key(&self, claim: IdempotentClaim) -> Result<bool, StoreError> {
        let statement = sqlx::query(self.names.sql(FREE)).bind(digest(&claim)).bind(rows::id_bytes(claim.token));
        Ok(self.named(statement.execute(&self.pool).await)?.rows_affected() > 0)
    }

    /// Deletes keys that nobody asks for any more, a few at a time.
    pub(super) async fn purge_keys(
        &self,
        done_before: SystemTime,
        lease_before: SystemTime,
    ) -> Result<u64, StoreError> {
        let mut purged = 0;
        for (statement, before) in [(PURGE_DONE, done_before), (PURGE_LEFT, lease_before)] {
            loop {
                let mut tx = self.write().await?;
                let few = sqlx::query(self.names.sql(statement)).bind(rows::micros(before)).bind(PURGED_AT_ONCE);
                let count = self.named(few.execute(&mut *tx).await)?.rows_affected();
                self.named(tx.commit().await)?;
                purged += count;
                if count < u64::from(PURGED_AT_ONCE) {
                    break;
                }
            }
        }
        Ok(purged)
    }
}

fn digest(claim: &IdempotentClaim) -> Vec<u8> {
    rows::digest(&[&claim.name, &claim.key]).to_vec()
}

/// What a look at a key finds.
enum Look {
    /// No row.
    Nothing,
    /// A row that may be taken over.
    Free,
    /// A row that may not.
    Taken(IdempotentOutcome),
}

async fn look(
    executor: impl MySqlExecutor<'_>,
    names: &Names,
    request: &IdempotentRequest,
) -> Result<Look, sqlx::Error> {
    let found = sqlx::query(names.sql(LOOK))
        .bind(rows::micros(request.kept_since))
        .bind(rows::micros(request.lease_now))
        .bind(digest(&request.claim))
        .fetch_optional(executor)
        .await?;
    let Some(row) = found else { return Ok(Look::Nothing) };
    if row.try_get("free")? {
        return Ok(Look::Free);
    }
    if row.try_get::<&[u8], _>("payload")? != request.payload {
        return Ok(Look::Taken(IdempotentOutcome::OtherPayload));
    }
    Ok(Look::Taken(if row.try_get("done")? {
        IdempotentOutcome::Done { response: row.try_get("response")? }
    } else {
        IdempotentOutcome::Running
    }))
}

/// Claims a key, or says why not. A row is asked for a lock only where it may be taken: whoever renews or ends what runs
/// would otherwise wait for this transaction.
pub(super) async fn claim(
    connection: &mut MySqlConnection,
    names: &Names,
    request: IdempotentRequest,
) -> Result<IdempotentOutcome, sqlx::Error> {
    let asked = Instant::now();
    for _ in 0..LOOKS {
        let claimed = match look(&mut *connection, names, &request).await? {
            Look::Taken(outcome) => return Ok(outcome),
            Look::Nothing => insert(connection, names, &request).await?,
            Look::Free => take_over(connection, names, &request).await?,
        };
        if claimed {
            // A lease counts from when the key is claimed.
            if asked.elapsed() > NO_WAIT {
                let statement = sqlx::query(names.sql(RENEW)).bind(rows::micros(request.lease_until + asked.elapsed()));
                let statement = statement.bind(digest(&request.claim)).bind(rows::id_bytes(request.claim.token));
                statement.execute(connection).await?;
            }
            return Ok(IdempotentOutcome::Claimed);
        }
    }
    Ok(IdempotentOutcome::Running)
}

async fn insert(
    connection: &mut MySqlConnection,
    names: &Names,
    request: &IdempotentRequest,
) -> Result<bool, sqlx::Error> {
    let inserted = sqlx::query(names.sql(INSERT))
        .bind(digest(&request.claim))
        .bind(request.claim.name.clone().into_bytes())
        .bind(request.claim.key.clone().into_bytes())
        .bind(request.payload.to_vec())
        .bind(rows::id_bytes(request.claim.token))
        .bind(rows::micros(request.lease_until))
        .execute(connection)
        .await?;
    Ok(inserted.rows_affected() > 0)
}

async fn take_over(
    connection: &mut MySqlConnection,
    names: &Names,
    request: &IdempotentRequest,
) -> Result<bool, sqlx::Error> {
    let taken = sqlx::query(names.sql(TAKE_OVER))
        .bind(request.payload.to_vec())
        .bind(rows::id_bytes(request.claim.token))
        .bind(rows::micros(request.lease_until))
        .bind(digest(&request.claim))
        .bind(rows::micros(request.kept_since))
        .bind(rows::micros(request.lease_now))
        .execute(connection)
        .await?;
    Ok(taken.rows_affected() > 0)
}

pub(super) async fn finish(
    connection: &mut MySqlConnection,
    names: &Names,
    claim: IdempotentClaim,
    response: Vec<u8>,
    now: SystemTime,
) -> Result<bool, sqlx::Error> {
    let statement = sqlx::query(names.sql(FINISH)).bind(response).bind(rows::micros(now));
    let statement = statement.bind(digest(&claim)).bind(rows::id_bytes(claim.token));
    Ok(statement.execute(connection).await?.rows_affected() > 0)
}
