//! Writing Mermaid that cannot be invalid: who draws names things, and never writes syntax.
//!
//! `text` makes any string harmless, `sequence` and `class` write the two kinds of diagram. What stands for a participant
//! or a class is an id of ours, which only the diagram hands out; what people read is a label.

mod class;
mod sequence;
mod text;

#[cfg(test)]
mod tests;

pub(super) use self::class::{Class, ClassDiagram, Relation};
pub(super) use self::sequence::{Arrow, Block, Frame, Participant, SequenceDiagram};
