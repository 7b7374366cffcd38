//! Class diagrams.

use std::fmt::Write as _;

use super::text;

/// A class of one diagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::diagram) struct Class(u32);

/// How a relation is drawn.
#[derive(Debug, Clone, Copy)]
pub(in crate::diagram) enum Relation {
    /// The first is made of the second, among others.
    Has,
    /// The first leads to the second.
    LeadsTo,
    /// The first needs the second.
    Needs,
}

/// A class diagram.
#[derive(Debug)]
pub(in crate::diagram) struct ClassDiagram {
    text: String,
    classes: u32,
}

impl ClassDiagram {
    pub(in crate::diagram) fn new() -> Self {
        Self { text: "classDiagram\n".to_owned(), classes: 0 }
    }

    /// A class of a kind, with what is to be said of it.
    pub(in crate::diagram) fn class<S: AsRef<str>>(&mut self, kind: &str, name: &str, members: &[S]) -> Class {
        self.classes += 1;
        let number = self.classes;
        self.line(format_args!("    class c{number}[\"{}\"] {{", text::name(name)));
        self.line(format_args!("        <<{}>>", text::line(kind)));
        for member in members {
            self.line(format_args!("        {}", text::line(member.as_ref())));
        }
        self.line(format_args!("    }}"));
        Class(number)
    }

    pub(in crate::diagram) fn relation(&mut self, from: Class, relation: Relation, to: Class, text: &str) {
        let arrow = match relation {
            Relation::Has => "o--",
            Relation::LeadsTo => "-->",
            Relation::Needs => "..>",
        };
        self.line(format_args!("    c{} {arrow} c{} : {}", from.0, to.0, text::line(text)));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{line}");
    }

    /// The diagram as Mermaid.
    pub(in crate::diagram) fn into_text(self) -> String {
        self.text
    }
}
