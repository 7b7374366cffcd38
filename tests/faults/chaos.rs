//! Two processes that publish and two that consume, each killed, stopped, told to end and started again at random.

use std::time::{Duration, Instant};

use cqrs_tests::services;
use rustix::process::Signal;

use crate::world::{CONSUMERS, Process, World};

/// How long it goes on.
const LONG: Duration = Duration::from_secs(20);

/// The same numbers each time: what happens when is up to the machine all the same.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        // As Knuth's MMIX has it; its upper bits are good.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    pub fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.roll(to - from))
    }
}

async fn breaks(world: &World, mut process: Process, parts: &str, dice: &mut Dice) -> Process {
    match dice.roll(4) {
        0 => process.stop(world).await,
        1 => {
            process.signal(Signal::STOP);
            tokio::time::sleep(dice.millis(200, 2500)).await;
            process.signal(Signal::CONT);
            return process;
        }
        _ => process.kill(),
    }
    tokio::time::sleep(dice.millis(0, 400)).await;
    world.start(parts, None)
}

/// Under load: each walker takes a step as soon as this has passed, in milliseconds, for most of the time.
const STRIDE: u32 = 60;
const STEPS: i32 = 270;

/// How often something breaks at least, on a machine that is very busy.
const BREAKS: u32 = 4;

async fn come_and_go(store: &str, broker: &str, seed: u64) {
    let mut world = World::new(store, broker, STEPS).await;
    world.stride = STRIDE;
    let mut dice = Dice(seed);
    let parts = ["relay", CONSUMERS, "relay", CONSUMERS];
    let walks = world.start("walk", None);
    let mut processes: Vec<Process> = parts.iter().map(|parts| world.start(parts, None)).collect();
    let (begun, mut broken) = (Instant::now(), 0);
    while begun.elapsed() < LONG || broken < BREAKS {
        tokio::time::sleep(dice.millis(200, 1800)).await;
        let which = usize::try_from(dice.roll(4)).unwrap();
        let process = processes.remove(which);
        processes.insert(which, breaks(&world, process, parts[which], &mut dice).await);
        broken += 1;
    }
    world.arrived().await;
    world.assert_whole().await;
    for process in processes {
        process.stop(&world).await;
    }
    walks.stop(&world).await;
    world.assert_whole().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g8_g9_g10_g12_two_relays_and_two_consumers_that_come_and_go_lose_and_double_nothing() {
    come_and_go(&services::postgres_url(), &services::kafka_url(), 0x5eed_0005).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g8_g9_g10_g12_those_that_come_and_go_lose_and_double_nothing_on_mariadb_and_amqp() {
    come_and_go(&services::mysql_url(), &services::amqp_url(), 0x5eed_0006).await;
}
