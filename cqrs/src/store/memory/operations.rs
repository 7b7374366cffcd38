//! What people who operate a service ask of the store in memory.

use std::collections::HashSet;
use std::time::SystemTime;

use super::MemoryStore;
use super::state::{Locked, State, dead_event, dead_work};
use super::table::{Lane, Row, Stage};
use crate::store::driver::BoxFuture;
use crate::store::{
    AuditChange, AuditEntry, AuditSource, DeadLetter, DeadLetterId, DeadSearch, DeadSource, Operation, Operations,
    OutboxId, OutboxRecord, OutboxRow, OutboxSearch, OutboxState, OutboxStatus, Signed, StoreError, TimerFilter,
    TimerName, TimerRecord, Touched, WorkKind, WorkQueue, WorkRecord,
};

/// What was done, in the order of doing it.
#[derive(Debug, Default)]
pub(super) struct Audit {
    last: i64,
    entries: Vec<AuditEntry>,
}

impl Operations for MemoryStore {
    fn outbox_status(&self) -> BoxFuture<'_, Result<OutboxStatus, StoreError>> {
        self.ask(|state| state.outbox_status())
    }

    fn outbox_rows(&self, search: OutboxSearch) -> BoxFuture<'_, Result<Vec<OutboxRow>, StoreError>> {
        self.ask(move |state| state.outbox_rows(&search))
    }

    fn find_dead(&self, search: DeadSearch) -> BoxFuture<'_, Result<Vec<DeadLetter>, StoreError>> {
        self.ask(move |state| state.find_dead(&search))
    }

    fn dead_letter(&self, id: DeadLetterId) -> BoxFuture<'_, Result<Option<DeadLetter>, StoreError>> {
        self.ask(move |state| state.dead_letter(id))
    }

    fn find_timers(&self, filter: TimerFilter, limit: usize) -> BoxFuture<'_, Result<Vec<TimerRecord>, StoreError>> {
        self.ask(move |state| {
            let mut timers = state.timers(usize::MAX);
            timers.retain(|timer| {
                filter.name.as_ref().is_none_or(|name| timer.name == *name)
                    && (filter.key.is_none() || timer.key == filter.key)
            });
            timers.truncate(limit);
            timers
        })
    }

    fn operate(&self, operation: Operation, signed: Signed) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.ask_unlocked(move |state| state.operate(operation.clone(), &signed))
    }

    fn audit(&self, before: Option<i64>, limit: usize) -> BoxFuture<'_, Result<Vec<AuditEntry>, StoreError>> {
        self.ask(move |state| {
            let latest_first = state.audit.entries.iter().rev();
            latest_first.filter(|entry| before.is_none_or(|before| entry.seq < before)).take(limit).cloned().collect()
        })
    }

    fn purge_audit(&self, before: SystemTime) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.ask(move |state| {
            let entries = state.audit.entries.len();
            state.audit.entries.retain(|entry| entry.at >= before);
            u64::try_from(entries - state.audit.entries.len()).unwrap_or(u64::MAX)
        })
    }
}

/// Looking.
impl State {
    /// Keys with a dead row, each with the first of them.
    fn dead_lanes(&self) -> Vec<(&Lane, i64)> {
        let mut seen = HashSet::new();
        let dead = self.outbox.dead().iter().filter_map(|seq| Some((self.outbox.get(*seq)?.lane.as_ref()?, *seq)));
        dead.filter(|(lane, _)| seen.insert(*lane)).collect()
    }

    /// Every row of the outbox with its state, in the order of storing.
    fn outbox_states(&self) -> impl Iterator<Item = (i64, &Row<(), OutboxRecord>, OutboxState)> {
        let lanes = self.dead_lanes();
        self.outbox.rows().map(move |(seq, row)| {
            let is_behind = || lanes.iter().any(|(lane, dead)| row.lane.as_ref() == Some(*lane) && *dead < seq);
            let state = match row.stage {
                Stage::Dead => OutboxState::Dead,
                Stage::Claimed => OutboxState::Claimed,
                _ if is_behind() => OutboxState::Parked,
                Stage::Ready => OutboxState::Ready,
                Stage::Waiting => OutboxState::Waiting,
            };
            (seq, row, state)
        })
    }

