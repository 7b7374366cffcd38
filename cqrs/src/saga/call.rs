//! Starting a saga, and waiting for it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_core::Stream;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::engine::{Held, drive};
use super::instance::{Instance, Told};
use super::limits::Place;
use super::machine::Input;
use super::outage::answered;
use super::outcome::Outcome;
use super::plan::PlannedSaga;
use super::step::{SagaContext, write};
use super::{SagaError, SagaId};
use crate::app::App;
use crate::dispatch::current;
use crate::error::chain;
use crate::fail_points::{FailPoint, pass};
use crate::retry::random;
use crate::store::driver::{BoxFuture, Driver};
use crate::store::{SagaChange, SagaLog, SagaPhase, SagaProgress, SagaRest, SagaRow, SagaStart, SagaStarted, SagaStep};
use crate::wire;

/// How often somebody who waits looks at the store, where another process goes on with the saga.
const LOOK: Duration = Duration::from_millis(500);

/// A saga that is about to begin: made by [`App::saga`].
///
/// Awaited, it gives its context as the last step left it. Whoever stops waiting stops nothing: the saga goes on, and
/// who starts the same id again joins it.
#[must_use = "a saga begins when it is awaited or started"]
pub struct SagaCall<C> {
    app: App,
    context: C,
    id: Option<SagaId>,
}

impl<C: fmt::Debug> fmt::Debug for SagaCall<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SagaCall").field("context", &self.context).field("id", &self.id).finish_non_exhaustive()
    }
}

impl App {
    /// A saga over this context, which is about to begin.
    pub fn saga<C: SagaContext>(&self, context: C) -> SagaCall<C> {
        SagaCall { app: self.clone(), context, id: None }
    }
}

impl<C: SagaContext> SagaCall<C> {
    /// The id of the saga, unique over all sagas of the store; without it, it is given a new one.
    ///
    /// Who starts an id a second time joins the first, if it began with the same context.
    pub fn id(mut self, id: impl Into<SagaId>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Starts the saga, and lets it go on in the background.
    ///
    /// # Errors
    /// Fails where the id is another saga's, or with what the store said: then nothing was started.
    pub async fn start(self) -> Result<SagaId, SagaError> {
        let Self { app, context, id } = self;
        begin::<C>(&app, &context, id).await.map(|(id, _)| id)
    }

    /// Starts the saga, and gives its steps as they end. Dropping the stream does not stop the saga.
    pub fn steps(self) -> SagaSteps {
        let Self { app, context, id } = self;
        let steps = async move { begin::<C>(&app, &context, id).await.map(|(id, _)| Follow { app, id, seen: 0 }) };
        SagaSteps::of(Box::pin(steps))
    }
}

impl<C: SagaContext> IntoFuture for SagaCall<C> {
    type Output = Result<C, SagaError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { app, context, id } = self;
        Box::pin(async move {
            let (id, ends) = begin::<C>(&app, &context, id).await?;
            drop(context);
            let known = match ends {
                Some(ends) => ends.await.ok(),
                None => None,
            };
            match known {
                Some(outcome) => outcome.context(),
                // Somebody else goes on with it.
                None => ended(&app, &id).await?.context(),
            }
        })
    }
}

/// Tells whoever started a saga how it ended, where this process went on with it until then.
type Ends = Option<oneshot::Receiver<Outcome>>;

/// Starts a saga, or joins it.
async fn begin<C: SagaContext>(app: &App, context: &C, id: Option<SagaId>) -> Result<(SagaId, Ends), SagaError> {
    let spec = C::ITEM.context;
    let unknown = || SagaError::UnknownVersion { saga: spec.name.to_owned(), version: spec.version };
    let plan = app.plan().sagas.get(spec.name, spec.version).ok_or_else(unknown)?;
    let id = id.unwrap_or_else(|| SagaId::from(Uuid::now_v7().to_string()));
    let context = write(context).map_err(|source| SagaError::Context { source })?;
    let store = app.store().filter(|store| store.sagas().is_some()).ok_or(SagaError::NoStore)?;
    let ends = start(app, store, Arc::clone(plan), &id, context).await?;
    Ok((id, ends))
}

