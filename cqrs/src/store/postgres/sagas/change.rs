//! Sagas: started, changed, asked, poked.

use std::collections::HashMap;
use std::time::{Instant, SystemTime};

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgExecutor, PgPool, Row};

use super::rows::{self, StepRow, bind_change, bind_log, bind_steps};
use crate::BoxError;
use crate::store::names::Names;
use crate::store::postgres::PostgresStore;
use crate::store::sagas::words::asked_of;
use crate::store::{SagaAsked, SagaChange, SagaClaim, SagaSaved, SagaStart, SagaStarted, StoreError, StoreErrorKind};

/// How often a start looks again, where a saga of its id was there and has gone.
const ATTEMPTS: usize = 5;

/// The saga and its steps in one statement, and one round trip. It waits for whoever starts the same. A list of one step, as nearly all
/// are, is written out: `unnest` costs twice as much as all the rest.
macro_rules! start {
    ($steps:literal) => {
        concat!(
            "WITH begun AS (
    INSERT INTO cqrs_sagas (id, name, version, phase, context, digest, headers, owner, lease_until, started_at, changed_at)
    VALUES ($1, $2, $3, 'forward', $4, $5, $6, $7, $8, $9, $9) ON CONFLICT (id) DO NOTHING
    RETURNING id, fence
), steps AS (
    INSERT INTO cqrs_saga_steps (saga, step, progress, attempt, in_doubt, due_at, wait_saga, wait_event, wait_key, event_id, returned, error)
    SELECT begun.id, ",
            $steps,
            ")
SELECT fence FROM begun"
        )
    };
}

const START_ONE: &str = start!(
    "$10::text, $11::text, $12::int, $13::bool, $14::bigint, $15::text, $16::text, $17::text, $18::uuid, $19::bytea, $20::text FROM begun"
);

const START: &str = start!(
    "step.* FROM begun, unnest($10::text[], $11::text[], $12::int[], $13::bool[], $14::bigint[], $15::text[], $16::text[], $17::text[],
        $18::uuid[], $19::bytea[], $20::text[]) AS step"
);

const KNOWN: &str = "SELECT name, version, digest FROM cqrs_sagas WHERE id = $1";

/// What becomes of a saga's row. Let go, it is due at once where something is asked of it; otherwise when it is said, or at once where it was
/// poked meanwhile.
macro_rules! changed {
    (
        $phase:literal, $why:literal, $context:literal, $is_cancelled:literal, $cuts:literal, $error:literal, $last:literal, $at:literal,
        $ended:literal, $heard:literal, $is_held:literal, $due:literal, $version:literal
    ) => {
        concat!(
            "UPDATE cqrs_sagas AS saga
    SET phase = ",
            $phase,
            ", why = ",
            $why,
            ", context = COALESCE(",
            $context,
            "::bytea, saga.context), is_cancelled = ",
            $is_cancelled,
            ",
        cuts = ",
            $cuts,
            ", error = ",
            $error,
            ", logged = GREATEST(saga.logged, ",
            $last,
            "::int), changed_at = ",
            $at,
            ",
        ended_at = ",
            $ended,
            ",
        asked = CASE WHEN saga.asked IS DISTINCT FROM ",
            $heard,
            "::text THEN saga.asked END,
        owner = CASE WHEN ",
            $is_held,
            "::bool THEN saga.owner END,
        lease_until = CASE WHEN ",
            $is_held,
            " THEN saga.lease_until END,
        due_at = CASE WHEN ",
            $is_held,
            " THEN saga.due_at WHEN saga.asked IS NOT NULL AND saga.asked IS DISTINCT FROM ",
            $heard,
            " THEN ",
            $at,
            "::bigint
            WHEN ",
            $due,
            "::bigint IS NULL THEN NULL WHEN saga.poked THEN ",
            $at,
            " ELSE ",
            $due,
            " END,
        version = COALESCE(",
            $version,
            "::int, saga.version)"
        )
    };
}

/// All of a change in one statement, and one round trip: whoever holds the saga is looked for with its row locked, and where it is somebody
/// else nothing is stored.
macro_rules! save {
    ($($others:expr),*) => {
        concat!(
            "WITH changed AS (
    ",
            changed!("$3", "$4", "$5", "$6", "$7", "$8", "$9", "$10", "$11", "$12", "$13", "$14", "$15"),
            "
    WHERE id = $1 AND fence = $2 AND owner IS NOT NULL
    RETURNING id, asked
)",
            $($others,)*
            "
SELECT asked FROM changed"
        )
    };
}

