//! Rounds, medians, reports.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::time::Instant;

use serde::Serialize;

/// One thing to measure.
#[derive(Clone)]
pub(crate) struct Bench {
    pub(crate) path: &'static str,
    pub(crate) run: fn(&'static str, Scale) -> Report,
}

/// How much of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    pub(crate) quick: bool,
    /// Others as well.
    pub(crate) peers: bool,
}

impl Scale {
    pub(crate) fn rounds(self) -> usize {
        if self.quick { 5 } else { 9 }
    }

    pub(crate) fn of(self, full: u32) -> u32 {
        if self.quick { (full / 20).max(1) } else { full }
    }
}

/// What was measured; `ratio` is our speed over the plain one's: 1 is as fast, below 1 slower.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    pub(crate) path: &'static str,
    pub(crate) ours: f64,
    pub(crate) plain: f64,
    pub(crate) unit: &'static str,
    pub(crate) ratio: f64,
    pub(crate) rounds: usize,
    /// Of one call of ours; `None` where they are not counted.
    pub(crate) allocations: Option<u64>,
    /// What others did, in the same unit.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) peers: BTreeMap<String, f64>,
    /// What else was measured, by what it is.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) also: BTreeMap<String, f64>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, ours, plain, unit, ratio, rounds, allocations, peers, also } = self;
        write!(
            f,
            "{path:<22} ours {ours:>10.1} {unit:<6} plain {plain:>10.1} {unit:<6} ratio {ratio:>6.3}  rounds {rounds}"
        )?;
        if let Some(allocations) = allocations {
            write!(f, "  allocations {allocations}")?;
        }
        for (peer, theirs) in peers {
            write!(f, "  {peer} {theirs:.1} {unit}, we {:.1} times that", ours / theirs)?;
        }
        for (what, value) in also {
            write!(f, "  {what} {value:.2}")?;
        }
        Ok(())
    }
}

impl Report {
    /// Of medians of rates: more is faster.
    pub(crate) fn of_rates(path: &'static str, unit: &'static str, mut ours: Vec<f64>, mut plain: Vec<f64>) -> Self {
        let rounds = ours.len();
        let (ours, plain) = (median(&mut ours), median(&mut plain));
        Self {
            path,
            ours,
            plain,
            unit,
            ratio: ours / plain,
            rounds,
            allocations: None,
            peers: BTreeMap::new(),
            also: BTreeMap::new(),
        }
    }

    /// With the medians of what others did.
    pub(crate) fn beside(mut self, peers: BTreeMap<String, Vec<f64>>) -> Self {
        self.peers = peers.into_iter().map(|(name, mut rates)| (name, median(&mut rates))).collect();
        self
    }

    /// With what else was measured.
    pub(crate) fn with(mut self, also: BTreeMap<String, f64>) -> Self {
        self.also = also;
        self
    }

    /// Of medians of costs: less is faster.
    pub(crate) fn of_costs(
        path: &'static str,
        unit: &'static str,
        mut ours: Vec<f64>,
        mut plain: Vec<f64>,
        allocations: Option<u64>,
    ) -> Self {
        let rounds = ours.len();
        let (ours, plain) = (median(&mut ours), median(&mut plain));
        Self {
            path,
            ours,
            plain,
            unit,
            ratio: plain / ours,
            rounds,
            allocations,
            peers: BTreeMap::new(),
            also: BTreeMap::new(),
        }
    }
}

pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What was measured, or the end of the program: half a report helps nobody.
pub(crate) fn or_exit<T, E: fmt::Display>(measured: Result<T, E>) -> T {
    measured.unwrap_or_else(|error| {
        eprintln!("{error}");
        std::process::exit(1);
    })
}

/// A runtime of one thread: what is measured is the call, not the scheduler.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    or_exit(tokio::runtime::Builder::new_current_thread().enable_all().build())
}

/// Nanoseconds of one call of each, over interleaved rounds.
pub(crate) async fn interleave<A, B>(
    scale: Scale,
    calls: u32,
    mut ours: impl FnMut() -> A,
    mut plain: impl FnMut() -> B,
) -> (Vec<f64>, Vec<f64>)
where
    A: Future,
    B: Future,
{
    let calls = scale.of(calls);
    let (mut our_rounds, mut plain_rounds) = (Vec::new(), Vec::new());
    // The first round warms caches and the branch predictor, and is not counted.
    for round in 0..=scale.rounds() {
        let begun = Instant::now();
        for _ in 0..calls {
            std::hint::black_box(ours().await);
        }
        let our_time = begun.elapsed();
        let begun = Instant::now();
        for _ in 0..calls {
            std::hint::black_box(plain().await);
        }
        let plain_time = begun.elapsed();
        if round > 0 {
            our_rounds.push(our_time.as_secs_f64() * 1e9 / f64::from(calls));
            plain_rounds.push(plain_time.as_secs_f64() * 1e9 / f64::from(calls));
        }
    }
    (our_rounds, plain_rounds)
}

/// Allocations of one call.
pub(crate) fn allocations<F: Future>(runtime: &tokio::runtime::Runtime, call: impl FnOnce() -> F) -> u64 {
    allocation_counter::measure(|| {
        runtime.block_on(async {
            std::hint::black_box(call().await);
        });
    })
    .count_total
}