async fn start(
    app: &App,
    store: &Arc<dyn Driver>,
    plan: Arc<PlannedSaga>,
    id: &SagaId,
    context: Vec<u8>,
) -> Result<Ends, SagaError> {
    let sagas = store.sagas().ok_or(SagaError::NoStore)?;
    // This may take long: the saga begins after it.
    let admitted = admitted(app, &**store, &plan, id).await?;
    let (now, digest) = (app.clock().now(), Sha256::digest(&context).into());
    let instance = Instance::begin(Arc::clone(&plan), context.as_slice().into());
    // Nothing has happened to it yet: it can be started.
    let Ok(turn) = instance.turn(Input::Start, Told::default(), now, random()) else { return Err(SagaError::NoStore) };
    let is_put_off = app.is_stopping() || matches!(admitted, Admitted::Later);
    let turn = if is_put_off { turn.put_off(&instance, now) } else { turn };
    let headers = headers();
    let start = SagaStart {
        id: id.as_str().to_owned(),
        name: plan.name().to_owned(),
        version: plan.version(),
        context,
        digest,
        headers: headers.clone(),
        steps: turn.next.steps(),
        at: now,
        owner: app.owner().to_owned(),
        lease_until: app.clock().lease_now() + app.options().lease,
    };
    let since = Instant::now();
    match sagas.start(start).await? {
        SagaStarted::New(claim) if matches!(admitted, Admitted::Later) => {
            pass(FailPoint::SagaStarted);
            let change = turn.next.unchanged(&claim, now, SagaRest::Until(now));
            let (tracker, app, store) = (app.tracker().clone(), app.clone(), Arc::clone(store));
            // Whoever started it may stop waiting.
            let letting_go = tracker.spawn(async move { let_go(&app, &store, plan.name(), change).await });
            let _ = letting_go.await;
            Ok(None)
        }
        SagaStarted::New(claim) => {
            pass(FailPoint::SagaStarted);
            let held = Held { claim, saga: turn.next, headers, asked: None, since, is_kept: true, events: Vec::new() };
            let (app, store, effects) = (app.clone(), Arc::clone(store), turn.effects);
            let tracker = app.tracker().clone();
            let (tell, ends) = oneshot::channel();
            tracker.spawn(async move {
                let _place = admitted.used();
                // A task is moved several times before it runs: what drives a saga is large, so only where it is moves.
                let driving = Box::pin(drive(&app, &store, held, effects));
                let driven = app.give_up().run_until_cancelled(driving).await;
                if let Some(outcome) = driven.flatten() {
                    // Who has stopped waiting is not told.
                    let _ = tell.send(outcome);
                }
            });
            Ok(Some(ends))
        }
        SagaStarted::Known { name, digest: known, .. } if name == plan.name() && known == digest => Ok(None),
        SagaStarted::Known { .. } => Err(SagaError::IdTaken { id: id.clone() }),
    }
}

/// Lets go what was stored to wait for its turn. Where that fails, it is taken up once its lease has run out.
async fn let_go(app: &App, store: &Arc<dyn Driver>, name: &str, change: SagaChange) {
    let id = change.claim.id.clone();
    if let Err(error) = app.saga_changes().save(store, change).await {
        tracing::warn!(saga = id, error = chain(&error), "a saga could not be let go; it waits for longer");
    }
    if let Some(places) = app.saga_limits().of(name) {
        places.fall_behind();
    }
    app.saga_bells().let_go.notify_one();
}

/// Whether a saga may begin.
enum Admitted {
    /// At once: with its place, where it has limits.
    Now(Option<Place>),
    /// It is stored, and taken up when it is its turn.
    Later,
}