macro_rules! save_steps {
    ($($rows:expr),+) => {
        concat!(
            ", steps AS (
    INSERT INTO cqrs_saga_steps (saga, step, progress, attempt, in_doubt, due_at, wait_saga, wait_event, wait_key, event_id, returned, error)
    ",
            $($rows,)+
            "
    ON CONFLICT (saga, step) DO UPDATE SET progress = excluded.progress, attempt = excluded.attempt, in_doubt = excluded.in_doubt,
        due_at = excluded.due_at, wait_saga = excluded.wait_saga, wait_event = excluded.wait_event, wait_key = excluded.wait_key,
        event_id = excluded.event_id, returned = excluded.returned, error = excluded.error
)"
        )
    };
}

/// An entry of the log that is there already stays: whoever was not told that a change was committed may store it once more.
macro_rules! save_log {
    ($rows:literal) => {
        concat!(
            ", log AS (
    INSERT INTO cqrs_saga_log (saga, number, step, is_undo, attempt, began_at, ended_at, progress, error)
    SELECT changed.id, ",
            $rows,
            "
    ON CONFLICT (saga, number) DO NOTHING
)"
        )
    };
}

/// The first step of a change.
macro_rules! first_step {
    () => {
        "SELECT changed.id, $16::text, $17::text, $18::int, $19::bool, $20::bigint, $21::text, $22::text, $23::text, $24::uuid, $25::bytea,
        $26::text FROM changed"
    };
}

/// What is not the saga's alone: nothing, one step that has begun, one that has ended, one that has ended and one that has begun. As nearly
/// all changes are, these are written out: `unnest` of their lists costs more than all the rest.
const SAVE_NONE: &str = save!();

const SAVE_STEP: &str = save!(save_steps!(first_step!()));

const SAVE_ONE: &str = save!(
    save_steps!(first_step!()),
    save_log!("$27::int, $28::text, $29::bool, $30::int, $31::bigint, $32::bigint, $33::text, $34::text FROM changed")
);

const SAVE_TWO: &str = save!(
    save_steps!(
        first_step!(),
        "
    UNION ALL SELECT changed.id, $27::text, $28::text, $29::int, $30::bool, $31::bigint, $32::text, $33::text, $34::text, $35::uuid,
        $36::bytea, $37::text FROM changed"
    ),
    save_log!("$38::int, $39::text, $40::bool, $41::int, $42::bigint, $43::bigint, $44::text, $45::text FROM changed")
);

const SAVE: &str = save!(
    save_steps!(
        "SELECT changed.id, step.* FROM changed, unnest($16::text[], $17::text[], $18::int[], $19::bool[], $20::bigint[], $21::text[],
        $22::text[], $23::text[], $24::uuid[], $25::bytea[], $26::text[]) AS step"
    ),
    save_log!(
        "entry.* FROM changed, unnest($27::int[], $28::text[], $29::bool[], $30::int[], $31::bigint[], $32::bigint[], $33::text[],
        $34::text[]) AS entry"
    )
);

