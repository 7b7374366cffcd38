//! What others need for the same work, in the same run: the scripts of `tests/peers`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::{Arguments, Result};

/// Their names, and how many rows each publishes in a round: about three seconds' worth.
const PEERS: [(&str, u32); 2] = [("watermill", 5_000), ("python-cqrs", 1_500)];
/// How a script ends whose peer is not installed.
const MISSING: i32 = 3;

/// The peers that are installed, each beside which store.
#[derive(Debug)]
pub struct Peers {
    store: &'static str,
    rows: Vec<(&'static str, u32)>,
}

#[derive(Deserialize)]
struct Told {
    per_second: f64,
}

impl Peers {
    /// The peers to be measured over a store, `postgres` or `mysql`: none where nobody asked for them.
    pub fn new(arguments: &Arguments, store: &'static str) -> Self {
        let all = if arguments.peers { PEERS.as_slice() } else { &[] };
        Self { store, rows: all.iter().map(|(name, rows)| (*name, arguments.of(*rows))).collect() }
    }

    /// Nobody else does this.
    pub fn none() -> Self {
        Self { store: "", rows: Vec::new() }
    }

    /// A round of each. One that is not installed is left out from now on, and it is said how to install it.
    ///
    /// # Errors
    /// Fails when one fails.
    pub fn round(&mut self, rates: &mut BTreeMap<&'static str, Vec<f64>>) -> Result<()> {
        let mut there = Vec::new();
        for (name, rows) in std::mem::take(&mut self.rows) {
            if let Some(rate) = measure(name, self.store, rows)? {
                rates.entry(name).or_default().push(rate);
                there.push((name, rows));
            }
        }
        self.rows = there;
        Ok(())
    }
}

/// Messages a second; `None` where it is not installed.
fn measure(name: &str, store: &str, rows: u32) -> Result<Option<f64>> {
    let script: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../../peers", name, "run"].iter().collect();
    let output = Command::new(script).args([store, &rows.to_string()]).stderr(Stdio::inherit()).output()?;
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
