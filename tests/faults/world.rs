//! What a test has for itself on the servers, the processes that it starts, and the count in the end.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Debug;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cqrs::__private::FailPoint;
use cqrs::sqlx::{self, AnyConnection, AnyPool, AssertSqlSafe, Executor as _, Row};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use uuid::Uuid;

use crate::place::Place;
use crate::program::{self, WALKERS};

/// How long something that has to happen may take, on a machine that does much else.
pub const PATIENCE: Duration = Duration::from_secs(240);
pub const LOOK: Duration = Duration::from_millis(200);
/// For whatever would come twice.
pub const LATE: Duration = Duration::from_millis(1500);

/// Everything that moves messages.
pub const CONSUMERS: &str = "work,timers,group:diary,group:index";
/// Every part of the program.
pub const ALL: &str = "walk,relay,work,timers,group:diary,group:index";

/// Dead for good is what has no walker's key, which are short.
const LEFT: &str = "SELECT (SELECT COUNT(*) FROM cqrs_outbox) + (SELECT COUNT(*) FROM cqrs_work
    WHERE state <> 'dead' OR (message_key IS NOT NULL AND length(message_key) = 1))";

/// A database, and names at the broker.
pub struct World {
    steps: i32,
    /// The pause between two steps, in milliseconds.
    pub stride: u32,
    place: Place,
    database: String,
    /// Where the program finds the database.
    pub store: String,
    broker: String,
    pool: AnyPool,
    directory: TempDir,
    /// What else a process is told.
    pub environment: Vec<(OsString, OsString)>,
}

impl World {
    pub async fn new(store: &str, broker: &str, steps: i32) -> Self {
        let database = format!("faults_{}", Uuid::new_v4().simple());
        let directory = tempfile::Builder::new().prefix("cqrs-faults-").tempdir().unwrap();
        let place = Place::at(store);
        let store = place.create(&database, directory.path()).await;
        let pool = place.pool(&store, program::TABLES).await;
        Self {
            steps,
            stride: 25,
            place,
            database,
            store,
            broker: broker.to_owned(),
            pool,
            directory,
            environment: Vec::new(),
        }
    }

    /// Starts the program with some of its parts, to break at a point or not to.
    pub fn start(&self, parts: &str, point: Option<&str>) -> Process {
        let mut program = of_this_binary("program::life");
        program.env(program::STORE, &self.store).env(program::BROKER, &self.broker);
        program.env(program::NAME, self.on_broker("")).env(program::PARTS, parts);
        program.env(program::STEPS, self.steps.to_string()).env(program::STRIDE, self.stride.to_string());
        program.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(point) = point {
            program.env(program::POINT, point);
        }
        Process::start(program, self.directory.path())
    }

    /// Has all messages wait to be published, so that those who come next are given many at once.
    pub async fn pile_up(&self) {
        let process = self.start("walk", None);
        self.reaches("SELECT COUNT(*) FROM raised", i64::from(self.steps)).await;
        process.stop(self).await;
    }

    /// Has all messages wait at the broker, so that who consumes them finds many at once, whatever else is slow.
    pub async fn pile_up_published(&self) {
        let process = self.start("walk,relay", None);
        self.reaches("SELECT COUNT(*) FROM raised", i64::from(self.steps)).await;
        self.empties("SELECT COUNT(*) FROM cqrs_outbox").await;
        process.stop(self).await;
    }

