//! Sagas: started, claimed (`claim`), changed, looked at (`find`).

mod claim;
mod find;

use std::time::SystemTime;

use sqlx::{QueryBuilder, Row, SqliteConnection};

use super::{SqliteStore, rows};
use crate::store::claiming::Request;
use crate::store::driver::{BoxFuture, ClaimRequest};
use crate::store::{
    AwaitedEvent, ClaimedSaga, SagaAsked, SagaChange, SagaClaim, SagaFilter, SagaLog, SagaRest, SagaRow, SagaSaved,
    SagaStart, SagaStarted, SagaStep, SagaUse, SagaWait, Sagas, StoreError,
};

const START: &str = "
INSERT INTO cqrs_sagas (id, name, version, phase, context, digest, headers, owner, lease_until, started_at, changed_at)
VALUES (?1, ?2, ?3, 'forward', ?4, ?5, ?6, ?7, ?8, ?9, ?9) ON CONFLICT (id) DO NOTHING RETURNING fence";

const KNOWN: &str = "SELECT name, version, digest FROM cqrs_sagas WHERE id = ?";

/// Who lets it go while something is asked of it, or it was poked, makes it due at once.
const SAVE: &str = "
UPDATE cqrs_sagas SET phase = ?3, why = ?4, context = COALESCE(?5, context), is_cancelled = ?6, cuts = ?7, error = ?8,
    logged = logged + ?9, changed_at = ?10, asked = CASE WHEN asked = ?11 THEN NULL ELSE asked END,
    owner = CASE WHEN ?12 THEN owner END, lease_until = CASE WHEN ?12 THEN lease_until END,
    due_at = CASE WHEN ?12 THEN NULL
        WHEN asked IS NOT NULL AND asked IS NOT ?11 THEN ?10
        WHEN ?13 IS NOT NULL AND poked = 1 THEN ?10
        ELSE ?13 END
WHERE id = ?1 AND fence = ?2 AND owner IS NOT NULL RETURNING asked";

const RENEW: &str = "
UPDATE cqrs_sagas SET lease_until = ?, doubted = 0 WHERE id = ? AND fence = ? AND owner IS NOT NULL";

const HAND_BACK: &str = "
UPDATE cqrs_sagas SET owner = NULL, lease_until = NULL, doubted = 0, fence = fence + 1, due_at = ?2 WHERE owner = ?1";

const ASK: &str = "
UPDATE cqrs_sagas SET asked = ?2, due_at = CASE WHEN owner IS NULL THEN ?4 END WHERE id = ?1 AND phase = ?3";

const POKE: &str = "
UPDATE cqrs_sagas SET poked = 1, due_at = CASE WHEN owner IS NULL THEN ?2 END
WHERE id = ?1 AND phase NOT IN ('completed', 'compensated')";

const IS_UNTOLD: &str = "SELECT EXISTS (SELECT 1 FROM cqrs_saga_events WHERE told = 0)";

const TELL: &str = "
UPDATE cqrs_sagas SET poked = 1, due_at = CASE WHEN owner IS NULL THEN ?1 END WHERE id IN (
    SELECT step.saga FROM cqrs_saga_events AS came CROSS JOIN cqrs_saga_steps AS step
    WHERE came.told = 0 AND step.progress = 'awaiting' AND step.wait_key = came.wait_key AND step.wait_event = came.event
        AND step.wait_saga = came.saga
) AND phase NOT IN ('completed', 'compensated')";

const TOLD: &str = "UPDATE cqrs_saga_events SET told = 1 WHERE told = 0";

const KEEP: &str = "
INSERT INTO cqrs_saga_events (id, saga, event, wait_key, version, payload, headers, came_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)";

/// Every statement of this folder whose text is fixed, for the test that none of them scans a table.
#[cfg(test)]
pub(super) fn statements() -> Vec<&'static str> {
    let own = [START, KNOWN, SAVE, RENEW, HAND_BACK, ASK, POKE, IS_UNTOLD, TELL, TOLD, KEEP];
    [&own[..], claim::STATEMENTS, find::STATEMENTS].concat()
}

impl SqliteStore {
    async fn start_saga(&self, start: SagaStart) -> Result<SagaStarted, StoreError> {
        let mut tx = self.write().await?;
        let new = sqlx::query(START)
            .bind(start.id.as_str())
            .bind(start.name)
            .bind(i64::from(start.version))
            .bind(start.context)
            .bind(start.digest.to_vec())
            .bind(rows::headers_text(&start.headers)?)
            .bind(start.owner)
            .bind(rows::micros(start.lease_until))
            .bind(rows::micros(start.at));
        if let Some(row) = self.named(new.fetch_optional(&mut *tx).await)? {
            store_steps(&mut tx, &start.id, &start.steps).await?;
            tx.commit().await?;
            return Ok(SagaStarted::New(SagaClaim { id: start.id, fence: row.try_get("fence")? }));
        }
        let row = self.named(sqlx::query(KNOWN).bind(start.id).fetch_one(&mut *tx).await)?;
        let digest: &[u8] = row.try_get("digest")?;
        Ok(SagaStarted::Known {
            name: row.try_get("name")?,
            version: row.try_get("version")?,
            // One of another length is another's.
            digest: digest.try_into().unwrap_or_default(),
        })
    }

