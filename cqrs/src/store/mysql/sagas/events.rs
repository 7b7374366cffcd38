//! Events that came for sagas: kept, told, looked for.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::SystemTime;

use sqlx::mysql::MySqlRow;
use sqlx::{MySqlConnection, MySqlPool, Row};

use super::rows;
use crate::BoxError;
use crate::store::mysql::MySqlStore;
use crate::store::mysql::fault::Tries;
use crate::store::names::Names;
use crate::store::{AwaitedEvent, SagaWait, StoreError};

const KEEP: &str = "
INSERT INTO cqrs_saga_events (id, saga, event, wait_key, wait_digest, version, payload, headers, arrived_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";

pub(in crate::store::mysql) const UNTOLD: &str = "
SELECT seq, wait_digest FROM cqrs_saga_events FORCE INDEX (cqrs_saga_events_untold) WHERE untold = 1 ORDER BY seq LIMIT ?";

pub(in crate::store::mysql) const WAITING: &str =
    "SELECT saga, awaits FROM cqrs_saga_steps FORCE INDEX (cqrs_saga_steps_wait) WHERE awaits IN (#)";

/// What somebody has locked is passed by, and its event told another time: who has it locked may be a transaction that takes long.
const LOCK: &str = "
SELECT id FROM cqrs_sagas FORCE INDEX (PRIMARY) WHERE id IN (#) ORDER BY id FOR UPDATE SKIP LOCKED";

/// What waits is due, or when it is let go.
const WAKE: &str = "
UPDATE cqrs_sagas FORCE INDEX (PRIMARY) SET poked = TRUE, due_at = CASE WHEN owner IS NULL THEN ? ELSE due_at END
WHERE id IN (#) AND phase NOT IN ('completed', 'compensated')";

const TOLD: &str = "UPDATE cqrs_saga_events FORCE INDEX (PRIMARY) SET untold = NULL WHERE seq IN (#)";

pub(in crate::store::mysql) const AWAITED: &str = "
SELECT id, version, payload, headers, arrived_at FROM cqrs_saga_events FORCE INDEX (cqrs_saga_events_wait)
WHERE wait_digest = ? ORDER BY seq";

/// Every statement of this file but what inserts.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[UNTOLD, WAITING, LOCK, WAKE, TOLD, AWAITED];

/// Keeps an event, in the transaction of whoever has taken it.
pub(in crate::store::mysql) async fn keep(
    connection: &mut MySqlConnection,
    names: &Names,
    event: AwaitedEvent,
) -> Result<(), StoreError> {
    let digest = rows::wait_digest(&event.wait);
    sqlx::query(names.sql(KEEP))
        .bind(rows::id_bytes(event.id))
        .bind(event.wait.saga.into_bytes())
        .bind(event.wait.event.into_bytes())
        .bind(event.wait.key.into_bytes())
        .bind(digest)
        .bind(i64::from(event.version))
        .bind(event.payload)
        .bind(rows::headers_bytes(&event.headers)?)
        .bind(rows::micros(event.at))
        .execute(connection)
        .await?;
    Ok(())
}

impl MySqlStore {
    /// Wakes what waits for events that were kept since the last time. Gives how many sagas.
    pub(super) async fn tell_sagas(&self, now: SystemTime) -> Result<u64, sqlx::Error> {
        let mut woken = 0;
        loop {
            let untold = sqlx::query_as(self.names.sql(UNTOLD)).bind(rows::limit(rows::MOST_ROWS));
            let untold: Vec<(i64, Vec<u8>)> = untold.fetch_all(&self.pool).await?;
            let waiting = self.waiting_for(&untold).await?;
            let (count, passed) = self.wake_sagas(&waiting, now).await?;
            woken += count;
            let is_told = |digest: &Vec<u8>| {
                waiting.get(digest).is_none_or(|sagas| sagas.iter().all(|saga| !passed.contains(saga)))
            };
            let told: Vec<i64> = untold.iter().filter(|(_, digest)| is_told(digest)).map(|(seq, _)| *seq).collect();
            if !told.is_empty() {
                rows::listed(&self.names, TOLD, &told).execute(&self.pool).await?;
            }
            if told.len() < rows::MOST_ROWS {
                return Ok(woken);
            }
        }
    }

    /// Which sagas wait for these, by what they wait for. Read after the events: who comes to wait later looks for them himself.
    async fn waiting_for(&self, untold: &[(i64, Vec<u8>)]) -> Result<HashMap<Vec<u8>, Vec<Vec<u8>>>, sqlx::Error> {
        let mut waiting: HashMap<Vec<u8>, Vec<Vec<u8>>> = HashMap::new();
        if untold.is_empty() {
            return Ok(waiting);
        }
        let digests: Vec<&[u8]> = untold.iter().map(|(_, digest)| digest.as_slice()).collect();
        for row in rows::listed(&self.names, WAITING, &digests).fetch_all(&self.pool).await? {
            waiting.entry(row.try_get("awaits")?).or_default().push(row.try_get("saga")?);
        }
        Ok(waiting)
    }

    /// Wakes sagas. Gives how many, and which were passed by.
    async fn wake_sagas(
        &self,
        waiting: &HashMap<Vec<u8>, Vec<Vec<u8>>>,
        now: SystemTime,
    ) -> Result<(u64, HashSet<Vec<u8>>), sqlx::Error> {
        let sagas: BTreeSet<&[u8]> = waiting.values().flatten().map(Vec::as_slice).collect();
        let sagas: Vec<&[u8]> = sagas.into_iter().collect();
        let (mut woken, mut passed) = (0, HashSet::new());
        for few in sagas.chunks(rows::MOST_ROWS) {
            let mut tries = Tries::default();
            let (count, locked) = loop {
                let end = self.wake_some(few, now).await;
                if !tries.again(&end) {
                    break end?;
                }
            };
            woken += count;
            passed.extend(few.iter().filter(|saga| !locked.contains(**saga)).map(|saga| saga.to_vec()));
        }
        Ok((woken, passed))
    }

    async fn wake_some(&self, few: &[&[u8]], now: SystemTime) -> Result<(u64, HashSet<Vec<u8>>), sqlx::Error> {
        let mut tx = self.transaction().await?;
        let locked = rows::listed(&self.names, LOCK, few).fetch_all(&mut *tx).await?;
        let locked = locked.iter().map(|row| row.try_get(0)).collect::<Result<Vec<Vec<u8>>, _>>()?;
        let mut woken = 0;
        if !locked.is_empty() {
            let statement = sqlx::query(rows::list_text(&self.names, WAKE, locked.len())).bind(rows::micros(now));
            woken = rows::bind_list(statement, &rows::slices(&locked)).execute(&mut *tx).await?.rows_affected();
        }
        tx.commit().await?;
        Ok((woken, locked.into_iter().collect()))
    }
}

pub(super) async fn awaited(pool: &MySqlPool, names: &Names, wait: SagaWait) -> Result<Vec<AwaitedEvent>, sqlx::Error> {
    let found = sqlx::query(names.sql(AWAITED)).bind(rows::wait_digest(&wait)).fetch_all(pool).await?;
    found.iter().map(|row| read(row, &wait)).collect::<Result<_, _>>().map_err(sqlx::Error::Decode)
}

fn read(row: &MySqlRow, wait: &SagaWait) -> Result<AwaitedEvent, BoxError> {
    Ok(AwaitedEvent {
        id: rows::id_of(row, "id")?,
        wait: wait.clone(),
        version: rows::number_of(row, "version")?,
        payload: row.try_get("payload")?,
        headers: rows::headers_of(row)?,
        at: rows::time_of(row, "arrived_at")?,
    })
}
