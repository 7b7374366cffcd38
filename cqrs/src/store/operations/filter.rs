//! Which dead letters and which timers are meant.

use std::time::SystemTime;

use crate::store::{DeadLetter, DeadLetterId, DeadSource};

/// Which dead letters are meant: those that are all of what is said. With nothing said, all.
///
/// ```
/// use cqrs::store::DeadFilter;
///
/// let refused = DeadFilter::new().group("billing").error("card expired");
/// assert_eq!(refused.to_string(), "group = billing, error ~ card expired");
/// assert_eq!(DeadFilter::new().to_string(), "all");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadFilter {
    /// Of this topic.
    pub topic: Option<String>,
    /// For this handler, `module::function`.
    pub handler: Option<String>,
    /// Of this consumer group.
    pub group: Option<String>,
    /// With this stored name.
    pub name: Option<String>,
    /// With this text in their error.
    pub error: Option<String>,
    /// Whose message was made then or later.
    pub since: Option<SystemTime>,
    /// Whose message was made then or earlier.
    pub until: Option<SystemTime>,
}

impl DeadFilter {
    /// All dead letters.
    pub fn new() -> Self {
        Self::default()
    }

    /// Those of a topic.
    #[must_use]
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.topic = Some(topic.into());
        self
    }

    /// Those for a handler, named `module::function`.
    #[must_use]
    pub fn handler(mut self, handler: impl Into<String>) -> Self {
        self.handler = Some(handler.into());
        self
    }

    /// Those of a consumer group.
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Those with a stored name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Those with a text in their error, told apart byte by byte.
    #[must_use]
    pub fn error(mut self, text: impl Into<String>) -> Self {
        self.error = Some(text.into());
        self
    }

    /// Those whose message was made then or later.
    #[must_use]
    pub fn since(mut self, since: SystemTime) -> Self {
        self.since = Some(since);
        self
    }

    /// Those whose message was made then or earlier.
    #[must_use]
    pub fn until(mut self, until: SystemTime) -> Self {
        self.until = Some(until);
        self
    }

    /// Whether a letter is meant.
    pub fn takes(&self, letter: &DeadLetter) -> bool {
        let is = |said: &Option<String>, of: &str| said.as_deref().is_none_or(|said| said == of);
        is(&self.topic, &letter.topic)
            && is(&self.handler, &letter.handler)
            && is(&self.group, &letter.group)
            && is(&self.name, &letter.name)
            && self.error.as_deref().is_none_or(|text| letter.error.contains(text))
            && self.since.is_none_or(|since| letter.created_at >= since)
            && self.until.is_none_or(|until| letter.created_at <= until)
    }

    /// Whether letters of the outbox may be meant: they have neither handler nor group.
    #[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
    pub(in crate::store) fn takes_events(&self) -> bool {
        [&self.handler, &self.group].into_iter().all(|said| said.as_deref().is_none_or(str::is_empty))
    }
}

impl std::fmt::Display for DeadFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = |time: &SystemTime| humantime::format_rfc3339_micros(*time).to_string();
        let said = [
            ("topic =", self.topic.clone()),
            ("handler =", self.handler.clone()),
            ("group =", self.group.clone()),
            ("name =", self.name.clone()),
            ("error ~", self.error.clone()),
            ("since", self.since.as_ref().map(time)),
            ("until", self.until.as_ref().map(time)),
        ];
        let said: Vec<String> =
            said.into_iter().filter_map(|(what, value)| Some(format!("{what} {}", value?))).collect();
        f.write_str(if said.is_empty() { "all" } else { "" })?;
        f.write_str(&said.join(", "))
    }
}

/// Which dead letters are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadSearch {
    /// Those that it takes.
    pub filter: DeadFilter,
    /// Behind the letter of this time and name.
    pub after: Option<(SystemTime, DeadLetterId)>,
    /// At most so many.
    pub limit: usize,
    /// Whether their payloads are wanted, too; otherwise they are empty.
    pub with_payload: bool,
}

impl DeadSearch {
    /// Where to go on among those of one source: behind a time and a number.
    pub(in crate::store) fn place(&self, source: DeadSource) -> Option<(SystemTime, i64)> {
        let (time, id) = self.after?;
        Some(match (source, id.source) {
            (DeadSource::Outbox, DeadSource::Work) => (time, i64::MAX),
            (DeadSource::Work, DeadSource::Outbox) => (time, i64::MIN),
            _ => (time, id.seq),
        })
    }

    /// What is wanted of both sources together.
    pub(in crate::store) fn merged(&self, mut letters: Vec<DeadLetter>) -> Vec<DeadLetter> {
        letters.sort_by_key(|letter| (letter.created_at, letter.id.source == DeadSource::Work, letter.id.seq));
        letters.truncate(self.limit);
        letters
    }
}

/// Which timers are meant: those that are all of what is said.
///
/// ```
/// use cqrs::store::TimerFilter;
///
/// let reminders = TimerFilter::new().name("Remind");
/// let one = reminders.clone().key("order-7");
/// # assert_ne!(reminders, one);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimerFilter {
    /// Of the command with this stored name.
    pub name: Option<String>,
    /// With this key.
    pub key: Option<String>,
}

impl TimerFilter {
    /// All timers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Those of a command, by its type.
    #[must_use]
    pub fn command<C: crate::Command>(self) -> Self {
        self.name(C::SPEC.name)
    }

    /// Those of a command, by its stored name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Those with a key.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }
}