    async fn save_alone(&self, change: SagaChange) -> Result<SagaSaved, StoreError> {
        let mut tx = self.write().await?;
        let saved = save(&mut tx, change).await?;
        if saved != SagaSaved::Lost {
            tx.commit().await?;
        }
        Ok(saved)
    }

    async fn tell_sagas(&self, now: i64) -> Result<u64, StoreError> {
        // Asked without the write lock: hardly ever is there one.
        if !self.named(sqlx::query_scalar(IS_UNTOLD).fetch_one(&self.pool).await)? {
            return Ok(0);
        }
        let mut tx = self.write().await?;
        let told = self.named(sqlx::query(TELL).bind(now).execute(&mut *tx).await)?.rows_affected();
        self.named(sqlx::query(TOLD).execute(&mut *tx).await)?;
        tx.commit().await?;
        Ok(told)
    }

    async fn renew_sagas(&self, claims: Vec<SagaClaim>, lease_until: i64) -> Result<Vec<SagaClaim>, StoreError> {
        if claims.is_empty() {
            return Ok(claims);
        }
        let mut tx = self.write().await?;
        let mut held = Vec::with_capacity(claims.len());
        for claim in claims {
            let renew = sqlx::query(RENEW).bind(lease_until).bind(claim.id.as_str()).bind(claim.fence);
            if self.named(renew.execute(&mut *tx).await)?.rows_affected() > 0 {
                held.push(claim);
            }
        }
        tx.commit().await?;
        Ok(held)
    }

    async fn ask_saga(&self, id: String, asked: SagaAsked, now: i64) -> Result<bool, StoreError> {
        let phase = match asked {
            SagaAsked::Cancel => "forward",
            SagaAsked::Resume => "stuck",
        };
        let ask = sqlx::query(ASK).bind(id).bind(asked.as_str()).bind(phase).bind(now);
        Ok(self.named(ask.execute(&self.writer).await)?.rows_affected() > 0)
    }
}

/// Stores what has become of a saga, in a transaction.
pub(super) async fn save(connection: &mut SqliteConnection, change: SagaChange) -> Result<SagaSaved, StoreError> {
    let (is_held, due_at) = match change.rest {
        SagaRest::Held => (true, None),
        SagaRest::Until(due) => (false, Some(rows::micros(due))),
        SagaRest::Nobody => (false, None),
    };
    let saved = sqlx::query(SAVE)
        .bind(change.claim.id.as_str())
        .bind(change.claim.fence)
        .bind(change.phase.as_str())
        .bind(change.why)
        .bind(change.context)
        .bind(change.is_cancelled)
        .bind(i64::from(change.cuts))
        .bind(change.error)
        .bind(rows::limit(change.log.len()))
        .bind(rows::micros(change.at))
        .bind(change.heard.map(SagaAsked::as_str))
        .bind(is_held)
        .bind(due_at)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = saved else { return Ok(SagaSaved::Lost) };
    let asked: Option<&str> = row.try_get("asked")?;
    store_steps(connection, &change.claim.id, &change.steps).await?;
    store_log(connection, &change.claim.id, change.log).await?;
    Ok(SagaSaved::Stored(asked.and_then(SagaAsked::parse)))
}

async fn store_steps(connection: &mut SqliteConnection, saga: &str, steps: &[SagaStep]) -> Result<(), sqlx::Error> {
    if steps.is_empty() {
        return Ok(());
    }
    let mut statement = QueryBuilder::new(
        "INSERT OR REPLACE INTO cqrs_saga_steps (saga, step, progress, attempt, in_doubt, due_at, wait_saga, wait_event, wait_key, \
         event_id, patch, error) ",
    );
    statement.push_values(steps, |mut row, step| {
        let wait = step.wait.as_ref();
        row.push_bind(saga)
            .push_bind(step.step.as_str())
            .push_bind(step.progress.as_str())
            .push_bind(i64::from(step.attempt))
            .push_bind(step.in_doubt)
            .push_bind(step.due_at.map(rows::micros))
            .push_bind(wait.map(|wait| wait.saga.as_str()))
            .push_bind(wait.map(|wait| wait.event.as_str()))
            .push_bind(wait.map(|wait| wait.key.as_str()))
            .push_bind(step.event.map(rows::id_bytes))
            .push_bind(step.patch.as_deref())
            .push_bind(step.error.as_deref());
    });
    rows::run(connection, statement, steps.len()).await.map(drop)
}

