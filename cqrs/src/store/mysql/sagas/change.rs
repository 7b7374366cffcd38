//! Sagas: started, changed, asked, poked.

use std::time::{Instant, SystemTime};

use sqlx::mysql::{MySqlArguments, MySqlRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, MySql, MySqlConnection, MySqlPool, Row};

use super::rows;
use crate::BoxError;
use crate::store::mysql::MySqlStore;
use crate::store::mysql::fault::Tries;
use crate::store::names::Names;
use crate::store::{
    SagaAsked, SagaChange, SagaClaim, SagaLog, SagaRest, SagaSaved, SagaStart, SagaStarted, SagaStep, StoreError,
    StoreErrorKind,
};

/// How many bytes an id has at most, and a name of a saga or of a step: they are keys of indexes.
const MOST_OF_ID: usize = 1_024;
const MOST_OF_NAME: usize = 512;

/// How often a start looks again, where a saga of its id was there and has gone.
const ATTEMPTS: usize = 5;

/// The fence of who starts a saga.
const FIRST: i64 = 1;

/// Waits for whoever starts the same.
const START: &str = "
INSERT IGNORE INTO cqrs_sagas (id, name, version, phase, context, digest, headers, owner, fence, lease_until, started_at, newest,
    changed_at)
VALUES (?, ?, ?, 'forward', ?, ?, ?, ?, ?, ?, ?, ?, ?)";

const KNOWN: &str = "SELECT name, version, digest FROM cqrs_sagas WHERE id = ?";

/// Gives as the last inserted id what is asked and was not heard: what a statement returns otherwise costs one more.
///
/// What is set reads what was set before it. Let go, a saga is due at once where something is asked of it; otherwise when the change
/// says, or at once where it was poked meanwhile.
const SAVE: &str = "
UPDATE cqrs_sagas
SET logged = GREATEST(logged, ?) + 0 * LAST_INSERT_ID(CASE WHEN asked IS NULL OR asked <=> ? THEN 0 WHEN asked = 'cancel' THEN 1
        WHEN asked = 'resume' THEN 2 ELSE 3 END),
    due_at = CASE WHEN ? THEN due_at WHEN asked IS NOT NULL AND NOT (asked <=> ?) THEN ? WHEN ? IS NULL THEN NULL WHEN poked THEN ?
        ELSE ? END,
    asked = CASE WHEN asked <=> ? THEN NULL ELSE asked END,
    owner = CASE WHEN ? THEN owner ELSE NULL END,
    lease_until = CASE WHEN ? THEN lease_until ELSE NULL END,
    phase = ?, why = ?, version = COALESCE(?, version), context = COALESCE(?, context), is_cancelled = ?, cuts = ?, error = ?, changed_at = ?, ended_at = ?
WHERE id = ? AND fence = ? AND owner IS NOT NULL";

const STEPS: &str = "
INSERT INTO cqrs_saga_steps (saga, step, progress, attempt, in_doubt, due_at, wait_saga, wait_event, wait_key, wait_digest, event_id,
    returned, error)
VALUES ";

const ONE_STEP: &str = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

const RENEWED: &str = "
ON DUPLICATE KEY UPDATE progress = VALUES(progress), attempt = VALUES(attempt), in_doubt = VALUES(in_doubt), due_at = VALUES(due_at),
    wait_saga = VALUES(wait_saga), wait_event = VALUES(wait_event), wait_key = VALUES(wait_key), wait_digest = VALUES(wait_digest),
    event_id = VALUES(event_id), returned = VALUES(returned), error = VALUES(error)";

const LOG: &str = "
INSERT INTO cqrs_saga_log (saga, number, step, is_undo, attempt, began_at, ended_at, progress, error) VALUES ";

const ONE_ENTRY: &str = "(?, ?, ?, ?, ?, ?, ?, ?, ?)";

/// An entry that is there already stays: whoever was not told that a change was committed may store it once more.
const KEPT: &str = " ON DUPLICATE KEY UPDATE saga = cqrs_saga_log.saga";

