//! Whether this program can go on with every saga that is stored.

use std::collections::BTreeMap;
use std::fmt;

use super::SagaError;
use super::plan::PlannedSaga;
use crate::app::App;
use crate::store::SagaUse;

/// What a program lacks to go on with the sagas of its store. Made by [`App::preflight`].
///
/// Its `Display` is a line for each, to be shown to whoever deploys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Preflight {
    /// Sagas that have not ended and cannot go on in this program, by name, version and step.
    pub sagas: Vec<Stranded>,
}

/// Sagas that have not ended, and cannot go on in a program.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stranded {
    /// The stored name of the saga.
    pub saga: String,
    /// Its version.
    pub version: u32,
    /// The step that the program's definition of it lacks, or has behind steps that they have not begun; `None` where it lacks the version.
    pub step: Option<String>,
    /// How many there are.
    pub count: u64,
    /// The versions of the saga that the program has.
    pub known: Vec<u32>,
}

impl Preflight {
    /// Whether nothing is lacking.
    pub fn is_ready(&self) -> bool {
        self.sagas.is_empty()
    }
}

impl fmt::Display for Preflight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_ready() {
            return f.write_str("every stored saga can go on in this program");
        }
        for (at, stranded) in self.sagas.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            stranded.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Stranded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { saga, version, step, count, known } = self;
        let sagas = if *count == 1 { "1 saga".to_owned() } else { format!("{count} sagas") };
        write!(f, "{sagas} `{saga}`, version {version}, cannot go on: ")?;
        match step {
            Some(step) => write!(
                f,
                "they have begun the step `{step}`, which this program does not have, or has behind steps that they have not begun; help: leave a version as it was while sagas of it run, and give the changed one the next; put what is new behind what has begun where that takes them over"
            ),
            None if known.is_empty() => write!(
                f,
                "this program has no saga of that name; help: deploy it together with a program that has it, or let them end first"
            ),
            None => {
                let known: Vec<String> = known.iter().map(u32::to_string).collect();
                write!(
                    f,
                    "this program has version {} of it; help: keep version {version} beside it until they have ended, or take it over: `migrates = ..`",
                    known.join(", ")
                )
            }
        }
    }
}

impl App {
    /// Looks whether every saga of the store that has not ended can go on in this program, before it takes over: a version, or a step
    /// that has begun, which it does not have would leave them waiting. A version that a later one takes over (`migrates = ..`) is not
    /// missed, but for those that have begun a step which the later one does not have, or has behind others that they have not begun.
    ///
    /// Changes nothing. An app without a store, or whose store keeps no sagas, lacks nothing.
    ///
    /// # Errors
    /// Fails with what the store said.
    pub async fn preflight(&self) -> Result<Preflight, SagaError> {
        let Some(sagas) = self.store().and_then(|store| store.sagas()) else { return Ok(Preflight::default()) };
        Ok(Preflight { sagas: self.stranded(&sagas.in_use().await?) })
    }

    fn stranded(&self, used: &[SagaUse]) -> Vec<Stranded> {
        let mut counts: BTreeMap<(&str, u32), BTreeMap<Option<&str>, u64>> = BTreeMap::new();
        for SagaUse { name, version, step, count, .. } in used {
            *counts.entry((name, *version)).or_default().entry(step.as_deref()).or_default() += count;
        }
        let mut stranded = Vec::new();
        for ((name, version), begun) in counts {
            for step in begun.keys() {
                let count = self.lacking(name, version, *step, &begun);
                if count > 0 {
                    let known = self.plan().sagas.versions(name).collect();
                    let (saga, step) = (name.to_owned(), step.map(str::to_owned));
                    stranded.push(Stranded { saga, version, step, count, known });
                }
            }
        }
        stranded
    }

    /// How many of a version that use this step of it, or the version itself, cannot go on.
    fn lacking(&self, name: &str, version: u32, step: Option<&str>, begun: &BTreeMap<Option<&str>, u64>) -> u64 {
        let sagas = &self.plan().sagas;
        let (own, mut later) = (sagas.get(name, version), sagas.successors(name, version));
        let count = begun.get(&step).copied().unwrap_or(0);
        match step {
            Some(step) => {
                let own = own.map(|plan| if plan.step(step).is_some() { 0 } else { count });
                own.into_iter().chain(later.map(|plan| overtaken(plan, step, begun))).min().unwrap_or(0)
            }
            // Where all of it is missing, so are the steps: said once.
            None if own.is_none() && later.next().is_none() => count,
            None => 0,
        }
    }
}

/// How many of those that have begun a step have it in a later version behind one that they have not begun, or lack it there: by how many
/// sagas of their own version have begun what.
fn overtaken(plan: &PlannedSaga, step: &str, begun: &BTreeMap<Option<&str>, u64>) -> u64 {
    let have = |step: &str| begun.get(&Some(step)).copied().unwrap_or(0);
    let count = have(step);
    let Some(at) = plan.step(step) else { return count };
    let earlier = plan.steps[..at].iter().map(|step| have(step.name));
    count.saturating_sub(earlier.min().unwrap_or(count))
}
