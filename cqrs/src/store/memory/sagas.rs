//! Sagas in memory.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::SystemTime;

use super::state::Locked;
use super::{MemoryStore, owned};
use crate::store::driver::{BoxFuture, ClaimRequest};
use crate::store::sagas::Sagas;
use crate::store::{
    AwaitedEvent, ClaimedSaga, SagaAsked, SagaChange, SagaClaim, SagaFilter, SagaLog, SagaNames, SagaPhase,
    SagaProgress, SagaRest, SagaRow, SagaSaved, SagaStart, SagaStarted, SagaStep, SagaUse, SagaWait, StoreError,
};

/// Who holds a saga.
#[derive(Debug, Clone)]
struct Held {
    owner: String,
    lease_until: SystemTime,
}

/// A saga with all that belongs to it.
#[derive(Debug)]
struct Instance {
    row: SagaRow,
    digest: [u8; 32],
    steps: BTreeMap<String, SagaStep>,
    log: Vec<SagaLog>,
    fence: i64,
    held: Option<Held>,
    /// Whether it is due as soon as it is let go.
    is_poked: bool,
}

impl Instance {
    fn is_held_by(&self, claim: &SagaClaim) -> bool {
        self.held.is_some() && self.fence == claim.fence
    }

    fn is_due(&self, now: SystemTime, lease_now: SystemTime) -> bool {
        match &self.held {
            Some(held) => held.lease_until <= lease_now,
            None => self.row.due_at.is_some_and(|due| due <= now),
        }
    }

    /// When somebody was, or is, to look at it.
    fn since(&self) -> Option<SystemTime> {
        self.held.as_ref().map(|held| held.lease_until).or(self.row.due_at)
    }

    fn claim(&self) -> SagaClaim {
        SagaClaim { id: self.row.id.clone(), fence: self.fence }
    }

    fn leave(&mut self, due_at: Option<SystemTime>) {
        self.held = None;
        (self.row.is_held, self.row.due_at) = (false, due_at);
    }

    fn poke(&mut self, now: SystemTime) {
        if self.row.phase.is_end() {
            return;
        }
        self.is_poked = true;
        if self.held.is_none() {
            self.row.due_at = Some(now);
        }
    }
}

/// Every saga, and the events that came for them.
#[derive(Debug, Default)]
pub(super) struct SagaTable {
    all: HashMap<String, Instance>,
    events: Vec<AwaitedEvent>,
    /// Those that the transaction under way has changed.
    taken: HashSet<String>,
}

impl SagaTable {
    fn start(&mut self, start: SagaStart) -> SagaStarted {
        if let Some(known) = self.all.get(&start.id) {
            return SagaStarted::Known {
                name: known.row.name.clone(),
                version: known.row.version,
                digest: known.digest,
            };
        }
        let row = SagaRow {
            id: start.id.clone(),
            name: start.name,
            version: start.version,
            phase: SagaPhase::Forward,
            why: String::new(),
            context: start.context,
            headers: start.headers,
            is_cancelled: false,
            cuts: 0,
            asked: None,
            error: None,
            logged: 0,
            started_at: start.at,
            changed_at: start.at,
            due_at: None,
            is_held: true,
        };
        let steps = start.steps.into_iter().map(|step| (step.step.clone(), step)).collect();
        let held = Some(Held { owner: start.owner, lease_until: start.lease_until });
        let instance = Instance { row, digest: start.digest, steps, log: Vec::new(), fence: 1, held, is_poked: false };
        let claim = instance.claim();
        self.all.insert(start.id, instance);
        SagaStarted::New(claim)
    }

    fn claim(&mut self, owner: &str, request: &ClaimRequest<'_>, names: &SagaNames) -> Vec<ClaimedSaga> {
        let is_free = |row: &SagaRow| !self.taken.contains(&row.id) && names.has(&row.name);
        let is_due = |saga: &&mut Instance| is_free(&saga.row) && saga.is_due(request.now, request.lease_now);
        let mut due: Vec<&mut Instance> = self.all.values_mut().filter(is_due).collect();
        due.sort_by(|one, other| (one.since(), &one.row.id).cmp(&(other.since(), &other.row.id)));
        due.truncate(request.limit);
        due.into_iter()
            .map(|saga| {
                let was_held = saga.held.is_some();
                saga.fence += 1;
                saga.held = Some(Held { owner: owner.to_owned(), lease_until: request.lease_until });
                (saga.row.is_held, saga.row.due_at, saga.is_poked) = (true, None, false);
                let steps: Vec<SagaStep> = saga.steps.values().cloned().collect();
                let waits = steps.iter().filter(|step| step.progress == SagaProgress::Awaiting);
                let first = |step: &SagaStep| self.events.iter().find(|event| Some(&event.wait) == step.wait.as_ref());
                let events = waits.filter_map(first).cloned().collect();
                ClaimedSaga { claim: saga.claim(), row: saga.row.clone(), steps, was_held, events }
            })
            .collect()
    }

