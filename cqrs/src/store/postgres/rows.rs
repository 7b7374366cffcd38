//! Between records and rows: times, headers, and lists for `unnest`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::SystemTime;

use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::BoxError;
pub(super) use crate::store::rows::{limit, micros, time};
use crate::store::{Claim, StoreError, StoreErrorKind, WorkQueue};

/// Queues as three lists, for `unnest`: kinds, groups and handlers.
#[derive(Debug, Clone, Default)]
pub(super) struct Queues {
    pub(super) kinds: Vec<String>,
    pub(super) groups: Vec<String>,
    pub(super) handlers: Vec<String>,
}

impl Queues {
    pub(super) fn new<'q>(queues: impl IntoIterator<Item = &'q WorkQueue>) -> Self {
        let mut lists = Self::default();
        for queue in queues {
            lists.kinds.push(queue.kind.as_str().to_owned());
            lists.groups.push(queue.group.clone());
            lists.handlers.push(queue.handler.clone());
        }
        lists
    }
}

/// Claims as two lists, for `unnest`: numbers and fences.
pub(super) fn lists(claims: &[Claim]) -> (Vec<i64>, Vec<i64>) {
    claims.iter().map(|claim| (claim.seq, claim.fence)).unzip()
}

/// The claim a row was taken with.
pub(super) fn claim(row: &PgRow) -> Result<Claim, sqlx::Error> {
    Ok(Claim { seq: row.try_get("seq")?, fence: row.try_get("fence")? })
}

/// The time in a row's column.
pub(super) fn time_of(row: &PgRow, column: &str) -> Result<SystemTime, sqlx::Error> {
    Ok(time(row.try_get(column)?))
}

/// The count in a row's column.
pub(super) fn number_of(row: &PgRow, column: &str) -> Result<u32, BoxError> {
    Ok(u32::try_from(row.try_get::<i32, _>(column)?)?)
}

/// A version or a number of attempts as it is stored.
pub(super) fn number(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// The headers in a row.
pub(super) fn headers_of(row: &PgRow) -> Result<BTreeMap<String, String>, BoxError> {
    Ok(serde_json::from_str(row.try_get("headers")?)?)
}

/// Headers as they are stored.
pub(super) fn headers_text(headers: &BTreeMap<String, String>) -> Result<String, StoreError> {
    serde_json::to_string(headers)
        .map_err(|error| StoreError::new(StoreErrorKind::Database, "headers cannot be stored").with_source(error))
}

/// PostgreSQL's text holds no NUL. This and a `0` stand for one, this and a `1` for itself.
const ESCAPE: char = '\u{1a}';

/// A key, a lane or a name as it is stored: what differs stays different, and is read back as it was by [`text_of`].
pub(super) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', ESCAPE]) {
        return Cow::Borrowed(text);
    }
    let mut stored = String::with_capacity(text.len() + 8);
    for char in text.chars() {
        match char {
            '\0' => stored.extend([ESCAPE, '0']),
            ESCAPE => stored.extend([ESCAPE, '1']),
            char => stored.push(char),
        }
    }
    Cow::Owned(stored)
}

/// The same of a text that is not needed any more.
pub(super) fn escape(text: String) -> String {
    if let Cow::Owned(stored) = escaped(&text) {
        return stored;
    }
    text
}

/// A stored key, lane or name as it was.
pub(super) fn unescaped(stored: String) -> String {
    if !stored.contains(ESCAPE) {
        return stored;
    }
    let mut text = String::with_capacity(stored.len());
    let mut chars = stored.chars().peekable();
    while let Some(char) = chars.next() {
        match (char, chars.peek()) {
            (ESCAPE, Some('0')) => text.push('\0'),
            (ESCAPE, Some('1')) => text.push(ESCAPE),
            _ => {
                text.push(char);
                continue;
            }
        }
        chars.next();
    }
    text
}

/// An error or a note as it is stored: it is there to be read, so a NUL in it becomes what stands for a character that cannot be
/// shown.
pub(super) fn shown(error: &str) -> Cow<'_, str> {
    if error.contains('\0') { Cow::Owned(error.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(error) }
}

/// The same of a text that is not needed any more.
pub(super) fn error_text(error: String) -> String {
    if let Cow::Owned(shown) = shown(&error) {
        return shown;
    }
    error
}

/// The key, lane or name in a row's column.
pub(super) fn text_of(row: &PgRow, column: &str) -> Result<String, sqlx::Error> {
    Ok(unescaped(row.try_get(column)?))
}

/// The same where there may be none.
pub(super) fn maybe_text_of(row: &PgRow, column: &str) -> Result<Option<String>, sqlx::Error> {
    Ok(row.try_get::<Option<String>, _>(column)?.map(unescaped))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_with_a_nul_are_stored_without_and_told_apart_and_come_back() {
        let texts = [
            "",
            "plain",
            "\0",
            "\u{1a}",
            "\u{1a}0",
            "\u{1a}1",
            "0\0",
            "\u{1a}\0",
            "\0\u{1a}",
            "\0\0\0\0\0\0\0\u{7}",
            "ä\0ö",
        ];
        let stored: Vec<String> = texts.iter().map(|text| escape((*text).to_owned())).collect();
        for (text, stored) in texts.iter().zip(&stored) {
            assert!(!stored.contains('\0'), "{text:?}");
            assert_eq!(unescaped(stored.clone()), *text);
        }
        let different: std::collections::BTreeSet<&String> = stored.iter().collect();
        assert_eq!(different.len(), texts.len());
        assert_eq!(unescaped("\u{1a}".to_owned()), "\u{1a}", "what somebody else has written stays as it is");
    }
}