/// Around statements that are one on MariaDB: a transaction of their own, which is undone where one of them fails.
const WHOLE: (&str, &str) = (
    "DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END; \
     SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION; ",
    "COMMIT; ",
);

/// The same in a transaction that somebody has begun.
const PART: (&str, &str) = ("", "");

const ASK: &str = "
UPDATE cqrs_sagas SET asked = ?, due_at = CASE WHEN owner IS NULL THEN ? ELSE due_at END WHERE id = ? AND phase = ?";

const POKE: &str = "
UPDATE cqrs_sagas SET poked = TRUE, due_at = CASE WHEN owner IS NULL THEN ? ELSE due_at END
WHERE id = ? AND phase NOT IN ('completed', 'compensated')";

/// Every statement of this file whose text is fixed.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[KNOWN, SAVE, ASK, POKE];

impl MySqlStore {
    pub(super) async fn start_saga(&self, start: SagaStart) -> Result<SagaStarted, StoreError> {
        let asked = Instant::now();
        fits("a saga's id", &start.id, MOST_OF_ID)?;
        fits("a saga's name", &start.name, MOST_OF_NAME)?;
        start.steps.iter().try_for_each(|step| fits("a step's name", &step.step, MOST_OF_NAME))?;
        let headers = rows::headers_bytes(&start.headers)?;
        for _ in 0..ATTEMPTS {
            if self.named(self.begin_saga(&start, &headers, asked).await)? {
                return Ok(SagaStarted::New(SagaClaim { id: start.id, fence: FIRST }));
            }
            let known = sqlx::query(self.names.sql(KNOWN)).bind(start.id.as_bytes());
            if let Some(row) = self.named(known.fetch_optional(&self.pool).await)? {
                return Ok(known_of(&row).map_err(sqlx::Error::Decode)?);
            }
        }
        Err(StoreError::new(StoreErrorKind::Busy, "sagas of this id come and go too fast: try again"))
    }

    /// Stores a saga that begins, if there is none of its id. Its lease counts from when it is stored.
    async fn begin_saga(&self, start: &SagaStart, headers: &[u8], asked: Instant) -> Result<bool, sqlx::Error> {
        let (names, steps) = (&self.names, start.steps.iter().collect::<Vec<_>>());
        if self.is_mariadb && are_few(&steps, &[]) {
            let mut connection = self.pool.acquire().await?;
            let text = at_once(WHOLE, names.sql(START).as_str(), &[steps_text(names, &steps)]);
            let statement = bind_start(sqlx::query(AssertSqlSafe(text)), start, headers, asked);
            let begun = bind_steps(statement, &start.id, &steps).fetch_one(&mut *connection).await?;
            return Ok(begun.try_get::<i64, _>("held")? > 0);
        }
        let mut tx = self.transaction().await?;
        let statement = bind_start(sqlx::query(names.sql(START)), start, headers, asked);
        if statement.execute(&mut *tx).await?.rows_affected() == 0 {
            tx.rollback().await?;
            return Ok(false);
        }
        put_steps(&mut tx, names, &start.id, steps).await?;
        tx.commit().await?;
        Ok(true)
    }

    pub(super) async fn save_saga(&self, change: SagaChange) -> Result<SagaSaved, StoreError> {
        check(&change)?;
        let mut tries = Tries::default();
        loop {
            let saved = self.try_save(&change).await;
            if !tries.again(&saved) {
                return self.named(saved);
            }
        }
    }

    async fn try_save(&self, change: &SagaChange) -> Result<SagaSaved, sqlx::Error> {
        let parts = Parts::of(change);
        if parts.is_nothing() || (self.is_mariadb && parts.are_few()) {
            let mut connection = self.pool.acquire().await?;
            return save_at_once(&mut connection, &self.names, change, &parts, WHOLE).await;
        }
        let mut tx = self.transaction().await?;
        let saved = save_within(&mut tx, &self.names, change, false).await?;
        tx.commit().await?;
        Ok(saved)
    }
}

