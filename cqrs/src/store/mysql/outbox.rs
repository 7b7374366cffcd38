//! Outbox rows: stored, claimed, settled. Whose they are is a matter of shards: see `leases`.

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::FutureExt;
use sqlx::mysql::{MySqlArguments, MySqlRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, MySql, MySqlConnection, Row};

use super::connect::{is_answered, odd_number};
use super::fault::Tries;
use super::page::{Read, Seen};
use super::{MySqlStore, rows};
use crate::BoxError;
use crate::lane::{Lane, lane_of};
use crate::store::claiming::{Looking, Request};
use crate::store::desk::{Asked, Desk, Offer};
use crate::store::names::Names;
use crate::store::shards;
use crate::store::{Claim, ClaimedOutbox, OutboxOutcome, OutboxRecord, StoreError};

/// How often what lies before the reader's place is looked at while rows come: some of it may have been committed late.
const LOOK_BACK: Duration = Duration::from_millis(200);

/// How many rows such a look sees at a time.
const SEEN_BACK: usize = if cfg!(test) { 700 } else { 5_000 };

/// How many pages of rows one claim reads at most, whoever's they are.
const MOST_PAGES: usize = 20;

/// How many rows are read at a time, at least.
const SMALLEST_PAGE: usize = 50;

/// How many rows are remembered that stand behind others. Tests have few.
const MOST_KNOWN: usize = if cfg!(test) { 500 } else { 200_000 };

/// How often a row may be given out while nothing else of its shard is, and its process be lost, until it is a dead letter.
/// Before that, several owners were lost with everything they held.
const MAX_LOST: i64 = 17;

const INSERT: &str = "
INSERT INTO cqrs_outbox (id, name, version, topic, message_key, lane, shard, payload, headers, raised_at, due_at)
VALUES ";

const ONE: &str = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

/// Stores rows, numbered in the order given.
pub(super) async fn insert(
    connection: &mut MySqlConnection,
    names: &Names,
    records: Vec<OutboxRecord>,
) -> Result<(), StoreError> {
    for records in rows::chunks(records, bytes_of) {
        let count = records.len();
        let statement = sqlx::query(AssertSqlSafe(insert_text(names, count))).persistent(rows::is_kept(count));
        records.into_iter().try_fold(statement, bind)?.execute(&mut *connection).await?;
    }
    Ok(())
}

/// What a row takes in a statement, about.
fn bytes_of(record: &OutboxRecord) -> usize {
    record.payload.len() + 1_024
}

/// Whether rows are so few, and so small, that [`insert_behind`] takes them.
pub(super) fn go_along(records: &[OutboxRecord]) -> bool {
    let bytes: usize = records.iter().map(bytes_of).sum();
    !records.is_empty() && rows::is_kept(records.len()) && bytes <= rows::MOST_BYTES
}

/// Stores so few rows that the statement is kept prepared, behind other statements and in one round trip with them, and tells whether
/// the answer is theirs, as [`is_in_step`](super::connect::is_in_step) does. Of the two servers only MariaDB knows such a statement.
pub(super) async fn insert_behind(
    connection: &mut MySqlConnection,
    names: &Names,
    statements: &str,
    records: Vec<OutboxRecord>,
) -> Result<Result<bool, sqlx::Error>, StoreError> {
    let insert = insert_text(names, records.len());
    let text = AssertSqlSafe(format!("BEGIN NOT ATOMIC {statements}{insert}; SELECT ?; END"));
    let statement = records.into_iter().try_fold(sqlx::query(text), bind)?;
    let number = odd_number();
    let answers = AssertUnwindSafe(statement.bind(number).fetch_all(connection)).catch_unwind().await;
    Ok(match answers {
        Ok(answers) => answers.map(|answers| is_answered(&answers, number)),
        Err(_) => Ok(false),
    })
}

fn insert_text(names: &Names, count: usize) -> String {
    names.text(INSERT) + &rows::repeated(ONE, count)
}

fn bind(
    statement: Query<'_, MySql, MySqlArguments>,
    record: OutboxRecord,
) -> Result<Query<'_, MySql, MySqlArguments>, StoreError> {
    let headers = rows::headers_bytes(&record.headers)?;
    let raised_at = rows::micros(record.raised_at);
    let (topic, key) = (record.topic.as_str(), record.key.as_deref());
    let (lane, shard) = (lane_of(topic, key), shards::shard_of(topic, key, record.id));
    Ok(statement
        .bind(rows::id_bytes(record.id))
        .bind(record.name.into_bytes())
        .bind(i64::from(record.version))
        .bind(record.topic.into_bytes())
        .bind(record.key.map(String::into_bytes))
        .bind(lane.map(u64::cast_signed))
        .bind(shard)
        .bind(record.payload)
        .bind(headers)
        .bind(raised_at)
        .bind(raised_at))
}

