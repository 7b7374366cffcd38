//! What surrounds a call with an idempotency key: the key is claimed before the handler runs, and its response stored in the
//! transaction of its effects.
//!
//! The claim is a row of its own, committed before: whoever comes with the same key finds it. It is held by a lease that is
//! renewed while the handler runs. The row is ended in the transaction of the call, where the claim still holds; a call that
//! fails frees the key. A call made `within` another's transaction claims its key in that one.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::handler::{Opening, abandon, context, open_unit};
use super::options::Within;
use super::{Conclusion, Detached, DispatchError, Failure, caught, deadlock, full, undo};
use crate::app::App;
use crate::inject::Scope;
use crate::lease;
use crate::message::canonical::canonical;
use crate::message::{Handled, MessageSpec, Stored, StoredResponse};
use crate::store::driver::{BoxFuture, Driver, IdempotentRequest};
use crate::store::{IdempotentClaim, IdempotentOutcome, StoreError, StoreErrorKind};
use crate::unit::Meta;

/// The longest key, in bytes.
const LONGEST: usize = 255;

/// How long a failed call waits until its key is free, so that the next one may have it at once. After that it is freed in
/// the background.
const FREEING: Duration = Duration::from_secs(1);

/// A key, as the caller gave it.
pub(crate) struct Key {
    text: String,
    /// Whose it is, where the caller said so.
    scope: Option<String>,
    /// The `KeyCodec` of the call's message.
    codec: &'static (dyn Any + Send + Sync),
}

impl Key {
    pub(crate) fn new<M: Handled + Stored>(text: String) -> Self
    where
        M::Response: StoredResponse,
    {
        Self { text, scope: None, codec: const { &KeyCodec::<M>::OF } }
    }

    /// The key of somebody.
    pub(super) fn of(self, scope: Option<String>) -> Self {
        Self { scope, ..self }
    }
}

/// How a command and its response become bytes, and the response comes back.
struct KeyCodec<M: Handled> {
    payload: fn(&M) -> serde_json::Result<Vec<u8>>,
    write: fn(&M::Response) -> serde_json::Result<Vec<u8>>,
    read: fn(&[u8]) -> serde_json::Result<M::Response>,
}

impl<M: Handled + Stored> KeyCodec<M>
where
    M::Response: StoredResponse,
{
    const OF: Self = Self {
        payload: |message| serde_json::to_vec(message),
        write: |response| serde_json::to_vec(response),
        read: |bytes| serde_json::from_slice(bytes),
    };
}

type Answer<M> = Result<<M as Handled>::Response, DispatchError<<M as Handled>::Error>>;

/// How a call with a key went.
struct Ended<'a, M: Handled> {
    response: M::Response,
    /// Only the commit is missing. Without it the call had been done before, and the response is the stored one.
    conclusion: Option<Conclusion<'a>>,
}

/// Runs a call that has a key, for at most as long as the caller allows.
pub(super) async fn run<M: Handled>(
    app: &App,
    handler: u32,
    message: M,
    meta: Arc<Meta>,
    timeout: Option<Duration>,
    within: Option<Within<'_>>,
    key: Key,
) -> Answer<M> {
    let _running = app.calling();
    let keyed = Keyed::<M>::new(app, &message, key).map_err(Failure::widen)?;
    // Out here, so that whatever ends the attempt, its key is freed before the caller is told.
    let mut held = None;
    let attempt = attempt(app, handler, message, meta, within, &keyed, &mut held);
    let ended = match timeout {
        None => attempt.await,
        Some(after) => full::within_time(after, attempt).await.unwrap_or_else(|| {
            let handler = app.planned(handler).item.name;
            Err(DispatchError::Timeout { handler, after })
        }),
    };
    match ended {
        Ok(Ended { response, conclusion }) => {
            if let Some(mut conclusion) = conclusion {
                conclusion.key = held;
                conclusion.complete(app).await.map_err(Failure::widen)?;
            }
            Ok(response)
        }
        Err(error) => {
            if let Some(held) = held {
                held.free().await;
            }
            Err(error)
        }
    }
}

