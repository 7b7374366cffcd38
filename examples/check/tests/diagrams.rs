//! Holds the diagrams that are shown to Mermaid: those of the examples, and those of the documentation.

use std::path::{Path, PathBuf};
use std::{fs, io};

#[path = "../../../tests/mermaid/real.rs"]
mod real;

#[test]
fn every_diagram_that_is_shown_is_valid_mermaid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    collect(&root, &mut files).unwrap();
    let texts = files.iter().map(|file| fs::read_to_string(file).unwrap());
    let diagrams: Vec<String> = texts.flat_map(|text| fenced(&text)).collect();
    assert!(diagrams.len() >= 2, "only these were found: {diagrams:?}");
    real::read(&diagrams);
}

/// What examples print, and every page of documentation.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            collect(&path, files)?;
        } else if name == "expected.txt" || path.extension().is_some_and(|extension| extension == "md") {
            files.push(path);
        }
    }
    Ok(())
}

fn fenced(text: &str) -> Vec<String> {
    let blocks = text.split("```mermaid\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap_or_default().to_owned()).collect()
}
