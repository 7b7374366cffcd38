//! Idempotency keys.

use std::collections::HashMap;
use std::time::SystemTime;

use uuid::Uuid;

use crate::store::driver::IdempotentRequest;
use crate::store::{IdempotentClaim, IdempotentOutcome};

/// What is known of a key.
#[derive(Debug, Clone)]
pub(super) struct Key {
    payload: [u8; 32],
    token: Uuid,
    lease_until: SystemTime,
    /// When its call was done, and its response.
    done: Option<(SystemTime, Vec<u8>)>,
}

impl Key {
    /// A key that is claimed just now.
    pub(super) fn claimed(request: &IdempotentRequest) -> Self {
        Self { payload: request.payload, token: request.claim.token, lease_until: request.lease_until, done: None }
    }

    /// Whether it is the running call's that has this claim.
    pub(super) fn is_held(&self, claim: &IdempotentClaim) -> bool {
        self.token == claim.token && self.done.is_none()
    }

    pub(super) fn finish(&mut self, at: SystemTime, response: Vec<u8>) {
        self.done = Some((at, response));
    }

    /// What whoever asks for the key is told; nothing where it may have it.
    pub(super) fn look(&self, request: &IdempotentRequest) -> Option<IdempotentOutcome> {
        let outcome = match &self.done {
            Some((at, response)) if *at >= request.kept_since => IdempotentOutcome::Done { response: response.clone() },
            None if self.lease_until > request.lease_now => IdempotentOutcome::Running,
            _ => return None,
        };
        Some(if self.payload == request.payload { outcome } else { IdempotentOutcome::OtherPayload })
    }
}

/// A key among those of its command.
pub(super) type Name = (String, String);

pub(super) fn name_of(claim: &IdempotentClaim) -> Name {
    (claim.name.clone(), claim.key.clone())
}

/// Every key there is.
#[derive(Debug, Default)]
pub(super) struct Keys {
    keys: HashMap<Name, Key>,
}

impl Keys {
    pub(super) fn get(&self, name: &Name) -> Option<&Key> {
        self.keys.get(name)
    }

    pub(super) fn put(&mut self, name: Name, key: Key) {
        self.keys.insert(name, key);
    }

    pub(super) fn renew(&mut self, claim: &IdempotentClaim, lease_until: SystemTime) -> bool {
        let held = self.keys.get_mut(&name_of(claim)).filter(|key| key.is_held(claim));
        held.map(|key| key.lease_until = lease_until).is_some()
    }

    pub(super) fn free(&mut self, claim: &IdempotentClaim) -> bool {
        let name = name_of(claim);
        let is_held = self.keys.get(&name).is_some_and(|key| key.is_held(claim));
        is_held && self.keys.remove(&name).is_some()
    }

    /// Deletes what nobody asks for any more. Gives how much that was.
    pub(super) fn purge(&mut self, done_before: SystemTime, lease_before: SystemTime) -> usize {
        let before = self.keys.len();
        self.keys.retain(|_, key| match &key.done {
            Some((at, _)) => *at >= done_before,
            None => key.lease_until >= lease_before,
        });
        before - self.keys.len()
    }
}