    fn renew(&mut self, claims: Vec<SagaClaim>, lease_until: SystemTime) -> Vec<SagaClaim> {
        let renewed = |claim: &SagaClaim| {
            let saga = self.all.get_mut(&claim.id).filter(|saga| saga.is_held_by(claim));
            saga.and_then(|saga| saga.held.as_mut()).map(|held| held.lease_until = lease_until).is_some()
        };
        claims.into_iter().filter(renewed).collect()
    }

    /// Whether a change could be stored. Then nobody else gets hold of the saga until it has ended, or is undone.
    pub(super) fn take(&mut self, change: &SagaChange) -> SagaSaved {
        let saved = self.answer(change);
        if saved != SagaSaved::Lost {
            self.taken.insert(change.claim.id.clone());
        }
        saved
    }

    fn answer(&self, change: &SagaChange) -> SagaSaved {
        let saga = self.all.get(&change.claim.id).filter(|saga| saga.is_held_by(&change.claim));
        saga.map_or(SagaSaved::Lost, |saga| {
            SagaSaved::Stored(saga.row.asked.filter(|asked| Some(*asked) != change.heard))
        })
    }

    pub(super) fn let_go(&mut self, id: &str) {
        self.taken.remove(id);
    }

    /// Stores a change that was taken.
    pub(super) fn apply(&mut self, change: SagaChange) {
        self.let_go(&change.claim.id);
        self.put(change);
    }

    fn put(&mut self, change: SagaChange) {
        let Some(saga) = self.all.get_mut(&change.claim.id) else { return };
        let row = &mut saga.row;
        (row.phase, row.why, row.cuts, row.is_cancelled) = (change.phase, change.why, change.cuts, change.is_cancelled);
        (row.error, row.changed_at) = (change.error, change.at);
        row.version = change.version.unwrap_or(row.version);
        if let Some(context) = change.context {
            row.context = context;
        }
        row.asked = row.asked.filter(|asked| Some(*asked) != change.heard);
        row.logged += u32::try_from(change.log.len()).unwrap_or(u32::MAX);
        saga.steps.extend(change.steps.into_iter().map(|step| (step.step.clone(), step)));
        saga.log.extend(change.log);
        match change.rest {
            SagaRest::Held => {}
            // What somebody asks is heard at once.
            _ if saga.row.asked.is_some() => saga.leave(Some(change.at)),
            SagaRest::Until(_) if saga.is_poked => saga.leave(Some(change.at)),
            SagaRest::Until(due) => saga.leave(Some(due)),
            SagaRest::Nobody => saga.leave(None),
        }
    }

    fn save(&mut self, change: SagaChange) -> SagaSaved {
        let saved = self.answer(&change);
        if saved != SagaSaved::Lost {
            self.put(change);
        }
        saved
    }

    fn hand_back(&mut self, owner: &str, now: SystemTime) {
        for saga in self.all.values_mut() {
            if saga.held.as_ref().is_some_and(|held| held.owner == owner) {
                saga.fence += 1;
                saga.leave(Some(now));
            }
        }
    }

    /// Gives the name of the saga that was asked.
    pub(super) fn ask(&mut self, id: &str, asked: SagaAsked, now: SystemTime) -> Result<Option<String>, Locked> {
        if self.taken.contains(id) {
            return Err(Locked);
        }
        let is_it = |saga: &&mut Instance| saga.row.phase == asked.phase();
        let Some(saga) = self.all.get_mut(id).filter(is_it) else { return Ok(None) };
        saga.row.asked = Some(asked);
        if saga.held.is_none() {
            saga.row.due_at = Some(now);
        }
        Ok(Some(saga.row.name.clone()))
    }

    fn poke(&mut self, id: &str, now: SystemTime) -> Result<(), Locked> {
        if self.taken.contains(id) {
            return Err(Locked);
        }
        if let Some(saga) = self.all.get_mut(id) {
            saga.poke(now);
        }
        Ok(())
    }

    /// Keeps an event; what waits for it is due.
    pub(super) fn arrive(&mut self, event: AwaitedEvent, now: SystemTime) {
        for saga in self.all.values_mut() {
            let waits =
                |step: &SagaStep| step.progress == SagaProgress::Awaiting && step.wait.as_ref() == Some(&event.wait);
            if saga.steps.values().any(waits) {
                saga.poke(now);
            }
        }
        self.events.push(event);
    }

    fn purge(&mut self, ended_before: SystemTime, events_before: SystemTime) -> u64 {
        let before = self.all.len();
        self.all.retain(|_, saga| !saga.row.phase.is_end() || saga.row.changed_at >= ended_before);
        self.events.retain(|event| event.at >= events_before);
        (before - self.all.len()) as u64
    }

    fn find(&self, filter: &SagaFilter, limit: usize) -> Vec<SagaRow> {
        let takes = |row: &&SagaRow| {
            let is_behind = match (filter.started_before, &filter.after_id) {
                (None, _) => true,
                (Some(before), None) => row.started_at < before,
                (Some(before), Some(id)) => row.started_at < before || (row.started_at == before && row.id > *id),
            };
            filter.name.as_ref().is_none_or(|name| row.name == *name)
                && filter.phase.is_none_or(|phase| row.phase == phase)
                && is_behind
        };
        let mut rows: Vec<&SagaRow> = self.all.values().map(|saga| &saga.row).filter(takes).collect();
        rows.sort_by(|one, other| other.started_at.cmp(&one.started_at).then_with(|| one.id.cmp(&other.id)));
        rows.into_iter().take(limit).cloned().collect()
    }