async fn attempt<'a, M: Handled>(
    app: &App,
    handler: u32,
    message: M,
    meta: Arc<Meta>,
    within: Option<Within<'a>>,
    keyed: &Keyed<M>,
    held: &mut Option<HeldKey>,
) -> Result<Ended<'a, M>, DispatchError<M::Error>> {
    let scope = Some(scope(app, handler, &meta).await.map_err(Failure::widen)?);
    let opening = Opening { meta: Arc::clone(&meta), scope, within };
    if opening.within.is_some() {
        return attempt_within(app, handler, message, opening, keyed).await;
    }
    let claimed = match keyed.claim(app).await.map_err(Failure::widen)? {
        Claimed::Held(key) => held.insert(key),
        Claimed::Done(response) => return keyed.before(&response).map_err(Failure::widen),
    };
    let work = async {
        let unit = open_unit(app, handler, opening).await.map_err(Failure::widen)?;
        let (response, conclusion) = full::handled(app, handler, message, meta, unit).await?;
        keyed.finish(app, response, conclusion).await.map_err(Failure::widen)
    };
    tokio::select! {
        biased;
        ended = work => ended,
        // Stalled for longer than its lease: the key is another call's.
        () = claimed.keep() => Err(keyed.in_progress().widen()),
    }
}

/// Makes what the handler takes that is made for each message. A provider that fails, because nobody is logged in, say, turns
/// its caller down before he is told anything of the key: what was stored under it, or that it was.
async fn scope(app: &App, handler: u32, meta: &Arc<Meta>) -> Result<Arc<Scope>, Failure> {
    let scope = Arc::new(Scope::new(Arc::clone(meta)));
    // A chain takes nothing itself; which of the later links will be asked, nobody knows.
    let first = app.planned(handler).links.first().copied().unwrap_or(handler);
    let planned = app.planned(first);
    if planned.scoped {
        scope.slots(app, planned).await?;
    }
    Ok(scope)
}

/// A call made within another's transaction: its key is claimed there too, on its savepoint, and is taken when the other
/// commits.
async fn attempt_within<'a, M: Handled>(
    app: &App,
    handler: u32,
    message: M,
    opening: Opening<'a>,
    keyed: &Keyed<M>,
) -> Result<Ended<'a, M>, DispatchError<M::Error>> {
    let meta = Arc::clone(&opening.meta);
    let mut unit = open_unit(app, handler, opening).await.map_err(Failure::widen)?;
    if let Some(tx) = unit.as_mut().and_then(|unit| unit.tx.open.as_mut()) {
        let outcome = tx.claim_idempotent(keyed.request(app)).await.map_err(Failure::from);
        match outcome.and_then(|outcome| keyed.judge(outcome)) {
            Ok(None) => {}
            Ok(Some(response)) => {
                abandon(context(app, unit)).await;
                return keyed.before(&response).map_err(Failure::widen);
            }
            Err(failure) => {
                abandon(context(app, unit)).await;
                if matches!(failure, Failure::InProgress { .. }) {
                    // Nobody else may come to find that its owner has died: once this transaction has ended, it is claimed and
                    // freed in the background.
                    drop(keyed.claiming(app));
                }
                return Err(failure.widen());
            }
        }
    }
    let (response, conclusion) = full::handled(app, handler, message, meta, unit).await?;
    keyed.finish(app, response, conclusion).await.map_err(Failure::widen)
}

/// What a claim gives: its outcome, and the key where the claim holds.
type Asked = Result<(IdempotentOutcome, Option<HeldKey>), StoreError>;

/// What came of a claim.
enum Claimed {
    Held(HeldKey),
    Done(Vec<u8>),
}

/// A call's key and payload, ready to be compared with what is stored.
struct Keyed<M: Handled> {
    claim: IdempotentClaim,
    /// The key, as the caller gave it.
    key: String,
    payload: [u8; 32],
    codec: &'static KeyCodec<M>,
}

impl<M: Handled> Keyed<M> {
    fn new(app: &App, message: &M, key: Key) -> Result<Self, Failure> {
        let Key { text, scope, codec } = key;
        check_key(&text).map_err(|reason| Failure::InvalidKey { reason })?;
        if app.store().is_none() {
            return Err(Failure::NoStore { what: format!("an idempotency key of `{}`", M::SPEC.name) });
        }
        check_name(app, M::SPEC)?;
        let Some(codec) = codec.downcast_ref::<KeyCodec<M>>() else {
            return Err(unstorable(M::SPEC.type_name(), "its idempotency key is another message's"));
        };
        let payload = written(app, M::SPEC.name, M::SPEC.type_name(), || (codec.payload)(message))?;
        let payload = canonical(&payload).map_err(|error| unstorable(M::SPEC.type_name(), &error.to_string()))?;
        let key = stored_key(scope.as_deref(), &text);
        let claim = IdempotentClaim { name: M::SPEC.name.to_owned(), key, token: Uuid::now_v7() };
        Ok(Self { claim, key: text, payload: Sha256::digest(payload).into(), codec })
    }

