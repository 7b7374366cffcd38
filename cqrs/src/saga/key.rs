//! The key by which another service knows a step again.

use std::fmt;

/// An idempotency key for what a saga's step does elsewhere: the same however often this step of this saga is called.
///
/// A compensation has a key of its own; [`of_step`](Self::of_step) is the one its step had.
///
/// ```
/// use cqrs::StepKey;
///
/// let key = StepKey::from("checkout-42/charge");      // for calling a step as an ordinary function
/// assert_eq!(key.as_str(), "checkout-42/charge");
/// assert_eq!(key.of_step(), "checkout-42/charge");
/// assert_eq!(key.saga(), "checkout-42");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StepKey {
    text: String,
    /// How long the step's part of it is.
    step: usize,
}

/// What a compensation's key ends with.
const UNDO: &str = "/undo";

impl StepKey {
    /// The key of a step of a saga, or of its compensation.
    pub(crate) fn new(saga: &str, step: &str, is_undo: bool) -> Self {
        let mut text = format!("{saga}/{step}");
        let step = text.len();
        if is_undo {
            text.push_str(UNDO);
        }
        Self { text, step }
    }

    /// The key.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The key of the step; of a compensation, the one that the step had which it undoes.
    pub fn of_step(&self) -> &str {
        &self.text[..self.step]
    }

    /// The id of the saga. No step's name has a slash in it.
    pub fn saga(&self) -> &str {
        self.of_step().rsplit_once('/').map_or("", |(saga, _)| saga)
    }
}

impl From<&str> for StepKey {
    fn from(text: &str) -> Self {
        Self { step: text.len(), text: text.to_owned() }
    }
}

impl From<String> for StepKey {
    fn from(text: String) -> Self {
        Self { step: text.len(), text }
    }
}

impl AsRef<str> for StepKey {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for StepKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compensation_has_a_key_of_its_own_and_knows_its_steps() {
        let (step, undo) = (StepKey::new("s/1", "charge", false), StepKey::new("s/1", "charge", true));
        assert_eq!((step.as_str(), step.of_step()), ("s/1/charge", "s/1/charge"));
        assert_eq!((undo.as_str(), undo.of_step()), ("s/1/charge/undo", "s/1/charge"));
        assert_eq!((step.saga(), undo.saga(), StepKey::from("none").saga()), ("s/1", "s/1", ""));
    }
}