fn bind_start<'q>(
    statement: Query<'q, MySql, MySqlArguments>,
    start: &'q SagaStart,
    headers: &'q [u8],
    asked: Instant,
) -> Query<'q, MySql, MySqlArguments> {
    statement
        .bind(start.id.as_bytes())
        .bind(start.name.as_bytes())
        .bind(i64::from(start.version))
        .bind(start.context.as_slice())
        .bind(start.digest.as_slice())
        .bind(headers)
        .bind(start.owner.as_bytes())
        .bind(FIRST)
        .bind(rows::micros(start.lease_until + asked.elapsed()))
        .bind(rows::micros(start.at))
        .bind(-rows::micros(start.at))
        .bind(rows::micros(start.at))
}

fn known_of(row: &MySqlRow) -> Result<SagaStarted, BoxError> {
    let digest = row.try_get::<&[u8], _>("digest")?.try_into()?;
    Ok(SagaStarted::Known { name: rows::text_of(row, "name")?, version: rows::number_of(row, "version")?, digest })
}

/// A server that is not strict would cut off what is too long.
fn fits(what: &str, text: &str, most: usize) -> Result<(), StoreError> {
    if text.len() <= most {
        return Ok(());
    }
    let what = format!("{what} has {} bytes, and this store takes {most}: make it shorter", text.len());
    Err(StoreError::new(StoreErrorKind::Database, what))
}

/// Whether all of a change can be stored.
pub(in crate::store::mysql) fn check(change: &SagaChange) -> Result<(), StoreError> {
    let of_steps = change.steps.iter().map(|step| &step.step);
    let mut names = of_steps.chain(change.log.iter().map(|entry| &entry.step));
    names.try_for_each(|name| fits("a step's name", name, MOST_OF_NAME))
}

/// What of a change has rows of its own.
struct Parts<'c> {
    steps: Vec<&'c SagaStep>,
    log: Vec<&'c SagaLog>,
}

impl<'c> Parts<'c> {
    fn of(change: &'c SagaChange) -> Self {
        Self { steps: change.steps.iter().collect(), log: change.log.iter().collect() }
    }

    fn is_nothing(&self) -> bool {
        self.steps.is_empty() && self.log.is_empty()
    }

    fn are_few(&self) -> bool {
        are_few(&self.steps, &self.log)
    }
}

/// Whether so few rows, and so small ones, are stored that a statement with all of them is kept prepared.
fn are_few(steps: &[&SagaStep], log: &[&SagaLog]) -> bool {
    let bytes = steps.iter().copied().map(bytes_of_step).sum::<usize>()
        + log.iter().copied().map(bytes_of_entry).sum::<usize>();
    rows::is_kept(steps.len()) && rows::is_kept(log.len()) && bytes <= rows::MOST_BYTES
}

/// Several statements as one, and one round trip: where the first has changed a row, the others follow. Gives as a row how many that are, and
/// what [`SAVE`] tells. Of the two servers only MariaDB knows such a statement.
fn at_once((begin, end): (&str, &str), first: &str, others: &[String]) -> String {
    let others: String = others.iter().filter(|text| !text.is_empty()).flat_map(|text| [text, "; "]).collect();
    let others = if others.is_empty() { others } else { format!("IF held > 0 THEN {others}END IF; ") };
    format!(
        "BEGIN NOT ATOMIC DECLARE held BIGINT; DECLARE told BIGINT; {begin}{first}; \
         SET held = ROW_COUNT(), told = LAST_INSERT_ID(); {others}{end}SELECT held, told; END"
    )
}

/// Stores what has become of a saga, in a transaction. Its row is locked until that ends.
pub(in crate::store::mysql) async fn save_within(
    connection: &mut MySqlConnection,
    names: &Names,
    change: &SagaChange,
    is_mariadb: bool,
) -> Result<SagaSaved, sqlx::Error> {
    let parts = Parts::of(change);
    if parts.is_nothing() || (is_mariadb && parts.are_few()) {
        return save_at_once(connection, names, change, &parts, PART).await;
    }
    let saved = save_row(&mut *connection, names, change).await?;
    if saved != SagaSaved::Lost {
        put_steps(connection, names, &change.claim.id, parts.steps).await?;
        put_log(connection, names, &change.claim.id, parts.log).await?;
    }
    Ok(saved)
}

