//! Between sagas and their rows.

use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

pub(super) use super::super::rows::*;
use crate::BoxError;
use crate::store::sagas::words::{asked_of, phase_of, progress_of};
use crate::store::{SagaAsked, SagaChange, SagaLog, SagaRest, SagaRow, SagaStep, SagaWait};

/// The columns of a saga, as [`saga`] reads them.
macro_rules! saga_columns {
    () => {
        "id, name, version, phase, why, context, headers, is_cancelled, cuts, asked, error, logged, started_at, changed_at, due_at,
        owner IS NOT NULL AS is_held"
    };
}

/// The columns of a step, as [`step`] reads them: beside those of its saga, too.
macro_rules! step_columns {
    () => {
        "saga AS step_saga, step AS step_name, progress AS step_progress, attempt AS step_attempt, in_doubt AS step_in_doubt,
        due_at AS step_due_at, wait_saga AS step_wait_saga, wait_event AS step_wait_event, wait_key AS step_wait_key,
        event_id AS step_event_id, returned AS step_returned, error AS step_error"
    };
}

pub(super) use {saga_columns, step_columns};

pub(super) fn saga(row: &PgRow) -> Result<SagaRow, BoxError> {
    let phase: &str = row.try_get("phase")?;
    let asked: Option<&str> = row.try_get("asked")?;
    Ok(SagaRow {
        id: text_of(row, "id")?,
        name: text_of(row, "name")?,
        version: number_of(row, "version")?,
        phase: phase_of(phase)?,
        why: text_of(row, "why")?,
        context: row.try_get("context")?,
        headers: headers_of(row)?,
        is_cancelled: row.try_get("is_cancelled")?,
        cuts: number_of(row, "cuts")?,
        asked: asked.map(asked_of).transpose()?,
        error: row.try_get("error")?,
        logged: number_of(row, "logged")?,
        started_at: time_of(row, "started_at")?,
        changed_at: time_of(row, "changed_at")?,
        due_at: row.try_get::<Option<i64>, _>("due_at")?.map(time),
        is_held: row.try_get("is_held")?,
    })
}

pub(super) fn step(row: &PgRow) -> Result<SagaStep, BoxError> {
    let wait = match maybe_text_of(row, "step_wait_key")? {
        Some(key) => {
            Some(SagaWait { saga: text_of(row, "step_wait_saga")?, event: text_of(row, "step_wait_event")?, key })
        }
        None => None,
    };
    Ok(SagaStep {
        step: text_of(row, "step_name")?,
        progress: progress_of(row.try_get("step_progress")?)?,
        attempt: number_of(row, "step_attempt")?,
        in_doubt: row.try_get("step_in_doubt")?,
        due_at: row.try_get::<Option<i64>, _>("step_due_at")?.map(time),
        wait,
        event: row.try_get("step_event_id")?,
        returned: row.try_get("step_returned")?,
        error: row.try_get("step_error")?,
    })
}

/// What becomes of a saga's row, as its columns.
pub(super) struct ChangeRow {
    pub(super) id: String,
    pub(super) fence: i64,
    pub(super) phase: &'static str,
    pub(super) why: String,
    pub(super) context: Option<Vec<u8>>,
    pub(super) is_cancelled: bool,
    pub(super) cuts: i32,
    pub(super) error: Option<String>,
    /// The number of its last entry in the log.
    pub(super) last: i32,
    pub(super) at: i64,
    pub(super) ended: Option<i64>,
    pub(super) heard: Option<&'static str>,
    pub(super) is_held: bool,
    pub(super) due: Option<i64>,
    pub(super) version: Option<i32>,
}

