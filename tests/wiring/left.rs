//! Sagas as processes have left them that are gone.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use cqrs::store::{
    Driver, MemoryStore, SagaChange, SagaPhase, SagaProgress, SagaRest, SagaSaved, SagaStart, SagaStarted, SagaStep,
};

/// A step in its first attempt; one that pauses has done so for long enough.
pub fn step(name: &str, progress: SagaProgress) -> SagaStep {
    let due_at = matches!(progress, SagaProgress::Pausing).then(SystemTime::now);
    SagaStep { due_at, ..SagaStep::new(name, progress) }
}

/// What they are.
pub struct Left<'a> {
    pub name: &'a str,
    pub version: u32,
    pub context: &'a str,
}

impl Left<'_> {
    pub async fn behind(&self, store: &MemoryStore, id: &str, phase: SagaPhase, steps: Vec<SagaStep>) {
        let (sagas, now) = (store.sagas().unwrap(), SystemTime::now());
        let start = SagaStart {
            id: id.to_owned(),
            name: self.name.to_owned(),
            version: self.version,
            context: self.context.as_bytes().to_vec(),
            digest: [0; 32],
            headers: BTreeMap::new(),
            steps,
            at: now,
            owner: "another".to_owned(),
            lease_until: now - Duration::from_secs(60),
        };
        let SagaStarted::New(claim) = sagas.start(start).await.unwrap() else { panic!("`{id}` was there before") };
        let change = SagaChange::new(claim, phase, now, SagaRest::Held);
        assert_ne!(sagas.save(change).await.unwrap(), SagaSaved::Lost);
    }
}