/// Stores it in one statement.
async fn save_at_once(
    connection: &mut MySqlConnection,
    names: &Names,
    change: &SagaChange,
    parts: &Parts<'_>,
    around: (&str, &str),
) -> Result<SagaSaved, sqlx::Error> {
    if parts.is_nothing() {
        return save_row(connection, names, change).await;
    }
    let others = [steps_text(names, &parts.steps), log_text(names, &parts.log)];
    let text = at_once(around, names.sql(SAVE).as_str(), &others);
    let statement = bind_change(sqlx::query(AssertSqlSafe(text)), change);
    let statement = bind_steps(statement, &change.claim.id, &parts.steps);
    let saved = bind_log(statement, &change.claim.id, &parts.log).fetch_one(connection).await?;
    saved_as(saved.try_get::<i64, _>("held")?.unsigned_abs(), saved.try_get::<i64, _>("told")?.unsigned_abs())
}

async fn save_row(
    connection: &mut MySqlConnection,
    names: &Names,
    change: &SagaChange,
) -> Result<SagaSaved, sqlx::Error> {
    let saved = bind_change(sqlx::query(names.sql(SAVE)), change).execute(connection).await?;
    saved_as(saved.rows_affected(), saved.last_insert_id())
}

/// What it means that so many rows were changed, and what was told with them.
fn saved_as(held: u64, told: u64) -> Result<SagaSaved, sqlx::Error> {
    Ok(match (held, told) {
        (0, _) => SagaSaved::Lost,
        (_, 0) => SagaSaved::Stored(None),
        (_, 1) => SagaSaved::Stored(Some(SagaAsked::Cancel)),
        (_, 2) => SagaSaved::Stored(Some(SagaAsked::Resume)),
        _ => return Err(sqlx::Error::Decode("something is asked of the saga that this program does not know".into())),
    })
}

fn bind_change<'q>(
    statement: Query<'q, MySql, MySqlArguments>,
    change: &'q SagaChange,
) -> Query<'q, MySql, MySqlArguments> {
    let (at, heard) = (rows::micros(change.at), change.heard.map(|heard| heard.as_str().as_bytes()));
    let (is_held, due_at) = match change.rest {
        SagaRest::Held => (true, None),
        SagaRest::Until(due) => (false, Some(rows::micros(due))),
        SagaRest::Nobody => (false, None),
    };
    statement
        .bind(i64::from(change.log.iter().map(|entry| entry.number).max().unwrap_or(0)))
        .bind(heard)
        .bind(is_held)
        .bind(heard)
        .bind(at)
        .bind(due_at)
        .bind(at)
        .bind(due_at)
        .bind(heard)
        .bind(is_held)
        .bind(is_held)
        .bind(change.phase.as_str().as_bytes())
        .bind(change.why.as_bytes())
        .bind(change.version.map(i64::from))
        .bind(change.context.as_deref())
        .bind(change.is_cancelled)
        .bind(i64::from(change.cuts))
        .bind(change.error.as_deref().map(str::as_bytes))
        .bind(at)
        .bind(change.phase.is_end().then_some(at))
        .bind(change.claim.id.as_bytes())
        .bind(change.claim.fence)
}

fn bytes_of_step(step: &SagaStep) -> usize {
    step.returned.as_ref().map_or(0, Vec::len) + step.error.as_ref().map_or(0, String::len) + 2_048
}

fn bytes_of_entry(entry: &SagaLog) -> usize {
    entry.error.as_ref().map_or(0, String::len) + 2_048
}

/// The text of a statement that stores steps; empty where there are none.
fn steps_text(names: &Names, steps: &[&SagaStep]) -> String {
    if steps.is_empty() {
        return String::new();
    }
    format!("{}{}{RENEWED}", names.text(STEPS), rows::repeated(ONE_STEP, steps.len()))
}

