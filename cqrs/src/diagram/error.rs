//! What cannot be drawn.

use std::collections::BTreeSet;
use std::fmt;

use super::words::short;
use crate::message::MessageSpec;
use crate::registry::HandlerItem;
use crate::settings::nearest::nearest;

/// Why something cannot be drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DiagramErrorKind {
    /// No chain handles the message.
    NoChain,
    /// No message of a chain is called so, or no saga.
    UnknownName,
    /// Several are.
    AmbiguousName,
    /// The saga has no such version.
    UnknownVersion,
}

/// Something cannot be drawn. Its text says what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiagramError {
    kind: DiagramErrorKind,
    text: String,
}

impl DiagramError {
    /// Why it cannot be drawn.
    pub fn kind(&self) -> DiagramErrorKind {
        self.kind
    }

    pub(super) fn no_chain(message: &MessageSpec, handler: Option<&HandlerItem>) -> Self {
        let (path, kind) = (message.type_name(), message.kind);
        let text = match handler {
            Some(item) => format!(
                "no chain handles the {kind} `{path}`: it is handled by `{}` ({}); to make a chain of it, write `#[chain_link]` on its links and list them: `cqrs::chain!({} => [{}, ..]);`",
                item.name,
                item.location,
                short(path),
                item.name
            ),
            None => format!(
                "no chain for the {kind} `{path}` is linked into this program: name the crate that has it, `bootstrap!(crates = [..])`"
            ),
        };
        Self { kind: DiagramErrorKind::NoChain, text }
    }

    pub(super) fn unknown(name: &str, known: impl Iterator<Item = &'static MessageSpec>) -> Self {
        let known: Vec<String> = known.map(|message| short(message.type_name())).collect();
        let (nothing, some) = ("no chain is linked into this program", "there are chains for");
        Self::unknown_name(&format!("no message is called `{name}`"), name, &known, nothing, some)
    }

    pub(super) fn unknown_saga(name: &str, known: impl Iterator<Item = &'static MessageSpec>) -> Self {
        let known: BTreeSet<&str> = known.map(|context| context.name).collect();
        let known: Vec<String> = known.into_iter().map(str::to_owned).collect();
        let (nothing, some) = ("none is linked into this program", "there are");
        Self::unknown_name(&format!("no saga is called `{name}`"), name, &known, nothing, some)
    }

    fn unknown_name(what: &str, name: &str, known: &[String], nothing: &str, some: &str) -> Self {
        let rest = match nearest(name, known.iter().map(String::as_str)) {
            Some(meant) => format!("; did you mean `{meant}`?"),
            None if known.is_empty() => format!(", and {nothing}"),
            None => format!("; {some} {}", listed(known.iter().map(String::as_str))),
        };
        Self { kind: DiagramErrorKind::UnknownName, text: format!("{what}{rest}") }
    }

    pub(super) fn ambiguous_saga(name: &str, contexts: &[&'static MessageSpec]) -> Self {
        let paths = listed(contexts.iter().map(|context| context.type_name()));
        let versions = versions(contexts);
        let text = format!(
            "several sagas are called `{name}`: say which by its stored name and version, there are {versions}, or by the path of its context, {paths}"
        );
        Self { kind: DiagramErrorKind::AmbiguousName, text }
    }

    pub(super) fn unknown_version(name: &str, version: u32, contexts: &[&'static MessageSpec]) -> Self {
        let versions = versions(contexts);
        let text = format!("this program has no version {version} of the saga `{name}`; there are {versions}");
        Self { kind: DiagramErrorKind::UnknownVersion, text }
    }

    pub(super) fn ambiguous(name: &str, messages: impl Iterator<Item = &'static MessageSpec>) -> Self {
        let paths = listed(messages.map(MessageSpec::type_name));
        let text = format!("several messages are called `{name}`: say which by its path, {paths}");
        Self { kind: DiagramErrorKind::AmbiguousName, text }
    }
}

fn versions(contexts: &[&'static MessageSpec]) -> String {
    let versions: Vec<String> =
        contexts.iter().map(|context| format!("`{}` version {}", context.name, context.version)).collect();
    versions.join(", ")
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

impl fmt::Display for DiagramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for DiagramError {}
