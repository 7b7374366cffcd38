//! Between records and rows: times, ids, texts, digests, and how many rows one statement may carry.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use sqlx::mysql::{MySqlArguments, MySqlRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, MySql, Row, SqlSafeStr, SqlStr};
use uuid::Uuid;

use crate::BoxError;
use crate::store::names::Names;
pub(super) use crate::store::rows::{limit, micros, time};
use crate::store::{Claim, StoreError, StoreErrorKind, WorkQueue};

/// How many rows one statement carries at most. Larger statements gain nothing more, and take long to parse.
pub(super) const MOST_ROWS: usize = 500;

/// How many bytes of messages one statement carries: well below the 16 MB that a server takes at once by default. A single
/// message may be larger, and has a statement to itself.
pub(super) const MOST_BYTES: usize = 4 * 1024 * 1024;

/// Statements of up to so many rows are kept prepared; longer ones come in too many lengths for the statement cache.
const KEPT_ROWS: usize = 4;

/// Splits into vectors of at most [`MOST_ROWS`], and of not much more than [`MOST_BYTES`].
pub(super) fn chunks<T>(items: Vec<T>, bytes_of: impl Fn(&T) -> usize) -> impl Iterator<Item = Vec<T>> {
    let mut items = items.into_iter().peekable();
    std::iter::from_fn(move || {
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        while let Some(item) =
            items.next_if(|item| chunk.is_empty() || (chunk.len() < MOST_ROWS && bytes + bytes_of(item) <= MOST_BYTES))
        {
            bytes += bytes_of(&item);
            chunk.push(item);
        }
        (!chunk.is_empty()).then_some(chunk)
    })
}

/// Whether a statement for so many rows is kept prepared.
pub(super) const fn is_kept(rows: usize) -> bool {
    rows <= KEPT_ROWS
}

/// So many times the same, with commas between them.
pub(super) fn repeated(what: &str, times: usize) -> String {
    let mut text = String::with_capacity((what.len() + 2) * times);
    for at in 0..times {
        let _ = write!(text, "{}{what}", if at == 0 { "" } else { ", " });
    }
    text
}

/// The length of a list in a statement: lists of many lengths share the text of a few, which are kept prepared.
const fn list_length(count: usize) -> usize {
    count.next_power_of_two()
}

/// The marks of a list of so many values: `?, ?, ?`.
pub(super) fn marks(count: usize) -> String {
    repeated("?", list_length(count))
}

/// The values for [`marks`]: the last one as often as is needed to fill them.
pub(super) fn padded<T: Copy>(values: &[T]) -> impl Iterator<Item = T> {
    let last = values.last().copied();
    let missing = list_length(values.len()) - values.len();
    values.iter().copied().chain(last.into_iter().cycle().take(missing))
}

/// A condition for each of so many claims, to be filled with their [`padded`] numbers and fences.
pub(super) fn claimed_marks(count: usize) -> String {
    let mut text = String::new();
    for at in 0..list_length(count) {
        text.push_str(if at == 0 { "" } else { " OR " });
        text.push_str("(seq = ? AND fence = ?)");
    }
    text
}

/// Whom a queue's rows are found by.
pub(super) fn queue(queue: &WorkQueue) -> [u8; 16] {
    short(&[queue.kind.as_str(), &queue.group, &queue.handler])
}

/// A digest of texts, the same for the same ones only.
pub(super) fn digest(texts: &[&str]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for text in texts {
        digest.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        digest.update(text);
    }
    digest.finalize().into()
}

/// A shorter one, for what programs are written with: nobody chooses a handler's name in order to meet another one's.
pub(super) fn short(texts: &[&str]) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&digest(texts)[..16]);
    short
}

/// The claim a row was taken with.
pub(super) fn claim(row: &MySqlRow) -> Result<Claim, sqlx::Error> {
    Ok(Claim { seq: row.try_get("seq")?, fence: row.try_get("fence")? })
}

/// The time in a row's column.
pub(super) fn time_of(row: &MySqlRow, column: &str) -> Result<SystemTime, sqlx::Error> {
    Ok(time(row.try_get(column)?))
}

/// The count in a row's column.
pub(super) fn number_of(row: &MySqlRow, column: &str) -> Result<u32, BoxError> {
    Ok(u32::try_from(row.try_get::<i64, _>(column)?)?)
}

/// The text in a row's column.
pub(super) fn text_of(row: &MySqlRow, column: &str) -> Result<String, BoxError> {
    Ok(String::from_utf8(row.try_get(column)?)?)
}

/// The text in a row's column, if there is one.
pub(super) fn some_text_of(row: &MySqlRow, column: &str) -> Result<Option<String>, BoxError> {
    Ok(row.try_get::<Option<Vec<u8>>, _>(column)?.map(String::from_utf8).transpose()?)
}

/// The id in a row's column.
pub(super) fn id_of(row: &MySqlRow, column: &str) -> Result<Uuid, BoxError> {
    Ok(Uuid::from_slice(row.try_get(column)?)?)
}

/// The headers in a row.
pub(super) fn headers_of(row: &MySqlRow) -> Result<BTreeMap<String, String>, BoxError> {
    Ok(serde_json::from_slice(row.try_get("headers")?)?)
}

/// Headers as they are stored.
pub(super) fn headers_bytes(headers: &BTreeMap<String, String>) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(headers)
        .map_err(|error| StoreError::new(StoreErrorKind::Database, "headers cannot be stored").with_source(error))
}

/// The id as it is stored.
pub(super) fn id_bytes(id: Uuid) -> Vec<u8> {
    id.as_bytes().to_vec()
}

/// The text of a statement with a list in it, where the template has `#`.
pub(super) fn list_text(names: &Names, template: &str, count: usize) -> SqlStr {
    AssertSqlSafe(names.text(template).replace('#', &marks(count))).into_sql_str()
}

/// The text of a statement that does the same for each value of a list, to be filled with what is [`padded`].
pub(super) fn each_text(names: &Names, template: &str, count: usize) -> SqlStr {
    let one = format!("({})", names.text(template));
    AssertSqlSafe(vec![one; list_length(count)].join(" UNION ALL ")).into_sql_str()
}

/// Binds the values of a list.
pub(super) fn bind_list<'q, T>(
    statement: Query<'q, MySql, MySqlArguments>,
    values: &[T],
) -> Query<'q, MySql, MySqlArguments>
where
    T: Copy + sqlx::Encode<'q, MySql> + sqlx::Type<MySql> + 'q,
{
    padded(values).fold(statement, Query::bind)
}

/// A statement with a list in it and nothing else.
pub(super) fn listed<'q, T>(names: &Names, template: &str, values: &[T]) -> Query<'q, MySql, MySqlArguments>
where
    T: Copy + sqlx::Encode<'q, MySql> + sqlx::Type<MySql> + 'q,
{
    bind_list(sqlx::query(list_text(names, template, values.len())), values)
}
