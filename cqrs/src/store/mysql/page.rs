//! Pages of the outbox: rows that are ready, and what stands before each.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use sqlx::mysql::MySqlRow;
use sqlx::{MySql, Row, Transaction};

use super::{MySqlStore, rows};
use crate::store::StoreError;
use crate::store::begin::begin;

/// Up to how many numbers a read asks for each row by itself what stands before it. The server seeks that from the end of the lane on,
/// which is soon found where the end is near, and saves the round trips of [`MySqlStore::wide`]. Tests have few rows, and try both.
const NARROW: i64 = if cfg!(test) { 3 } else { 64 };

/// How many lanes are asked for in one statement, each by itself.
const AT_ONCE: usize = 128;

/// What is read sees the same rows in each of its statements.
const SNAPSHOT: &str =
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";

/// The rows of these shards from some place on, each with the one before it of its lane.
pub(super) const NEAR: &str = "
SELECT mine.seq, mine.shard, mine.lane, mine.attempts, mine.id, mine.name, mine.version, mine.topic, mine.message_key,
    mine.payload, mine.headers, mine.raised_at,
    (SELECT earlier.seq FROM cqrs_outbox AS earlier FORCE INDEX (cqrs_outbox_lane)
        WHERE earlier.lane = mine.lane AND earlier.seq < mine.seq ORDER BY earlier.seq DESC LIMIT 1) AS before_it