    fn request(&self, app: &App) -> IdempotentRequest {
        let lease_now = app.clock().lease_now();
        IdempotentRequest {
            claim: self.claim.clone(),
            payload: self.payload,
            lease_now,
            lease_until: lease_now + app.options().lease,
            kept_since: kept_since(app, app.clock().now()),
        }
    }

    /// Claims the key. Dropped in the middle, the claim is waited for in the background, and freed.
    async fn claim(&self, app: &App) -> Result<Claimed, Failure> {
        deadlock::check().map_err(|()| Failure::WouldDeadlock { message: M::SPEC.name })?;
        let (outcome, held) = self.claiming(app)?.await?;
        match (self.judge(outcome)?, held) {
            (Some(response), _) => Ok(Claimed::Done(response)),
            (None, Some(held)) => Ok(Claimed::Held(held)),
            (None, None) => Err(self.in_progress()),
        }
    }

    /// The same, unchecked and unjudged. Dropped before it has begun, it is made in the background as well.
    fn claiming(&self, app: &App) -> Result<Detached<Asked>, Failure> {
        let store = store_of(app)?;
        let (request, app_of_key) = (self.request(app), app.clone());
        let claiming: BoxFuture<'static, _> = Box::pin(async move {
            let claim = request.claim.clone();
            let outcome = store.claim_idempotent(request).await.map_err(unclaimed)?;
            // The key is held from here on: dropped, it is freed.
            let held = (outcome == IdempotentOutcome::Claimed).then(|| HeldKey { app: app_of_key, claim: Some(claim) });
            Ok((outcome, held))
        });
        Ok(Detached::new(app.tracker().clone(), claiming))
    }

    /// What a claim means for the call: it may run, or is answered with a stored response.
    fn judge(&self, outcome: IdempotentOutcome) -> Result<Option<Vec<u8>>, Failure> {
        match outcome {
            IdempotentOutcome::Claimed => Ok(None),
            IdempotentOutcome::Done { response } => Ok(Some(response)),
            IdempotentOutcome::Running => Err(self.in_progress()),
            IdempotentOutcome::OtherPayload => Err(Failure::KeyReused { key: self.key.clone() }),
        }
    }

    fn in_progress(&self) -> Failure {
        Failure::InProgress { key: self.key.clone() }
    }

    /// Reads a stored response.
    fn before<'a>(&self, response: &[u8]) -> Result<Ended<'a, M>, Failure> {
        let (name, key) = (&self.claim.name, &self.key);
        let response = caught(|| (self.codec.read)(response)).and_then(|read| read.map_err(|error| error.to_string()));
        let response = response.map_err(|reason| {
            let what = format!(
                "`{name}` with the idempotency key `{key}` was done, and is not done again; but its stored response cannot be read as `{}`, which another version of this program may have written: {reason}",
                std::any::type_name::<M::Response>()
            );
            StoreError::new(StoreErrorKind::Configuration, what)
        })?;
        tracing::debug!(name, key, replayed = true, "a call is answered with the stored response");
        Ok(Ended { response, conclusion: None })
    }

    /// Stores the response in the transaction of the call, which is begun here where the handler needed none.
    async fn finish<'a>(
        &self,
        app: &App,
        response: M::Response,
        mut conclusion: Conclusion<'a>,
    ) -> Result<Ended<'a, M>, Failure> {
        // Written out here: a response need not be `Sync`.
        let type_name = std::any::type_name::<M::Response>();
        let stored = match written(app, type_name, type_name, || (self.codec.write)(&response)) {
            Ok(bytes) => self.store(app, bytes, &mut conclusion).await,
            Err(failure) => Err(failure),
        };
        match stored {
            Ok(()) => Ok(Ended { response, conclusion: Some(conclusion) }),
            Err(failure) => {
                undo(conclusion, app).await;
                Err(failure)
            }
        }
    }

    async fn store(&self, app: &App, response: Vec<u8>, conclusion: &mut Conclusion<'_>) -> Result<(), Failure> {
        let tx = conclusion.begun(app, M::SPEC.name).await?;
        if tx.finish_idempotent(self.claim.clone(), response, app.clock().now()).await? {
            return Ok(());
        }
        Err(self.in_progress())
    }
}

/// Writes a value as JSON, within the limit. The user's `Serialize` may panic.
fn written(
    app: &App,
    message: &'static str,
    type_name: &str,
    write: impl FnOnce() -> serde_json::Result<Vec<u8>>,
) -> Result<Vec<u8>, Failure> {
    let bytes = caught(write).and_then(|bytes| bytes.map_err(|error| error.to_string()));
    let bytes = bytes.map_err(|reason| unstorable(type_name, &reason))?;
    let limit = app.options().payload_limit;
    if bytes.len() > limit {
        return Err(Failure::TooLarge { message, size: bytes.len(), limit });
    }
    Ok(bytes)
}

