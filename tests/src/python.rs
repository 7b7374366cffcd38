//! python-cqrs, in a virtual environment that `interop/install` makes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/interop");

/// A script of `tests/interop`, ready to be run with arguments. What it prints is for the test, what it complains of for
/// whoever reads the test's output.
///
/// # Panics
/// Python cannot be had, with what to install.
pub fn script(name: &str) -> Command {
    let mut command = Command::new(installed().join("venv/bin/python"));
    // Nothing is written beside the scripts. Local time is UTC, as the page on coming from python-cqrs advises.
    command.arg("-B").arg(Path::new(SCRIPTS).join(name)).env("TZ", "UTC").env_remove("PYTHONPATH");
    command.stdin(Stdio::null()).stderr(Stdio::inherit());
    command
}

/// Runs a script to its end, and gives what it printed: a JSON value a line.
///
/// # Panics
/// It fails, or prints something else.
pub fn run(name: &str, arguments: &[&str]) -> Vec<serde_json::Value> {
    let output = script(name).args(arguments).output().expect("python runs: it was installed");
    printed(&format!("{name} {arguments:?}"), &output)
}

/// What a script printed that has ended.
///
/// # Panics
/// It failed, or printed something else than JSON.
pub fn printed(what: &str, output: &Output) -> Vec<serde_json::Value> {
    assert!(output.status.success(), "{what} failed, {}: {}", output.status, String::from_utf8_lossy(&output.stdout));
    let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).expect("JSON")).collect()
}

fn installed() -> &'static Path {
    static PLACE: OnceLock<PathBuf> = OnceLock::new();
    PLACE.get_or_init(|| {
        let output =
            Command::new(Path::new(SCRIPTS).join("install")).output().expect("tests/interop/install needs bash");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        PathBuf::from(String::from_utf8(output.stdout).expect("a path").trim_end())
    })
}
