//! Between sagas and their rows.

use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

pub(super) use super::super::rows::*;
use crate::BoxError;
use crate::store::sagas::words::{asked_of, phase_of, progress_of};
use crate::store::{SagaLog, SagaRow, SagaStep, SagaWait};

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
        event_id AS step_event_id, patch AS step_patch, error AS step_error"
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
        patch: row.try_get("step_patch")?,
        error: row.try_get("step_error")?,
    })
}

/// Steps as lists, for `unnest`: one statement, whatever their number.
#[derive(Default)]
pub(super) struct Steps {
    pub(super) names: Vec<String>,
    pub(super) progress: Vec<&'static str>,
    pub(super) attempts: Vec<i32>,
    pub(super) in_doubt: Vec<bool>,
    pub(super) due: Vec<Option<i64>>,
    pub(super) wait_sagas: Vec<Option<String>>,
    pub(super) wait_events: Vec<Option<String>>,
    pub(super) wait_keys: Vec<Option<String>>,
    pub(super) events: Vec<Option<Uuid>>,
    pub(super) patches: Vec<Option<Vec<u8>>>,
    pub(super) errors: Vec<Option<String>>,
}

impl Steps {
    pub(super) fn new(steps: Vec<SagaStep>) -> Self {
        let mut lists = Self::default();
        for step in steps {
            let (saga, event, key) = match step.wait {
                Some(wait) => (Some(wait.saga), Some(wait.event), Some(wait.key)),
                None => (None, None, None),
            };
            lists.names.push(escape(step.step));
            lists.progress.push(step.progress.as_str());
            lists.attempts.push(number(step.attempt));
            lists.in_doubt.push(step.in_doubt);
            lists.due.push(step.due_at.map(micros));
            lists.wait_sagas.push(saga.map(escape));
            lists.wait_events.push(event.map(escape));
            lists.wait_keys.push(key.map(escape));
            lists.events.push(step.event);
            lists.patches.push(step.patch);
            lists.errors.push(step.error.map(error_text));
        }
        lists
    }
}

/// A log as lists, for `unnest`.
#[derive(Default)]
pub(super) struct Log {
    pub(super) numbers: Vec<i32>,
    pub(super) steps: Vec<String>,
    pub(super) is_undo: Vec<bool>,
    pub(super) attempts: Vec<i32>,
    pub(super) began: Vec<i64>,
    pub(super) ended: Vec<i64>,
    pub(super) progress: Vec<&'static str>,
    pub(super) errors: Vec<Option<String>>,
}

impl Log {
    pub(super) fn new(log: Vec<SagaLog>) -> Self {
        let mut lists = Self::default();
        for entry in log {
            lists.numbers.push(number(entry.number));
            lists.steps.push(escape(entry.step));
            lists.is_undo.push(entry.is_undo);
            lists.attempts.push(number(entry.attempt));
            lists.began.push(micros(entry.began_at));
            lists.ended.push(micros(entry.ended_at));
            lists.progress.push(entry.progress.as_str());
            lists.errors.push(entry.error.map(error_text));
        }
        lists
    }
}

/// Binds the lists of steps, in the order of their columns.
macro_rules! bind_steps {
    ($statement:expr, $steps:expr) => {{
        let steps = $steps;
        $statement
            .bind(steps.names)
            .bind(steps.progress)
            .bind(steps.attempts)
            .bind(steps.in_doubt)
            .bind(steps.due)
            .bind(steps.wait_sagas)
            .bind(steps.wait_events)
            .bind(steps.wait_keys)
            .bind(steps.events)
            .bind(steps.patches)
            .bind(steps.errors)
    }};
}

pub(super) use bind_steps;
