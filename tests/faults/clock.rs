//! Processes whose clock is set while they run, as an operator or a time server sets that of their machine.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use cqrs_tests::services;

use crate::walk::Walk;
use crate::world::{ALL, World};

const WRITTEN: &str = "SELECT COUNT(*) FROM diary";
const RUNG: &str = "SELECT COUNT(*) FROM rung";
const HOUR: i64 = 3600;

/// Those whose leases are counted by a clock that is ahead.
const AN_HOUR_ON: &str = "SELECT COUNT(*) FROM cqrs_instances
    WHERE alive_until > (extract(epoch FROM now()) + 3000) * 1000000";

/// A clock of a test's own: a library that is loaded before the system's, and a file that says how far it is ahead.
pub struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    pub fn new(directory: &Path) -> Self {
        let clock = Self { library: directory.join("clock.so"), file: directory.join("clock") };
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/faults/clock.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&clock.library).arg(source);
        assert!(compiler.status().expect("cc, which links this test too").success());
        clock.set(0);
        clock
    }

    /// The clock of whoever is started from here on.
    fn of(world: &mut World) -> Self {
        let clock = Self::new(world.directory());
        world.environment.extend(clock.environment());
        clock
    }

    /// What a process is told that goes by it.
    pub fn environment(&self) -> Vec<(OsString, OsString)> {
        vec![("LD_PRELOAD".into(), self.library.clone().into()), ("FAULTS_CLOCK".into(), self.file.clone().into())]
    }

    /// Moves it, in one write: it is looked at all the time.
    pub fn set(&self, seconds: i64) {
        let file = File::options().create(true).truncate(false).write(true).open(&self.file).unwrap();
        file.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g8_g9_g10_g12_a_clock_that_is_set_forward_and_back_loses_and_doubles_nothing() {
    let mut world = World::new(&services::postgres_url(), &services::amqp_url(), 60).await;
    world.stride = 150;
    let clock = Clock::of(&mut world);
    // Each sees the leases of the other run out at once, while that one is busy with what it holds.
    let processes = [world.start(ALL, None), world.start(ALL, None)];
    world.reaches(WRITTEN, 40).await;
    clock.set(HOUR);
    world.goes_on(WRITTEN).await;
    world.reaches(AN_HOUR_ON, 2).await;
    // Further back than a lease is long; what is due by the old time waits for as long.
    clock.set(3590);
    world.goes_on(WRITTEN).await;
    clock.set(7200);
    world.arrived().await;
    for process in processes {
        process.stop(&world).await;
    }
    world.assert_whole().await;
    world.end().await;
}

/// Waits until messages are written down, and bells ring that were set since, in less time than the clock went back by: nobody waits for
/// the old time but what was due by it.
async fn goes_on(walk: &mut Walk) {
    let rung = walk.world.count(RUNG).await;
    walk.goes_on().await;
    // Of the steps of a walk that goes on, five have bells, and six walkers.
    walk.world.reaches(RUNG, rung + 6).await;
}

/// Two processes whose clock goes back by an hour; one of them dies then, and another comes.
async fn goes_back_by_an_hour(store: &str, broker: &str, ahead_first: bool) {
    let mut walk = Walk::new(World::new(store, broker, Walk::STEPS).await);
    walk.world.stride = 150;
    let clock = Clock::of(&mut walk.world);
    walk.more();
    let mut first = walk.world.start(ALL, None);
    let second = walk.world.start(ALL, None);
    walk.world.reaches(WRITTEN, 40).await;
    // Kafka takes no message that is dated more than an hour after its own clock.
    let before = if ahead_first { HOUR - 60 } else { 0 };
    if ahead_first {
        clock.set(before);
        goes_on(&mut walk).await;
    }
    clock.set(before - HOUR);
    // With what they hold, which lasts until the old time, and for which nobody waits while they live.
    goes_on(&mut walk).await;
    first.kill();
    // Once another has come in the place of who died, with what nobody else would take for an hour: as 0010 says it.
    let third = walk.world.start(ALL, None);
    walk.world.let_all_leases_run_out().await;
    goes_on(&mut walk).await;
    // What was due by the old time has waited for as long.
    clock.set(before + 1);
    walk.open_all();
    let world = walk.world;
    world.arrived().await;
    for process in [second, third] {
        process.stop(&world).await;
    }
    world.assert_whole().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g8_g9_g10_g12_a_clock_that_goes_back_by_an_hour_loses_and_doubles_nothing_on_postgresql() {
    goes_back_by_an_hour(&services::postgres_url(), &services::kafka_url(), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g8_g9_g10_g12_a_clock_that_goes_back_by_an_hour_loses_and_doubles_nothing_on_mariadb() {
    goes_back_by_an_hour(&services::mysql_url(), &services::amqp_url(), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g8_g9_g10_g12_a_clock_that_goes_back_by_an_hour_loses_and_doubles_nothing_on_sqlite() {
    goes_back_by_an_hour("sqlite", &services::nats_url(), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g8_g9_g10_g12_a_clock_that_was_an_hour_ahead_loses_and_doubles_nothing_on_postgresql() {
    goes_back_by_an_hour(&services::postgres_url(), &services::nats_url(), true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g8_g9_g10_g12_a_clock_that_was_an_hour_ahead_loses_and_doubles_nothing_on_mariadb() {
    goes_back_by_an_hour(&services::mysql_url(), &services::kafka_url(), true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g8_g9_g10_g12_a_clock_that_was_an_hour_ahead_loses_and_doubles_nothing_on_sqlite() {
    goes_back_by_an_hour("sqlite", &services::amqp_url(), true).await;
}

/// Kafka refuses what is dated so far ahead. It is the clock that is wrong, not the message: it waits, and goes out by a clock that is
/// right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g8_g10_g11_a_clock_that_is_further_ahead_than_kafka_takes_it_loses_and_buries_nothing() {
    const REFUSED: &str = "SELECT COUNT(*) FROM cqrs_outbox WHERE attempts > 1";
    let mut world = World::new(&services::postgres_url(), &services::kafka_url(), 60).await;
    world.stride = 100;
    let clock = Clock::of(&mut world);
    let process = world.start(ALL, None);
    world.reaches(WRITTEN, 40).await;
    clock.set(2 * HOUR);
    world.reaches(REFUSED, 4).await;
    let dead = "SELECT COUNT(*) FROM cqrs_outbox WHERE state = 'dead'";
    assert_eq!(world.count(dead).await, 0, "{}", world.tables().await);
    clock.set(0);
    // What was put off by the clock that was ahead would wait until then.
    let finish = async {
        loop {
            world.let_all_fall_due().await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        () = world.arrived() => {}
        () = finish => {}
    }
    process.stop(&world).await;
    assert_eq!(world.count(dead).await, 0);
    world.assert_whole().await;
    world.end().await;
}