/// Many changes in one statement. Those whose rows somebody has locked are passed by: one of them would keep all others waiting, and two who
/// lock several could wait for each other.
const SAVE_MANY: &str = concat!(
    "WITH given AS MATERIALIZED (
    SELECT given.* FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::bytea[], $6::bool[], $7::int[], $8::text[], $9::int[],
        $10::bigint[], $11::bigint[], $12::text[], $13::bool[], $14::bigint[], $15::int[])
    AS given (id, fence, phase, why, context, is_cancelled, cuts, error, last, at, ended_at, heard, is_held, due_at, version)
    JOIN cqrs_sagas AS saga ON saga.id = given.id AND saga.fence = given.fence AND saga.owner IS NOT NULL
    FOR NO KEY UPDATE OF saga SKIP LOCKED
), changed AS (
    ",
    changed!(
        "given.phase", "given.why", "given.context", "given.is_cancelled", "given.cuts", "given.error", "given.last", "given.at",
        "given.ended_at", "given.heard", "given.is_held", "given.due_at", "given.version"
    ),
    "
    FROM given WHERE saga.id = given.id AND saga.fence = given.fence AND saga.owner IS NOT NULL
    RETURNING saga.id, saga.asked
)",
    save_steps!(
        "SELECT step.* FROM unnest($16::text[], $17::text[], $18::text[], $19::int[], $20::bool[], $21::bigint[], $22::text[], $23::text[],
        $24::text[], $25::uuid[], $26::bytea[], $27::text[]) AS step (saga) JOIN changed ON changed.id = step.saga"
    ),
    ", log AS (
    INSERT INTO cqrs_saga_log (saga, number, step, is_undo, attempt, began_at, ended_at, progress, error)
    SELECT entry.* FROM unnest($28::text[], $29::int[], $30::text[], $31::bool[], $32::int[], $33::bigint[], $34::bigint[], $35::text[],
        $36::text[]) AS entry (saga) JOIN changed ON changed.id = entry.saga
    ON CONFLICT (saga, number) DO NOTHING
)
SELECT id, asked FROM changed"
);

const ASK: &str = "
UPDATE cqrs_sagas SET asked = $2, due_at = CASE WHEN owner IS NULL THEN $3 ELSE due_at END WHERE id = $1 AND phase = $4
RETURNING name";

const POKE: &str = "
UPDATE cqrs_sagas SET poked = TRUE, due_at = CASE WHEN owner IS NULL THEN $2 ELSE due_at END
WHERE id = $1 AND phase NOT IN ('completed', 'compensated')";

/// Every statement of this file.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] =
    &[START, START_ONE, KNOWN, SAVE, SAVE_NONE, SAVE_STEP, SAVE_ONE, SAVE_TWO, SAVE_MANY, ASK, POKE];

impl PostgresStore {
    pub(super) async fn start_saga(&self, start: SagaStart) -> Result<SagaStarted, StoreError> {
        let asked = Instant::now();
        let mut connection = self.pool.acquire().await?;
        for _ in 0..ATTEMPTS {
            // Its lease counts from when it is stored: there may have been no connection for long.
            let lease_until = start.lease_until + asked.elapsed();
            if let Some(fence) = begin(&self.names, &mut connection, &start, lease_until).await? {
                return Ok(SagaStarted::New(SagaClaim { id: start.id, fence }));
            }
            let known = sqlx::query(self.names.sql(KNOWN)).bind(rows::escaped(&start.id));
            if let Some(row) = known.fetch_optional(&mut *connection).await? {
                return Ok(known_of(&row).map_err(sqlx::Error::Decode)?);
            }
        }
        Err(StoreError::new(StoreErrorKind::Busy, "sagas of this id come and go too fast: try again"))
    }
}

async fn begin(
    names: &Names,
    connection: &mut PgConnection,
    start: &SagaStart,
    lease_until: SystemTime,
) -> Result<Option<i64>, StoreError> {
    let mut steps: Vec<StepRow> = start.steps.iter().cloned().map(StepRow::from).collect();
    let text = if steps.len() == 1 { START_ONE } else { START };
    let statement = sqlx::query_scalar(names.sql(text))
        .bind(rows::escaped(&start.id))
        .bind(rows::escaped(&start.name))
        .bind(rows::number(start.version))
        .bind(start.context.as_slice())
        .bind(start.digest.as_slice())
        .bind(rows::headers_text(&start.headers)?)
        .bind(start.owner.as_str())
        .bind(rows::micros(lease_until))
        .bind(rows::micros(start.at));
    let statement = match steps.pop() {
        Some(step) if steps.is_empty() => bind_steps!(one, statement, step),
        last => bind_steps!(all, statement, steps.into_iter().chain(last)),
    };
    Ok(statement.fetch_optional(connection).await?)
}

