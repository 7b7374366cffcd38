//! The real Mermaid, for tests that draw: `#[path = ".."] mod real;` in each test program that needs it.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "what fails here fails the test")]
#![allow(unreachable_pub, reason = "a module of several programs")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// What the real Mermaid reads in each of these diagrams; see `check.mjs`. All in one go, since starting it takes a second.
///
/// # Panics
/// Where it cannot be run, with what to install; and where a text is no diagram.
pub fn read(diagrams: &[String]) -> Vec<Value> {
    let place = installed();
    let mut node = Command::new("node")
        .arg(place.join("check.mjs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("node runs: it was there when Mermaid was installed");
    let texts = serde_json::to_vec(diagrams).unwrap();
    let mut input = node.stdin.take().unwrap();
    input.write_all(&texts).expect("check.mjs reads all diagrams before it answers");
    drop(input);
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success(), "check.mjs failed:\n{}", String::from_utf8_lossy(&output.stderr));
    let answers: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answers.len(), diagrams.len(), "one answer for each diagram");
    for (diagram, answer) in diagrams.iter().zip(&answers) {
        assert!(answer.get("error").is_none(), "no valid Mermaid: {}\n{diagram}", answer["error"]);
    }
    answers
}

/// Where Mermaid is, installed if it was not.
fn installed() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let install = here
        .ancestors()
        .map(|folder| folder.join("tests/mermaid/install"))
        .find(|script| script.exists())
        .expect("tests/mermaid is in the repository");
    let output = Command::new(&install).output().expect("tests/mermaid/install needs bash");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim_end())
}
