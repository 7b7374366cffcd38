//! Stored work: handed out, and when there is some.
//!
//! Several programs claim at the same time. What is to be changed is locked by its number and looked at again under the
//! lock; what somebody else has locked is passed by, since he is about to change it.

use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use sqlx::{AssertSqlSafe, MySqlConnection, Row};

use super::{MySqlStore, rows, work};
use crate::store::claiming::{self, MOST_LOOKED_AT, Request};
use crate::store::names::Names;
use crate::store::{Claim, ClaimedWork, StoreError, WorkQueue};

/// Whether a claim would find something: asked outside of any transaction.
const ANYTHING: &str = "
SELECT EXISTS (
        SELECT 1 FROM cqrs_work FORCE INDEX (cqrs_work_due) WHERE state = 'waiting' AND queue IN (#) AND due_at <= ?)
    OR EXISTS (
        SELECT 1 FROM cqrs_work FORCE INDEX (cqrs_work_state)
        WHERE state = 'claimed' AND queue IN (#) AND lease_until <= ?)
    OR EXISTS (SELECT 1 FROM cqrs_work FORCE INDEX (cqrs_work_state) WHERE state = 'ready' AND queue IN (#))";

/// What waited until now, of queues that are not of timers.
pub(super) const DUE: &str = "
SELECT seq FROM cqrs_work FORCE INDEX (cqrs_work_due)
WHERE state = 'waiting' AND queue IN (#) AND due_at <= ? LIMIT 1000 FOR UPDATE SKIP LOCKED";

const WAKE: &str = "UPDATE cqrs_work FORCE INDEX (PRIMARY) SET state = 'ready' WHERE seq IN (#)";

/// What a process held that died or stalled. One that is just committing has its row locked.
const RUN_OUT: &str = "
SELECT seq FROM cqrs_work FORCE INDEX (cqrs_work_state)
WHERE state = 'claimed' AND queue IN (#) AND lease_until <= ? LIMIT 1000 FOR UPDATE SKIP LOCKED";

/// It counts as an attempt: otherwise a message that kills its process would be tried for ever.
const TAKE_BACK: &str = "
UPDATE cqrs_work FORCE INDEX (PRIMARY)
SET state = 'ready', owner = NULL, lease_until = NULL, attempts = attempts + 1,
    error = 'the process that held it stopped, or stalled for longer than its lease'
WHERE seq IN (#)";

/// The oldest ready rows of one queue, and whether they stand behind others of their lane. One such part for each queue.
pub(super) const FIND: &str = "
(SELECT CAST(NULL AS SIGNED) AS until, found.seq, CAST(? AS SIGNED) AS place, found.lane_digest, found.lane_digest IS NOT NULL AND EXISTS (
    SELECT 1 FROM cqrs_work AS earlier WHERE earlier.lane_digest = found.lane_digest AND earlier.seq < found.seq) AS behind
FROM cqrs_work AS found FORCE INDEX (cqrs_work_state)
WHERE found.state = 'ready' AND found.queue = ? ORDER BY found.seq LIMIT ?)";

/// The timers of one queue that wait no longer, the most overdue first: a part of the same statement.
pub(super) const OVERDUE: &str = "
(SELECT found.due_at AS until, found.seq, CAST(? AS SIGNED) AS place, NULL AS lane_digest, FALSE AS behind
FROM cqrs_work AS found FORCE INDEX (cqrs_work_due)
WHERE found.state = 'waiting' AND found.queue = ? AND found.due_at <= ? ORDER BY found.due_at LIMIT ?)";

/// Lanes of which somebody does a row: the oldest row of a lane may have been committed later than one that is claimed.
const BUSY: &str = "
SELECT lane_digest FROM cqrs_work FORCE INDEX (cqrs_work_state) WHERE state = 'claimed' AND lane_digest IN (#)";

pub(super) const LOCK: &str = "
SELECT seq, fence, id, kind, handler, consumer_group, name, version, topic, message_key, lane, timer_key, payload,
    headers, created_at, due_at, attempts, error, deferred_since
FROM cqrs_work FORCE INDEX (PRIMARY)
WHERE seq IN (#) AND (state = 'ready' OR (state = 'waiting' AND kind = 'timer' AND due_at <= ?))
ORDER BY seq FOR UPDATE SKIP LOCKED";

/// A timer that is being done is no longer the one that its key stands for.
const CLAIM: &str = "
UPDATE cqrs_work FORCE INDEX (PRIMARY)
SET state = 'claimed', fence = fence + 1, owner = ?, lease_until = ?, timer_slot = NULL
WHERE seq IN (#)";

/// The rows that lanes begin with.
const FRONTS: &str = "SELECT MIN(seq) FROM cqrs_work WHERE lane_digest IN (#) GROUP BY lane_digest";

/// Those of them that nobody is taking away: while they are locked, nobody can.
const LOCK_FRONTS: &str = "
SELECT seq, lane_digest FROM cqrs_work FORCE INDEX (PRIMARY)
WHERE seq IN (#) AND lane_digest IS NOT NULL ORDER BY seq FOR UPDATE SKIP LOCKED";

const LOCK_BEHIND: &str = "
SELECT seq FROM cqrs_work FORCE INDEX (PRIMARY)
WHERE seq IN (#) AND state = 'ready' ORDER BY seq FOR UPDATE SKIP LOCKED";

/// Sets rows aside that stand behind others of their lane: claims do not look at them again until they are freed.
const PARK: &str = "UPDATE cqrs_work FORCE INDEX (PRIMARY) SET state = 'parked' WHERE seq IN (#)";

/// The soonest row of a queue that waits, and one that is ready and may be taken. One such part for each queue.
const NEXT_DUE: &str = "
(SELECT MIN(due_at) AS at FROM cqrs_work WHERE state = 'waiting' AND queue = ?)
UNION ALL
(SELECT mine.due_at FROM cqrs_work AS mine FORCE INDEX (cqrs_work_state)
WHERE mine.state = 'ready' AND mine.queue = ? AND (mine.lane_digest IS NULL OR NOT EXISTS (
    SELECT 1 FROM cqrs_work AS earlier WHERE earlier.lane_digest = mine.lane_digest AND earlier.seq < mine.seq)
AND NOT EXISTS (
    SELECT 1 FROM cqrs_work AS busy FORCE INDEX (cqrs_work_state)
    WHERE busy.state = 'claimed' AND busy.lane_digest = mine.lane_digest)) LIMIT 1)";

/// Every statement of this file, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[
    ANYTHING,
    DUE,
    WAKE,
    RUN_OUT,
    TAKE_BACK,
    FIND,
    OVERDUE,
    BUSY,
    LOCK,
    CLAIM,
    FRONTS,
    LOCK_FRONTS,
    LOCK_BEHIND,
    PARK,
    NEXT_DUE,
];

impl MySqlStore {
    pub(super) async fn take_work(&self, wanted: Wanted<'_>, request: Request) -> Result<Vec<ClaimedWork>, StoreError> {
        if request.limit == 0 || !self.named(self.anything(&wanted, &request).await)? {
            return Ok(Vec::new());
        }
        loop {
            let mut tx = self.write().await?;
            let mut taking = Taking::new(&wanted, &self.names, request.granted());
            let is_done = self.named(taking.run(&mut tx).await)?;
            self.named(tx.commit().await)?;
            if !taking.claimed.is_empty() || is_done || !taking.has_parked {
                claiming::put_in_order(&mut taking.claimed);
                return Ok(taking.claimed);
            }
        }
    }

    async fn anything(&self, wanted: &Wanted<'_>, request: &Request) -> Result<bool, sqlx::Error> {
        if wanted.queues.is_empty() {
            return Ok(false);
        }
        let queues = listed(wanted);
        let statement = sqlx::query(rows::list_text(&self.names, ANYTHING, queues.len()));
        let statement = rows::bind_list(statement, &queues).bind(request.now);
        let statement = rows::bind_list(statement, &queues).bind(request.lease_now);
        rows::bind_list(statement, &queues).fetch_one(&self.pool).await?.try_get(0)
    }

    pub(super) async fn next_work(&self, queues: Vec<[u8; 16]>) -> Result<Option<SystemTime>, StoreError> {
        if queues.is_empty() {
            return Ok(None);
        }
        let text = vec![self.names.text(NEXT_DUE); queues.len()].join("\nUNION ALL\n");
        let mut statement = sqlx::query(AssertSqlSafe(text));
        for queue in &queues {
            statement = statement.bind(queue.as_slice()).bind(queue.as_slice());
        }
        let mut next: Option<i64> = None;
        for row in self.named(statement.fetch_all(&self.pool).await)? {
            if let Some(at) = row.try_get::<Option<i64>, _>(0)? {
                next = Some(next.map_or(at, |next| next.min(at)));
            }
        }
        Ok(next.map(rows::time))
    }
}

type Wanted<'a> = claiming::Wanted<'a, Vec<[u8; 16]>>;

fn listed<'w>(wanted: &'w Wanted<'_>) -> Vec<&'w [u8]> {
    wanted.queues.iter().map(<[u8; 16]>::as_slice).collect()
}

pub(super) fn digests<'q>(queues: impl IntoIterator<Item = &'q WorkQueue>) -> Vec<[u8; 16]> {
    queues.into_iter().map(rows::queue).collect()
}

/// A row that a claim has found.
struct Found {
    seq: i64,
    /// Until when it waited, if it is a timer that did.
    until: Option<i64>,
    share: usize,
    lane: Option<Vec<u8>>,
    is_behind: bool,
}

/// One claim, in its transaction.
struct Taking<'t, 'a> {
    wanted: &'t Wanted<'a>,
    names: &'t Names,
    request: Request,
    /// Of each share, how much of it there is room for.
    limits: Vec<usize>,
    limit: usize,
    claimed: Vec<ClaimedWork>,
    /// What was asked for and had by somebody else.
    missed: HashSet<i64>,
    has_parked: bool,
}

impl<'t, 'a> Taking<'t, 'a> {
    /// How much there is room for is asked here: the transaction has begun, and nothing is waited for any more.
    fn new(wanted: &'t Wanted<'a>, names: &'t Names, request: Request) -> Self {
        Self {
            wanted,
            names,
            limits: wanted.limits(),
            limit: request.limit,
            request,
            claimed: Vec::new(),
            missed: HashSet::new(),
            has_parked: false,
        }
    }

    /// Claims what is free. `false` where it looked at as much as one claim may, and left the rest.
    async fn run(&mut self, connection: &mut MySqlConnection) -> Result<bool, sqlx::Error> {
        let queues = listed(self.wanted);
        let numbered = queues.iter().enumerate();
        let woken = numbered.filter_map(|(place, queue)| (!self.wanted.is_of_timers(place)).then_some(*queue));
        self.change(connection, &woken.collect::<Vec<_>>(), (DUE, self.request.now), WAKE).await?;
        self.change(connection, &queues, (RUN_OUT, self.request.lease_now), TAKE_BACK).await?;
        let mut at_once = self.limits.iter().copied().max().unwrap_or(0).min(self.limit);
        loop {
            if self.limit == 0 || self.limits.iter().all(|limit| *limit == 0) {
                return Ok(true);
            }
            let found = self.find(connection, at_once).await?;
            let (behind, free): (Vec<_>, Vec<_>) = found.into_iter().partition(|row| row.is_behind);
            self.park(connection, &behind).await?;
            self.take(connection, &free).await?;
            // Only what was parked or passed by can have hidden rows further back that there is room for.
            let mut hiding = behind.iter().chain(free.iter().filter(|row| self.missed.contains(&row.seq)));
            if hiding.all(|row| self.limits[row.share] == 0) {
                return Ok(true);
            }
            if at_once >= MOST_LOOKED_AT {
                return Ok(false);
            }
            at_once = at_once.saturating_mul(8).min(MOST_LOOKED_AT);
        }
    }

    /// Changes the rows of some queues that a statement finds and locks.
    async fn change(
        &self,
        connection: &mut MySqlConnection,
        queues: &[&[u8]],
        (find, until): (&str, i64),
        change: &str,
    ) -> Result<(), sqlx::Error> {
        if queues.is_empty() {
            return Ok(());
        }
        let statement = rows::listed(self.names, find, queues).bind(until);
        let found = numbers(&statement.fetch_all(&mut *connection).await?)?;
        if !found.is_empty() {
            rows::listed(self.names, change, &found).execute(connection).await?;
        }
        Ok(())
    }

    /// What may be taken first of these queues, so much of each, in order.
    async fn find(&self, connection: &mut MySqlConnection, at_once: usize) -> Result<Vec<Found>, sqlx::Error> {
        let queues = || self.wanted.queues.iter().enumerate();
        let timers = || queues().filter(|(place, _)| self.wanted.is_of_timers(*place));
        let mut parts = vec![self.names.text(FIND); queues().count()];
        parts.extend(vec![self.names.text(OVERDUE); timers().count()]);
        let (mut statement, most) = (sqlx::query(AssertSqlSafe(parts.join("\nUNION ALL\n"))), rows::limit(at_once));
        for (place, queue) in queues() {
            statement = statement.bind(rows::limit(place)).bind(queue.as_slice()).bind(most);
        }
        for (place, queue) in timers() {
            statement = statement.bind(rows::limit(place)).bind(queue.as_slice()).bind(self.request.now).bind(most);
        }
        let mut found = Vec::new();
        for row in statement.fetch_all(connection).await? {
            let Some(share) = self.wanted.share(row.try_get("place")?) else { continue };
            let (seq, lane, is_behind) = (row.try_get("seq")?, row.try_get("lane_digest")?, row.try_get("behind")?);
            found.push(Found { seq, until: row.try_get("until")?, share, lane, is_behind });
        }
        found.sort_unstable_by_key(|row| (row.until, row.seq));
        found.dedup_by_key(|row| row.seq);
        Ok(found)
    }

    /// Claims rows that stand behind nothing, as far as there is room for them.
    async fn take(&mut self, connection: &mut MySqlConnection, free: &[Found]) -> Result<(), sqlx::Error> {
        let busy = self.busy(connection, free).await?;
        let mut chosen: Vec<&Found> = Vec::new();
        let mut room = (self.limit, self.limits.clone());
        for row in free {
            if row.lane.as_ref().is_some_and(|lane| busy.contains(lane)) || self.missed.contains(&row.seq) {
                self.missed.insert(row.seq);
            } else if room.0 > 0 && room.1[row.share] > 0 {
                room.0 -= 1;
                room.1[row.share] -= 1;
                chosen.push(row);
            }
        }
        if chosen.is_empty() {
            return Ok(());
        }
        let asked: Vec<i64> = chosen.iter().map(|row| row.seq).collect();
        let locked = rows::listed(self.names, LOCK, &asked).bind(self.request.now).fetch_all(&mut *connection).await?;
        let mut had: Vec<i64> = Vec::with_capacity(locked.len());
        for row in &locked {
            had.push(row.try_get("seq")?);
        }
        if !had.is_empty() {
            let statement = sqlx::query(rows::list_text(self.names, CLAIM, had.len()))
                .bind(self.request.owner.as_str())
                .bind(self.request.lease_until);
            rows::bind_list(statement, &had).execute(&mut *connection).await?;
        }
        for row in chosen {
            if had.contains(&row.seq) {
                self.limit -= 1;
                self.limits[row.share] -= 1;
            } else {
                self.missed.insert(row.seq);
            }
        }
        for row in locked {
            self.hand_out(connection, &row).await?;
        }
        Ok(())
    }

    async fn hand_out(
        &mut self,
        connection: &mut MySqlConnection,
        row: &sqlx::mysql::MySqlRow,
    ) -> Result<(), sqlx::Error> {
        let before = rows::claim(row)?;
        let claim = Claim { fence: before.fence + 1, ..before };
        match work::read(row) {
            Ok((record, deferred_since)) => self.claimed.push(ClaimedWork { claim, record, deferred_since }),
            // One bad row must not hold up the others: it becomes a dead letter here and now.
            Err(error) => {
                let error = format!("the row cannot be read: {error}");
                work::bury(connection, self.names, claim, error, false).await?;
            }
        }
        Ok(())
    }

    /// Those of the rows' lanes of which somebody does a row.
    async fn busy(&self, connection: &mut MySqlConnection, rows: &[Found]) -> Result<HashSet<Vec<u8>>, sqlx::Error> {
        let lanes: Vec<&[u8]> = rows.iter().filter_map(|row| row.lane.as_deref()).collect();
        if lanes.is_empty() {
            return Ok(HashSet::new());
        }
        let found = rows::listed(self.names, BUSY, &lanes).fetch_all(connection).await?;
        found.iter().map(|row| row.try_get(0)).collect()
    }

    /// Sets rows aside that stand behind others, as far as those can be locked.
    async fn park(&mut self, connection: &mut MySqlConnection, behind: &[Found]) -> Result<(), sqlx::Error> {
        let lanes: HashSet<&[u8]> = behind.iter().filter_map(|row| row.lane.as_deref()).collect();
        if lanes.is_empty() {
            return Ok(());
        }
        let lanes: Vec<&[u8]> = lanes.into_iter().collect();
        let fronts = numbers(&rows::listed(self.names, FRONTS, &lanes).fetch_all(&mut *connection).await?)?;
        if fronts.is_empty() {
            return Ok(());
        }
        let locked = rows::listed(self.names, LOCK_FRONTS, &fronts).fetch_all(&mut *connection).await?;
        let mut fronts: HashMap<Vec<u8>, i64> = HashMap::new();
        for row in &locked {
            fronts.insert(row.try_get("lane_digest")?, row.try_get("seq")?);
        }
        // What was in front when they were found may have gone since, and one of them may be in front now.
        let is_behind =
            |row: &&Found| row.lane.as_ref().and_then(|lane| fronts.get(lane)).is_some_and(|front| *front < row.seq);
        let held = behind.iter().filter(is_behind);
        let held: Vec<i64> = held.map(|row| row.seq).collect();
        if held.is_empty() {
            return Ok(());
        }
        let parked = numbers(&rows::listed(self.names, LOCK_BEHIND, &held).fetch_all(&mut *connection).await?)?;
        if !parked.is_empty() {
            rows::listed(self.names, PARK, &parked).execute(connection).await?;
            self.has_parked = true;
        }
        Ok(())
    }
}

fn numbers(found: &[sqlx::mysql::MySqlRow]) -> Result<Vec<i64>, sqlx::Error> {
    found.iter().map(|row| row.try_get(0)).collect()
}