    /// Counts; asks again while the database is away.
    pub async fn count(&self, sql: &'static str) -> i64 {
        let mut tries = 0;
        loop {
            match sqlx::query_scalar(sql).fetch_one(&self.pool).await {
                Ok(count) => return count,
                Err(error) => assert!(tries < 100, "{error}"),
            }
            tries += 1;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The name that a topic has on the broker.
    pub fn on_broker(&self, topic: &str) -> String {
        format!("{}-{topic}", self.database)
    }

    /// Waits until there are some more.
    pub async fn goes_on(&self, sql: &'static str) {
        let so_far = self.count(sql).await;
        self.reaches(sql, (so_far + 40).min(i64::from(WALKERS * self.steps))).await;
    }

    /// Has everybody write nothing, or write again.
    pub async fn set_read_only(&self, is_so: bool) {
        self.place.set_read_only(&self.database, is_so).await;
        self.disconnect().await;
    }

    /// Ends the connections to the database.
    pub async fn disconnect(&self) {
        let mut own = self.place.connection().await.unwrap();
        self.place.disconnect(&self.database, &mut own).await;
    }

    /// What an operator does after the clock went back by hours, with a process dead: as decision 0010 says it.
    pub async fn let_all_leases_run_out(&self) {
        let shards = if matches!(self.place, Place::Sqlite) { "cqrs_relay" } else { "cqrs_shards" };
        for table in [shards, "cqrs_work", "cqrs_idempotent"] {
            let update = format!("UPDATE {table} SET lease_until = 0 WHERE lease_until IS NOT NULL");
            sqlx::query(AssertSqlSafe(update)).execute(&self.pool).await.unwrap();
        }
    }

    /// Has nothing wait for its time any more.
    pub async fn let_all_fall_due(&self) {
        for table in ["cqrs_outbox", "cqrs_work"] {
            let update = format!("UPDATE {table} SET due_at = 0 WHERE state = 'waiting'");
            sqlx::query(AssertSqlSafe(update)).execute(&self.pool).await.unwrap();
        }
    }

    /// Takes all connections of the server, until the program has none and gets none.
    pub async fn take_all_connections(&self) -> Taken {
        let mut taken = Taken { inside: self.place.inside(&self.database).await, others: Vec::new() };
        let mut quiet = 0;
        for _ in 0..100 {
            let before = taken.others.len();
            self.place.disconnect(&self.database, &mut taken.inside).await;
            while let Ok(connection) = self.place.connection().await {
                taken.others.push(connection);
            }
            let is_alone = taken.others.len() == before && self.place.others(&mut taken.inside).await == 0;
            quiet = if is_alone { quiet + 1 } else { 0 };
            if quiet == 3 {
                return taken;
            }
            // For one that is about to be given.
            tokio::time::sleep(LOOK / 4).await;
        }
        panic!("others still have some: {}", self.log());
    }

    /// Whether somebody is in a transaction that keeps everybody else from writing, as on SQLite alone.
    pub async fn is_held_up(&self) -> bool {
        if !matches!(self.place, Place::Sqlite) {
            return false;
        }
        let mut own = self.pool.acquire().await.unwrap();
        let begun = own.execute("BEGIN IMMEDIATE").await.is_ok();
        if begun {
            own.execute("ROLLBACK").await.unwrap();
        }
        !begun
    }

    /// For files that go with the test.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Waits until something is so many.
    pub async fn reaches(&self, sql: &'static str, count: i64) {
        self.until(sql, async || self.count(sql).await >= count).await;
    }

    /// Waits until everything is there, and nothing on its way.
    pub async fn arrived(&self) {
        // And the one of who was lost.
        let whole = i64::from(WALKERS * self.steps) + 1;
        self.until("all have arrived", async || {
            self.count("SELECT COUNT(*) FROM diary").await >= whole
                && self.count("SELECT COUNT(*) FROM noted").await >= whole
                && self.left().await == 0
        })
        .await;
    }

    /// What is on its way, and not dead for good; something is, as long as there are no tables to look at.
    async fn left(&self) -> i64 {
        sqlx::query_scalar(LEFT).fetch_one(&self.pool).await.unwrap_or(1)
    }

    async fn until(&self, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
        let waiting = async {
            while !is_so().await {
                tokio::time::sleep(LOOK).await;
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!("it never came to pass: {what}\n{}\n{}", self.tables().await, self.log());
        }
    }

    /// Counts by their ids: each step once, those of a walker in order, and each bell once.
    pub async fn assert_whole(&self) {
        tokio::time::sleep(LATE).await;
        for table in ["diary", "noted"] {
            let mut steps: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
            for (walker, step) in self.rows(table).await {
                steps.entry(walker).or_default().push(step);
            }
            let mut expected: BTreeMap<i32, Vec<i32>> =
                (0..WALKERS).map(|walker| (walker, (0..self.steps).collect())).collect();
            expected.insert(program::LOST, vec![0]);
            assert_eq!(steps, expected, "in {table}\n{}", self.log());
        }
        let mut rung = self.rows("rung").await;
        rung.sort_unstable();
        let walkers = 0..WALKERS;
        let bells = walkers
            .flat_map(|walker| (0..self.steps).filter(|step| program::rings(*step)).map(move |step| (walker, step)));
        assert_eq!(rung, bells.collect::<Vec<_>>(), "the bells\n{}", self.log());
        assert_eq!(self.left().await, 0, "{}", self.tables().await);
        let strange = self.count("SELECT COUNT(*) FROM cqrs_work WHERE name = 'strange' AND state = 'dead'").await;
        assert!(strange >= 1, "what nobody takes is kept\n{}", self.log());
    }

    /// Writes what the program has not.
    pub async fn execute(&self, sql: String) {
        sqlx::query(AssertSqlSafe(sql)).execute(&self.pool).await.unwrap();
    }

    /// Waits until something is none.
    pub async fn empties(&self, sql: &'static str) {
        self.until(sql, async || self.count(sql).await == 0).await;
    }

    /// Walkers and their steps, in the order in which they were written down.
    pub async fn rows(&self, table: &str) -> Vec<(i32, i32)> {
        let select = AssertSqlSafe(format!("SELECT walker, step FROM {table} ORDER BY id"));
        sqlx::query_as(select).fetch_all(&self.pool).await.unwrap()
    }

    /// What there is, for who looks for a mistake.
    pub async fn tables(&self) -> String {
        let mut all = Vec::new();
        for table in ["raised", "diary", "noted", "rung"] {
            all.push(format!("{table}: {}", self.text_of(table, &["COUNT(*)"], "").await));
        }
        let outbox = ["name", "message_key", "state", "attempts", "payload"];
        all.push(self.text_of("cqrs_outbox", &outbox, "ORDER BY seq").await);
        let work = ["kind", "name", "message_key", "state", "attempts", "owner", "error"];
        all.push(self.text_of("cqrs_work", &work, "ORDER BY seq").await);
        all.join("\n")
    }

    /// One column of a table, a line for each row.
    pub async fn column(&self, table: &str, column: &str) -> String {
        self.text_of(table, &[column], "").await
    }

    /// Columns of a table, a line for each row.
    async fn text_of(&self, table: &str, columns: &[&str], order: &str) -> String {
        let text = self.place.text();
        let columns: Vec<String> = columns.iter().map(|column| format!("CAST({column} AS {text})")).collect();
        let select = AssertSqlSafe(format!("SELECT {} FROM {table} {order}", columns.join(", ")));
        let line = |row: sqlx::any::AnyRow| {
            let texts = (0..columns.len()).map(|at| row.try_get::<Option<String>, _>(at).ok().flatten());
            texts.map(|text| text.unwrap_or_default()).collect::<Vec<_>>().join(" ")
        };
        match sqlx::query(select).fetch_all(&self.pool).await {
            Ok(rows) => rows.into_iter().map(line).collect::<Vec<_>>().join("\n"),
            Err(error) => format!("{table}: {error}"),
        }
    }

    /// The last that the processes said.
    pub fn log(&self) -> String {
        log_in(self.directory.path())
    }

    /// Removes the database; left out where the test has failed.
    pub async fn end(self) {
        self.pool.close().await;
        self.place.drop(&self.database).await;
    }
}

/// All connections of a server: nobody else gets one until these are dropped.
pub struct Taken {
    /// To the database of the test.
    inside: AnyConnection,
    others: Vec<AnyConnection>,
}

impl Taken {
    /// Counts by a connection that nobody else has.
    pub async fn count(&mut self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&mut self.inside).await.unwrap()
    }
}

/// The last that the processes said whose log is in a directory.
pub fn log_in(directory: &Path) -> String {
    let log = std::fs::read_to_string(directory.join("log")).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

/// A test of this binary that other tests start as a process, with none of the settings that this one was started with.
pub fn of_this_binary(test: &str) -> Command {
    let mut program = Command::new(std::env::current_exe().unwrap());
    program.args(["--exact", test, "--include-ignored", "--nocapture"]);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CQRS_")) {
        program.env_remove(name);
    }
    program
}

/// A process of the program. Dropped, it is killed.
pub struct Process(Child);

impl Process {
    /// Starts a program, whose words go to the log in a directory.
    pub fn start(mut program: Command, directory: &Path) -> Self {
        let log = File::options().create(true).append(true).open(directory.join("log")).unwrap();
        program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Self(program.spawn().unwrap())
    }

    /// Whether it has stopped itself.
    pub fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id()));
        stat.is_ok_and(|stat| stat.contains(") T "))
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    /// The most memory that it has ever had, in KiB.
    pub fn most_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Whether it has ended, and how.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().unwrap()
    }

    pub fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Waits until it has ended; `None` where it lives on.
    pub async fn ended(&mut self) -> Option<ExitStatus> {
        let waiting = async {
            loop {
                if let Some(status) = self.status() {
                    return status;
                }
                tokio::time::sleep(LOOK / 5).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.ok()
    }

    /// Waits until it has stopped itself.
    pub async fn stops(&self, world: &World) {
        world.until("it stops", async || self.is_stopped()).await;
    }

    /// Waits until it dies as it was told to.
    pub async fn dies(&mut self, world: &World) {
        let status = self.ended().await;
        let killed = status.and_then(|status| status.signal()) == Some(Signal::KILL.as_raw());
        assert!(killed, "it did not die there: {status:?}\n{}\n{}", world.tables().await, world.log());
    }

    /// Has it stop, and end well.
    pub async fn stop(mut self, world: &World) {
        self.signal(Signal::TERM);
        let status = self.ended().await;
        assert!(status.is_some_and(|status| status.success()), "{status:?}\n{}", world.log());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Breaks something at each of these points, a few at a time, and says all that failed.
pub fn for_all<P: Copy + Debug + Send + Sync>(points: &[P], breaks: impl AsyncFn(P) + Sync) {
    // PostgreSQL has 300 connections, of which a process takes up to ten.
    const AT_ONCE: usize = 6;
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(point) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    if catch_unwind(AssertUnwindSafe(|| runtime.block_on(breaks(*point)))).is_err() {
                        failed.lock().unwrap().push(*point);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "broken at {failed:?}: see above");
}

/// Those of messages; `saga_owners` have those of sagas.
pub fn of_messages() -> Vec<FailPoint> {
    chosen(FailPoint::ALL).into_iter().filter(|point| !point.name().starts_with("saga.")).collect()
}

/// All of them, or the one that `FAULTS_ONLY` names.
pub fn chosen(points: &[FailPoint]) -> Vec<FailPoint> {
    let only = std::env::var("FAULTS_ONLY").ok();
    points.iter().copied().filter(|point| only.as_deref().is_none_or(|only| point.name() == only)).collect()
}