fn known_of(row: &PgRow) -> Result<SagaStarted, BoxError> {
    let digest = row.try_get::<&[u8], _>("digest")?.try_into()?;
    Ok(SagaStarted::Known { name: rows::text_of(row, "name")?, version: rows::number_of(row, "version")?, digest })
}

/// Stores what has become of a saga. In a transaction its row is locked until that ends.
pub(in crate::store::postgres) async fn save(
    names: &Names,
    executor: impl PgExecutor<'_>,
    change: SagaChange,
) -> Result<SagaSaved, sqlx::Error> {
    let (row, steps, log) = rows::change(change);
    let (text, is_written_out) = match (steps.len(), log.len()) {
        (0, 0) => (SAVE_NONE, true),
        (1, 0) => (SAVE_STEP, true),
        (1, 1) => (SAVE_ONE, true),
        (2, 1) => (SAVE_TWO, true),
        _ => (SAVE, false),
    };
    let mut statement = bind_change!(one, sqlx::query_scalar(names.sql(text)), row);
    if is_written_out {
        for step in steps {
            statement = bind_steps!(one, statement, step);
        }
        for entry in log {
            statement = bind_log!(one, statement, entry);
        }
    } else {
        statement = bind_steps!(all, statement, steps);
        statement = bind_log!(all, statement, log);
    }
    let saved: Option<Option<String>> = statement.fetch_optional(executor).await?;
    saved.map_or(Ok(SagaSaved::Lost), |asked| stored(asked.as_deref()))
}

/// Stores what has become of several sagas. Gives of each what `save` would have given, or `None` where it has to say why nothing was stored.
pub(super) async fn save_many(
    names: &Names,
    pool: &PgPool,
    changes: Vec<SagaChange>,
) -> Result<Vec<Option<SagaSaved>>, sqlx::Error> {
    let (mut rows_of_sagas, mut steps, mut steps_of, mut log, mut log_of) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut ids = Vec::with_capacity(changes.len());
    for change in changes {
        let (row, own_steps, own_log) = rows::change(change);
        ids.push(row.id.clone());
        steps_of.extend(own_steps.iter().map(|_| row.id.clone()));
        log_of.extend(own_log.iter().map(|_| row.id.clone()));
        steps.extend(own_steps);
        log.extend(own_log);
        rows_of_sagas.push(row);
    }
    // Planned each time, as for telling.
    let statement = sqlx::query(names.sql(SAVE_MANY)).persistent(false);
    let statement = bind_change!(all, statement, rows_of_sagas).bind(steps_of);
    let statement = bind_steps!(all, statement, steps).bind(log_of);
    let mut saved = HashMap::new();
    for row in bind_log!(all, statement, log).fetch_all(pool).await? {
        // What cannot be read of one is no fault of the others.
        if let Ok(stored) = stored(row.try_get("asked")?) {
            saved.insert(row.try_get::<String, _>("id")?, stored);
        }
    }
    Ok(ids.iter().map(|id| saved.remove(id)).collect())
}

fn stored(asked: Option<&str>) -> Result<SagaSaved, sqlx::Error> {
    Ok(SagaSaved::Stored(asked.map(asked_of).transpose().map_err(sqlx::Error::Decode)?))
}

/// Gives the name of the saga that was asked.
pub(in crate::store::postgres) async fn ask(
    names: &Names,
    executor: impl PgExecutor<'_>,
    id: String,
    asked: SagaAsked,
    now: SystemTime,
) -> Result<Option<String>, sqlx::Error> {
    let statement = sqlx::query(names.sql(ASK)).bind(rows::escape(id)).bind(asked.as_str());
    let statement = statement.bind(rows::micros(now)).bind(asked.phase().as_str());
    statement.fetch_optional(executor).await?.map(|row| rows::text_of(&row, "name")).transpose()
}

pub(super) async fn poke(names: &Names, pool: &PgPool, id: String, now: SystemTime) -> Result<(), sqlx::Error> {
    sqlx::query(names.sql(POKE)).bind(rows::escape(id)).bind(rows::micros(now)).execute(pool).await.map(drop)
}
