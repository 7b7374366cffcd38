//! What the builder and the settings say, as the running app reads it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::breaker::BreakerPolicy;
use crate::event::{EventError, EventErrors};
use crate::registry::{GroupOptions, OnDead, OnUnknown, RetryOptions};
use crate::relay::RelaySettings;
use crate::retry::RetryPolicy;
use crate::saga::LimitsItem;
use crate::wire::Style;

/// The shortest lease and deadline: below it, loops would turn without a pause, and a lease would end before its renewal.
pub(crate) const SHORTEST: Duration = Duration::from_millis(100);

/// How many messages of a group share a transaction where nobody says anything.
const BATCH: usize = 100;

type Listener = Arc<dyn Fn(&EventError) + Send + Sync>;

/// What the builder and the settings say.
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) event_concurrency: usize,
    pub(crate) stream_event_concurrency: usize,
    pub(crate) event_depth: u32,
    pub(crate) event_errors: EventErrors,
    pub(crate) on_event_error: Option<Listener>,
    pub(crate) payload_limit: usize,
    pub(crate) shutdown_timeout: Duration,
    pub(crate) lease: Duration,
    pub(crate) deadline: Duration,
    pub(crate) inbox_window: Duration,
    pub(crate) idempotency_retention: Duration,
    pub(crate) outbox_retention: Duration,
    pub(crate) audit_retention: Duration,
    pub(crate) saga_retention: Duration,
    pub(crate) awaited_retention: Duration,
    pub(crate) retry: RetryPolicy,
    /// What a breaker is where its handlers say nothing.
    pub(crate) breaker: BreakerPolicy,
    pub(crate) concurrency: usize,
    pub(crate) relay: RelaySettings,
    /// How notification events are written.
    pub(crate) wire: Style,
    /// Whether publishing is left to somebody else, who reads the outbox by himself.
    pub(crate) relay_off: bool,
    /// What a dead message does to the later ones of its key where nobody says anything.
    pub(crate) on_dead: OnDead,
    /// What happens to a name that no handler of a group takes where nobody says anything.
    pub(crate) unknown: OnUnknown,
    pub(crate) groups: BTreeMap<String, GroupSettings>,
    /// What the settings say about the limits of sagas.
    pub(crate) sagas: BTreeMap<String, LimitsItem>,
    /// Which parts `run` runs; `None`: all.
    pub(crate) run: Option<Vec<String>>,
}

/// What the settings say about one group.
#[derive(Debug, Clone, Default)]
pub(crate) struct GroupSettings {
    pub(crate) concurrency: Option<usize>,
    pub(crate) batch: Option<usize>,
    pub(crate) retry: RetryOptions,
    pub(crate) on_dead: Option<OnDead>,
    pub(crate) unknown: Option<OnUnknown>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            event_concurrency: 1,
            stream_event_concurrency: 10,
            event_depth: 64,
            event_errors: EventErrors::Log,
            on_event_error: None,
            payload_limit: 1024 * 1024,
            shutdown_timeout: Duration::from_secs(30),
            lease: Duration::from_secs(5),
            deadline: Duration::from_mins(1),
            inbox_window: Duration::from_hours(7 * 24),
            idempotency_retention: Duration::from_hours(24),
            outbox_retention: Duration::ZERO,
            audit_retention: Duration::from_hours(90 * 24),
            saga_retention: Duration::from_hours(30 * 24),
            awaited_retention: Duration::from_hours(7 * 24),
            retry: RetryPolicy::STORED,
            breaker: BreakerPolicy::DEFAULT,
            concurrency: 8,
            relay: RelaySettings::default(),
            wire: Style::default(),
            relay_off: false,
            on_dead: OnDead::Park,
            unknown: OnUnknown::Skip,
            groups: BTreeMap::new(),
            sagas: BTreeMap::new(),
            run: None,
        }
    }
}

/// What is said about stored work, by one rule: what the settings say about a group goes before what an attribute says, and
/// that before what is said of all.
impl Options {
    /// The retry policy of stored work, or of a group's messages.
    pub(crate) fn retry(&self, group: Option<&str>, said: RetryOptions) -> RetryPolicy {
        let policy = RetryPolicy { at_once: group.is_some(), ..self.retry.overlaid(said) };
        group.and_then(|group| self.groups.get(group)).map_or(policy, |group| policy.overlaid(group.retry))
    }

    /// How many messages of a group are handled at once.
    pub(crate) fn group_concurrency(&self, group: &str, said: impl Iterator<Item = GroupOptions>) -> usize {
        self.groups
            .get(group)
            .and_then(|settings| settings.concurrency)
            .or_else(|| said.filter_map(|options| options.concurrency).max().map(|most| most as usize))
            .unwrap_or(self.concurrency)
            .max(1)
    }

