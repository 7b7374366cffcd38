//! The form of every error: one line that says what is wrong, then `help:` and `note:` lines.

use std::fmt;

/// The text of one error.
#[derive(Debug)]
pub(crate) struct Text {
    what: String,
    lines: Vec<(&'static str, String)>,
}

impl Text {
    /// What is wrong.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), lines: Vec::new() }
    }

    /// How to mend it.
    pub(crate) fn help(mut self, line: impl Into<String>) -> Self {
        self.lines.push(("help", line.into()));
        self
    }

    /// What is accepted, or why.
    pub(crate) fn note(mut self, line: impl Into<String>) -> Self {
        self.lines.push(("note", line.into()));
        self
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        for (index, (kind, line)) in self.lines.iter().enumerate() {
            let gap = if index == 0 { "\n\n" } else { "\n" };
            write!(f, "{gap}{kind}: {line}")?;
        }
        Ok(())
    }
}
