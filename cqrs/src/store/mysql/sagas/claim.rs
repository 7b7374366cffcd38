//! Sagas: handed out, renewed, handed back, and when the next one is due.

use std::collections::HashMap;
use std::time::SystemTime;

use sqlx::mysql::{MySqlArguments, MySqlRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, MySql, MySqlConnection, MySqlPool, Row};

use super::rows::{self, saga_columns, step_columns};
use crate::BoxError;
use crate::store::claiming::Request;
use crate::store::mysql::MySqlStore;
use crate::store::mysql::fault::Tries;
use crate::store::names::Names;
use crate::store::{ClaimedSaga, SagaClaim, SagaNames, SagaRow, SagaStep, StoreError};

/// Whether a claim would find something, among the names that are meant: asked outside of any transaction. All that is asked for is in the
/// index, where those of other names are passed by.
const ANYTHING: &str = "
SELECT EXISTS (SELECT 1 FROM cqrs_sagas FORCE INDEX (cqrs_sagas_due) WHERE due_at <= ? AND (name IN (#)) = ?)
    OR EXISTS (SELECT 1 FROM cqrs_sagas FORCE INDEX (cqrs_sagas_lease) WHERE lease_until <= ? AND (name IN (#)) = ?)";

/// What is due. What somebody else has locked he is about to change: it is passed by.
pub(in crate::store::mysql) const DUE: &str = concat!(
    "SELECT fence, due_at AS since, ",
    saga_columns!(),
    " FROM cqrs_sagas FORCE INDEX (cqrs_sagas_due)
    WHERE due_at <= ? AND (name IN (#)) = ? ORDER BY due_at, id LIMIT ? FOR UPDATE SKIP LOCKED"
);

/// What a process held that died or stalled. One that is just committing has its row locked.
pub(in crate::store::mysql) const LATE: &str = concat!(
    "SELECT fence, lease_until AS since, ",
    saga_columns!(),
    " FROM cqrs_sagas FORCE INDEX (cqrs_sagas_lease)
    WHERE lease_until <= ? AND (name IN (#)) = ? ORDER BY lease_until, id LIMIT ? FOR UPDATE SKIP LOCKED"
);

const CLAIM: &str = "
UPDATE cqrs_sagas FORCE INDEX (PRIMARY)
SET owner = ?, lease_until = ?, fence = fence + 1, due_at = NULL, poked = FALSE WHERE id IN (#)";

/// Asked with the sagas locked: nobody changes them meanwhile.
const STEPS: &str = concat!("SELECT ", step_columns!(), " FROM cqrs_saga_steps WHERE saga IN (#)");

/// Takes one out of the way that cannot be read. Somebody has to look, as at any that is stuck.
const SET_ASIDE: &str = "
UPDATE cqrs_sagas SET phase = 'stuck', why = 'unreadable', error = ?, owner = NULL, lease_until = NULL WHERE id = ?";

/// The owner is part of it: a fence moves on with the next owner only, so a saga that waits carries that of the claim it came from.
const HOLD: &str = "UPDATE cqrs_sagas FORCE INDEX (PRIMARY) SET lease_until = ? WHERE owner IS NOT NULL AND (";

const HELD: &str = "SELECT id, fence FROM cqrs_sagas FORCE INDEX (PRIMARY) WHERE owner IS NOT NULL AND (";

/// One of a list of claims.
const ONE: &str = "(id = ? AND fence = ?)";

/// What an owner holds. Few are held, and those have a lease.
pub(in crate::store::mysql) const OWNED: &str =
    "SELECT id FROM cqrs_sagas FORCE INDEX (cqrs_sagas_lease) WHERE lease_until IS NOT NULL AND owner = ?";

const HAND_BACK: &str = "
UPDATE cqrs_sagas FORCE INDEX (PRIMARY) SET owner = NULL, lease_until = NULL, fence = fence + 1, due_at = ?
WHERE id IN (#) AND owner = ?";

const NEXT_DUE: &str =
    "SELECT due_at FROM cqrs_sagas FORCE INDEX (cqrs_sagas_due) WHERE due_at IS NOT NULL AND (name IN (#)) = ?
    ORDER BY due_at, id LIMIT 1";

/// Every statement of this file whose text is fixed.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[ANYTHING, DUE, LATE, CLAIM, STEPS, SET_ASIDE, OWNED, HAND_BACK, NEXT_DUE];

impl MySqlStore {
    pub(super) async fn is_any_saga_due(&self, now: i64, lease_now: i64, names: SagaNames) -> Result<bool, StoreError> {
        let among = Among::new(names);
        let anything = among.bind(among.of(&self.names, ANYTHING, Some(now)).bind(lease_now));
        self.named(anything.fetch_one(&self.pool).await.and_then(|row| row.try_get(0)))
    }

    pub(super) async fn take_sagas(&self, request: Request, names: SagaNames) -> Result<Vec<ClaimedSaga>, StoreError> {
        let among = Among::new(names);
        if request.limit == 0 {
            return Ok(Vec::new());
        }
        let mut tries = Tries::default();
        loop {
            let claimed = self.try_claim(&request, &among).await;
            if !tries.again(&claimed) {
                return self.named(claimed);
            }
        }
    }

    async fn try_claim(&self, request: &Request, among: &Among) -> Result<Vec<ClaimedSaga>, sqlx::Error> {
        let mut tx = self.transaction().await?;
        let claimed = claim(&mut tx, &self.names, &request.granted(), among).await?;
        tx.commit().await?;
        Ok(claimed)
    }

    /// Renews claims. In the order of their ids, as everybody locks rows.
    pub(super) async fn hold_sagas(
        &self,
        mut claims: Vec<SagaClaim>,
        until: SystemTime,
    ) -> Result<Vec<SagaClaim>, StoreError> {
        claims.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        let mut held = Vec::with_capacity(claims.len());
        for claims in rows::chunks(claims, |claim| claim.id.len()) {
            held.extend(self.named(self.hold_some_sagas(&claims, until).await)?);
        }
        Ok(held)
    }

    async fn hold_some_sagas(&self, claims: &[SagaClaim], until: SystemTime) -> Result<Vec<SagaClaim>, sqlx::Error> {
        let pairs: Vec<(&[u8], i64)> = claims.iter().map(|claim| (claim.id.as_bytes(), claim.fence)).collect();
        let condition = vec![ONE; rows::padded(&pairs).count()].join(" OR ");
        let text = format!("{}{condition})", self.names.text(HOLD));
        let mut tries = Tries::default();
        let held = loop {
            let mut statement = sqlx::query(AssertSqlSafe(text.as_str())).bind(rows::micros(until));
            for (id, fence) in rows::padded(&pairs) {
                statement = statement.bind(id).bind(fence);
            }
            let held = statement.execute(&self.pool).await;
            if !tries.again(&held) {
                break held?.rows_affected();
            }
        };
        if held == claims.len() as u64 {
            return Ok(claims.to_vec());
        }
        let mut statement = sqlx::query(AssertSqlSafe(format!("{}{condition})", self.names.text(HELD))));
        for (id, fence) in rows::padded(&pairs) {
            statement = statement.bind(id).bind(fence);
        }
        let of_row = |row: &MySqlRow| -> Result<SagaClaim, BoxError> {
            Ok(SagaClaim { id: rows::text_of(row, "id")?, fence: row.try_get("fence")? })
        };
        let held = statement.fetch_all(&self.pool).await?;
        held.iter().map(of_row).collect::<Result<_, _>>().map_err(sqlx::Error::Decode)
    }

    pub(super) async fn hand_sagas_back(&self, owner: Vec<u8>, now: SystemTime) -> Result<(), sqlx::Error> {
        let found = sqlx::query_scalar(self.names.sql(OWNED)).bind(owner.as_slice());
        let mut found: Vec<Vec<u8>> = found.fetch_all(&self.pool).await?;
        found.sort_unstable();
        for ids in rows::slices(&found).chunks(rows::MOST_ROWS) {
            let mut tries = Tries::default();
            loop {
                let statement = sqlx::query(rows::list_text(&self.names, HAND_BACK, ids.len()));
                let statement = rows::bind_list(statement.bind(rows::micros(now)), ids).bind(owner.as_slice());
                let handed = statement.execute(&self.pool).await;
                if !tries.again(&handed) {
                    handed?;
                    break;
                }
            }
        }
        Ok(())
    }
}

/// The names that are listed, as they are stored and at least one, and whether they are those that are meant.
struct Among {
    listed: Vec<Vec<u8>>,
    are_meant: bool,
}

impl Among {
    fn new(names: SagaNames) -> Self {
        let (names, are_meant) = names.listed();
        let mut listed: Vec<Vec<u8>> = names.into_iter().map(String::into_bytes).collect();
        if listed.is_empty() {
            listed.push(Vec::new()); // no saga's name
        }
        Self { listed, are_meant }
    }

    /// A statement about these: of what was due `until`, where it asks for that.
    fn of<'q>(&'q self, names: &Names, template: &str, until: Option<i64>) -> Query<'q, MySql, MySqlArguments> {
        let statement = sqlx::query(rows::list_text(names, template, self.listed.len()));
        self.bind(until.into_iter().fold(statement, Query::bind))
    }

    fn bind<'q>(&'q self, statement: Query<'q, MySql, MySqlArguments>) -> Query<'q, MySql, MySqlArguments> {
        rows::bind_list(statement, &rows::slices(&self.listed)).bind(self.are_meant)
    }
}

/// A saga that is to be claimed: when it was due, whether somebody held it, and its row, locked.
type Found = (i64, bool, MySqlRow);

async fn claim(
    connection: &mut MySqlConnection,
    names: &Names,
    request: &Request,
    among: &Among,
) -> Result<Vec<ClaimedSaga>, sqlx::Error> {
    let mut found: Vec<Found> = Vec::new();
    for (statement, until, was_held) in [(DUE, request.now, false), (LATE, request.lease_now, true)] {
        let few = among.of(names, statement, Some(until)).bind(rows::limit(request.limit));
        for row in few.fetch_all(&mut *connection).await? {
            found.push((row.try_get("since")?, was_held, row));
        }
    }
    found.sort_by_key(|(since, ..)| *since);
    found.truncate(request.limit);
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let ids = found.iter().map(|(.., row)| row.try_get("id")).collect::<Result<Vec<Vec<u8>>, _>>()?;
    let mut steps: HashMap<Vec<u8>, Vec<_>> = HashMap::new();
    for ids in rows::slices(&ids).chunks(rows::MOST_ROWS) {
        let claim = sqlx::query(rows::list_text(names, CLAIM, ids.len()));
        let claim = claim.bind(request.owner.as_bytes()).bind(request.lease_until);
        rows::bind_list(claim, ids).execute(&mut *connection).await?;
        for row in rows::listed(names, STEPS, ids).fetch_all(&mut *connection).await? {
            steps.entry(row.try_get("step_saga")?).or_default().push(rows::step(&row));
        }
    }
    let mut claimed = Vec::with_capacity(found.len());
    for ((_, was_held, row), id) in found.iter().zip(&ids) {
        let own = steps.remove(id).unwrap_or_default();
        match read(row, own) {
            Ok((saga, steps)) => {
                let claim = SagaClaim { id: saga.id.clone(), fence: row.try_get::<i64, _>("fence")? + 1 };
                claimed.push(ClaimedSaga { claim, row: saga, steps, was_held: *was_held, events: Vec::new() });
            }
            // One bad row must not hold up the others.
            Err(error) => set_aside(connection, names, id, &error).await?,
        }
    }
    Ok(claimed)
}

/// Reads a saga as it is once it is claimed.
fn read(row: &MySqlRow, steps: Vec<Result<SagaStep, BoxError>>) -> Result<(SagaRow, Vec<SagaStep>), BoxError> {
    let saga = SagaRow { due_at: None, is_held: true, ..rows::saga(row)? };
    Ok((saga, steps.into_iter().collect::<Result<_, _>>()?))
}

async fn set_aside(
    connection: &mut MySqlConnection,
    names: &Names,
    id: &[u8],
    error: &BoxError,
) -> Result<(), sqlx::Error> {
    tracing::error!(saga = %String::from_utf8_lossy(id), %error, "a saga cannot be read: it is stuck");
    let error = format!("the row cannot be read: {error}").into_bytes();
    sqlx::query(names.sql(SET_ASIDE)).bind(error).bind(id).execute(connection).await.map(drop)
}

pub(super) async fn next_due(
    pool: &MySqlPool,
    names: &Names,
    meant: SagaNames,
) -> Result<Option<SystemTime>, sqlx::Error> {
    let next = Among::new(meant).of(names, NEXT_DUE, None).fetch_optional(pool).await?;
    Ok(next.map(|row| row.try_get(0)).transpose()?.map(rows::time))
}