FROM cqrs_outbox AS mine FORCE INDEX (cqrs_outbox_state)
WHERE mine.state = 'ready' AND mine.shard IN (#) AND mine.seq > ? ORDER BY mine.seq LIMIT ?";

/// The same without that.
pub(super) const READ: &str = "
SELECT seq, shard, lane, attempts, id, name, version, topic, message_key, payload, headers, raised_at, NULL AS before_it
FROM cqrs_outbox FORCE INDEX (cqrs_outbox_state)
WHERE state = 'ready' AND shard IN (#) AND seq > ? ORDER BY seq LIMIT ?";

/// The last row of a lane up to some place, whatever its state. For several lanes at once these go into one statement: of a list of them
/// the server would read all rows.
pub(super) const LAST: &str = "
SELECT lane, seq FROM cqrs_outbox FORCE INDEX (cqrs_outbox_lane) WHERE lane = ? AND seq <= ? ORDER BY seq DESC LIMIT 1";

/// The first row of the lanes of these rows.
pub(super) const FRONT: &str = "
SELECT mine.lane, (SELECT first.seq FROM cqrs_outbox AS first FORCE INDEX (cqrs_outbox_lane)
        WHERE first.lane = mine.lane ORDER BY first.seq LIMIT 1) AS seq
FROM cqrs_outbox AS mine FORCE INDEX (PRIMARY) WHERE mine.seq IN (#) AND mine.lane IS NOT NULL";

/// Whether there are rows between two places that are not ready.
const IS_HELD: &str = "
SELECT EXISTS (SELECT 1 FROM cqrs_outbox FORCE INDEX (cqrs_outbox_state)
    WHERE state IN ('waiting', 'parked', 'dead') AND seq > ? AND seq < ?)";

/// All rows of these lanes between two places.
pub(super) const BETWEEN: &str = "
SELECT seq, lane FROM cqrs_outbox FORCE INDEX (cqrs_outbox_lane) WHERE lane IN (#) AND seq > ? AND seq < ?";

/// What is ready between two places, in whichever shard.
const SCAN: &str = "
SELECT seq, shard, lane, due_at FROM cqrs_outbox FORCE INDEX (cqrs_outbox_state)
WHERE state = 'ready' AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?";

/// Every statement of this file, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[NEAR, READ, LAST, FRONT, IS_HELD, BETWEEN, SCAN];

/// A row as a claim reads it.
pub(super) struct Read {
    pub(super) seq: i64,
    pub(super) shard: i16,
    pub(super) lane: Option<u64>,
    /// The row before it of its lane, whatever its state.
    pub(super) before: Option<i64>,
    pub(super) row: MySqlRow,
}

impl Read {
    fn new(row: MySqlRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            seq: row.try_get("seq")?,
            shard: row.try_get("shard")?,
            lane: lane_of(&row)?,
            before: row.try_get("before_it")?,
            row,
        })
    }
}

/// A row as a look sees it.
pub(super) struct Seen {
    pub(super) seq: i64,
    pub(super) due_at: i64,
    pub(super) shard: i16,
    pub(super) lane: Option<u64>,
}

impl Seen {
    fn new(row: &MySqlRow) -> Result<Self, sqlx::Error> {
        let (seq, due_at, shard) = (row.try_get("seq")?, row.try_get("due_at")?, row.try_get("shard")?);
        Ok(Self { seq, due_at, shard, lane: lane_of(row)? })
    }
}

fn lane_of(row: &MySqlRow) -> Result<Option<u64>, sqlx::Error> {
    Ok(row.try_get::<Option<i64>, _>("lane")?.map(i64::cast_unsigned))
}

fn place_of(row: &MySqlRow) -> Result<(i64, u64), sqlx::Error> {
    Ok((row.try_get("seq")?, row.try_get::<i64, _>("lane")?.cast_unsigned()))
}

impl MySqlStore {
    /// Reads a page of rows of these shards behind some place, where so many numbers have been given so far.
    pub(super) async fn page(
        &self,
        open: &[i16],
        at: i64,
        highest: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Read>, sqlx::Error> {
        if highest.is_some_and(|highest| highest - at > NARROW) {
            return self.wide(open, at, limit).await;
        }
        let statement = rows::bind_list(sqlx::query(rows::list_text(&self.names, NEAR, open.len())), open);
        let found = statement.bind(at).bind(rows::limit(limit)).fetch_all(&self.pool).await?;
        found.into_iter().map(Read::new).collect()
    }

    /// Of a long backlog. For each lane it is asked once what stands before the page. Within the page each row stands behind the one
    /// that was read before it, unless something there is not ready.
    async fn wide(&self, open: &[i16], at: i64, limit: usize) -> Result<Vec<Read>, sqlx::Error> {
        // Whatever ends meanwhile, the snapshot may still see.
        let under_way = self.with_desk(|desk| desk.lanes());
        let mut tx = begin(self.sound_connection().await?, SNAPSHOT).await?;
        let statement = rows::bind_list(sqlx::query(rows::list_text(&self.names, READ, open.len())), open);
        let found = statement.bind(at).bind(rows::limit(limit)).fetch_all(&mut *tx).await?;
        let mut found: Vec<Read> = found.into_iter().map(Read::new).collect::<Result<_, _>>()?;
        if let Some(last) = found.last().map(|row| row.seq) {
            let others = self.others(&mut tx, &found, &under_way, at..last).await?;
            set_before(&mut found, others);
        }
        tx.commit().await?;
        Ok(found)
    }

    /// What stands before rows of a page, beside themselves: numbers and lanes.
    async fn others(
        &self,
        tx: &mut Transaction<'static, MySql>,
        found: &[Read],
        under_way: &HashSet<u64>,
        Range { start: at, end: last }: Range<i64>,
    ) -> Result<BTreeMap<i64, u64>, sqlx::Error> {
        let mut lanes = HashSet::new();
        let firsts = found.iter().filter_map(|row| row.lane.filter(|lane| lanes.insert(*lane)).zip(Some(row.seq)));
        let firsts: Vec<(u64, i64)> = firsts.collect();
        // Of a lane that is under way, what is under way stands first: the last one tells whether there is something else. Of another one
        // anything that is there holds it back, and the first is found sooner.
        let (moving, resting): (Vec<_>, Vec<_>) = firsts.into_iter().partition(|(lane, _)| under_way.contains(lane));
        let mut places = Vec::new();
        for resting in resting.chunks(rows::MOST_ROWS) {
            let firsts: Vec<i64> = resting.iter().map(|(_, first)| *first).collect();
            places.extend(rows::listed(&self.names, FRONT, &firsts).fetch_all(&mut **tx).await?);
        }
        for moving in moving.chunks(AT_ONCE) {
            let lanes: Vec<i64> = moving.iter().map(|(lane, _)| lane.cast_signed()).collect();
            let text = rows::each_text(&self.names, LAST, lanes.len());
            let statement = rows::padded(&lanes).fold(sqlx::query(text), |each, lane| each.bind(lane).bind(at));
            places.extend(statement.fetch_all(&mut **tx).await?);
        }
        let is_held: bool =
            sqlx::query_scalar(self.names.sql(IS_HELD)).bind(at).bind(last).fetch_one(&mut **tx).await?;
        if is_held {
            // Where something stands before all of a lane, nothing between its rows matters: there may be very much behind a dead one.
            let fronts = places.iter().map(|place| place_of(place).map(|(seq, lane)| (lane, seq)));
            let fronts: HashMap<u64, i64> = fronts.collect::<Result<_, _>>()?;
            let is_behind = |(lane, first): &&(u64, i64)| fronts.get(lane).is_some_and(|front| front < first);
            let held: HashSet<u64> = resting.iter().filter(is_behind).map(|(lane, _)| *lane).collect();
            let lanes: Vec<i64> = lanes.difference(&held).map(|lane| lane.cast_signed()).collect();
            for lanes in lanes.chunks(rows::MOST_ROWS) {
                let between = rows::listed(&self.names, BETWEEN, lanes).bind(at).bind(last);
                places.extend(between.fetch_all(&mut **tx).await?);
            }
        }
        places.iter().map(place_of).collect()
    }

    /// Looks at what is ready between two places, in whichever shard.
    pub(super) async fn scan(&self, from: i64, until: i64, limit: usize) -> Result<Vec<Seen>, sqlx::Error> {
        let statement = sqlx::query(self.names.sql(SCAN)).bind(from).bind(until).bind(rows::limit(limit));
        statement.fetch_all(&self.pool).await?.iter().map(Seen::new).collect()
    }

    /// The first of these rows, of some shards, that is not under way and that nothing stands before.
    pub(super) async fn first_free(
        &self,
        seen: Vec<Seen>,
        is_of_shards: impl Fn(i16) -> bool,
    ) -> Result<Option<Seen>, StoreError> {
        let mut lanes = HashSet::new();
        let free: Vec<Seen> = self.with_desk(|desk| {
            let under_way: HashSet<i64> = desk.numbers().into_iter().collect();
            let may_be_free = |row: &Seen| {
                // What has ended since it was seen stands before nothing.
                if desk.was_settled(row.seq) {
                    return false;
                }
                // Of each lane the first one: it stands before the others.
                let is_first = row.lane.is_none_or(|lane| !desk.is_under_way(lane) && lanes.insert(lane));
                is_of_shards(row.shard) && is_first && !under_way.contains(&row.seq)
            };
            seen.into_iter().filter(may_be_free).collect()
        });
        let mut rest = free.into_iter().peekable();
        while rest.peek().is_some() {
            let some: Vec<Seen> = rest.by_ref().take(rows::MOST_ROWS).collect();
            let numbers: Vec<i64> = some.iter().map(|row| row.seq).collect();
            let found = rows::listed(&self.names, FRONT, &numbers).fetch_all(&self.pool).await;
            let fronts = self.named(found)?.iter().map(place_of).collect::<Result<BTreeMap<_, _>, _>>()?;
            let is_front = |row: &Seen| row.lane.is_none_or(|_| fronts.contains_key(&row.seq));
            if let Some(first) = some.into_iter().find(is_front) {
                return Ok(Some(first));
            }
        }
        Ok(None)
    }
}

/// Notes of each row which one is before it: of the others, or of the page.
fn set_before(found: &mut [Read], others: BTreeMap<i64, u64>) {
    let mut others = others.into_iter().peekable();
    let mut last = HashMap::new();
    for row in found {
        while let Some((seq, lane)) = others.next_if(|(seq, _)| *seq < row.seq) {
            last.insert(lane, seq);
        }
        if let Some(lane) = row.lane {
            row.before = last.insert(lane, row.seq);
        }
    }
}
