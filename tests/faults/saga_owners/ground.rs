//! A database of a test's own, the processes that run sagas on it, and what is to be there in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use cqrs::prelude::*;
use cqrs::sqlx::{self, AnyPool, AssertSqlSafe};
use cqrs_tests::services;
use futures_util::future::join_all;
use rustix::process::Signal;
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use tempfile::TempDir;
use uuid::Uuid;

use super::program::{self, Break};
use super::shapes::{EFFECTS, MENDED, Story, Variant};
use crate::chaos::Dice;
use crate::place::Place;
use crate::world::{LOOK, PATIENCE, Process, log_in, of_this_binary};

/// The parts of a process that holds its own sagas and takes up nobody's.
pub const OWN: &str = "work";
/// Those of one that takes up what nobody holds. What sagas ask is answered, and what they wait for kept, by stored work.
pub const RECOVERS: &str = "sagas,work";

/// So many owners may be lost in a row.
const MOST_ROUNDS: usize = 10;

/// What nobody can read.
pub const SPOILED: &str = "nobody can read this";

/// A saga that was started.
pub type Started = (&'static Variant, String);

pub struct Ground {
    place: Place,
    database: String,
    /// Where the program finds the database.
    pub store: String,
    pool: AnyPool,
    directory: TempDir,
    /// What else a process is told.
    pub environment: Vec<(OsString, OsString)>,
}

/// A row of what a step noted.
#[derive(Debug, Clone)]
pub struct Effect {
    pub saga: String,
    pub step: String,
    pub is_undo: i64,
    pub has_tx: i64,
    pub step_key: String,
}

/// On each kind of database, side by side.
pub async fn on_each(breaks: impl AsyncFn(Ground)) {
    let stores = [services::postgres_url(), services::mysql_url(), "sqlite".to_owned()];
    join_all(stores.map(async |store| breaks(Ground::new(&store).await).await)).await;
}

impl Ground {
    pub async fn new(store: &str) -> Self {
        let database = format!("sagas_{}", Uuid::new_v4().simple());
        let directory = tempfile::Builder::new().prefix("cqrs-sagas-").tempdir().unwrap();
        let place = Place::at(store);
        let store = place.create(&database, directory.path()).await;
        let pool = place.pool(&store, &[EFFECTS, MENDED]).await;
        Self { place, database, store, pool, directory, environment: Vec::new() }
    }

    /// Starts a process with some parts, which starts sagas, and breaks at a point or does not.
    pub fn start(&self, parts: &str, starts: &[Started], point: Option<(&str, u32, Break)>) -> Process {
        self.spawn(parts, starts, |program| {
            if let Some((point, passes, what)) = point {
                program.env(program::POINT, format!("{point}*{passes}*{}", what.name()));
            }
        })
    }

    /// Starts one that is told something else besides.
    pub fn start_told(&self, parts: &str, starts: &[Started], told: &[(&str, &str)]) -> Process {
        self.spawn(parts, starts, |program| {
            program.envs(told.iter().copied());
        })
    }

    fn spawn(&self, parts: &str, starts: &[Started], tell: impl FnOnce(&mut Command)) -> Process {
        let mut program = of_this_binary("saga_owners::program::life");
        let starts: Vec<String> = starts.iter().map(|(variant, id)| format!("{}={id}", variant.name)).collect();
        program.env(program::STORE, &self.store).env(program::PARTS, parts).env(program::STARTS, starts.join(","));
        program.envs(self.environment.iter().map(|(name, value)| (name, value)));
        tell(&mut program);
        Process::start(program, self.directory.path())
    }

    /// Waits until a process has died as it was told to; `false` where it has ended well.
    pub async fn dies(&self, process: &mut Process) -> bool {
        let Some(status) = process.ended().await else {
            panic!("it lives on\n{}\n{}", self.unended().await, self.log());
        };
        let is_killed = status.signal() == Some(Signal::KILL.as_raw());
        assert!(is_killed || status.success(), "{status}\n{}", self.log());
        is_killed
    }

    /// Waits until its sagas stand still; `false` where it has ended well.
    pub async fn stands(&self, process: &mut Process) -> bool {
        let mut ended = None;
        self.until("it stands still", async || {
            ended = process.status();
            ended.is_some() || process.is_stopped()
        })
        .await;
        assert!(ended.is_none_or(|status| status.success()), "{ended:?}\n{}", self.log());
        ended.is_none()
    }

    /// Waits until it has stopped itself.
    pub async fn stops(&self, process: &Process) {
        self.until("it stops", async || process.is_stopped()).await;
    }

    /// Has the processes that are started from now on use a broker.
    pub fn use_broker(&mut self, url: &str) {
        self.tell(program::BROKER, url);
        self.tell(program::NAME, &self.on_broker());
    }

    /// What its topics and groups begin with on a broker.
    pub fn on_broker(&self) -> String {
        format!("{}-", self.database)
    }

    /// Tells the processes that are started from now on something.
    pub fn tell(&mut self, name: &str, value: &str) {
        self.environment.retain(|(told, _)| *told != *name);
        self.environment.push((name.into(), value.into()));
    }

    /// Has the processes that are started from now on not be told that.
    pub fn untell(&mut self, name: &str) {
        self.environment.retain(|(told, _)| *told != *name);
    }

    /// An app on the database, for who looks after its sagas and goes on with none.
    pub async fn desk(&self) -> App {
        let builder = cqrs::bootstrap!().store(Store::url(&self.store)).broker(Broker::url("memory:"));
        builder.await.unwrap()
    }

    /// Has it stop, and end well. One that has hardly begun does not know yet what it is told, and ends by that.
    pub async fn stop(&self, mut process: Process) {
        process.signal(Signal::TERM);
        let Some(status) = process.ended().await else { panic!("it lives on\n{}", self.log()) };
        let is_told = status.success() || status.signal() == Some(Signal::TERM.as_raw());
        assert!(is_told, "{status}\n{}", self.log());
    }

    pub async fn until(&self, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
        let waiting = async {
            while !is_so().await {
                tokio::time::sleep(LOOK).await;
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!("it never came to pass: {what}\n{}\n{}", self.unended().await, self.log());
        }
    }

    /// Counts; whoever asks while the database is away asks again.
    pub async fn count(&self, sql: &str) -> i64 {
        let count = sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&self.pool).await;
        count.unwrap_or(-1)
    }

    pub async fn execute(&self, sql: &str) {
        self.try_to(sql).await.unwrap();
    }

    pub async fn try_to(&self, sql: &str) -> Result<(), sqlx::Error> {
        sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&self.pool).await.map(drop)
    }

    /// Ends the connections to the database.
    pub async fn disconnect(&self) {
        let mut own = self.place.connection().await.unwrap();
        self.place.disconnect(&self.database, &mut own).await;
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn log(&self) -> String {
        log_in(self.directory.path())
    }

    /// How many effects there are.
    pub async fn written(&self) -> usize {
        usize::try_from(self.count("SELECT COUNT(*) FROM effects").await).unwrap_or(0)
    }

    /// Has processes with these sagas be killed at random, one to all of them at once, and started again. What is left to be done when
    /// is the same each time, however fast the machine is. Nobody's owners are lost so often in a row that it stops.
    pub async fn come_and_go(&self, shares: &[(&str, &[Started])], rounds: usize, dice: &mut Dice) -> Vec<Process> {
        let start = |(parts, share): &(&str, &[Started])| self.start(parts, share, None);
        self.come_and_go_as(shares, rounds, dice, start).await
    }

    /// The same, where each is started in a way of its own.
    pub async fn come_and_go_as<T>(
        &self,
        shares: &[(T, &[Started])],
        rounds: usize,
        dice: &mut Dice,
        start: impl Fn(&(T, &[Started])) -> Process,
    ) -> Vec<Process> {
        assert!(rounds <= MOST_ROUNDS);
        let steps = |(variant, _): &Started| variant.forward.iter().map(|place| place.len()).sum::<usize>();
        let whole: usize = shares.iter().flat_map(|(_, share)| share.iter()).map(steps).sum();
        let mut processes: Vec<Process> = shares.iter().map(&start).collect();
        for round in 1..=rounds {
            let so_far = whole * round / (rounds + 1);
            self.until("they go on", async || self.written().await >= so_far).await;
            tokio::time::sleep(dice.millis(0, 300)).await;
            let first = usize::try_from(dice.roll(u64::try_from(processes.len()).unwrap())).unwrap();
            let dead: Vec<usize> = (0..processes.len()).filter(|which| *which == first || dice.roll(3) == 0).collect();
            dead.iter().for_each(|which| processes[*which].signal(Signal::KILL));
            dead.iter().for_each(|which| processes[*which].kill());
            tokio::time::sleep(dice.millis(0, 300)).await;
            dead.iter().for_each(|which| processes[*which] = start(&shares[*which]));
        }
        processes
    }

    /// Waits until so many sagas have ended, or are stuck.
    pub async fn ended(&self, sagas: usize) {
        let sagas = i64::try_from(sagas).unwrap();
        let ended = "SELECT COUNT(*) FROM cqrs_sagas WHERE phase IN ('completed', 'compensated', 'stuck')";
        self.until("all sagas have ended", async || self.count(ended).await >= sagas).await;
    }

    /// Has nobody be able to read what sagas carry.
    pub async fn spoil(&self) {
        let spoiled = if matches!(self.place, Place::Sqlite) {
            format!("CAST('{SPOILED}' AS BLOB)")
        } else {
            format!("'{SPOILED}'")
        };
        self.execute(&format!("UPDATE cqrs_sagas SET context = {spoiled}")).await;
    }

    /// Every saga's phase and context.
    pub async fn sagas(&self) -> BTreeMap<String, (String, Vec<u8>)> {
        let text = self.place.text();
        let select = format!("SELECT CAST(id AS {text}), CAST(phase AS {text}), context FROM cqrs_sagas");
        let rows: Vec<(String, String, Vec<u8>)> =
            sqlx::query_as(AssertSqlSafe(select)).fetch_all(&self.pool).await.unwrap();
        rows.into_iter().map(|(id, phase, context)| (id, (phase, context))).collect()
    }

    /// What the steps noted, in its order.
    pub async fn effects(&self) -> Vec<Effect> {
        let select = "SELECT saga, step, is_undo, has_tx, step_key FROM effects ORDER BY id";
        let rows: Vec<(String, String, i64, i64, String)> = sqlx::query_as(select).fetch_all(&self.pool).await.unwrap();
        let effect = |(saga, step, is_undo, has_tx, step_key)| Effect { saga, step, is_undo, has_tx, step_key };
        rows.into_iter().map(effect).collect()
    }

    async fn unended(&self) -> String {
        let sagas = self.sagas().await;
        let is_end = |phase: &str| phase == "completed" || phase == "compensated";
        let unended = sagas.iter().filter(|(_, (phase, _))| !is_end(phase));
        unended.map(|(id, (phase, _))| format!("{id} {phase}")).collect::<Vec<_>>().join(", ")
    }

    /// Every saga has ended as it should, and what its steps did is there: once, in order, and undone in reverse order.
    pub async fn assert_ended(&self, started: &[Started]) {
        self.assert_ended_so(started, self.effects().await).await;
    }

    /// The same, where a process stopped in the middle of calls: what it has begun to ask of others they may do later than anything.
    pub async fn assert_ended_but_for_late_calls(&self, started: &[Started]) {
        let (mut effects, mut called) = (self.effects().await, BTreeSet::new());
        effects.retain(|effect| effect.has_tx == 1 || called.insert(effect.step_key.clone()));
        self.assert_ended_so(started, effects).await;
    }

    async fn assert_ended_so(&self, started: &[Started], all: Vec<Effect>) {
        self.assert_all(started, all, |(variant, _), saga, effects| mistake(variant, saga, effects)).await;
    }

    /// Nothing is wrong with any saga, by what each is and did.
    pub async fn assert_all(
        &self,
        started: &[Started],
        all: Vec<Effect>,
        mistake: impl Fn(&Started, Option<&(String, Vec<u8>)>, &[Effect]) -> Option<String>,
    ) {
        let (sagas, mut effects) = (self.sagas().await, BTreeMap::<String, Vec<Effect>>::new());
        for effect in all {
            effects.entry(effect.saga.clone()).or_default().push(effect);
        }
        let wrong: Vec<String> = started
            .iter()
            .filter_map(|one| {
                let (id, saga) = (&one.1, sagas.get(&one.1));
                let mistake = mistake(one, saga, effects.get(id).map_or(&[][..], Vec::as_slice))?;
                Some(format!("{id}: {mistake}: {saga:?}\n{:#?}", effects.get(id)))
            })
            .collect();
        let some = &wrong[..wrong.len().min(3)];
        assert!(wrong.is_empty(), "{} are wrong:\n{}\n{}", wrong.len(), some.join("\n"), self.log());
    }

    /// Removes the database; left out where the test has failed.
    pub async fn end(self) {
        self.pool.close().await;
        self.place.drop(&self.database).await;
    }
}

/// What is wrong with a saga, if anything is.
pub fn mistake(variant: &Variant, saga: Option<&(String, Vec<u8>)>, effects: &[Effect]) -> Option<String> {
    let Some((phase, context)) = saga else { return Some("it is not there".to_owned()) };
    if phase != variant.phase {
        return Some(format!("it is not {}", variant.phase));
    }
    let (forward, back) = match both_ways(effects) {
        Ok(ways) => ways,
        Err(mistake) => return Some(mistake),
    };
    forward_mistake(variant, forward).or_else(|| back_mistake(variant, back)).or_else(|| {
        let story: Story = serde_json::from_slice(context).unwrap();
        let undone = in_order(back).into_iter().map(|step| format!("undo {step}"));
        let told: Vec<String> = variant.told.iter().map(|step| (*step).to_owned()).chain(undone).collect();
        (story.told != told).then(|| format!("its context does not tell {told:?}"))
    })
}

/// What was done forward, and on the way back: each once, or under one key, and nothing forward after the first way back.
pub fn both_ways(effects: &[Effect]) -> Result<(&[Effect], &[Effect]), String> {
    for effect in effects {
        let same = effects.iter().filter(|other| (&other.step, other.is_undo) == (&effect.step, effect.is_undo));
        if same.clone().any(|other| other.step_key != effect.step_key) {
            return Err(format!("`{}` has several keys", effect.step));
        }
        if effect.has_tx == 1 && same.count() > 1 {
            return Err(format!("`{}` is doubled", effect.step));
        }
    }
    let back = effects.iter().position(|effect| effect.is_undo == 1).unwrap_or(effects.len());
    let (forward, back) = effects.split_at(back);
    if back.iter().any(|effect| effect.is_undo == 0) {
        return Err("it went forward again".to_owned());
    }
    Ok((forward, back))
}

/// Steps in the order in which they were called, each as often as it was called anew.
pub fn in_order(effects: &[Effect]) -> Vec<&str> {
    let mut steps: Vec<&str> = effects.iter().map(|effect| effect.step.as_str()).collect();
    steps.dedup();
    steps
}

fn forward_mistake(variant: &Variant, effects: &[Effect]) -> Option<String> {
    // A call that failed has been made all the same.
    let doubted = variant.doubted.into_iter();
    let mut places: Vec<Vec<&str>> = variant.forward.iter().map(|place| place.to_vec()).collect();
    places.extend(doubted.map(|step| vec![step]));
    let place_of = |step: &str| places.iter().position(|place| place.contains(&step));
    let called: Vec<Option<usize>> = effects.iter().map(|effect| place_of(&effect.step)).collect();
    let lacks = places.iter().flatten().find(|step| !effects.iter().any(|effect| effect.step == **step));
    if let Some(step) = lacks {
        return Some(format!("`{step}` is lost"));
    }
    (called.contains(&None) || !called.is_sorted()).then(|| "it went forward in another order".to_owned())
}

fn back_mistake(variant: &Variant, effects: &[Effect]) -> Option<String> {
    let undone = in_order(effects);
    let expected = variant.back.to_vec();
    let doubted: Vec<&str> = variant.doubted.into_iter().chain(expected.iter().copied()).collect();
    (undone != expected && undone != doubted).then(|| format!("undone are {undone:?}"))
}
