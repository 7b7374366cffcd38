//! Between sagas and their rows.

use sqlx::Row;
use sqlx::mysql::MySqlRow;
use uuid::Uuid;

pub(super) use super::super::rows::*;
use crate::BoxError;
use crate::store::sagas::words::{asked_of, phase_of, progress_of};
use crate::store::{SagaRow, SagaStep, SagaWait};

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

pub(super) fn saga(row: &MySqlRow) -> Result<SagaRow, BoxError> {
    let phase = text_of(row, "phase")?;
    let asked = some_text_of(row, "asked")?;
    Ok(SagaRow {
        id: text_of(row, "id")?,
        name: text_of(row, "name")?,
        version: number_of(row, "version")?,
        phase: phase_of(&phase)?,
        why: text_of(row, "why")?,
        context: row.try_get("context")?,
        headers: headers_of(row)?,
        is_cancelled: row.try_get("is_cancelled")?,
        cuts: number_of(row, "cuts")?,
        asked: asked.map(|word| asked_of(&word)).transpose()?,
        error: some_text_of(row, "error")?,
        logged: number_of(row, "logged")?,
        started_at: time_of(row, "started_at")?,
        changed_at: time_of(row, "changed_at")?,
        due_at: row.try_get::<Option<i64>, _>("due_at")?.map(time),
        is_held: row.try_get("is_held")?,
    })
}

pub(super) fn step(row: &MySqlRow) -> Result<SagaStep, BoxError> {
    let wait = match some_text_of(row, "step_wait_key")? {
        Some(key) => {
            Some(SagaWait { saga: text_of(row, "step_wait_saga")?, event: text_of(row, "step_wait_event")?, key })
        }
        None => None,
    };
    let event: Option<&[u8]> = row.try_get("step_event_id")?;
    Ok(SagaStep {
        step: text_of(row, "step_name")?,
        progress: progress_of(&text_of(row, "step_progress")?)?,
        attempt: number_of(row, "step_attempt")?,
        in_doubt: row.try_get("step_in_doubt")?,
        due_at: row.try_get::<Option<i64>, _>("step_due_at")?.map(time),
        wait,
        event: event.map(Uuid::from_slice).transpose()?,
        returned: row.try_get("step_returned")?,
        error: some_text_of(row, "step_error")?,
    })
}

/// By what an event and the steps that wait for it find each other.
pub(super) fn wait_digest(wait: &SagaWait) -> Vec<u8> {
    digest(&[&wait.saga, &wait.event, &wait.key]).to_vec()
}

/// The ids of a list, as statements bind them.
pub(super) fn slices(ids: &[Vec<u8>]) -> Vec<&[u8]> {
    ids.iter().map(Vec::as_slice).collect()
}