    fn outbox_status(&self) -> OutboxStatus {
        let mut status = OutboxStatus::default();
        for (_, row, state) in self.outbox_states() {
            let count = match state {
                OutboxState::Ready => &mut status.ready,
                OutboxState::Waiting => &mut status.waiting,
                OutboxState::Parked => &mut status.parked,
                OutboxState::Claimed => &mut status.claimed,
                OutboxState::Dead => &mut status.dead,
            };
            *count += 1;
            if state != OutboxState::Dead && status.oldest.is_none_or(|oldest| row.record.raised_at < oldest) {
                status.oldest = Some(row.record.raised_at);
            }
        }
        status
    }

    fn outbox_rows(&self, search: &OutboxSearch) -> Vec<OutboxRow> {
        let wanted = self.outbox_states().filter(|(seq, row, state)| {
            *state == search.state
                && search.after.is_none_or(|OutboxId(after)| *seq > after)
                && search.topic.as_ref().is_none_or(|topic| row.record.topic == *topic)
        });
        let row = |(seq, row, state): (i64, &Row<(), OutboxRecord>, OutboxState)| OutboxRow {
            id: OutboxId(seq),
            state,
            record: row.record.clone(),
            attempts: row.attempts,
            error: row.error.clone(),
            due_at: row.due,
        };
        wanted.take(search.limit).map(row).collect()
    }

    fn find_dead(&self, search: &DeadSearch) -> Vec<DeadLetter> {
        let is_behind = |letter: &DeadLetter| {
            let place = search.place(letter.id.source);
            place.is_none_or(|place| (letter.created_at, letter.id.seq) > place)
        };
        let mut letters = self.dead_letters(usize::MAX);
        letters.retain(|letter| search.filter.takes(letter) && is_behind(letter));
        let mut letters = search.merged(letters);
        if !search.with_payload {
            for letter in &mut letters {
                letter.payload.clear();
            }
        }
        letters
    }

    fn dead_letter(&self, id: DeadLetterId) -> Option<DeadLetter> {
        if !self.is_dead(id) {
            return None;
        }
        match id.source {
            DeadSource::Outbox => self.outbox.get(id.seq).map(|row| dead_event(id.seq, row)),
            DeadSource::Work => self.work.get(id.seq).map(|row| dead_work(id.seq, row)),
        }
    }
}

/// Doing.
impl State {
    fn operate(&mut self, operation: Operation, signed: &Signed) -> Result<bool, Locked> {
        let action = operation.action();
        let touched = match operation {
            Operation::Replay(id) => self.on_dead(id, |state, _| {
                state.replay(id, signed.at);
            }),
            Operation::Discard(id) => self.on_dead(id, |state, _| {
                state.discard(id);
            }),
            Operation::Edit { id, payload, headers } => self.on_dead(id, |state, touched| {
                let letter = state.dead_letter(id).map_or(0, |letter| letter.payload.len());
                touched.change = Some(AuditChange::Size { before: letter as u64, after: payload.len() as u64 });
                match id.source {
                    DeadSource::Outbox => state.outbox.change(id.seq, |row| {
                        (row.record.payload, row.record.headers) = (payload, headers);
                    }),
                    DeadSource::Work => state.work.change(id.seq, |row| {
                        (row.record.payload, row.record.headers) = (payload, headers);
                    }),
                }
                state.replay(id, signed.at);
            }),
            Operation::Requeue(id) => self.requeue(id, signed.at),
            Operation::Reschedule { timer, due } => self.reschedule(&timer, due)?,
            Operation::Cancel(timer) => self.cancel(&timer)?,
            Operation::AskSaga { id, asked } => {
                let name = self.sagas.ask(&id, asked, signed.at)?;
                name.map(|name| Touched::saga(name, id)).into_iter().collect()
            }
        };
        for touched in &touched {
            self.audit.last += 1;
            let entry = AuditEntry::new(self.audit.last, action, touched.clone(), signed.clone());
            self.audit.entries.push(entry);
        }
        Ok(!touched.is_empty())
    }

