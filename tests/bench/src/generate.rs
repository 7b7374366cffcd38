//! Crates of many handlers, written below the target directory and built there with cargo, each in a workspace of its
//! own with this repository's lock file: what they depend on is built once.

use std::fmt::Write;
use std::fs;
use std::io::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// How many handlers share a module.
const MODULE: usize = 100;

/// A generated crate.
#[derive(Debug)]
pub(crate) struct Generated {
    directory: PathBuf,
    target: PathBuf,
}

impl Generated {
    /// A crate without a source yet; `extra` is what its manifest says after its dependencies.
    pub(crate) fn new(name: &str, extra: &str) -> Result<Self> {
        let root = root()?;
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let directory = target.join("bench/generated").join(name);
        fs::create_dir_all(directory.join("src"))?;
        fs::copy(root.join("Cargo.lock"), directory.join("Cargo.lock"))?;
        fs::write(directory.join("Cargo.toml"), manifest(name, &root.join("cqrs"), extra))?;
        Ok(Self { directory, target })
    }

    /// Writes one of its sources: `lib.rs`, `main.rs`.
    pub(crate) fn source(&self, file: &str, text: &str) -> Result<()> {
        fs::write(self.directory.join("src").join(file), text)
    }

    /// Writes a library below it, which depends on `cqrs` alone.
    pub(crate) fn library(&self, name: &str, text: &str) -> Result<()> {
        let directory = self.directory.join(name);
        fs::create_dir_all(directory.join("src"))?;
        let package = package(name, &root()?.join("cqrs"));
        fs::write(directory.join("Cargo.toml"), package)?;
        fs::write(directory.join("src/lib.rs"), text)
    }

    /// Runs cargo on it, without incremental compilation.
    ///
    /// # Errors
    /// Fails with what cargo printed where it fails.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&self.directory).args(arguments).arg("--offline").arg("--target-dir").arg(&self.target);
        succeeded(command.env("CARGO_INCREMENTAL", "0"))
    }

    /// The compiler call that cargo makes for this crate, as a line for `sh`, once everything else is built.
    pub(crate) fn compiler(&self, name: &str, arguments: &[&str]) -> Result<Command> {
        let output = self.cargo(&[arguments, &["-v"]].concat())?;
        let printed = String::from_utf8_lossy(&output.stderr);
        let mut calls =
            printed.lines().filter_map(|line| line.trim_start().strip_prefix("Running `")?.strip_suffix('`'));
        let wanted = format!("--crate-name {name} ");
        let line = calls.rfind(|call| call.contains(&wanted));
        let line = line.ok_or_else(|| Error::other(format!("cargo did not compile `{name}`:\n{printed}")))?;
        let mut command = Command::new("sh");
        command.current_dir(&self.directory).arg("-c").arg(format!("exec {line}"));
        Ok(command)
    }

    /// The program that was built in release.
    pub(crate) fn program(&self, name: &str) -> Command {
        Command::new(self.target.join("release").join(name))
    }
}

/// Runs a command to its end.
pub(crate) fn succeeded(command: &mut Command) -> Result<Output> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(output);
    }
    let printed = String::from_utf8_lossy(&output.stderr);
    Err(Error::other(format!("{command:?} failed, {}:\n{printed}", output.status)))
}

/// The folder of this repository's workspace.
fn root() -> Result<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()
}

/// The features are those of this program: the dependencies are the same.
fn package(name: &str, cqrs: &Path) -> String {
    format!(
        r#"[package]
name = "{name}"
version = "0.1.0"
edition = "2024"

[dependencies]
cqrs = {{ path = '{}', features = ["testing"] }}
"#,
        cqrs.display()
    )
}

/// With the profiles of this workspace.
fn manifest(name: &str, cqrs: &Path, extra: &str) -> String {
    let package = package(name, cqrs);
    format!(
        r#"{package}tokio = {{ version = "1", features = ["rt", "sync", "time", "macros"] }}
{extra}
[workspace]
resolver = "3"

[profile.dev]
debug = "line-tables-only"

[profile.dev.package."*"]
debug = false
"#
    )
}

/// What the handlers of a generated crate look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Registered: a derive on the message, an attribute on the function.
    Registered,
    /// The same structs and functions, without either.
    Bare,
}

/// So many commands, each with a handler that asks for a dependency and raises nothing, in modules.
pub(crate) fn handlers(form: Form, count: usize) -> String {
    let (derive, attribute) = match form {
        Form::Registered => ("#[derive(Command)]", "#[command_handler]"),
        Form::Bare => ("", ""),
    };
    let mut text = String::from("#![allow(dead_code, unused_imports)]\n#[derive(Default)]\npub struct Counter;\n");
    for first in (0..count).step_by(MODULE) {
        let _ = writeln!(text, "pub mod m{first} {{\n    use cqrs::prelude::*;\n    use crate::Counter;");
        for number in first..count.min(first + MODULE) {
            let _ = write!(
                text,
                "    {derive}
    pub struct C{number}(pub u64);
    {attribute}
    pub async fn h{number}(cmd: C{number}, _counter: Inject<Counter>, _events: &mut Events) {{
        let _ = cmd.0;
    }}
"
            );
        }
        text.push_str("}\n");
    }
    text
}

/// The path of the message with a number.
pub(crate) fn message(number: usize) -> String {
    format!("m{}::C{number}", number / MODULE * MODULE)
}