impl Admitted {
    fn used(self) -> Option<Place> {
        match self {
            Self::Now(place) => place.map(|place| place.used(Instant::now())),
            Self::Later => None,
        }
    }
}

/// Whether a saga may begin. In a process that takes up none, it waits until it may: who joins one that is there need not.
async fn admitted(app: &App, store: &dyn Driver, plan: &PlannedSaga, id: &SagaId) -> Result<Admitted, SagaError> {
    let Some(places) = app.saga_limits().of(plan.name()).filter(|_| !app.is_stopping()) else {
        return Ok(Admitted::Now(None));
    };
    if app.runs_sagas() {
        return Ok(places.take_first(Instant::now()).map_or(Admitted::Later, |place| Admitted::Now(Some(place))));
    }
    if let Some(place) = places.take(1, Instant::now()).pop() {
        return Ok(Admitted::Now(Some(place)));
    }
    let sagas = store.sagas().ok_or(SagaError::NoStore)?;
    if sagas.saga(id.as_str()).await?.is_some() {
        return Ok(Admitted::Now(None));
    }
    // Once it takes some up, it is stored, and has its turn like those.
    while !app.runs_sagas() && !app.is_stopping() {
        if let Ok(place) = tokio::time::timeout(LOOK, places.wait()).await {
            return Ok(Admitted::Now(Some(place)));
        }
    }
    Ok(Admitted::Later)
}

/// What the steps of a saga carry on: the correlation of the call that starts it.
fn headers() -> BTreeMap<String, String> {
    let Some(meta) = current::caused_here().parent else { return BTreeMap::new() };
    let mut headers = BTreeMap::from([
        (wire::CORRELATION_ID.to_owned(), meta.correlation_id().to_string()),
        (wire::CAUSATION_ID.to_owned(), meta.id().to_string()),
    ]);
    headers.extend(meta.trace_parent().map(|parent| ("traceparent".to_owned(), parent.to_owned())));
    headers
}

/// Waits until a saga has ended, or is stuck, whoever goes on with it.
pub(crate) async fn ended(app: &App, id: &SagaId) -> Result<Outcome, SagaError> {
    loop {
        let bell = app.saga_bells().of(id.as_str()).notified();
        let (row, steps) = look(app, id).await?;
        let is_held = row.is_held;
        match Outcome::stored(row, steps) {
            Some(outcome) => return Ok(outcome),
            None => hear(app, id, is_held, bell).await?,
        }
    }
}

/// Waits until something may have happened to a saga. Fails where the app stops, and has let it go.
async fn hear(app: &App, id: &SagaId, is_held: bool, bell: impl Future<Output = ()>) -> Result<(), SagaError> {
    if app.is_stopped() || (app.is_stopping() && !is_held) {
        return Err(SagaError::ShuttingDown { id: id.clone() });
    }
    tokio::select! {
        () = bell => {}
        () = tokio::time::sleep(LOOK) => {}
    }
    Ok(())
}

async fn look(app: &App, id: &SagaId) -> Result<(SagaRow, Vec<SagaStep>), SagaError> {
    let sagas = app.store().and_then(|store| store.sagas()).ok_or(SagaError::NoStore)?;
    let found = answered(|| sagas.saga(id.as_str())).await?;
    let (row, steps) = found.ok_or_else(|| SagaError::Missing { id: id.clone() })?;
    // So whoever is told of the first that failed is told of the same.
    let steps = app.plan().sagas.in_order(&row, steps);
    Ok((row, steps))
}

/// A step that has ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepDone {
    name: String,
    attempt: u32,
    number: u32,
}

impl StepDone {
    /// Its number in the saga's history, by which a stream of them goes on [`after`](SagaSteps::after) it.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The stored name of the step.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which attempt it was that ended well, from 1 on.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }
}