    /// How many messages of a group share a transaction, at most: as few as the most cautious of its handlers says.
    pub(crate) fn group_batch(&self, group: &str, said: impl Iterator<Item = GroupOptions>) -> usize {
        self.groups
            .get(group)
            .and_then(|settings| settings.batch)
            .or_else(|| said.filter_map(|options| options.batch).min().map(|most| most as usize))
            .unwrap_or(BATCH)
            .max(1)
    }

    /// What a dead message of a group does to the later ones of its key.
    pub(crate) fn on_dead(&self, group: &str, said: Option<OnDead>) -> OnDead {
        self.groups.get(group).and_then(|settings| settings.on_dead).or(said).unwrap_or(self.on_dead)
    }

    /// What happens to a name no handler of a group takes.
    pub(crate) fn on_unknown(&self, group: &str, said: Option<OnUnknown>) -> OnUnknown {
        self.groups.get(group).and_then(|settings| settings.unknown).or(said).unwrap_or(self.unknown)
    }

    /// Whether `run` runs any part: an empty list of them runs nothing.
    pub(crate) fn runs_anything(&self) -> bool {
        self.run.as_ref().is_none_or(|parts| !parts.is_empty())
    }

    /// Whether `run` runs a part. Who consumes for a group also does its stored retries.
    pub(crate) fn runs(&self, part: &str) -> bool {
        let consumes = part.strip_prefix("retries:").map(|group| format!("group:{group}"));
        let is_meant = |named: &String| named == part || Some(named) == consumes.as_ref();
        self.run.as_ref().is_none_or(|parts| parts.iter().any(is_meant))
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("event_concurrency", &self.event_concurrency)
            .field("event_depth", &self.event_depth)
            .field("payload_limit", &self.payload_limit)
            .field("groups", &self.groups)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: GroupOptions = GroupOptions {
        group: "billing",
        topic: None,
        concurrency: Some(4),
        batch: Some(20),
        retry: RetryOptions::new(Some(9), Some(Duration::from_secs(9)), None, None),
        on_dead: Some(OnDead::Skip),
        unknown: Some(OnUnknown::Dead),
    };

    /// The settings of a group, then the attribute, then what is said of all: word by word.
    #[test]
    fn one_rule_says_whose_word_goes_first() {
        let all = RetryPolicy { max: 2, ceiling: Duration::from_secs(2), at_once: true, ..RetryPolicy::STORED };
        let mut options =
            Options { retry: RetryPolicy { at_once: false, ..all }, concurrency: 2, ..Options::default() };
        let said = SAID;
        let retry = |options: &Options| options.retry(Some("billing"), said.retry);
        let concurrency = |options: &Options| options.group_concurrency("billing", [said].into_iter());
        let batch = |options: &Options| {
            let cautious = GroupOptions { batch: Some(7), ..said };
            [vec![], vec![said], vec![said, cautious]].map(|said| options.group_batch("billing", said.into_iter()))
        };
        let dead = |options: &Options| options.on_dead("billing", said.on_dead);
        let unknown = |options: &Options| options.on_unknown("billing", said.unknown);

        let silent = options.retry(Some("billing"), RetryOptions::NONE);
        assert_eq!((silent, options.group_concurrency("billing", std::iter::empty())), (all, 2));
        assert_eq!(
            (options.on_dead("billing", None), options.on_unknown("billing", None)),
            (OnDead::Park, OnUnknown::Skip)
        );

        let mut others = Options { on_dead: OnDead::Skip, unknown: OnUnknown::Dead, ..Options::default() };
        assert_eq!(
            (others.on_dead("billing", None), others.on_unknown("billing", None)),
            (OnDead::Skip, OnUnknown::Dead),
            "what is said of all"
        );
        (others.on_dead, others.unknown) = (OnDead::Park, OnUnknown::Skip);
        assert_eq!((dead(&others), unknown(&others)), (OnDead::Skip, OnUnknown::Dead), "goes behind the attribute");

        assert_eq!(retry(&options), RetryPolicy { max: 9, first: Duration::from_secs(9), ..all });
        assert_eq!((concurrency(&options), dead(&options), unknown(&options)), (4, OnDead::Skip, OnUnknown::Dead));
        assert_eq!(batch(&options), [100, 20, 7]);

        let words = GroupSettings {
            concurrency: Some(6),
            batch: Some(60),
            retry: RetryOptions::new(Some(3), None, Some(3.0), None),
            on_dead: Some(OnDead::Park),
            unknown: Some(OnUnknown::Skip),
        };
        options.groups.insert("billing".to_owned(), words);
        assert_eq!(retry(&options), RetryPolicy { max: 3, first: Duration::from_secs(9), factor: 3.0, ..all });
        assert_eq!((concurrency(&options), dead(&options), unknown(&options)), (6, OnDead::Park, OnUnknown::Skip));
        assert_eq!(batch(&options), [60; 3]);
        // Another group's words, and those of no group, change nothing.
        assert_eq!(options.retry(Some("mail"), RetryOptions::NONE), all);
        let stored = options.retry(None, said.retry);
        assert_eq!((stored.max, stored.at_once), (9, false));
    }
}
