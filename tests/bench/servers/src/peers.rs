//! What others need for the same work, in the same run: the scripts of `tests/peers`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::{Arguments, Result};

/// What they do to publish what is stored, and how many rows each publishes in a round: about three seconds' worth.
const RELAY: (&str, [(&str, u32); 2]) = ("run", [("watermill", 5_000), ("python-cqrs", 1_500)]);
/// What they do to run sagas, and how many each runs in a round: as long, one at a time, and three times as many where several run at once.
const SAGAS: (&str, [(&str, u32); 2]) = ("saga", [("durare", 1_500), ("python-cqrs", 200)]);
/// How a script ends whose peer is not installed.
const MISSING: i32 = 3;

/// The peers that are installed, and what each is to do.
#[derive(Debug)]
pub struct Peers {
    script: &'static str,
    /// What it is told before the count.
    told: Vec<String>,
    counts: Vec<(&'static str, u32)>,
}

#[derive(Deserialize)]
struct Told {
    per_second: f64,
}

impl Peers {
    /// Those that publish what a store has, `postgres` or `mysql`: none where nobody asked for them.
    pub fn relay(arguments: &Arguments, store: &str) -> Self {
        Self::new(arguments, RELAY, [store.to_owned()].into(), 1)
    }

    /// Those that run sagas on PostgreSQL, so many at once, whose steps do some work: `context` or `rows`.
    pub fn sagas(arguments: &Arguments, work: &str, at_once: u32) -> Self {
        let times = if at_once == 1 { 1 } else { 3 };
        Self::new(arguments, SAGAS, ["postgres".to_owned(), work.to_owned(), at_once.to_string()].into(), times)
    }

    fn new(
        arguments: &Arguments,
        (script, peers): (&'static str, [(&'static str, u32); 2]),
        told: Vec<String>,
        times: u32,
    ) -> Self {
        let all = if arguments.peers { peers.as_slice() } else { &[] };
        let counts = all.iter().map(|(name, count)| (*name, arguments.of(count * times))).collect();
        Self { script, told, counts }
    }

    /// Nobody else does this.
    pub fn none() -> Self {
        Self { script: "", told: Vec::new(), counts: Vec::new() }
    }

    /// A round of each. One that is not installed is left out from now on, and it is said how to install it.
    ///
    /// # Errors
    /// Fails when one fails.
    pub fn round(&mut self, rates: &mut BTreeMap<&'static str, Vec<f64>>) -> Result<()> {
        let mut there = Vec::new();
        for (name, count) in std::mem::take(&mut self.counts) {
            if let Some(rate) = self.measure(name, count)? {
                rates.entry(name).or_default().push(rate);
                there.push((name, count));
            }
        }
        self.counts = there;
        Ok(())
    }

    /// So many a second; `None` where it is not installed.
    fn measure(&self, name: &str, count: u32) -> Result<Option<f64>> {
        let script: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../../peers", name, self.script].iter().collect();
        let output = Command::new(script).args(&self.told).arg(count.to_string()).stderr(Stdio::inherit()).output()?;
        if output.status.code() == Some(MISSING) {
            return Ok(None);
        }
        let printed = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            return Err(format!("{name} failed, {}: {printed}", output.status).into());
        }
        let told: Told = serde_json::from_str(&printed).map_err(|error| format!("{name} told `{printed}`: {error}"))?;
        Ok(Some(told.per_second))
    }
}
