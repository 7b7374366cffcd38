//! Sequence diagrams.

use std::fmt::Write as _;

use super::text;

/// A participant of one diagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::diagram) struct Participant(u32);

/// How a message is drawn.
#[derive(Debug, Clone, Copy)]
pub(in crate::diagram) enum Arrow {
    /// A request: a full line.
    Call,
    /// What comes back: a dotted line.
    Reply,
    /// What comes back of something that failed: a dotted line with a cross.
    Failure,
}

/// A frame around a part of a sequence.
#[derive(Debug, Clone, Copy)]
pub(in crate::diagram) enum Block {
    /// What may happen several times.
    Loop,
    /// What may happen or not.
    Opt,
    /// What ends everything, should it happen.
    Break,
}

/// A frame of several parts.
#[derive(Debug, Clone, Copy)]
pub(in crate::diagram) enum Frame {
    /// Of which one happens.
    Alt,
    /// Which happen side by side.
    Par,
}

/// A sequence diagram, written from top to bottom.
#[derive(Debug)]
pub(in crate::diagram) struct SequenceDiagram {
    text: String,
    participants: u32,
    depth: usize,
}

impl SequenceDiagram {
    pub(in crate::diagram) fn new() -> Self {
        Self { text: "sequenceDiagram\n".to_owned(), participants: 0, depth: 1 }
    }

    /// Somebody outside.
    pub(in crate::diagram) fn actor(&mut self, name: &str) -> Participant {
        self.declare("actor", name)
    }

    /// Somebody inside.
    pub(in crate::diagram) fn participant(&mut self, name: &str) -> Participant {
        self.declare("participant", name)
    }

    fn declare(&mut self, word: &str, name: &str) -> Participant {
        self.participants += 1;
        let number = self.participants;
        self.line(format_args!("{word} p{number} as {}", text::name(name)));
        Participant(number)
    }

    pub(in crate::diagram) fn message(&mut self, from: Participant, arrow: Arrow, to: Participant, text: &str) {
        let arrow = match arrow {
            Arrow::Call => "->>",
            Arrow::Reply => "-->>",
            Arrow::Failure => "--x",
        };
        self.line(format_args!("p{}{arrow}p{}: {}", from.0, to.0, text::line(text)));
    }

    /// A note from one participant to another, which may be the same.
    pub(in crate::diagram) fn note<S: AsRef<str>>(&mut self, from: Participant, to: Participant, lines: &[S]) {
        let lines: Vec<String> = lines.iter().map(|line| text::line(line.as_ref())).collect();
        let lines = lines.join("<br/>");
        if from == to {
            self.line(format_args!("Note over p{}: {lines}", from.0));
        } else {
            self.line(format_args!("Note over p{},p{}: {lines}", from.0, to.0));
        }
    }

    pub(in crate::diagram) fn block(&mut self, block: Block, text: &str, body: impl FnOnce(&mut Self)) {
        let word = match block {
            Block::Loop => "loop",
            Block::Opt => "opt",
            Block::Break => "break",
        };
        self.line(format_args!("{word} {}", text::line(text)));
        self.depth += 1;
        body(self);
        self.depth -= 1;
        self.line(format_args!("end"));
    }

    /// A frame with a part for each text, drawn by its number.
    pub(in crate::diagram) fn frame<S: AsRef<str>>(
        &mut self,
        frame: Frame,
        texts: &[S],
        mut part: impl FnMut(&mut Self, usize),
    ) {
        let (first, next) = match frame {
            Frame::Alt => ("alt", "else"),
            Frame::Par => ("par", "and"),
        };
        for (number, text) in texts.iter().enumerate() {
            let word = if number == 0 { first } else { next };
            self.line(format_args!("{word} {}", text::line(text.as_ref())));
            self.depth += 1;
            part(self, number);
            self.depth -= 1;
        }
        if !texts.is_empty() {
            self.line(format_args!("end"));
        }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{:indent$}{line}", "", indent = 4 * self.depth);
    }

    /// The diagram as Mermaid.
    pub(in crate::diagram) fn into_text(self) -> String {
        self.text
    }
}
