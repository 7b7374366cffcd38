//! Holds the documentation to its word: every test it names exists, and is run.

use std::fs;
use std::path::Path;

#[test]
fn every_test_that_is_named_exists_and_is_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let pages = ["guarantees", "coming-from-python-cqrs"];
    let texts = pages.map(|page| fs::read_to_string(root.join(format!("docs/{page}.md"))).unwrap());
    let named =
        texts.each_ref().map(|text| text.split('`').filter_map(|code| code.split_once(".rs::")).collect::<Vec<_>>());
    assert!(named.iter().all(|named| named.len() > 20), "only these were found: {named:?}");
    let wrong: Vec<_> = named
        .iter()
        .flatten()
        .filter_map(|(file, function)| {
            let read = |file: &str| fs::read_to_string(root.join(format!("{file}.rs"))).unwrap_or_default();
            let objection = match file.rsplit_once('/') {
                Some((suite, module)) if suite.ends_with("/testing/conformance/store") => {
                    let suite = read(&format!("{suite}/cases"));
                    (!is_case(&suite, module, function)).then_some("it is no case of the suite")
                }
                _ => objection(&read(file), function),
            };
            objection.map(|what| format!("{file}.rs::{function}: {what}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Whether a function is in the list of the suite that every store is put through: each makes a test of every entry.
fn is_case(list: &str, module: &str, function: &str) -> bool {
    let entry = format!("{module}::{function} =>");
    list.lines().any(|line| line.trim() == entry)
}

/// Why a function of a file is no test that is run.
fn objection(source: &str, function: &str) -> Option<&'static str> {
    let signature = format!("fn {function}(");
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let Some(at) = lines.iter().position(|line| !line.starts_with("//") && line.contains(&signature)) else {
        return Some("there is no such function");
    };
    // From the line after whatever stands before it: its attributes, which may take several lines, and its documentation.
    let is_before = |line: &&str| line.is_empty() || line.ends_with('}') || line.ends_with(';');
    let from = lines[..at].iter().rposition(is_before).map_or(0, |before| before + 1);
    let attributes: Vec<_> = lines[from..at].iter().filter(|line| !line.starts_with("//")).copied().collect();
    if !attributes.iter().any(|line| *line == "#[test]" || line.starts_with("#[tokio::test")) {
        return Some("it is no test");
    }
    attributes
        .iter()
        .any(|line| line.contains("ignore") || line.starts_with("#[cfg(") && *line != "#[cfg(unix)]")
        .then_some("it is not always run")
}

#[test]
fn a_function_that_is_not_run_is_no_proof() {
    let source = "
fn helper() {}

/// Says something.
#[tokio::test(flavor = \"multi_thread\")]
async fn proves() {}

#[test]
#[ignore = \"takes long\"]
fn ignored() {}

#[test]
#[cfg(unix)]
fn here() {}

#[test]
#[cfg(windows)]
fn elsewhere() {}

// fn gone() {}
";
    assert_eq!((objection(source, "proves"), objection(source, "here")), (None, None));
    for (function, expected) in [
        ("helper", "it is no test"),
        ("ignored", "it is not always run"),
        ("elsewhere", "it is not always run"),
        ("gone", "there is no such function"),
    ] {
        assert_eq!(objection(source, function), Some(expected), "{function}");
    }
}

#[test]
fn a_case_is_one_that_the_suite_lists() {
    let list = "
            unit::everything_commits_together =>
                \"a promise\",
            // unit::gone =>
";
    assert!(is_case(list, "unit", "everything_commits_together"));
    for (module, function) in [("unit", "gone"), ("inbox", "everything_commits_together"), ("unit", "everything")] {
        assert!(!is_case(list, module, function), "{module}::{function}");
    }
}