/// The steps of a saga as they end: a `Stream` of `Result<StepDone, SagaError>`. It ends with the saga; where that is not completed, the
/// last item says why.
pub struct SagaSteps {
    state: Steps,
    ready: VecDeque<StepDone>,
    /// The number of the last step that whoever asks has seen before.
    after: u32,
}

impl SagaSteps {
    fn of(starting: BoxFuture<'static, Result<Follow, SagaError>>) -> Self {
        Self { state: Steps::Starting(starting), ready: VecDeque::new(), after: 0 }
    }

    /// Follows a saga that is there.
    pub(super) fn follow(app: App, id: SagaId) -> Self {
        Self::of(Box::pin(async move { Ok(Follow { app, id, seen: 0 }) }))
    }

    /// Those after a step that was seen before, by its [`number`](StepDone::number): whoever lost the stream goes on with another one.
    #[must_use]
    pub fn after(mut self, number: u32) -> Self {
        self.after = number;
        self
    }
}

enum Steps {
    Starting(BoxFuture<'static, Result<Follow, SagaError>>),
    Looking(BoxFuture<'static, Result<Seen, SagaError>>),
    Ended,
}

/// Where somebody is who follows a saga, which steps have ended well since, and whether that was all.
type Seen = (Follow, Vec<StepDone>, bool);

/// Where somebody is who follows a saga.
struct Follow {
    app: App,
    id: SagaId,
    seen: u32,
}

impl Follow {
    /// Waits for more.
    async fn next(mut self) -> Result<Seen, SagaError> {
        let app = self.app.clone();
        loop {
            let bell = app.saga_bells().of(self.id.as_str()).notified();
            let (row, steps) = look(&app, &self.id).await?;
            let done = self.done_since(&row).await?;
            let (is_end, is_held) = (row.phase == SagaPhase::Completed, row.is_held);
            if done.is_empty()
                && let Some(error) = Outcome::stored(row, steps).and_then(|outcome| outcome.failed())
            {
                return Err(error);
            }
            if is_end || !done.is_empty() {
                return Ok((self, done, is_end));
            }
            hear(&app, &self.id, is_held, bell).await?;
        }
    }

    async fn done_since(&mut self, row: &SagaRow) -> Result<Vec<StepDone>, SagaError> {
        if row.logged <= self.seen {
            return Ok(Vec::new());
        }
        let sagas = self.app.store().and_then(|store| store.sagas()).ok_or(SagaError::NoStore)?;
        let log = sagas.log(self.id.as_str()).await?;
        let seen = self.seen;
        self.seen = log.last().map_or(seen, |entry| entry.number);
        Ok(log.into_iter().filter(|entry| entry.number > seen).filter_map(step_done).collect())
    }
}

fn step_done(entry: SagaLog) -> Option<StepDone> {
    let is_done = !entry.is_undo && entry.progress == SagaProgress::Done;
    is_done.then_some(StepDone { name: entry.step, attempt: entry.attempt, number: entry.number })
}

impl fmt::Debug for SagaSteps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SagaSteps").finish_non_exhaustive()
    }
}

impl Stream for SagaSteps {
    type Item = Result<StepDone, SagaError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(done) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(done)));
            }
            let end = match &mut self.state {
                Steps::Ended => return Poll::Ready(None),
                Steps::Starting(starting) => match std::task::ready!(starting.as_mut().poll(cx)) {
                    Ok(follow) => {
                        let follow = Follow { seen: self.after, ..follow };
                        self.state = Steps::Looking(Box::pin(follow.next()));
                        continue;
                    }
                    Err(error) => Err(error),
                },
                Steps::Looking(looking) => std::task::ready!(looking.as_mut().poll(cx)),
            };
            match end {
                Ok((follow, done, is_end)) => {
                    self.ready.extend(done);
                    self.state = if is_end { Steps::Ended } else { Steps::Looking(Box::pin(follow.next())) };
                }
                Err(error) => {
                    self.state = Steps::Ended;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }
}
