//! The process that runs sagas: it starts those that it is told to, takes up those that nobody holds, and breaks where it is told to.

use std::collections::HashMap;
use std::env;
use std::num::NonZeroU16;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use cqrs::__private::{FailPoint, watch};
use cqrs::prelude::*;
use cqrs::sqlx::Executor as _;
use cqrs::sqlx::any::AnyPoolOptions;
use cqrs::{BoxError, Builder, SagaId};
use rustix::process::{Signal, getpid, kill_process};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task;

use super::shapes::{self, ELSEWHERE, Variant};
use super::versions;
use crate::named::Named;

/// What a process is told.
pub const STORE: &str = "SAGAS_STORE";
/// The parts that it runs, with commas.
pub const PARTS: &str = "SAGAS_PARTS";
/// The sagas that it starts, with commas: `linear=1,grouped=2`.
pub const STARTS: &str = "SAGAS_STARTS";
/// What happens when which point is passed for which time: `saga.saved*2*kill`.
pub const POINT: &str = "SAGAS_POINT";
/// Set where who starts a saga waits for it, and stops waiting after so many milliseconds.
pub const WAITS: &str = "SAGAS_WAITS";
/// Set where stuck sagas are resumed, and this one is cancelled.
pub const RESUMES: &str = "SAGAS_RESUMES";

/// Where a broker is, if not in memory, and what its topics and groups begin with there.
pub const BROKER: &str = "SAGAS_BROKER";
pub const NAME: &str = "SAGAS_NAME";
/// For how many milliseconds a step rests in the midst of itself, at most.
pub const LINGERS: &str = "SAGAS_LINGERS";
/// Set where the process takes up sagas on demand as well, and `ends` where it ends after that.
pub const ON_DEMAND: &str = "SAGAS_ON_DEMAND";
/// Set where the program is an earlier one, which has no later versions of sagas.
pub const EARLIER: &str = "SAGAS_EARLIER";

/// What a process does at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// It dies when any of its sagas passes the point so often.
    Kill,
    /// It stops.
    Stop,
    /// As `Freeze`, but that the process stops once all stand still or rest.
    Stand,
    /// Each saga stands still where it passes the point so often; once all stand still or rest, the process dies. It ends well where none
    /// has passed it so often.
    Freeze,
}

impl Break {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Stand => "stand",
            Self::Freeze => "freeze",
        }
    }
}

impl FromStr for Break {
    type Err = BoxError;

    fn from_str(text: &str) -> Result<Self, BoxError> {
        let all = [Self::Kill, Self::Stop, Self::Stand, Self::Freeze];
        all.into_iter().find(|what| what.name() == text).ok_or_else(|| format!("nothing is called {text}").into())
    }
}

/// What the process was told about a point.
struct Told {
    point: String,
    passes: u32,
    what: Break,
}

impl Told {
    /// Whether each saga breaks by itself.
    fn freezes(&self) -> bool {
        matches!(self.what, Break::Freeze | Break::Stand)
    }
}

static TOLD: LazyLock<Option<Told>> = LazyLock::new(|| {
    let told = env::var(POINT).ok()?;
    let [point, passes, what] = told.split('*').collect::<Vec<_>>().try_into().unwrap();
    Some(Told { point: point.to_owned(), passes: passes.parse().unwrap(), what: what.parse().unwrap() })
});

static STARTED: LazyLock<Vec<(&'static Variant, String)>> = LazyLock::new(|| {
    let said = env::var(STARTS).unwrap_or_default();
    let started = said.split(',').filter_map(|start| start.split_once('='));
    started.map(|(name, id)| (shapes::named(name), id.to_owned())).collect()
});

/// A process of its own, which the other tests start and end.
#[test]
#[ignore = "the other tests start it"]
fn life() {
    let Ok(store) = env::var(STORE) else { return };
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    if TOLD.is_some() {
        watch(break_there);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        // Before anything stops the process: whoever lets it go on may tell it to end at once.
        let mut told_to_end = signal(SignalKind::terminate()).unwrap();
        cqrs::sqlx::any::install_default_drivers();
        ELSEWHERE.set(elsewhere().connect_lazy(&store).unwrap()).unwrap();
        let parts = env::var(PARTS).unwrap();
        let builder = program().store(Store::url(&store)).broker(broker());
        let builder = builder.lease(Duration::from_secs(1)).shutdown_timeout(Duration::from_secs(10));
        let app = builder.run(parts.split(',')).await.unwrap();
        task::spawn(start(app.clone()));
        let recovery = task::spawn(recover(app.clone()));
        app.run_until(async move {
            tokio::select! {
                _ = told_to_end.recv() => {}
                () = async { recovery.await.unwrap() } => {}
            }
        })
        .await
        .unwrap();
    });
}

