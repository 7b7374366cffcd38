//! What is wrong with the settings.

use std::fmt;

/// What kind of mistake it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SettingsErrorKind {
    /// The file cannot be read.
    Unreadable,
    /// The file is not TOML.
    Syntax,
    /// A key that does not exist.
    UnknownKey,
    /// A value that the key cannot take.
    BadValue,
}

#[derive(Debug)]
pub(super) struct Problem {
    pub(super) kind: SettingsErrorKind,
    pub(super) text: String,
}

/// The settings are wrong: every mistake at once.
#[derive(Debug)]
pub struct SettingsError {
    problems: Vec<Problem>,
}

impl SettingsError {
    pub(super) fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    pub(super) fn one(kind: SettingsErrorKind, text: String) -> Self {
        Self::new(vec![Problem { kind, text }])
    }

    pub(super) fn unreadable(name: &str, error: &std::io::Error) -> Self {
        Self::one(SettingsErrorKind::Unreadable, format!("cannot read the settings in {name}: {error}"))
    }

    /// What kind of mistake the first one is.
    pub fn kind(&self) -> SettingsErrorKind {
        self.problems.first().map_or(SettingsErrorKind::BadValue, |problem| problem.kind)
    }

    /// Every mistake: its kind, and its text.
    pub fn problems(&self) -> impl Iterator<Item = (SettingsErrorKind, &str)> {
        self.problems.iter().map(|problem| (problem.kind, problem.text.as_str()))
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [problem] = &self.problems[..] {
            return f.write_str(&problem.text);
        }
        write!(f, "{} settings are wrong:", self.problems.len())?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  {}", problem.text))
    }
}

impl std::error::Error for SettingsError {}
