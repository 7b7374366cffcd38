//! What cannot be drawn.

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
    /// No message of a chain is called so.
    UnknownName,
    /// Several are.
    AmbiguousName,
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
        let kind = DiagramErrorKind::UnknownName;
        let rest = match nearest(name, known.iter().map(String::as_str)) {
            Some(meant) => format!("; did you mean `{meant}`?"),
            None if known.is_empty() => ", and no chain is linked into this program".to_owned(),
            None => format!("; there are chains for {}", listed(known.iter().map(String::as_str))),
        };
        let text = format!("no message is called `{name}`{rest}");
        Self { kind, text }
    }

    pub(super) fn ambiguous(name: &str, messages: impl Iterator<Item = &'static MessageSpec>) -> Self {
        let paths = listed(messages.map(MessageSpec::type_name));
        let text = format!("several messages are called `{name}`: say which by its path, {paths}");
        Self { kind: DiagramErrorKind::AmbiguousName, text }
    }
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