fn unstorable(type_name: &str, reason: &str) -> Failure {
    StoreError::new(StoreErrorKind::Configuration, format!("`{type_name}` cannot be stored: {reason}")).into()
}

/// A claim whose commit was lost is no command that may have happened.
fn unclaimed(error: StoreError) -> StoreError {
    if error.kind() != StoreErrorKind::CommitUnknown {
        return error;
    }
    let what = "the answer to the claim of an idempotency key was lost: its call was not begun";
    StoreError::new(StoreErrorKind::Unavailable, what).with_source(error)
}

/// A key as it is stored. That of somebody has a digest of who it is before it, since that may be a credential, or long; a control
/// character, which no key has, keeps it apart from any other.
fn stored_key(scope: Option<&str>, key: &str) -> String {
    match scope {
        None => key.to_owned(),
        Some(scope) => format!("{:x}\u{1f}{key}", Sha256::digest(scope)),
    }
}

fn check_key(key: &str) -> Result<(), &'static str> {
    if key.is_empty() {
        Err("is empty")
    } else if key.len() > LONGEST {
        Err("is longer than 255 bytes")
    } else if key.chars().any(char::is_control) {
        Err("has a control character in it")
    } else {
        Ok(())
    }
}

/// Keys are told apart by the command's stored name, which must be the command's alone.
fn check_name(app: &App, spec: &MessageSpec) -> Result<(), Failure> {
    if let Some(types) = app.plan().ambiguous(spec) {
        return Err(Failure::AmbiguousName { name: spec.name, types });
    }
    let named = app.plan().stored_command(spec.name, spec.version);
    if named.is_some_and(|named| named.type_id == spec.type_id) {
        return Ok(());
    }
    Err(unstorable(spec.type_name(), "a generic message has no stored name of its own; give each instance a newtype"))
}

/// Since when responses are kept.
pub(crate) fn kept_since(app: &App, now: SystemTime) -> SystemTime {
    now.checked_sub(app.options().idempotency_retention).unwrap_or(SystemTime::UNIX_EPOCH)
}

fn store_of(app: &App) -> Result<Arc<dyn Driver>, Failure> {
    app.store().cloned().ok_or_else(|| Failure::NoStore { what: "an idempotency key".to_owned() })
}

/// A claimed key. Dropped, it is freed in the background: the call has failed, or was dropped.
pub(super) struct HeldKey {
    app: App,
    claim: Option<IdempotentClaim>,
}

impl HeldKey {
    /// Renews the claim until it is lost.
    async fn keep(&self) {
        let (Some(claim), Some(store)) = (&self.claim, self.app.store()) else { return };
        let lease = self.app.options().lease;
        let renew = || store.renew_idempotent(claim.clone(), self.app.clock().lease_now() + lease);
        lease::keep(lease, "the claim of an idempotency key", renew).await;
    }

    /// Waits for the commit and what follows it. The key stays where the call is done, or may be: nobody knows then, and
    /// the row will tell, at the latest when the lease has run out.
    pub(super) async fn through(mut self, rest: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
        let end = rest.await;
        match &end {
            Ok(()) | Err(Failure::CommitUnknown { .. } | Failure::EventFailed { .. } | Failure::EventDepth { .. }) => {
                self.claim = None;
            }
            Err(_) => self.free().await,
        }
        end
    }

    /// Frees the key, and waits for it, but not for long: a transaction that the caller holds may be in the way.
    async fn free(mut self) {
        let wait = if deadlock::check().is_ok() { FREEING } else { Duration::ZERO };
        if let Some(freeing) = self.freeing() {
            let _ = tokio::time::timeout(wait, freeing).await;
        }
    }

    fn freeing(&mut self) -> Option<Detached<()>> {
        let (claim, store) = (self.claim.take()?, self.app.store()?.clone());
        let free = async move {
            if let Err(error) = store.free_idempotent(claim).await {
                tracing::warn!(%error, "an idempotency key could not be freed; its claim runs out by itself");
            }
        };
        Some(Detached::new(self.app.tracker().clone(), Box::pin(free)))
    }
}

impl Drop for HeldKey {
    fn drop(&mut self) {
        // Goes on in the background.
        drop(self.freeing());
    }
}

#[cfg(test)]
mod tests;
