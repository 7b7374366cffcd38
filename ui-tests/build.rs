//! Gathers the pass cases as modules of one test, since linking each on its own would take minutes.

use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let cases = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("cases");
    println!("cargo::rerun-if-changed={}", cases.display());
    let mut modules = String::new();
    for folder in sorted(&cases)? {
        // What is said about a whole crate cannot be a module of another.
        if folder.ends_with("hygiene") {
            continue;
        }
        let group = stem(&folder);
        writeln!(modules, "mod {group} {{")?;
        for case in sorted(&folder.join("pass"))? {
            writeln!(modules, "    #[path = r\"{}\"]\n    mod {};", case.display(), stem(&case))?;
        }
        writeln!(modules, "}}")?;
    }
    fs::write(Path::new(&env::var("OUT_DIR")?).join("pass.rs"), modules)?;
    Ok(())
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, std::io::Error>>()?;
    paths.sort();
    Ok(paths)
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
