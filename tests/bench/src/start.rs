//! The start of an app with many handlers, beside iterating as many items and filling two maps with them.
//!
//! Both in a program of its own, in a fresh process each round: a service starts once, with nothing in the caches.

use std::fmt::Write;
use std::io::{Error, Result};

use crate::generate::{Form, Generated, handlers, message, succeeded};
use crate::harness::{Bench, Report, Scale, or_exit};

const HANDLERS: usize = 10_000;
const HANDLERS_QUICK: usize = 1_000;

pub(crate) fn benches() -> Vec<Bench> {
    vec![Bench { path: "start", run: start }]
}

fn start(path: &'static str, scale: Scale) -> Report {
    let (ours, plain) = or_exit(measure(scale));
    Report::of_costs(path, "ms", ours, plain, None)
}

fn measure(scale: Scale) -> Result<(Vec<f64>, Vec<f64>)> {
    let count = if scale.quick { HANDLERS_QUICK } else { HANDLERS };
    let name = format!("start-{count}");
    // What starts is `cqrs`, which is optimised as ever, like the plain version in a library of its own; the handlers are
    // never called, and would take minutes to optimise.
    let extra = format!("plain = {{ path = \"plain\" }}\n\n[profile.release.package.{name}]\nopt-level = 0\n");
    let generated = Generated::new(&name, &extra)?;
    generated.library("plain", PLAIN)?;
    generated.source("main.rs", &program(count))?;
    generated.cargo(&["build", "--release"])?;
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    // The first round brings the program from the disk, and is not counted.
    for round in 0..=scale.rounds() {
        for (which, times) in [("ours", &mut ours), ("plain", &mut plain)] {
            let output = succeeded(generated.program(&name).arg(which))?;
            let nanos: f64 = String::from_utf8_lossy(&output.stdout).trim().parse().map_err(Error::other)?;
            if round > 0 {
                times.push(nanos / 1e6);
            }
        }
    }
    Ok((ours, plain))
}

/// A program that says how many nanoseconds it took.
fn program(count: usize) -> String {
    let mut text = handlers(Form::Registered, count);
    let _ = writeln!(text, "static ITEMS: [(std::any::TypeId, &str); {count}] = [");
    for number in 0..count {
        let message = message(number);
        let _ = writeln!(text, "    (std::any::TypeId::of::<{message}>(), \"{message}\"),");
    }
    text.push_str("];\n");
    text.push_str(MAIN);
    text
}

const MAIN: &str = r#"
fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let begun = std::time::Instant::now();
    let nanos = match std::env::args().nth(1).as_deref() {
        Some("ours") => {
            let app = runtime.block_on(async { cqrs::bootstrap!().provide(Counter).await }).unwrap();
            let nanos = begun.elapsed().as_nanos();
            runtime.block_on(async { app.send(m0::C0(1)).await }).unwrap();
            nanos
        }
        _ => plain::nanos(&ITEMS),
    };
    println!("{nanos}");
}
"#;

/// As many items, gathered at link time too, into two maps.
const PLAIN: &str = r"
use std::any::TypeId;
use std::collections::HashMap;
use std::time::Instant;

use cqrs::__private::{HandlerItem, inventory};

pub fn nanos(names: &[(TypeId, &'static str)]) -> u128 {
    let begun = Instant::now();
    let mut by_type = HashMap::new();
    let mut by_name = HashMap::new();
    for (item, (type_id, name)) in inventory::iter::<HandlerItem>.into_iter().zip(names) {
        by_type.insert(*type_id, item);
        by_name.insert(*name, item);
    }
    let nanos = begun.elapsed().as_nanos();
    assert_eq!((by_type.len(), by_name.len()), (names.len(), names.len()));
    nanos
}
";
