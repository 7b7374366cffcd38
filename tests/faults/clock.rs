//! Processes whose clock is set while they run, as an operator or a time server sets that of their machine.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use cqrs_tests::services;

use crate::world::{ALL, World};

const WRITTEN: &str = "SELECT COUNT(*) FROM diary";

/// Those whose leases are counted by a clock that is ahead.
const AN_HOUR_ON: &str = "SELECT COUNT(*) FROM cqrs_instances
    WHERE alive_until > (extract(epoch FROM now()) + 3000) * 1000000";

/// A clock of a test's own: a library that is loaded before the system's, and a file that says how far it is ahead.
struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    fn new(directory: &Path) -> Self {
        let clock = Self { library: directory.join("clock.so"), file: directory.join("clock") };
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/faults/clock.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&clock.library).arg(source);
        assert!(compiler.status().expect("cc, which links this test too").success());
        clock.set(0);
        clock
    }

    /// Moves it, in one write: it is looked at all the time.
    fn set(&self, seconds: i64) {
        let file = File::options().create(true).truncate(false).write(true).open(&self.file).unwrap();
        file.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g8_g9_g10_g12_a_clock_that_is_set_forward_and_back_loses_and_doubles_nothing() {
    let mut world = World::new(&services::postgres_url(), &services::amqp_url(), 60).await;
    world.stride = 150;
    let clock = Clock::new(world.directory());
    world.environment.push(("LD_PRELOAD".into(), clock.library.clone().into()));
    world.environment.push(("FAULTS_CLOCK".into(), clock.file.clone().into()));
    // Each sees the leases of the other run out at once, while that one is busy with what it holds.
    let processes = [world.start(ALL, None), world.start(ALL, None)];
    world.reaches(WRITTEN, 40).await;
    clock.set(3600);
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