    fn in_use(&self) -> Vec<SagaUse> {
        let mut counts: HashMap<(String, u32, SagaPhase, Option<String>), u64> = HashMap::new();
        for Instance { row, steps, .. } in self.all.values().filter(|saga| !saga.row.phase.is_end()) {
            for step in steps.keys().map(|step| Some(step.clone())).chain([None]) {
                *counts.entry((row.name.clone(), row.version, row.phase, step)).or_default() += 1;
            }
        }
        let used = |((name, version, phase, step), count)| SagaUse { name, version, phase, step, count };
        counts.into_iter().map(used).collect()
    }
}

impl Sagas for MemoryStore {
    fn start(&self, start: SagaStart) -> BoxFuture<'_, Result<SagaStarted, StoreError>> {
        self.ask(|state| state.sagas.start(start))
    }

    fn is_any_due(
        &self,
        now: SystemTime,
        lease_now: SystemTime,
        names: SagaNames,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        let is_it = move |saga: &Instance| names.has(&saga.row.name) && saga.is_due(now, lease_now);
        self.ask(move |state| state.sagas.all.values().any(is_it))
    }

    fn claim(
        &self,
        request: ClaimRequest<'_>,
        names: SagaNames,
    ) -> BoxFuture<'_, Result<Vec<ClaimedSaga>, StoreError>> {
        let (owner, request) = owned(&request);
        self.ask(move |state| state.sagas.claim(&owner, &request, &names))
    }

    fn renew(
        &self,
        claims: Vec<SagaClaim>,
        lease_until: SystemTime,
    ) -> BoxFuture<'_, Result<Vec<SagaClaim>, StoreError>> {
        self.ask(move |state| state.sagas.renew(claims, lease_until))
    }

    fn save(&self, change: SagaChange) -> BoxFuture<'_, Result<SagaSaved, StoreError>> {
        self.ask(|state| state.sagas.save(change))
    }

    fn hand_back(&self, owner: &str, now: SystemTime) -> BoxFuture<'_, Result<(), StoreError>> {
        let owner = owner.to_owned();
        self.ask(move |state| state.sagas.hand_back(&owner, now))
    }

    fn next_due(&self, names: SagaNames) -> BoxFuture<'_, Result<Option<SystemTime>, StoreError>> {
        self.ask(move |state| {
            let is_free = |saga: &&Instance| saga.held.is_none() && names.has(&saga.row.name);
            let free = state.sagas.all.values().filter(is_free);
            free.filter_map(|saga| saga.row.due_at).min()
        })
    }

    fn ask(&self, id: &str, asked: SagaAsked, now: SystemTime) -> BoxFuture<'_, Result<bool, StoreError>> {
        let id = id.to_owned();
        self.ask_unlocked(move |state| Ok(state.sagas.ask(&id, asked, now)?.is_some()))
    }

    fn tell(&self, _: SystemTime) -> BoxFuture<'_, Result<u64, StoreError>> {
        // Nothing comes between the commit that keeps an event and those that wait for it.
        self.ask(|_| 0)
    }

    fn poke(&self, id: &str, now: SystemTime) -> BoxFuture<'_, Result<(), StoreError>> {
        let id = id.to_owned();
        self.ask_unlocked(move |state| state.sagas.poke(&id, now))
    }

    fn awaited(&self, wait: SagaWait) -> BoxFuture<'_, Result<Vec<AwaitedEvent>, StoreError>> {
        self.ask(move |state| state.sagas.events.iter().filter(|event| event.wait == wait).cloned().collect())
    }

    fn saga(&self, id: &str) -> BoxFuture<'_, Result<Option<(SagaRow, Vec<SagaStep>)>, StoreError>> {
        let id = id.to_owned();
        self.ask(move |state| {
            let saga = state.sagas.all.get(&id)?;
            Some((saga.row.clone(), saga.steps.values().cloned().collect()))
        })
    }

    fn find(&self, filter: SagaFilter, limit: usize) -> BoxFuture<'_, Result<Vec<SagaRow>, StoreError>> {
        self.ask(move |state| state.sagas.find(&filter, limit))
    }

    fn log(&self, id: &str) -> BoxFuture<'_, Result<Vec<SagaLog>, StoreError>> {
        let id = id.to_owned();
        self.ask(move |state| state.sagas.all.get(&id).map(|saga| saga.log.clone()).unwrap_or_default())
    }

    fn in_use(&self) -> BoxFuture<'_, Result<Vec<SagaUse>, StoreError>> {
        self.ask(|state| state.sagas.in_use())
    }

    fn purge(&self, ended_before: SystemTime, events_before: SystemTime) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.ask(move |state| state.sagas.purge(ended_before, events_before))
    }
}