/// A change as rows: of its saga, its steps and its log.
pub(super) fn change(change: SagaChange) -> (ChangeRow, Vec<StepRow>, Vec<EntryRow>) {
    let at = micros(change.at);
    let (is_held, due) = match change.rest {
        SagaRest::Held => (true, None),
        SagaRest::Until(due) => (false, Some(micros(due))),
        SagaRest::Nobody => (false, None),
    };
    let row = ChangeRow {
        id: escape(change.claim.id),
        fence: change.claim.fence,
        phase: change.phase.as_str(),
        why: escape(change.why),
        context: change.context,
        is_cancelled: change.is_cancelled,
        cuts: number(change.cuts),
        error: change.error.map(error_text),
        last: number(change.log.iter().map(|entry| entry.number).max().unwrap_or(0)),
        at,
        ended: change.phase.is_end().then_some(at),
        heard: change.heard.map(SagaAsked::as_str),
        is_held,
        due,
        version: change.version.map(number),
    };
    let steps = change.steps.into_iter().map(StepRow::from).collect();
    (row, steps, change.log.into_iter().map(EntryRow::from).collect())
}

/// A step as its columns.
pub(super) struct StepRow {
    pub(super) name: String,
    pub(super) progress: &'static str,
    pub(super) attempt: i32,
    pub(super) in_doubt: bool,
    pub(super) due: Option<i64>,
    pub(super) wait_saga: Option<String>,
    pub(super) wait_event: Option<String>,
    pub(super) wait_key: Option<String>,
    pub(super) event: Option<Uuid>,
    pub(super) returned: Option<Vec<u8>>,
    pub(super) error: Option<String>,
}

impl From<SagaStep> for StepRow {
    fn from(step: SagaStep) -> Self {
        let (saga, event, key) = match step.wait {
            Some(wait) => (Some(wait.saga), Some(wait.event), Some(wait.key)),
            None => (None, None, None),
        };
        Self {
            name: escape(step.step),
            progress: step.progress.as_str(),
            attempt: number(step.attempt),
            in_doubt: step.in_doubt,
            due: step.due_at.map(micros),
            wait_saga: saga.map(escape),
            wait_event: event.map(escape),
            wait_key: key.map(escape),
            event: step.event,
            returned: step.returned,
            error: step.error.map(error_text),
        }
    }
}

/// An entry of a log as its columns.
pub(super) struct EntryRow {
    pub(super) number: i32,
    pub(super) step: String,
    pub(super) is_undo: bool,
    pub(super) attempt: i32,
    pub(super) began: i64,
    pub(super) ended: i64,
    pub(super) progress: &'static str,
    pub(super) error: Option<String>,
}

impl From<SagaLog> for EntryRow {
    fn from(entry: SagaLog) -> Self {
        Self {
            number: number(entry.number),
            step: escape(entry.step),
            is_undo: entry.is_undo,
            attempt: number(entry.attempt),
            began: micros(entry.began_at),
            ended: micros(entry.ended_at),
            progress: entry.progress.as_str(),
            error: entry.error.map(error_text),
        }
    }
}

/// Binds some columns of rows, in their order: of one row its values, of several a list of each, for `unnest`.
macro_rules! bind_columns {
    (one, $statement:expr, $row:expr, $($column:ident),+) => {{
        let row = $row;
        $statement$(.bind(row.$column))+
    }};
    (all, $statement:expr, $rows:expr, $($column:ident),+) => {{
        $(let mut $column = Vec::new();)+
        for row in $rows {
            $($column.push(row.$column);)+
        }
        $statement$(.bind($column))+
    }};
}

/// Binds what becomes of sagas' rows: of `one`, or of `all`.
macro_rules! bind_change {
    ($how:ident, $statement:expr, $changes:expr) => {
        rows::bind_columns!(
            $how,
            $statement,
            $changes,
            id,
            fence,
            phase,
            why,
            context,
            is_cancelled,
            cuts,
            error,
            last,
            at,
            ended,
            heard,
            is_held,
            due,
            version
        )
    };
}

/// Binds steps: `one` row, or `all`.
macro_rules! bind_steps {
    ($how:ident, $statement:expr, $steps:expr) => {
        rows::bind_columns!(
            $how, $statement, $steps, name, progress, attempt, in_doubt, due, wait_saga, wait_event, wait_key, event,
            returned, error
        )
    };
}

/// Binds entries of a log: `one` row, or `all`.
macro_rules! bind_log {
    ($how:ident, $statement:expr, $log:expr) => {
        rows::bind_columns!($how, $statement, $log, number, step, is_undo, attempt, began, ended, progress, error)
    };
}

pub(super) use {bind_change, bind_columns, bind_log, bind_steps};
