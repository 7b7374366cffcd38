//! The table of all keys, and the walk along it.

use figment::value::{Dict, Value};

use std::collections::BTreeMap;

use super::error::{Problem, SettingsError, SettingsErrorKind};
use super::layer::Merged;
use super::nearest::nearest;
use super::value::{self, Expected};
use super::{GroupWords, RelayWords, Settings};
use crate::breaker::BreakerOptions;
use crate::registry::RetryOptions;
use crate::saga::LimitsItem;

/// A key of a table, and how it is read into what is said.
pub(super) struct Key<T> {
    name: &'static str,
    read: fn(&mut T, &Field<'_>, &mut Reader<'_>),
}

#[cfg(test)]
impl<T> Key<T> {
    pub(super) fn name(&self) -> &'static str {
        self.name
    }
}

/// A value, and the key's whole path.
pub(super) struct Field<'a> {
    path: &'a str,
    value: &'a Value,
}

/// Builds a [`Key`] that is one value.
macro_rules! one {
    ($field:ident : $parse:path) => {
        Key { name: stringify!($field), read: |words, field, reader| reader.value(field, $parse, &mut words.$field) }
    };
}

/// Builds a [`Key`] that is a table.
macro_rules! table {
    ($field:ident : $keys:ident) => {
        Key { name: stringify!($field), read: |words, field, reader| reader.subtable($keys, field, &mut words.$field) }
    };
}

pub(super) const SETTINGS: &[Key<Settings>] = &[
    one!(store: value::url),
    one!(store_prefix: value::word),
    one!(store_schema: value::word),
    one!(store_notify: value::yes_or_no),
    one!(broker: value::url),
    one!(broker_declare: value::declare),
    one!(broker_partitions: value::partitions),
    one!(broker_tls_ca: value::path),
    one!(run: value::parts),
    one!(event_concurrency: value::count),
    one!(event_depth: value::small_count),
    one!(concurrency: value::count),
    one!(shutdown_timeout: value::duration),
    one!(lease: value::long_enough),
    one!(deadline: value::long_enough),
    one!(payload_limit: value::bytes),
    one!(codec: value::codec),
    one!(compression: value::compression),
    one!(event_source: value::text),
    one!(on_dead: value::on_dead),
    one!(unknown: value::unknown),
    one!(inbox_window: value::some_time),
    one!(idempotency_retention: value::long_enough),
    one!(outbox_retention: value::duration),
    one!(audit_retention: value::some_time),
    one!(saga_retention: value::some_time),
    one!(awaited_retention: value::some_time),
    table!(retry: RETRY),
    table!(breaker: BREAKER),
    Key { name: "relay", read: relay },
    Key { name: "group", read: groups },
    Key { name: "saga", read: sagas },
];

const RELAY: &[Key<RelayWords>] = &[
    one!(batch: value::count),
    one!(in_flight: value::count),
    one!(poll_first: value::some_time),
    one!(poll_ceiling: value::some_time),
    table!(retry: PAUSES),
];

/// A name is what handlers give a breaker.
const BREAKER: &[Key<BreakerOptions>] =
    &[one!(failures: value::small_count), one!(open_for: value::some_time), one!(window: value::some_time)];

const RETRY: &[Key<RetryOptions>] = &[
    one!(max: value::small_count),
    one!(first: value::duration),
    one!(factor: value::factor),
    one!(ceiling: value::duration),
];

/// The relay's retry has no `max`: the broker is tried until it is back.
const PAUSES: &[Key<RetryOptions>] =
    &[one!(first: value::some_time), one!(factor: value::factor), one!(ceiling: value::some_time)];

const GROUP: &[Key<GroupWords>] = &[
    one!(concurrency: value::count),
    one!(batch: value::count),
    table!(retry: RETRY),
    one!(on_dead: value::on_dead),
    one!(unknown: value::unknown),
];

const SAGA: &[Key<LimitsItem>] = &[one!(concurrency: value::count), one!(rate: value::rate)];

fn relay(settings: &mut Settings, field: &Field<'_>, reader: &mut Reader<'_>) {
    if field.value.as_dict().is_some() {
        reader.subtable(RELAY, field, &mut settings.relay);
    } else {
        reader.value(field, value::switch, &mut settings.relay.on);
    }
}

fn groups(settings: &mut Settings, field: &Field<'_>, reader: &mut Reader<'_>) {
    named(GROUP, "a table for each group: [group.NAME]", field, reader, &mut settings.groups);
}

fn sagas(settings: &mut Settings, field: &Field<'_>, reader: &mut Reader<'_>) {
    named(SAGA, "a table for each saga: [saga.NAME]", field, reader, &mut settings.sagas);
}

/// A table of tables, each of which is about what is called so.
fn named<W: Default>(
    keys: &[Key<W>],
    expected: Expected,
    field: &Field<'_>,
    reader: &mut Reader<'_>,
    all: &mut BTreeMap<String, W>,
) {
    let Some(tables) = field.value.as_dict() else { return reader.bad(field, expected) };
    for (name, value) in tables {
        let path = format!("{}.{name}", field.path);
        reader.subtable(keys, &Field { path: &path, value }, all.entry(name.clone()).or_default());
    }
}

/// Walks the values along the table of keys, and gathers what is wrong.
pub(super) struct Reader<'a> {
    merged: &'a Merged,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(merged: &'a Merged) -> Self {
        Self { merged, problems: Vec::new() }
    }

    pub(super) fn finish(self) -> Result<(), SettingsError> {
        if self.problems.is_empty() { Ok(()) } else { Err(SettingsError::new(self.problems)) }
    }

    /// Reads each value of a table into `words`.
    pub(super) fn table<T>(&mut self, keys: &[Key<T>], words: &mut T, values: &Dict, path: &str) {
        for (name, value) in values {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            match keys.iter().find(|key| key.name == name) {
                Some(key) => (key.read)(words, &Field { path: &path, value }, self),
                None => self.unknown(keys, name, &Field { path: &path, value }),
            }
        }
    }

    fn subtable<T>(&mut self, keys: &[Key<T>], field: &Field<'_>, words: &mut T) {
        match field.value.as_dict() {
            Some(values) => self.table(keys, words, values, field.path),
            None => self.bad(field, "a table"),
        }
    }

    fn value<T>(&mut self, field: &Field<'_>, parse: fn(&Value) -> Result<T, Expected>, place: &mut Option<T>) {
        match parse(field.value) {
            Ok(value) => *place = Some(value),
            Err(expected) => self.bad(field, expected),
        }
    }

    fn bad(&mut self, field: &Field<'_>, expected: Expected) {
        let place = self.merged.place(innermost(field.value));
        // What stands there is not repeated: it may be a URL with a password.
        let text = format!("`{}` in {place} is wrong: expected {expected}", field.path);
        self.problems.push(Problem { kind: SettingsErrorKind::BadValue, text });
    }

    fn unknown<T>(&mut self, keys: &[Key<T>], name: &str, field: &Field<'_>) {
        let place = self.merged.place(innermost(field.value));
        let words = || keys.iter().map(|key| key.name);
        let help = match nearest(name, words()) {
            Some(word) => format!("did you mean `{word}`?"),
            None => {
                format!("the keys here are {}", words().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "))
            }
        };
        let text = format!("unknown key `{}` in {place}; {help}", field.path);
        self.problems.push(Problem { kind: SettingsErrorKind::UnknownKey, text });
    }
}

/// A table is made of several layers; the first value in it says where it stands.
fn innermost(value: &Value) -> &Value {
    match value.as_dict().and_then(|values| values.values().next()) {
        Some(first) => innermost(first),
        None => value,
    }
}
