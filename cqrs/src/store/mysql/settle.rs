//! Outbox rows, settled: only those of shards that are this process's.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::time::SystemTime;

use sqlx::{AssertSqlSafe, Executor, MySqlConnection};

use super::fault::Tries;
use super::{MySqlStore, rows};
use crate::store::desk::Desk;
use crate::store::{Claim, OutboxOutcome, StoreError};

/// The shards that are this process's. Read by itself, which locks none of them: a statement that changes rows or sets something, and asks
/// for shards within, locks those until its transaction ends, and it may wait for long for a row that somebody has locked who was
/// stopped. Nobody could renew or take over the shard meanwhile, this process neither.
const HELD: &str = "SELECT shard FROM cqrs_shards WHERE owner = ?";

/// Notes them for the statements that come after it.
const NOTE_HELD: &str = "SET @cqrs_held = ?";

/// The end of every statement that settles a row: it is of a shard that is this process's.
macro_rules! of_mine {
    () => {
        " AND FIND_IN_SET(shard, @cqrs_held) > 0"
    };
}

const UNSUSPECT: &str = "
UPDATE cqrs_outbox FORCE INDEX (PRIMARY) SET attempts = attempts - 1, lost = lost - 1, error = NULL
WHERE seq IN (#) AND state = 'ready'";

const BURY: &str = concat!(
    "UPDATE cqrs_outbox FORCE INDEX (PRIMARY) SET attempts = attempts + ?, error = ?, state = 'dead', lost = 0
    WHERE seq IN (#) AND state = 'ready'",
    of_mine!()
);

/// Rows with the same error, each due at a time of its own.
pub(super) const RETRY: &str = concat!(
    "UPDATE cqrs_outbox FORCE INDEX (PRIMARY) SET attempts = attempts + ?, error = ?, state = 'waiting', lost = 0,
        due_at = CASE seq ~ ELSE due_at END
    WHERE seq IN (#) AND state = 'ready'",
    of_mine!()
);

/// What is kept leaves the outbox in the same transaction.
const KEEP: &str = concat!(
    "REPLACE INTO cqrs_published (seq, id, name, version, topic, message_key, payload, headers, raised_at, published_at,
        kept_until)
    SELECT seq, id, name, version, topic, message_key, payload, headers, raised_at, ?, ?
    FROM cqrs_outbox FORCE INDEX (PRIMARY) WHERE seq IN (#) AND state = 'ready'",
    of_mine!()
);

const LEAVE: &str = concat!("DELETE FROM cqrs_outbox WHERE seq IN (#) AND state = 'ready'", of_mine!());

const PURGE: &str = "DELETE FROM cqrs_published WHERE kept_until <= ? ORDER BY kept_until LIMIT ?";

/// How much is purged in one statement.
const PURGED_AT_ONCE: u16 = 1_000;

/// In one packet, each statement a transaction of its own: next to nothing comes between the look at the shards and the end of the rows, and
/// whoever takes a shard over just then publishes at most what is published already. The level is for the deletion: what it passes by it
/// does not lock. By their numbers alone: another index would lead it over rows that are not committed yet, and it would wait for
/// them. What is put in are numbers and this process's own name.
pub(super) const PUBLISHED: &str = "
SET @cqrs_held = (SELECT GROUP_CONCAT(shard) FROM cqrs_shards WHERE owner = '~');
SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
DELETE mine FROM cqrs_outbox AS mine FORCE INDEX (PRIMARY) WHERE (#) AND mine.state = 'ready'
    AND FIND_IN_SET(mine.shard, @cqrs_held) > 0";

/// Every statement of this file whose text is fixed, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[UNSUSPECT, BURY, KEEP, LEAVE, PURGE];

/// What is not published, by how it ends: whether it was counted before, and the error. When the broker goes away, thousands
/// of rows are put off at once, with one error.
#[derive(Default)]
struct Others {
    /// Each with when it is due.
    waiting: BTreeMap<(bool, String), Vec<(i64, i64)>>,
    dead: BTreeMap<(bool, String), Vec<i64>>,
    /// Published, and kept: by when, and until when.
    kept: BTreeMap<(i64, i64), Vec<i64>>,
    /// Handed back, and counted when they were given out.
    uncounted: Vec<i64>,
}

/// The shortest run of numbers that is written by its ends.
const RUN: usize = 4;

/// A condition that a column is one of these numbers, in ascending order. What follows one another without a gap is written by its
/// ends: the server deletes a range in two thirds of the time that it takes for as many numbers.
///
/// The last number of a run is written by itself. The server locks the row behind a range before it sees that the range has ended: that
/// one is ours, and not somebody's who has not committed it yet.
pub(super) fn among(column: &str, numbers: &[i64]) -> String {
    let (mut text, mut singles) = (String::new(), Vec::new());
    for run in numbers.chunk_by(|one, next| one + 1 == *next) {
        match run {
            [first, .., last, behind] if run.len() >= RUN => {
                let _ = write!(text, "{column} BETWEEN {first} AND {last} OR ");
                singles.push(behind.to_string());
            }
            _ => singles.extend(run.iter().map(i64::to_string)),
        }
    }
    let _ = write!(text, "{column} IN ({})", singles.join(","));
    text
}

impl MySqlStore {
    pub(super) async fn end_outbox(&self, outcomes: Vec<(Claim, OutboxOutcome)>) -> Result<u64, StoreError> {
        if outcomes.iter().any(|(_, outcome)| matches!(outcome, OutboxOutcome::HandBack)) {
            self.look_at_shards().await?;
        }
        let mut settled = 0;
        let mut published: HashMap<i64, Claim> = HashMap::with_capacity(outcomes.len());
        let (mut heard, mut others) = (Vec::new(), Vec::new());
        for (claim, outcome) in outcomes {
            let Some(shard) = self.with_desk(|desk| desk.flight(claim).map(|flight| flight.shard)) else { continue };
            heard.push(shard);
            if matches!(outcome, OutboxOutcome::Published) {
                published.insert(claim.seq, claim);
            } else {
                others.push((claim, outcome));
            }
        }
        settled += self.end_others(others).await?;
        settled += self.end_published(published.into_values().collect()).await?;
        self.trust(heard).await?;
        Ok(settled)
    }

    async fn end_published(&self, mut claims: Vec<Claim>) -> Result<u64, StoreError> {
        claims.sort_unstable_by_key(|claim| claim.seq);
        let mut settled = 0;
        for claims in claims.chunks(rows::MOST_ROWS * 2) {
            let deleted = self.named(self.delete(claims).await)?;
            let are_gone = deleted >= u64::try_from(claims.len()).unwrap_or(u64::MAX);
            if !are_gone {
                self.tend_soon();
            }
            settled += deleted;
            // Where a shard was somebody else's, rows may still be there, and hold back what is behind them.
            let end = if are_gone { Desk::published } else { Desk::ended };
            self.with_desk(|desk| claims.iter().for_each(|claim| end(desk, *claim)));
        }
        Ok(settled)
    }

    async fn delete(&self, claims: &[Claim]) -> Result<u64, sqlx::Error> {
        let numbers: Vec<i64> = claims.iter().map(|claim| claim.seq).collect();
        let text = self.names.text(PUBLISHED).replace('#', &among("mine.seq", &numbers)).replace('~', &self.me);
        let mut tries = Tries::default();
        loop {
            let deleted = (&self.pool).execute(AssertSqlSafe(text.clone())).await;
            if !tries.again(&deleted) {
                return Ok(deleted?.rows_affected());
            }
        }
    }

    /// Ends claims otherwise than by publishing their rows. In one transaction, which locks rows in the order of their numbers.
    pub(super) async fn end_others(&self, mut ends: Vec<(Claim, OutboxOutcome)>) -> Result<u64, StoreError> {
        if ends.is_empty() {
            return Ok(0);
        }
        ends.sort_unstable_by_key(|(claim, _)| claim.seq);
        let (mut others, mut claims, mut back, mut kept) = (Others::default(), Vec::new(), Vec::new(), Vec::new());
        for (claim, outcome) in ends {
            let flight = self.with_desk(|desk| desk.flight(claim).map(|flight| flight.counted));
            let Some(is_counted) = flight else { continue };
            match outcome {
                OutboxOutcome::Published | OutboxOutcome::HandBack => {
                    if is_counted {
                        others.uncounted.push(claim.seq);
                    }
                    back.push(claim);
                    continue;
                }
                OutboxOutcome::Kept { at, until } => {
                    others.kept.entry((rows::micros(at), rows::micros(until))).or_default().push(claim.seq);
                    kept.push(claim);
                    continue;
                }
                OutboxOutcome::Retry { due, error } => {
                    others.waiting.entry((is_counted, error)).or_default().push((claim.seq, rows::micros(due)));
                }
                OutboxOutcome::Dead { error } => {
                    others.dead.entry((is_counted, error)).or_default().push(claim.seq);
                }
            }
            claims.push(claim);
        }
        let mut tries = Tries::default();
        let ended = loop {
            let ended = self.end_in_one(&others).await;
            if !tries.again(&ended) {
                break self.named(ended)?;
            }
        };
        let are_all_ended = ended >= u64::try_from(claims.len() + kept.len()).unwrap_or(u64::MAX);
        if !are_all_ended {
            self.tend_soon();
        }
        let handed_back = u64::try_from(back.len()).unwrap_or(u64::MAX);
        self.with_desk(|desk| {
            // Where a shard was somebody else's, rows may still be there, and hold back what is behind them.
            let leave = if are_all_ended { Desk::published } else { Desk::ended };
            for claim in kept {
                leave(desk, claim);
            }
            for claim in claims {
                desk.ended(claim);
            }
            for claim in back {
                desk.back(claim);
            }
        });
        Ok(ended + handed_back)
    }

    async fn end_in_one(&self, others: &Others) -> Result<u64, sqlx::Error> {
        let is_nothing = others.waiting.is_empty() && others.dead.is_empty() && others.kept.is_empty();
        if is_nothing && others.uncounted.is_empty() {
            return Ok(0);
        }
        let mut tx = self.transaction().await?;
        let held: Vec<i16> =
            sqlx::query_scalar(self.names.sql(HELD)).bind(self.me.as_str()).fetch_all(&mut *tx).await?;
        let held = held.iter().map(i16::to_string).collect::<Vec<_>>().join(",");
        sqlx::query(self.names.sql(NOTE_HELD)).bind(held).execute(&mut *tx).await?;
        let mut ended = 0;
        for ((is_counted, error), rows) in &others.waiting {
            for rows in rows.chunks(rows::MOST_ROWS) {
                ended += self.put_off(&mut tx, *is_counted, error, rows).await?;
            }
        }
        for ((is_counted, error), numbers) in &others.dead {
            for numbers in numbers.chunks(rows::MOST_ROWS) {
                let statement = sqlx::query(rows::list_text(&self.names, BURY, numbers.len()))
                    .bind(i64::from(!is_counted))
                    .bind(error.as_bytes());
                let statement = rows::bind_list(statement, numbers);
                ended += statement.execute(&mut *tx).await?.rows_affected();
            }
        }
        for ((at, until), numbers) in &others.kept {
            for numbers in numbers.chunks(rows::MOST_ROWS) {
                let keep = sqlx::query(rows::list_text(&self.names, KEEP, numbers.len())).bind(*at).bind(*until);
                rows::bind_list(keep, numbers).execute(&mut *tx).await?;
                let leave = sqlx::query(rows::list_text(&self.names, LEAVE, numbers.len()));
                ended += rows::bind_list(leave, numbers).execute(&mut *tx).await?.rows_affected();
            }
        }
        for numbers in others.uncounted.chunks(rows::MOST_ROWS) {
            rows::listed(&self.names, UNSUSPECT, numbers).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(ended)
    }

    /// An attempt of a row that was suspected has been counted when it was given out. What is put into the text are numbers.
    async fn put_off(
        &self,
        connection: &mut MySqlConnection,
        is_counted: bool,
        error: &str,
        rows: &[(i64, i64)],
    ) -> Result<u64, sqlx::Error> {
        let (mut cases, mut numbers) = (String::new(), Vec::with_capacity(rows.len()));
        for (seq, due) in rows {
            let _ = write!(cases, " WHEN {seq} THEN {due}");
            numbers.push(seq.to_string());
        }
        let text = self.names.text(RETRY).replace('#', &numbers.join(",")).replace('~', &cases);
        let statement = sqlx::query(AssertSqlSafe(text)).persistent(false);
        let statement = statement.bind(i64::from(!is_counted)).bind(error.as_bytes());
        Ok(statement.execute(connection).await?.rows_affected())
    }
}

impl MySqlStore {
    /// Deletes published events that were kept until now.
    pub(super) async fn purge_kept(&self, now: SystemTime) -> Result<u64, StoreError> {
        let mut purged = 0;
        loop {
            let mut tx = self.write().await?;
            let statement = sqlx::query(self.names.sql(PURGE)).bind(rows::micros(now)).bind(PURGED_AT_ONCE);
            let count = self.named(statement.execute(&mut *tx).await)?.rows_affected();
            self.named(tx.commit().await)?;
            purged += count;
            if count < u64::from(PURGED_AT_ONCE) {
                return Ok(purged);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::among;

    #[test]
    fn runs_of_numbers_are_written_by_their_ends() {
        for (numbers, text) in [
            (vec![7], "n IN (7)"),
            (vec![1, 2, 3], "n IN (1,2,3)"),
            (vec![1, 2, 3, 4], "n BETWEEN 1 AND 3 OR n IN (4)"),
            (vec![1, 3, 4, 5, 6, 8, 20, 21, 22, 23, 24], "n BETWEEN 3 AND 5 OR n BETWEEN 20 AND 23 OR n IN (1,6,8,24)"),
        ] {
            assert_eq!(among("n", &numbers), text);
        }
    }
}