/// Rows of a list that are ready.
const READY: &str = "SELECT seq FROM cqrs_outbox FORCE INDEX (PRIMARY) WHERE seq IN (#) AND state = 'ready'";

/// The first dead row of each lane.
const DEAD: &str = "SELECT dead_lane, MIN(seq) AS front FROM cqrs_outbox WHERE dead_lane IN (#) GROUP BY dead_lane";

/// What waited until now.
pub(super) const DUE: &str = "
SELECT seq FROM cqrs_outbox FORCE INDEX (cqrs_outbox_wait) WHERE wait_until <= ? AND shard IN (#) LIMIT 1000";

const WAKE: &str =
    "UPDATE cqrs_outbox FORCE INDEX (PRIMARY) SET state = 'ready' WHERE seq IN (#) AND state = 'waiting'";

/// Dead rows that nobody is taking away: while they are locked, nobody can.
const LOCK_DEAD: &str = "
SELECT seq FROM cqrs_outbox FORCE INDEX (PRIMARY)
WHERE seq IN (#) AND state = 'dead' ORDER BY seq FOR UPDATE SKIP LOCKED";

/// Sets aside what a claim passed by because its key is dead: only somebody who replays or discards the dead row lets it
/// go on, and until then nobody need look at it. What stands behind a row that is being published or waits is left alone:
/// it is about to go.
pub(super) const PARK: &str = "
UPDATE cqrs_outbox FORCE INDEX (PRIMARY) SET state = 'parked' WHERE seq IN (#) AND state = 'ready'";

/// Frees what was parked of a key, now that a dead row of it has gone; behind another one it is parked again.
const FREE_KEY: &str = "UPDATE cqrs_outbox SET state = 'ready' WHERE lane = ? AND state = 'parked'";

/// Rows that no dead one stands before. There are none, unless somebody has deleted rows by hand.
const STRANDED: &str = "
SELECT mine.seq FROM cqrs_outbox AS mine WHERE mine.state = 'parked' AND NOT EXISTS (
    SELECT 1 FROM cqrs_outbox AS earlier WHERE earlier.dead_lane = mine.lane AND earlier.seq < mine.seq)";

const FREE: &str = "UPDATE cqrs_outbox SET state = 'ready' WHERE seq = ? AND state = 'parked'";

/// The highest number of a ready row, if there is any, and when the next row that waits is due: all that an idle relay asks.
const PEEK: &str = "
SELECT (SELECT MAX(seq) FROM cqrs_outbox WHERE state = 'ready') AS highest,
    (SELECT MIN(wait_until) FROM cqrs_outbox) AS waiting";

/// Whether nobody has some shard.
const IS_SOME_FREE: &str = "SELECT EXISTS (SELECT 1 FROM cqrs_shards WHERE owner IS NULL)";

const ATTEMPTED: &str = "UPDATE cqrs_outbox FORCE INDEX (PRIMARY) SET attempts = attempts + 1 WHERE seq IN (#)
    AND state = 'ready'";

/// Notes that a row is given out which may be what ends its processes; not any more when that was noted too often.
const SUSPECT: &str = "
UPDATE cqrs_outbox SET attempts = attempts + 1, lost = lost + 1, state = CASE WHEN lost > ? THEN 'dead' ELSE state END,
    error = 'the process that held it stopped, or stalled for longer than its lease, many times in a row; publishing it may be \
what ends the process, so it is not tried again'
WHERE seq = ? AND state = 'ready'";

const STATE: &str = "SELECT state FROM cqrs_outbox WHERE seq = ?";

/// Every statement of this file, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] =
    &[READY, DEAD, DUE, WAKE, LOCK_DEAD, PARK, FREE_KEY, STRANDED, FREE, PEEK, IS_SOME_FREE, ATTEMPTED, SUSPECT, STATE];

/// Where somebody reads.
struct Place {
    at: i64,
    /// The highest number that was ready before.
    highest: Option<i64>,
}

impl Place {
    /// All has been read that is this process's: what is left up to there is others', and nobody need walk over it again. What is
    /// committed late is found by looking back.
    fn end(&mut self) {
        self.at = self.highest.map_or(self.at, |highest| highest.max(self.at));
    }
}

/// What becomes of a page.
#[derive(Default)]
struct Page {
    /// Rows that are given out.
    taken: Vec<(Claim, Read)>,
    /// Rows that stand behind others.
    passed: Vec<(i64, Option<Lane>)>,
}

impl Page {
    /// Gives out of what was read what nothing stands before, up to so many rows.
    fn take(
        found: Vec<Read>,
        room: usize,
        desk: &mut Desk,
        asked: &Asked,
        place: &mut Place,
        known: &mut HashSet<i64>,
    ) -> Self {
        let mut page = Self::default();
        let mut under_way: HashSet<i64> = desk.numbers().into_iter().collect();
        for row in found {
            if page.taken.len() == room {
                break;
            }
            place.at = row.seq;
            let stands = |before| !under_way.contains(&before) && !desk.was_settled(before);
            if row.before.is_some_and(stands) {
                known.insert(row.seq);
                page.passed.push((row.seq, row.lane));
                continue;
            }
            match desk.offer(row.seq, row.shard, row.lane, asked) {
                Offer::Given(claim) => {
                    known.remove(&row.seq);
                    under_way.insert(claim.seq);
                    page.taken.push((claim, row));
                }
                // It was seen: what stands behind it need not lead back to it. Whoever holds it back does.
                Offer::Passed if !under_way.contains(&row.seq) => drop(known.insert(row.seq)),
                Offer::Passed => {}
            }
        }
        page
    }
}

/// How far somebody has looked back.
#[derive(Debug, Default)]
pub(super) struct LookBack {
    at: Option<Instant>,
    /// Where the last look ended, and the next one begins.
    from: i64,
    /// How far rows have been read.
    until: i64,
    /// Rows that stand behind others, which wait or are dead.
    passed: HashSet<i64>,
    looking: Looking,
}

impl MySqlStore {
    pub(super) async fn take_outbox(&self, request: Request) -> Result<Vec<ClaimedOutbox>, StoreError> {
        if request.limit == 0 {
            return Ok(Vec::new());
        }
        // One at a time: what a process keeps in mind has one place up to which it has read.
        let mut back = self.reading.lock().await;
        self.tend(&request.granted()).await?;
        let open = self.with_desk(|desk| desk.open());
        let (highest, waiting) = self.peek().await?;
        let is_due = waiting.is_some_and(|due| due <= request.now);
        if open.is_empty() || !(highest.is_some() || is_due) {
            return Ok(Vec::new());
        }
        if is_due {
            self.named(self.wake(&request, &open).await)?;
        }
        let request = request.granted();
        let mut given = self.read(&request, &open, highest, &mut back).await?;
        match self.read_late(&request, &open, highest, &mut back, given.len()).await {
            Ok(late) => {
                given.extend(late);
                given.sort_unstable_by_key(|row| row.claim.seq);
                Ok(given)
            }
            // What was given out nobody will hear of: it is given out again, and nothing of its keys before it.
            Err(error) => {
                self.with_desk(|desk| given.iter().for_each(|row| desk.back(row.claim)));
                Err(error)
            }
        }
    }

    /// Gives out what was committed late, where it is time to look for it, beside so many rows.
    async fn read_late(
        &self,
        request: &Request,
        open: &[i16],
        highest: Option<i64>,
        back: &mut LookBack,
        given: usize,
    ) -> Result<Vec<ClaimedOutbox>, StoreError> {
        let is_time = back.at.is_none_or(|at| at.elapsed() >= LOOK_BACK);
        if !(given == 0 || is_time) || !self.look_back(back).await? || given >= request.limit {
            return Ok(Vec::new());
        }
        let mut rest = request.clone();
        rest.limit -= given;
        self.read(&rest, open, highest, back).await
    }

    /// The highest number of what is ready, and when the next row that waits is due.
    async fn peek(&self) -> Result<(Option<i64>, Option<i64>), StoreError> {
        let row = self.named(sqlx::query(self.names.sql(PEEK)).fetch_one(&self.pool).await)?;
        Ok((row.try_get("highest")?, row.try_get("waiting")?))
    }

    /// Wakes what waited until now.
    async fn wake(&self, request: &Request, open: &[i16]) -> Result<(), sqlx::Error> {
        let statement = sqlx::query(rows::list_text(&self.names, DUE, open.len())).bind(request.now);
        let due = rows::bind_list(statement, open).fetch_all(&self.pool).await?;
        let due: Vec<i64> = due.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        if let Some(first) = due.iter().min() {
            let mut tries = Tries::default();
            loop {
                let woken = rows::listed(&self.names, WAKE, &due).execute(&self.pool).await;
                if !tries.again(&woken) {
                    woken?;
                    break;
                }
            }
            self.with_desk(|desk| desk.look_back(*first));
        }
        Ok(())
    }

    /// Looks whether there are rows before the reader's place that nobody was given: their numbers were taken before those of
    /// others, and they were committed after them. Whether there are.
    async fn look_back(&self, back: &mut LookBack) -> Result<bool, StoreError> {
        let seen = self.named(self.scan(back.from, back.until, SEEN_BACK).await)?;
        let is_whole = seen.len() < SEEN_BACK;
        back.at = Some(Instant::now());
        back.from = if is_whole { 0 } else { seen.last().map_or(0, |row| row.seq) };
        let open = self.with_desk(|desk| desk.open());
        let late = self.first_free(seen, |shard| open.contains(&shard)).await?;
        if let Some(late) = &late {
            self.with_desk(|desk| desk.look_back(late.seq));
        }
        Ok(late.is_some())
    }

    /// Reads on, and gives out what nothing stands before.
    async fn read(
        &self,
        request: &Request,
        open: &[i16],
        highest: Option<i64>,
        back: &mut LookBack,
    ) -> Result<Vec<ClaimedOutbox>, StoreError> {
        let mut place = Place { at: self.with_desk(Desk::begin_read), highest };
        let mut claims = Vec::new();
        let until = back.looking.until(request, self.with_desk(|desk| desk.len()) > 0);
        let given = self.read_pages(request, open, &mut place, &mut claims, &mut back.passed, until).await;
        let place = place.at;
        back.until = back.until.max(place);
        if highest.is_none_or(|highest| place >= highest) {
            back.looking.got_to_the_end();
        }
        self.with_desk(|desk| {
            desk.end_read();
            // What was given out and cannot be handed out is given out again.
            if given.is_err() {
                for claim in claims {
                    desk.back(claim);
                }
            }
        });
        given
    }

    async fn read_pages(
        &self,
        request: &Request,
        open: &[i16],
        place: &mut Place,
        claims: &mut Vec<Claim>,
        known: &mut HashSet<i64>,
        until: Instant,
    ) -> Result<Vec<ClaimedOutbox>, StoreError> {
        if known.len() > MOST_KNOWN {
            known.clear();
        }
        let asked = asked(request);
        let mut given = Vec::new();
        for _ in 0..MOST_PAGES {
            let page = (request.limit - given.len()).max(SMALLEST_PAGE);
            let found = self.named(self.page(open, place.at, place.highest, page).await)?;
            let is_last = found.len() < page;
            // A row before one of these that nobody has seen was committed late: it comes first.
            if let Some(late) = self.first_unseen(&found, known).await? {
                place.at = late - 1;
                self.with_desk(|desk| desk.look_back(late));
                continue;
            }
            let room = request.limit - given.len();
            let Page { taken, passed } = self.with_desk(|desk| {
                let page = Page::take(found, room, desk, &asked, place, known);
                if is_last && page.taken.len() < room {
                    place.end();
                }
                desk.read_to(place.at);
                page
            });
            claims.extend(taken.iter().map(|(claim, _)| *claim));
            let found_none = taken.is_empty();
            self.hand_out(taken, &mut given).await?;
            self.named(self.park(&passed).await)?;
            if is_last || given.len() >= request.limit {
                break;
            }
            if found_none && given.is_empty() {
                self.pass_by(open, place, known, until).await?;
            }
        }
        Ok(given)
    }

    /// Goes on to the first row that may be given out, without reading what is between: that stands behind rows that wait, are dead or
    /// under way.
    async fn pass_by(
        &self,
        open: &[i16],
        place: &mut Place,
        known: &mut HashSet<i64>,
        until: Instant,
    ) -> Result<(), StoreError> {
        while Instant::now() < until {
            let seen = self.named(self.scan(place.at, i64::MAX, SEEN_BACK).await)?;
            let is_last = seen.len() < SEEN_BACK;
            let Some(last) = seen.last().map(|row| row.seq) else { return Ok(()) };
            let mine: Vec<(i64, Option<Lane>)> =
                seen.iter().filter(|row| open.contains(&row.shard)).map(|row| (row.seq, row.lane)).collect();
            // Whatever is not passed by now, no claim begins meanwhile.
            let rest = self.with_desk(|desk| {
                let is_free = |row: &Seen| row.lane.is_none_or(|lane| !desk.pass_by(row.seq, lane));
                seen.into_iter().filter(is_free).collect()
            });
            let free = self.first_free(rest, |shard| open.contains(&shard)).await?;
            let end = free.as_ref().map_or(last, |free| free.seq - 1);
            let passed: Vec<_> = mine.into_iter().take_while(|(seq, _)| *seq <= end).collect();
            // Of each key the last one: what is read next stands behind that.
            let last: HashMap<Lane, i64> = passed.iter().filter_map(|(seq, lane)| Some(((*lane)?, *seq))).collect();
            known.extend(last.into_values());
            place.at = end;
            self.with_desk(|desk| desk.read_to(end));
            self.named(self.park(&passed).await)?;
            if free.is_some() || is_last {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The first row that stands before one of these, is ready, and was neither read with them nor before: nobody has given it
    /// out, and nobody has passed it by.
    async fn first_unseen(&self, found: &[Read], known: &HashSet<i64>) -> Result<Option<i64>, StoreError> {
        let here: HashSet<i64> = found.iter().map(|row| row.seq).collect();
        let mut unseen: Vec<i64> = self.with_desk(|desk| {
            let under_way: HashSet<i64> = desk.numbers().into_iter().collect();
            let is_seen =
                |seq: &i64| [&here, known, &under_way].iter().any(|seen| seen.contains(seq)) || desk.was_settled(*seq);
            // Where the end of what is under way leads back to it, it is not looked for before.
            let leads_back = |row: &Read, seq| row.lane.is_some_and(|lane| desk.leads_back(lane, seq));
            let before = found.iter().filter_map(|row| row.before.filter(|seq| !leads_back(row, *seq)));
            before.filter(|seq| !is_seen(seq)).collect()
        });
        unseen.sort_unstable();
        unseen.dedup();
        if unseen.is_empty() {
            return Ok(None);
        }
        let ready = rows::listed(&self.names, READY, &unseen).fetch_all(&self.pool).await;
        let ready: Vec<i64> = self.named(ready)?.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        Ok(ready.into_iter().min())
    }

    async fn hand_out(&self, taken: Vec<(Claim, Read)>, given: &mut Vec<ClaimedOutbox>) -> Result<(), StoreError> {
        // Of a lane with a row that turns out to be none, nothing more.
        let mut ended: HashSet<u64> = HashSet::new();
        for (claim, row) in taken {
            if row.lane.is_some_and(|lane| ended.contains(&lane)) {
                self.with_desk(|desk| desk.back(claim));
                continue;
            }
            let is_counted = self.with_desk(|desk| desk.flight(claim).is_some_and(|flight| flight.counted));
            if is_counted && self.named(self.suspect(claim.seq).await)? {
                self.with_desk(|desk| desk.ended(claim));
                ended.extend(row.lane);
                continue;
            }
            match read(&row.row, claim) {
                Ok(claimed) => given.push(claimed),
                // One bad row must not hold up the others: it becomes a dead letter here and now.
                Err(error) => {
                    let error = format!("the row cannot be read: {error}");
                    self.end_others(vec![(claim, OutboxOutcome::Dead { error })]).await?;
                    ended.extend(row.lane);
                }
            }
        }
        Ok(())
    }

    /// Notes that a row may be what ends its processes. Whether that was noted too often.
    async fn suspect(&self, seq: i64) -> Result<bool, sqlx::Error> {
        sqlx::query(self.names.sql(SUSPECT)).bind(MAX_LOST).bind(seq).execute(&self.pool).await?;
        let state: Option<String> =
            sqlx::query_scalar(self.names.sql(STATE)).bind(seq).fetch_optional(&self.pool).await?;
        let is_dead = state.as_deref() == Some("dead");
        if is_dead {
            tracing::error!(seq, "an event's process was lost too many times in a row: it is a dead letter");
        }
        Ok(is_dead)
    }

    /// Parks rows that were passed by, where what holds them back is dead.
    async fn park(&self, passed: &[(i64, Option<Lane>)]) -> Result<(), sqlx::Error> {
        let mut lanes: Vec<i64> = passed.iter().filter_map(|(_, lane)| *lane).map(u64::cast_signed).collect();
        lanes.sort_unstable();
        lanes.dedup();
        let mut fronts: HashMap<i64, i64> = HashMap::new();
        for lanes in lanes.chunks(rows::MOST_ROWS) {
            for row in rows::listed(&self.names, DEAD, lanes).fetch_all(&self.pool).await? {
                fronts.insert(row.try_get("dead_lane")?, row.try_get("front")?);
            }
        }
        if fronts.is_empty() {
            return Ok(());
        }
        let mut tx = self.transaction().await?;
        let mut numbers: Vec<i64> = fronts.values().copied().collect();
        numbers.sort_unstable();
        let locked = rows::listed(&self.names, LOCK_DEAD, &numbers).fetch_all(&mut *tx).await?;
        let locked: HashSet<i64> = locked.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        let is_behind = |(seq, lane): &&(i64, Option<Lane>)| {
            let front = lane.and_then(|lane| fronts.get(&lane.cast_signed()));
            front.is_some_and(|front| front < seq && locked.contains(front))
        };
        let behind: Vec<i64> = passed.iter().filter(is_behind).map(|(seq, _)| *seq).collect();
        if !behind.is_empty() {
            rows::listed(&self.names, PARK, &behind).execute(&mut *tx).await?;
        }
        tx.commit().await
    }

    /// Counts attempts of rows whose claims have run out.
    pub(super) async fn count_attempts(&self, numbers: &[i64]) -> Result<(), sqlx::Error> {
        for numbers in numbers.chunks(rows::MOST_ROWS) {
            rows::listed(&self.names, ATTEMPTED, numbers).execute(&self.pool).await?;
        }
        Ok(())
    }

    /// When a row is due that somebody may be given: of the shards that this process has, as soon as it has some.
    pub(super) async fn next_event(&self) -> Result<Option<SystemTime>, StoreError> {
        let (highest, waiting) = self.peek().await?;
        if highest.is_none() || !self.may_be_given_some().await? {
            return Ok(waiting.map(rows::time));
        }
        let seen = self.named(self.scan(0, i64::MAX, SEEN_BACK).await)?;
        let open = self.with_desk(|desk| desk.open());
        let ready = self.first_free(seen, |shard| open.is_empty() || open.contains(&shard)).await?;
        Ok(waiting.into_iter().chain(ready.map(|row| row.due_at)).min().map(rows::time))
    }

    /// Whether this process has shards, or may have some: who has none does not read the backlog of others.
    async fn may_be_given_some(&self) -> Result<bool, StoreError> {
        if self.with_desk(|desk| !desk.open().is_empty()) {
            return Ok(true);
        }
        self.named(sqlx::query_scalar(self.names.sql(IS_SOME_FREE)).fetch_one(&self.pool).await)
    }

    pub(super) async fn free_stranded_events(&self) -> Result<u64, StoreError> {
        let stranded = sqlx::query_scalar(self.names.sql(STRANDED)).fetch_all(&self.pool);
        let stranded: Vec<i64> = self.named(stranded.await)?;
        let mut freed = 0;
        for seq in stranded {
            let statement = sqlx::query(self.names.sql(FREE)).bind(seq);
            freed += self.named(statement.execute(&self.pool).await)?.rows_affected();
        }
        self.with_desk(Desk::start_over);
        Ok(freed)
    }
}

fn asked(request: &Request) -> Asked {
    let owner = Arc::from(request.owner.as_str());
    Asked { owner, limit: request.limit, lease_until: request.lease_until }
}

pub(super) async fn free_key(
    connection: &mut MySqlConnection,
    names: &Names,
    lane: Option<i64>,
) -> Result<(), sqlx::Error> {
    let Some(lane) = lane else { return Ok(()) };
    sqlx::query(names.sql(FREE_KEY)).bind(lane).execute(connection).await.map(drop)
}

fn read(row: &MySqlRow, claim: Claim) -> Result<ClaimedOutbox, BoxError> {
    let record = OutboxRecord {
        id: rows::id_of(row, "id")?,
        name: rows::text_of(row, "name")?,
        version: rows::number_of(row, "version")?,
        topic: rows::text_of(row, "topic")?,
        key: rows::some_text_of(row, "message_key")?,
        payload: row.try_get("payload")?,
        headers: rows::headers_of(row)?,
        raised_at: rows::time_of(row, "raised_at")?,
    };
    Ok(ClaimedOutbox { claim, attempts: rows::number_of(row, "attempts")?, record })
}
