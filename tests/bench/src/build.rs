//! What a handler costs the compiler: the slope between a crate of some handlers and one of many, over the slope of the
//! same structs and bare async functions.
//!
//! Measured is the processor time of the compiler's call for the crate alone, as cargo makes it, which is what one core
//! would take: no linking, no dependencies, nothing incremental.

use std::io::Result;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::generate::{Form, Generated, handlers, succeeded};
use crate::harness::{Bench, Report, Scale, or_exit};

const NAME: &str = "slope";

pub(crate) fn benches() -> Vec<Bench> {
    vec![
        Bench { path: "build.debug", run: debug },
        Bench { path: "build.release", run: release },
        Bench { path: "build.check", run: check },
    ]
}

fn debug(path: &'static str, scale: Scale) -> Report {
    report(path, scale, &["build"])
}

fn release(path: &'static str, scale: Scale) -> Report {
    report(path, scale, &["build", "--release"])
}

fn check(path: &'static str, scale: Scale) -> Report {
    report(path, scale, &["check"])
}

fn report(path: &'static str, scale: Scale, arguments: &[&str]) -> Report {
    let (ours, plain) = or_exit(measure(scale, arguments));
    Report::of_costs(path, "ms", ours, plain, None)
}

/// Milliseconds a handler: ours over bare functions, and bare functions.
fn measure(scale: Scale, arguments: &[&str]) -> Result<(Vec<f64>, Vec<f64>)> {
    let (few, many, rounds) = if scale.quick { (50_u16, 250_u16, 2) } else { (100, 1_100, 5) };
    let generated = Generated::new(NAME, "")?;
    generated.source("lib.rs", &handlers(Form::Registered, usize::from(few)))?;
    let mut compiler = generated.compiler(NAME, arguments)?;
    let mut milliseconds = |form, count: u16| -> Result<f64> {
        generated.source("lib.rs", &handlers(form, usize::from(count)))?;
        Ok(processor_time(&mut compiler)?.as_secs_f64() * 1e3)
    };
    let count = f64::from(many - few);
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let mut slope = |form| -> Result<f64> {
            let few = milliseconds(form, few)?;
            Ok((milliseconds(form, many)? - few) / count)
        };
        let (registered, bare) = (slope(Form::Registered)?, slope(Form::Bare)?);
        ours.push(registered - bare);
        plain.push(bare);
    }
    Ok((ours, plain))
}

/// The processor time a command takes; where the system does not tell, the time.
fn processor_time(command: &mut Command) -> Result<Duration> {
    let (begun, before) = (Instant::now(), children());
    succeeded(command)?;
    Ok(match (before, children()) {
        (Some(before), Some(after)) => after.saturating_sub(before),
        _ => begun.elapsed(),
    })
}

/// The processor time of every child that has ended: `cutime` and `cstime`, in hundredths of a second.
fn children() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name, which may hold anything, in parentheses.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(13);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_millis((next()? + next()?) * 10))
}