fn bind_steps<'q>(
    mut statement: Query<'q, MySql, MySqlArguments>,
    id: &'q str,
    steps: &[&'q SagaStep],
) -> Query<'q, MySql, MySqlArguments> {
    for step in steps {
        let wait = step.wait.as_ref();
        statement = statement
            .bind(id.as_bytes())
            .bind(step.step.as_bytes())
            .bind(step.progress.as_str().as_bytes())
            .bind(i64::from(step.attempt))
            .bind(step.in_doubt)
            .bind(step.due_at.map(rows::micros))
            .bind(wait.map(|wait| wait.saga.as_bytes()))
            .bind(wait.map(|wait| wait.event.as_bytes()))
            .bind(wait.map(|wait| wait.key.as_bytes()))
            .bind(wait.map(rows::wait_digest))
            .bind(step.event.map(rows::id_bytes))
            .bind(step.returned.as_deref())
            .bind(step.error.as_deref().map(str::as_bytes));
    }
    statement
}

async fn put_steps(
    connection: &mut MySqlConnection,
    names: &Names,
    id: &str,
    steps: Vec<&SagaStep>,
) -> Result<(), sqlx::Error> {
    for steps in rows::chunks(steps, |step| bytes_of_step(step)) {
        let statement = sqlx::query(AssertSqlSafe(steps_text(names, &steps))).persistent(rows::is_kept(steps.len()));
        bind_steps(statement, id, &steps).execute(&mut *connection).await?;
    }
    Ok(())
}

/// The text of a statement that stores entries of a log; empty where there are none.
fn log_text(names: &Names, log: &[&SagaLog]) -> String {
    if log.is_empty() {
        return String::new();
    }
    format!("{}{}{}", names.text(LOG), rows::repeated(ONE_ENTRY, log.len()), names.text(KEPT))
}

fn bind_log<'q>(
    mut statement: Query<'q, MySql, MySqlArguments>,
    id: &'q str,
    log: &[&'q SagaLog],
) -> Query<'q, MySql, MySqlArguments> {
    for entry in log {
        statement = statement
            .bind(id.as_bytes())
            .bind(i64::from(entry.number))
            .bind(entry.step.as_bytes())
            .bind(entry.is_undo)
            .bind(i64::from(entry.attempt))
            .bind(rows::micros(entry.began_at))
            .bind(rows::micros(entry.ended_at))
            .bind(entry.progress.as_str().as_bytes())
            .bind(entry.error.as_deref().map(str::as_bytes));
    }
    statement
}

async fn put_log(
    connection: &mut MySqlConnection,
    names: &Names,
    id: &str,
    log: Vec<&SagaLog>,
) -> Result<(), sqlx::Error> {
    for log in rows::chunks(log, |entry| bytes_of_entry(entry)) {
        let statement = sqlx::query(AssertSqlSafe(log_text(names, &log))).persistent(rows::is_kept(log.len()));
        bind_log(statement, id, &log).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Gives the name of the saga that was asked.
pub(in crate::store::mysql) async fn ask(
    connection: &mut MySqlConnection,
    names: &Names,
    id: &[u8],
    asked: SagaAsked,
    now: SystemTime,
) -> Result<Option<String>, sqlx::Error> {
    let statement = sqlx::query(names.sql(ASK)).bind(asked.as_str().as_bytes()).bind(rows::micros(now)).bind(id);
    let is_asked =
        statement.bind(asked.phase().as_str().as_bytes()).execute(&mut *connection).await?.rows_affected() > 0;
    if !is_asked {
        return Ok(None);
    }
    let known = sqlx::query(names.sql(KNOWN)).bind(id).fetch_optional(connection).await?;
    known.map(|row| rows::text_of(&row, "name").map_err(sqlx::Error::Decode)).transpose()
}

pub(super) async fn poke(pool: &MySqlPool, names: &Names, id: Vec<u8>, now: SystemTime) -> Result<(), sqlx::Error> {
    sqlx::query(names.sql(POKE)).bind(rows::micros(now)).bind(id).execute(pool).await.map(drop)
}
