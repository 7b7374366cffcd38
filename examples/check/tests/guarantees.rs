//! Holds `docs/guarantees.md` to its word: every test it names exists.

use std::fs;
use std::path::Path;

#[test]
fn every_test_that_is_named_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = fs::read_to_string(root.join("docs/guarantees.md")).unwrap();
    let named: Vec<_> = text.split('`').filter_map(|code| code.split_once(".rs::")).collect();
    assert!(named.len() > 30, "only these were found: {named:?}");
    let missing: Vec<_> = named
        .iter()
        .filter(|(file, function)| {
            let source = fs::read_to_string(root.join(format!("{file}.rs"))).unwrap_or_default();
            !source.contains(&format!("fn {function}("))
        })
        .collect();
    assert!(missing.is_empty(), "these tests do not exist: {missing:?}");
}
