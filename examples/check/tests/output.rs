//! Runs every example that has an `expected.txt`, as a newcomer would, and compares what it prints.

use std::path::Path;
use std::process::Command;
use std::{fs, io};

#[test]
fn every_example_prints_what_it_says() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut names: Vec<_> = fs::read_dir(&examples)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("expected.txt").exists())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(names.len() >= 5, "only these were found: {names:?}");

    let wrong: Vec<_> = names.iter().filter_map(|name| difference(&examples, name).unwrap()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with an example, if anything is.
fn difference(examples: &Path, name: &str) -> io::Result<Option<String>> {
    let run = Command::new(env!("CARGO")).args(["run", "--quiet", "--package", name]).current_dir(examples).output()?;
    let printed = String::from_utf8_lossy(&run.stdout);
    if !run.status.success() {
        let said = String::from_utf8_lossy(&run.stderr);
        return Ok(Some(format!("`{name}` failed: {}\n{printed}{said}", run.status)));
    }
    let expected = fs::read_to_string(examples.join(name).join("expected.txt"))?;
    Ok((printed != expected).then(|| format!("`{name}` printed\n{printed}instead of\n{expected}")))
}
