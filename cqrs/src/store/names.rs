//! What a store's tables are called: a prefix, and on PostgreSQL a schema.
//!
//! Statements are written with the default prefix, `cqrs_outbox`. A store with other names turns each into its own text
//! once, and keeps that: a call costs a look into a table, and the database finds the same text prepared.

use std::collections::HashMap;
use std::fmt;
use std::sync::{PoisonError, RwLock};

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use super::{StoreError, StoreErrorKind};
#[cfg(feature = "postgres")]
use crate::lane::fnv1a;

/// What names begin with in the statements' text, and in the database unless something else is said.
pub(super) const PREFIX: &str = "cqrs_";

/// The longest prefix: with it the longest name of an index still fits the 63 bytes that PostgreSQL keeps of a name.
const LONGEST_PREFIX: usize = 32;

/// The longest name that PostgreSQL keeps whole.
const LONGEST_NAME: usize = 63;

/// The tables. Indexes are not named with their schema: they are in that of their table.
const TABLES: [&str; 12] = [
    "outbox",
    "published",
    "work",
    "inbox",
    "idempotent",
    "shards",
    "instances",
    "audit",
    "sagas",
    "saga_steps",
    "saga_log",
    "saga_events",
];

/// Where a template lies, how long it is, and its age, if it has one.
type Place = (usize, usize, Option<u32>);

/// The names of one store's tables.
pub(super) struct Names {
    prefix: String,
    schema: Option<String>,
    /// What a table's name begins with: the schema, if there is one.
    qualifier: String,
    /// The texts made so far, by where their templates lie, and their age: those are never freed, so nothing else ever lies there.
    texts: RwLock<HashMap<Place, SqlStr>>,
}

impl Names {
    /// Judges what was said of the names.
    ///
    /// # Errors
    /// Fails with [`StoreErrorKind::Configuration`] where a name is none that every database takes as it is.
    pub(super) fn new(prefix: Option<&str>, schema: Option<&str>) -> Result<Self, StoreError> {
        let prefix = prefix.unwrap_or(PREFIX);
        check("prefix", prefix, LONGEST_PREFIX)?;
        if let Some(schema) = schema {
            check("schema", schema, LONGEST_NAME)?;
        }
        Ok(Self {
            prefix: prefix.to_owned(),
            schema: schema.map(str::to_owned),
            // In quotes, since a schema may be called `user`.
            qualifier: schema.map(|schema| format!("\"{schema}\".")).unwrap_or_default(),
            texts: RwLock::default(),
        })
    }

    /// The schema, if one was named.
    #[cfg(feature = "postgres")]
    pub(super) fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// The text of a statement.
    pub(super) fn sql(&self, template: &'static str) -> SqlStr {
        if self.is_default() {
            return template.into_sql_str();
        }
        self.kept(template, None, || self.text(template))
    }

    /// The text of a statement that differs with its age, so that the database plans it anew where it keeps plans: the one for a
    /// table that was empty is no good when that has grown.
    #[cfg(feature = "postgres")]
    pub(super) fn sql_of_age(&self, template: &'static str, age: u32) -> SqlStr {
        self.kept(template, Some(age), || format!("{}\n-- {age}", self.text(template)))
    }

    fn kept(&self, template: &'static str, age: Option<u32>, make: impl FnOnce() -> String) -> SqlStr {
        let place = (template.as_ptr() as usize, template.len(), age);
        if let Some(text) = self.texts.read().unwrap_or_else(PoisonError::into_inner).get(&place) {
            return text.clone();
        }
        let text = AssertSqlSafe(std::sync::Arc::<str>::from(make())).into_sql_str();
        self.texts.write().unwrap_or_else(PoisonError::into_inner).entry(place).or_insert(text).clone()
    }

    /// The same, made anew.
    pub(super) fn text(&self, template: &str) -> String {
        let mut text = String::with_capacity(template.len() + 64);
        let mut rest = template;
        while let Some(at) = rest.find(PREFIX) {
            let (before, found) = rest.split_at(at);
            text.push_str(before);
            let name = &found[PREFIX.len()..];
            let end = name.find(|letter| !is_of_word(letter)).unwrap_or(name.len());
            if before.chars().next_back().is_some_and(is_of_word) {
                text.push_str(PREFIX);
            } else {
                if TABLES.contains(&&name[..end]) {
                    text.push_str(&self.qualifier);
                }
                text.push_str(&self.prefix);
            }
            rest = name;
        }
        text.push_str(rest);
        text
    }

