//! Rules that every case and every snapshot keeps.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Item, ItemFn, LitStr, ReturnType};

/// A case that must fail: its path, its source, what the compiler said.
struct Fail {
    path: PathBuf,
    source: String,
    stderr: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn cases(kind: &str) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for folder in fs::read_dir(root().join("cases")).unwrap() {
        let folder = folder.unwrap().path().join(kind);
        for case in fs::read_dir(folder).into_iter().flatten() {
            paths.push(case.unwrap().path());
        }
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    paths.sort();
    paths
}

fn fails() -> Vec<Fail> {
    let read = |path: PathBuf| Fail {
        source: fs::read_to_string(&path).unwrap(),
        stderr: fs::read_to_string(path.with_extension("stderr")).unwrap_or_default(),
        path,
    };
    cases("fail").into_iter().map(read).collect()
}

impl Fail {
    /// Line and column of each error, both counted from 1.
    fn errors(&self) -> Vec<(usize, usize)> {
        let mut places = Vec::new();
        let mut lines = self.stderr.lines();
        while let Some(line) = lines.next() {
            if line.starts_with("error") {
                let place = lines.by_ref().find_map(|line| line.trim_start().strip_prefix("--> ")).unwrap();
                let mut numbers = place.rsplit(':').map(|number| number.parse().unwrap());
                let (column, line) = (numbers.next().unwrap(), numbers.next().unwrap());
                places.push((line, column));
            }
        }
        places
    }
}

#[test]
fn cases_are_short_and_say_what_they_are_about() {
    for path in cases("fail").into_iter().chain(cases("pass")) {
        let source = fs::read_to_string(&path).unwrap();
        assert!(source.starts_with("// "), "{} does not open with a comment", path.display());
        assert!(source.lines().count() <= 25, "{} is longer than 25 lines", path.display());
    }
}

#[test]
fn one_mistake_is_one_error() {
    for fail in fails() {
        let several = fail.path.file_name().unwrap().to_string_lossy().starts_with("several_");
        let errors = fail.errors().len();
        assert!(errors == 1 || several && errors > 1, "{} has {errors} errors", fail.path.display());
    }
}

/// An error inside of an attribute's parentheses is fine; one at its `#`, or at the name of a derive, blames the macro
/// for what is wrong somewhere else.
#[test]
fn no_error_blames_the_attribute_as_a_whole() {
    for fail in fails() {
        for (line, column) in fail.errors() {
            let text = fail.source.lines().nth(line - 1).unwrap();
            let indent = text.len() - text.trim_start().len();
            let on_attribute = text.trim_start().starts_with("#[") && column == indent + 1;
            let on_derive = text.trim_start().starts_with("#[derive");
            assert!(!on_attribute && !on_derive, "{} blames `{text}`", fail.path.display());
        }
    }
}

/// What the compiler says in its own words, beside a mend that can be copied, and nothing of ours can say better.
const OWN_WORDS: [&str; 1] = ["app_by_value"];

/// The first line of each error, and what stands under the code of the case.
fn own_words(fail: &Fail) -> Vec<&str> {
    let mut in_case = false;
    let mut words = Vec::new();
    for line in fail.stderr.lines() {
        if let Some((_, place)) = line.split_once("--> ").or_else(|| line.split_once("::: ")) {
            in_case = place.starts_with("cases/");
        }
        let under = line.split_once('|').map_or("", |(_, code)| code.trim_start_matches([' ', '|', '_']));
        if line.starts_with("error") || in_case && under.starts_with(['^', '-']) {
            words.push(line);
        }
    }
    words
}

#[test]
fn no_error_speaks_of_what_is_not_public() {
    for fail in fails() {
        let name = fail.path.file_stem().unwrap().to_string_lossy();
        if OWN_WORDS.contains(&&*name) {
            continue;
        }
        for words in own_words(&fail) {
            // The compiler names the constant that panicked; what the panic said stands above it.
            let words = words.split_once("evaluation of `_::__").map_or(words, |(before, _)| before);
            assert!(!words.contains("__"), "{}: {words}", fail.path.display());
        }
    }
}

#[test]
fn no_snapshot_prints_a_path_into_the_standard_library() {
    for fail in fails() {
        for path in ["$RUST", "/rustc/", "library/core", "library/std", "library/alloc"] {
            assert!(!fail.stderr.contains(path), "{} holds `{path}`", fail.path.display());
        }
    }
}

#[test]
fn every_text_of_the_catalogue_has_a_case() {
    let catalogue = root().parent().unwrap().join("cqrs-macros/src/diag/catalogue.rs");
    let file = syn::parse_file(&fs::read_to_string(catalogue).unwrap()).unwrap();
    let stderr: String = fails().into_iter().map(|fail| fail.stderr).collect();
    let texts: Vec<(String, String)> = file.items.iter().filter_map(text).collect();
    assert!(texts.len() > 30, "the catalogue was not understood");
    let unseen: Vec<_> = texts.iter().filter(|(_, text)| !occurs(text, &stderr)).map(|(name, _)| name).collect();
    assert!(unseen.is_empty(), "no snapshot shows these texts: {unseen:?}");
}

/// Name and first line of a text, if the item is a text.
fn text(item: &Item) -> Option<(String, String)> {
    let Item::Fn(ItemFn { vis: syn::Visibility::Restricted(_), sig, block, .. }) = item else { return None };
    let ReturnType::Type(_, _) = &sig.output else { return None };
    let body = block.to_token_stream();
    Some((sig.ident.to_string(), first_string(argument_of_new(body)?)?))
}

/// What stands in the parentheses of the first `new(..)`.
fn argument_of_new(tokens: TokenStream) -> Option<TokenStream> {
    let mut after_new = false;
    for token in tokens {
        match token {
            TokenTree::Group(group) if after_new => return Some(group.stream()),
            TokenTree::Group(group) => {
                if let Some(found) = argument_of_new(group.stream()) {
                    return Some(found);
                }
            }
            TokenTree::Ident(ident) => after_new = ident == "new",
            TokenTree::Punct(_) | TokenTree::Literal(_) => after_new = false,
        }
    }
    None
}

fn first_string(tokens: TokenStream) -> Option<String> {
    tokens.into_iter().find_map(|token| match token {
        TokenTree::Literal(literal) => syn::parse2::<LitStr>(literal.into_token_stream()).ok().map(|text| text.value()),
        TokenTree::Group(group) => first_string(group.stream()),
        TokenTree::Ident(_) | TokenTree::Punct(_) => None,
    })
}

/// Whether a line holds the text, whatever stands for its placeholders.
fn occurs(text: &str, stderr: &str) -> bool {
    let mut fixed = text.split('{').map(|part| part.split_once('}').map_or(part, |(_, rest)| rest));
    let start = format!("error: {}", fixed.next().unwrap_or_default());
    let fixed: Vec<_> = fixed.collect();
    stderr.lines().filter_map(|line| line.strip_prefix(start.as_str())).any(|mut rest| {
        fixed.iter().all(|part| match rest.split_once(part) {
            Some((_, after)) => {
                rest = after;
                true
            }
            None => false,
        })
    })
}