async fn store_log(connection: &mut SqliteConnection, saga: &str, log: Vec<SagaLog>) -> Result<(), sqlx::Error> {
    let count = log.len();
    if count == 0 {
        return Ok(());
    }
    let mut statement = QueryBuilder::new(
        "INSERT INTO cqrs_saga_log (saga, number, step, is_undo, attempt, began_at, ended_at, progress, error) ",
    );
    statement.push_values(log, |mut row, entry| {
        row.push_bind(saga)
            .push_bind(i64::from(entry.number))
            .push_bind(entry.step)
            .push_bind(entry.is_undo)
            .push_bind(i64::from(entry.attempt))
            .push_bind(rows::micros(entry.began_at))
            .push_bind(rows::micros(entry.ended_at))
            .push_bind(entry.progress.as_str())
            .push_bind(entry.error);
    });
    rows::run(connection, statement, count).await.map(drop)
}

/// Keeps an event that came for sagas, in a transaction.
pub(super) async fn keep(connection: &mut SqliteConnection, event: AwaitedEvent) -> Result<(), StoreError> {
    let headers = rows::headers_text(&event.headers)?;
    let keep = sqlx::query(KEEP)
        .bind(rows::id_bytes(event.id))
        .bind(event.wait.saga)
        .bind(event.wait.event)
        .bind(event.wait.key)
        .bind(i64::from(event.version))
        .bind(event.payload)
        .bind(headers)
        .bind(rows::micros(event.at));
    keep.execute(connection).await?;
    Ok(())
}

impl Sagas for SqliteStore {
    fn start(&self, start: SagaStart) -> BoxFuture<'_, Result<SagaStarted, StoreError>> {
        Box::pin(self.start_saga(start))
    }

    fn claim(&self, request: ClaimRequest<'_>) -> BoxFuture<'_, Result<Vec<ClaimedSaga>, StoreError>> {
        let request = Request::new(&request);
        Box::pin(self.claim_sagas(request))
    }

    fn renew(
        &self,
        claims: Vec<SagaClaim>,
        lease_until: SystemTime,
    ) -> BoxFuture<'_, Result<Vec<SagaClaim>, StoreError>> {
        Box::pin(self.renew_sagas(claims, rows::micros(lease_until)))
    }

    fn save(&self, change: SagaChange) -> BoxFuture<'_, Result<SagaSaved, StoreError>> {
        Box::pin(self.save_alone(change))
    }

    fn hand_back(&self, owner: &str, now: SystemTime) -> BoxFuture<'_, Result<(), StoreError>> {
        let hand_back = sqlx::query(HAND_BACK).bind(owner.to_owned()).bind(rows::micros(now));
        Box::pin(async move { self.named(hand_back.execute(&self.writer).await).map(drop) })
    }

    fn next_due(&self) -> BoxFuture<'_, Result<Option<SystemTime>, StoreError>> {
        Box::pin(self.next_saga_due())
    }

    fn ask(&self, id: &str, asked: SagaAsked, now: SystemTime) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.ask_saga(id.to_owned(), asked, rows::micros(now)))
    }

    fn tell(&self, now: SystemTime) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.tell_sagas(rows::micros(now)))
    }

    fn poke(&self, id: &str, now: SystemTime) -> BoxFuture<'_, Result<(), StoreError>> {
        let poke = sqlx::query(POKE).bind(id.to_owned()).bind(rows::micros(now));
        Box::pin(async move { self.named(poke.execute(&self.writer).await).map(drop) })
    }

    fn awaited(&self, wait: SagaWait) -> BoxFuture<'_, Result<Vec<AwaitedEvent>, StoreError>> {
        Box::pin(self.awaited_events(wait))
    }

    fn saga(&self, id: &str) -> BoxFuture<'_, Result<Option<(SagaRow, Vec<SagaStep>)>, StoreError>> {
        Box::pin(self.saga_of(id.to_owned()))
    }

    fn find(&self, filter: SagaFilter, limit: usize) -> BoxFuture<'_, Result<Vec<SagaRow>, StoreError>> {
        Box::pin(self.find_sagas(filter, limit))
    }

    fn log(&self, id: &str) -> BoxFuture<'_, Result<Vec<SagaLog>, StoreError>> {
        Box::pin(self.log_of(id.to_owned()))
    }

    fn in_use(&self) -> BoxFuture<'_, Result<Vec<SagaUse>, StoreError>> {
        Box::pin(self.sagas_in_use())
    }

    fn purge(&self, ended_before: SystemTime, events_before: SystemTime) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.purge_sagas(rows::micros(ended_before), rows::micros(events_before)))
    }
}