    /// The table that says which migrations were applied: one for each prefix.
    pub(super) fn bookkeeping(&self) -> String {
        format!("{}_{}migrations", self.qualifier, self.prefix)
    }

    /// The number of a lock in the database, the same for every process with these names.
    #[cfg(feature = "postgres")]
    pub(super) fn lock(&self, of: &[&str]) -> i64 {
        let parts = [&self.qualifier, &self.prefix].into_iter().map(String::as_str).chain(of.iter().copied());
        let bytes = parts.flat_map(|part| part.bytes().chain([0]));
        fnv1a(bytes).cast_signed()
    }

    /// The channel of notices, the same for every process with these names.
    #[cfg(feature = "postgres")]
    pub(super) fn channel(&self) -> String {
        format!("cqrs_{:016x}", self.lock(&["notices"]))
    }

    fn is_default(&self) -> bool {
        self.schema.is_none() && self.prefix == PREFIX
    }
}

fn is_of_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

fn check(what: &str, name: &str, longest: usize) -> Result<(), StoreError> {
    let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
    if name.starts_with(|first: char| first.is_ascii_lowercase()) && name.chars().all(plain) && name.len() <= longest {
        return Ok(());
    }
    let what = format!(
        "the store's {what} `{name}` is wrong: a lower-case letter, then lower-case letters, digits and underscores, \
         {longest} in all"
    );
    Err(StoreError::new(StoreErrorKind::Configuration, what))
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").field("prefix", &self.prefix).field("schema", &self.schema).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str =
        "UPDATE cqrs_outbox SET cqrs_x = 1 WHERE cqrs_outbox.seq IN (SELECT 1 FROM \"cqrs_work\") -- _cqrs_y";

    #[test]
    fn a_template_is_the_text_unless_something_else_is_said() {
        let names = Names::new(None, None).unwrap();
        assert_eq!(names.sql(TEMPLATE).as_str(), TEMPLATE);
        assert_eq!(names.text(TEMPLATE), TEMPLATE);
        assert_eq!(names.bookkeeping(), "_cqrs_migrations");
    }

    #[test]
    fn every_name_has_the_prefix_and_tables_the_schema() {
        let names = Names::new(Some("shop_"), Some("user")).unwrap();
        let text = names
            .text("CREATE INDEX cqrs_outbox_due ON cqrs_outbox (seq); SELECT cqrs_outbox.seq FROM cqrs_work; _cqrs_x");
        assert_eq!(
            text,
            "CREATE INDEX shop_outbox_due ON \"user\".shop_outbox (seq); \
             SELECT \"user\".shop_outbox.seq FROM \"user\".shop_work; _cqrs_x"
        );
        assert_eq!(names.bookkeeping(), "\"user\"._shop_migrations");
    }

    #[test]
    fn a_text_is_made_once() {
        let names = Names::new(Some("shop_"), None).unwrap();
        let (first, second) = (names.sql(TEMPLATE), names.sql(TEMPLATE));
        assert_eq!(first.as_str(), names.text(TEMPLATE));
        assert!(std::ptr::eq(first.as_str(), second.as_str()));
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn a_text_of_another_age_is_another_text_that_says_the_same() {
        for prefix in [None, Some("shop_")] {
            let names = Names::new(prefix, None).unwrap();
            let [ageless, young, old] =
                [names.sql(TEMPLATE), names.sql_of_age(TEMPLATE, 0), names.sql_of_age(TEMPLATE, 1)];
            assert!(ageless.as_str() != young.as_str() && young.as_str() != old.as_str());
            for aged in [young, old] {
                assert_eq!(aged.as_str().split("\n-- ").next(), Some(ageless.as_str()));
            }
        }
    }

    #[test]
    fn what_would_not_be_a_name_everywhere_is_refused() {
        let longest = "p".repeat(LONGEST_PREFIX);
        for prefix in ["a", "cqrs2_", longest.as_str()] {
            Names::new(Some(prefix), None).unwrap();
        }
        let too_long = "p".repeat(LONGEST_PREFIX + 1);
        for prefix in ["", "_a", "1a", "Shop_", "a b", "a\"; DROP TABLE x; --", "ä_", too_long.as_str()] {
            let error = Names::new(Some(prefix), None).unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Configuration);
            assert!(error.to_string().contains(&format!("prefix `{prefix}`")), "{error}");
        }
        let error = Names::new(None, Some("Ops")).unwrap_err();
        assert!(error.to_string().contains("schema `Ops`"), "{error}");
    }
}
