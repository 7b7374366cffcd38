//! Expansions, pretty-printed, compared with `tests/expansions/*.rs`.
//!
//! `CQRS_MACROS_OVERWRITE=1 cargo test -p cqrs-macros` writes them; review the difference like any other code.

use std::path::{Path, PathBuf};
use std::{env, fs};

use super::inputs::inputs;
use crate::diag::Sink;
use crate::expand::{self, Reader};
use crate::model::MessageKind;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/expansions")
}

#[test]
fn expansions_are_as_reviewed() {
    let overwrite = env::var_os("CQRS_MACROS_OVERWRITE").is_some();
    let mut changed = Vec::new();
    for input in inputs() {
        let name = input.name;
        let file = folder().join(format!("{name}.rs"));
        let expansion = prettyplease::unparse(&syn::parse2(input.expand()).unwrap());
        if overwrite {
            fs::write(&file, &expansion).unwrap();
        }
        if fs::read_to_string(&file).ok() != Some(expansion) {
            changed.push(name);
        }
    }
    assert!(changed.is_empty(), "these expansions changed: {changed:?}");
}

#[test]
fn every_snapshot_has_an_input() {
    let mut files: Vec<_> = fs::read_dir(folder())
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let mut names: Vec<_> = inputs().iter().map(|input| input.name.to_owned()).collect();
    files.sort();
    names.sort();
    assert_eq!(files, names);
}

#[test]
fn a_renamed_crate_is_used_everywhere() {
    for input in inputs() {
        let name = input.name;
        let expansion = input.renamed().expand().to_string();
        assert!(!expansion.contains(":: cqrs"), "{name} names `::cqrs`: {expansion}");
    }
}

/// `rustdoc` shows no impl with such a bound.
#[test]
fn documentation_is_not_told_of_the_check() {
    let item = syn::parse_quote! {
        struct PlaceOrder;
    };
    let message = crate::validate::message(MessageKind::Command, &item, &Sink::default());
    let bound = |reader| expand::message(&message, reader).to_string().contains("where __Checked");
    assert!(bound(Reader::Compiler));
    assert!(!bound(Reader::Rustdoc));
}
