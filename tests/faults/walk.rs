//! Walkers who take a few steps at a time, so that what is looked for after something was broken is seen of steps that are taken after it.

use std::path::PathBuf;

use crate::program;
use crate::world::World;

/// A world in which somebody says how many steps may be taken so far.
pub struct Walk {
    pub world: World,
    gate: PathBuf,
    open: i32,
}

impl Walk {
    /// All that there are.
    pub const STEPS: i32 = 100;
    /// Of these, five have bells, and six walkers.
    pub const MORE: i32 = 20;

    /// Nobody takes a step until somebody says so.
    pub fn new(mut world: World) -> Self {
        let gate = world.directory().join("gate");
        world.environment.push((program::GATE.into(), gate.clone().into()));
        let mut walk = Self { world, gate, open: 0 };
        walk.open(0);
        walk
    }

    /// How many steps may be taken so far.
    pub fn so_far(&self) -> i64 {
        self.open.into()
    }

    /// Moved there whole: somebody reads it all the time.
    fn open(&mut self, steps: i32) {
        let new = self.gate.with_extension("new");
        std::fs::write(&new, steps.to_string()).unwrap();
        std::fs::rename(&new, &self.gate).unwrap();
        self.open = steps;
    }

    /// Lets some more be taken.
    pub fn more(&mut self) {
        self.open((self.open + Self::MORE).min(Self::STEPS));
    }

    /// Lets all be taken.
    pub fn open_all(&mut self) {
        self.open(Self::STEPS);
    }

    /// Lets some more be taken, and waits until some more are written down.
    pub async fn goes_on(&mut self) {
        self.more();
        self.world.goes_on("SELECT COUNT(*) FROM diary").await;
    }
}