    fn on_dead(&mut self, id: DeadLetterId, change: impl FnOnce(&mut Self, &mut Touched)) -> Vec<Touched> {
        let Some(letter) = self.dead_letter(id) else { return Vec::new() };
        let DeadLetter { message_id, name, key, .. } = letter;
        let mut touched = Touched { source: id.source.into(), row: id.seq, message_id, name, key, change: None };
        change(self, &mut touched);
        vec![touched]
    }

    fn requeue(&mut self, id: OutboxId, now: SystemTime) -> Vec<Touched> {
        let OutboxId(seq) = id;
        let Some(row) = self.outbox.get(seq) else { return Vec::new() };
        match row.stage {
            Stage::Dead => self.on_dead(id.dead_letter(), |state, _| {
                state.replay(id.dead_letter(), now);
            }),
            Stage::Waiting => {
                let OutboxRecord { id: message_id, name, key, .. } = row.record.clone();
                self.outbox.change(seq, |row| (row.stage, row.due) = (Stage::Ready, now));
                vec![Touched { source: AuditSource::Outbox, row: seq, message_id, name, key, change: None }]
            }
            _ => Vec::new(),
        }
    }

    /// The timers of a name that are neither being done nor dead.
    fn timers_named(&self, timer: &TimerName) -> Result<Vec<i64>, Locked> {
        let is_it = |row: &Row<WorkQueue, WorkRecord>| match timer {
            TimerName::Id(id) => row.record.id == *id,
            TimerName::Key { name, key } => {
                row.record.name == *name && row.record.timer_key.as_deref() == Some(key.as_str())
            }
        };
        let timers = self.work.rows().filter(|(_, row)| row.record.kind == WorkKind::Timer && row.is_idle());
        let found: Vec<(i64, bool)> = timers.filter(|(_, row)| is_it(row)).map(|(seq, row)| (seq, row.taken)).collect();
        if found.iter().any(|(_, taken)| *taken) {
            return Err(Locked);
        }
        Ok(found.into_iter().map(|(seq, _)| seq).collect())
    }

    fn reschedule(&mut self, timer: &TimerName, due: SystemTime) -> Result<Vec<Touched>, Locked> {
        let mut found = self.timers_named(timer)?;
        let Some(last) = found.pop() else { return Ok(Vec::new()) };
        for seq in found {
            self.remove_work(seq);
        }
        let touched = self.timer(last, |before| Some(AuditChange::Due { before, after: due }));
        self.work.change(last, |row| {
            (row.stage, row.due, row.attempts) = (Stage::Waiting, due, 0);
            (row.error, row.deferred_since) = (None, None);
        });
        Ok(touched.into_iter().collect())
    }

    fn cancel(&mut self, timer: &TimerName) -> Result<Vec<Touched>, Locked> {
        let found = self.timers_named(timer)?;
        let touched = found.iter().filter_map(|seq| self.timer(*seq, |_| None)).collect();
        for seq in found {
            self.remove_work(seq);
        }
        Ok(touched)
    }

    fn timer(&self, seq: i64, change: impl FnOnce(SystemTime) -> Option<AuditChange>) -> Option<Touched> {
        let row = self.work.get(seq)?;
        let WorkRecord { id: message_id, name, timer_key: key, .. } = row.record.clone();
        Some(Touched { source: AuditSource::Work, row: seq, message_id, name, key, change: change(row.due) })
    }
}