/// The program, or an earlier one.
fn program() -> Builder {
    let program = cqrs::bootstrap!();
    if env::var(EARLIER).is_err() {
        return program;
    }
    versions::LATER.into_iter().fold(program, |program, name| program.before_saga(name, 2))
}

fn broker() -> Broker {
    let Ok(url) = env::var(BROKER) else { return Broker::url("memory:") };
    let broker = Broker::url(url).partitions(NonZeroU16::new(4).unwrap()).connect().unwrap();
    // What comes is to be several batches, however slow the machine is.
    Broker::driver(Named { broker, name: env::var(NAME).unwrap(), most: 8 })
}

/// Takes up sagas once; comes to an end where the process is to end then.
async fn recover(app: App) {
    let on_demand = env::var(ON_DEMAND);
    if on_demand.is_ok() {
        let recovery = app.sagas().recover().await.unwrap();
        tracing::info!(?recovery, "it has taken up what it could");
    }
    if on_demand.as_deref() != Ok("ends") {
        std::future::pending().await
    }
}

/// Who writes without a transaction waits for others who write, where there is one writer.
fn elsewhere() -> AnyPoolOptions {
    AnyPoolOptions::new().max_connections(4).after_connect(|db, _| {
        Box::pin(async move {
            if db.backend_name() == "SQLite" {
                db.execute("PRAGMA busy_timeout = 60000").await?;
            }
            Ok(())
        })
    })
}

/// Starts what is to be started, each until it is.
async fn start(app: App) {
    if let Ok(id) = env::var(RESUMES) {
        resume(&app, &id).await;
    }
    let waits = env::var(WAITS).ok().map(|millis| Duration::from_millis(millis.parse().unwrap()));
    let freezes = TOLD.as_ref().is_some_and(Told::freezes);
    for (variant, id) in STARTED.iter() {
        let starting = until_started(app.clone(), variant, id, waits);
        if freezes || waits.is_some() {
            // Each by itself: it may stand still before it is started.
            task::spawn(starting);
        } else {
            starting.await;
        }
    }
}

async fn until_started(app: App, variant: &Variant, id: &str, waits: Option<Duration>) {
    if waits.is_some()
        && let Err(error) = shapes::start(&app, variant, id, waits).await
    {
        tracing::info!(%error, "it is started once more");
    }
    // Who starts it again joins it.
    while let Err(error) = shapes::start(&app, variant, id, None).await {
        tracing::info!(%error, "a saga is started later");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn resume(app: &App, id: &str) {
    while !matches!(app.sagas().resume(SagaId::from(id.to_owned())).await, Ok(true)) {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn break_there(point: FailPoint) {
    static PASSED: AtomicU32 = AtomicU32::new(0);
    let Some(told) = TOLD.as_ref() else { return };
    if told.freezes() {
        return freeze(point, told);
    }
    if point.name() == told.point && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == told.passes {
        let signal = if told.what == Break::Kill { Signal::KILL } else { Signal::STOP };
        kill_process(getpid(), signal).unwrap();
        // Another thread takes the signal. Where the machine is busy, this one would go on until then.
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Counts for each saga by itself: a process holds each in a task of its own.
fn freeze(point: FailPoint, told: &Told) {
    static PASSED: LazyLock<Mutex<HashMap<task::Id, u32>>> = LazyLock::new(Mutex::default);
    static FROZEN: AtomicU32 = AtomicU32::new(0);
    static STILL: AtomicU32 = AtomicU32::new(0);
    let is_told = point.name() == told.point
        && task::try_id().is_some_and(|id| {
            let mut passed = PASSED.lock().unwrap();
            let passes = passed.entry(id).or_insert(0);
            *passes += 1;
            *passes == told.passes
        });
    if !is_told && point != FailPoint::SagaRested {
        return;
    }
    FROZEN.fetch_add(u32::from(is_told), Ordering::SeqCst);
    if STILL.fetch_add(1, Ordering::SeqCst) + 1 == u32::try_from(STARTED.len()).unwrap() {
        if FROZEN.load(Ordering::SeqCst) == 0 {
            // What is stored is all that a process leaves behind, however it ends.
            std::process::exit(0);
        }
        let signal = if told.what == Break::Stand { Signal::STOP } else { Signal::KILL };
        kill_process(getpid(), signal).unwrap();
    }
    if is_told {
        // The other sagas go on on other threads.
        task::block_in_place(std::thread::park);
    }
}
