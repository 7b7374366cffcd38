//! Who publishes what is in the outbox: one process at a time, by a lease.
//!
//! There is one writer at a time anyway, so that sharing would gain nothing. Whoever finds nothing to publish writes nothing: it
//! lets the lease go when it would have to renew it, and takes it again with the next event.

use std::sync::{MutexGuard, PoisonError};

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::SqliteStore;
use crate::store::claiming::Request;
use crate::store::desk::{Desk, Out};
use crate::store::{Claim, StoreError};

/// All of the outbox, as the desk knows it.
pub(super) const ALL: i16 = 0;

/// Who has the lease, and what there is for him to do. Asked without the write lock, so that an idle relay disturbs no writer.
const LOOK: &str = "
SELECT owner, fence, lease_until, doubted, lost, again,
    EXISTS (SELECT 1 FROM cqrs_outbox INDEXED BY cqrs_outbox_due WHERE state = 'waiting' AND due_at <= ?) AS is_due,
    EXISTS (SELECT 1 FROM cqrs_outbox WHERE state = 'ready') AS is_ready
FROM cqrs_relay WHERE one = 1";

const TAKE: &str = "UPDATE cqrs_relay SET owner = ?, fence = fence + 1, lease_until = ?, doubted = 0, lost = ?";

/// There is one writer at a time: while somebody wrote for long, the owner could not renew its lease, and nobody could look. Now that
/// somebody looks, the owner can write as well, and has so much longer to say that it lives.
const DOUBT: &str = "UPDATE cqrs_relay SET doubted = 1, lease_until = ?";

const RENEW: &str = "
UPDATE cqrs_relay SET lease_until = MAX(COALESCE(lease_until, 0), ?), doubted = 0 WHERE owner = ?";

const GIVE_UP: &str = "UPDATE cqrs_relay SET owner = NULL, lease_until = NULL, doubted = 0 WHERE owner = ?";

/// So that what was given out before cannot be told from nothing any more.
const REFENCE: &str = "UPDATE cqrs_relay SET fence = fence + 1 WHERE owner = ? RETURNING fence";

const AGAIN: &str = "SELECT again FROM cqrs_relay";

const SEEN_AGAIN: &str = "UPDATE cqrs_relay SET again = NULL WHERE again IS NOT NULL";

/// Something was heard of a row: what is there ends no process.
const TRUST: &str = "UPDATE cqrs_relay SET lost = 0 WHERE lost > 0";

const FENCE: &str = "SELECT fence FROM cqrs_relay WHERE owner = ?";

/// Wakes what waited until now. By the index of due times, which SQLite would pass over for that of states: during an
/// outage of the broker very much waits, and little of it is due. A thousand at a time: nobody can write meanwhile.
const WAKE: &str = "
UPDATE cqrs_outbox SET state = 'ready' WHERE seq IN (
    SELECT seq FROM cqrs_outbox INDEXED BY cqrs_outbox_due WHERE state = 'waiting' AND due_at <= ?
    ORDER BY due_at LIMIT 1000)";

/// Every statement of this file that looks something up among the events, for the test that none of them scans a table.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[LOOK, WAKE];

/// What a look saw.
struct Seen {
    owner: Option<String>,
    fence: i64,
    lease_until: i64,
    is_doubted: bool,
    /// How many owners were lost.
    lost: i32,
    again: Option<i64>,
    is_due: bool,
    is_ready: bool,
}

/// Whose the lease is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Mine,
    Nobodys,
    /// Its owner has not been heard of in time.
    Late,
    Others,
}

impl Seen {
    fn read(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            owner: row.try_get("owner")?,
            fence: row.try_get("fence")?,
            lease_until: row.try_get::<Option<i64>, _>("lease_until")?.unwrap_or(0),
            is_doubted: row.try_get("doubted")?,
            lost: row.try_get("lost")?,
            again: row.try_get("again")?,
            is_due: row.try_get("is_due")?,
            is_ready: row.try_get("is_ready")?,
        })
    }

    fn whose(&self, me: &str, now: i64) -> Whose {
        match self.owner.as_deref() {
            None => Whose::Nobodys,
            Some(owner) if owner == me => Whose::Mine,
            Some(_) if self.lease_until <= now => Whose::Late,
            Some(_) => Whose::Others,
        }
    }

    fn is_anything(&self) -> bool {
        self.is_due || self.is_ready
    }
}

impl SqliteStore {
    pub(super) fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to the lease, and to what has been made ready again. Afterwards the desk knows whether rows may be given out.
    pub(super) async fn tend(&self, request: &Request) -> Result<(), StoreError> {
        let row = self.named(sqlx::query(LOOK).bind(request.now).fetch_one(&self.pool).await)?;
        let seen = self.named(Seen::read(&row))?;
        self.compare(&seen);
        let is_half_over = seen.lease_until - request.lease_now <= request.lease() / 2;
        let has_to_write = match seen.whose(&self.me, request.lease_now) {
            Whose::Mine if is_half_over && !seen.is_anything() && self.desk().len() == 0 => {
                return self.give_up().await;
            }
            Whose::Mine => is_half_over || seen.is_due || seen.again.is_some(),
            Whose::Nobodys => seen.is_anything(),
            Whose::Late => !seen.is_doubted || seen.is_anything(),
            Whose::Others => false,
        };
        if has_to_write {
            let mut tx = self.write().await?;
            let told = self.named(self.tend_locked(&mut tx, &request.granted()).await)?;
            if let Told::Again(seq) = told {
                // Before it is forgotten there: too far back does no harm.
                self.desk().look_back(seq);
            }
            tx.commit().await?;
            if let Told::Taken { fence, lost } = told {
                self.took(fence, lost);
            }
        }
        Ok(())
    }

    /// The same with the write lock: what was seen before may be different by now.
    async fn tend_locked(&self, tx: &mut SqliteConnection, request: &Request) -> Result<Told, sqlx::Error> {
        let seen = Seen::read(&sqlx::query(LOOK).bind(request.now).fetch_one(&mut *tx).await?)?;
        let mut told = Told::Nothing;
        match seen.whose(&self.me, request.lease_now) {
            Whose::Mine => {
                let renew = sqlx::query(RENEW).bind(request.lease_until).bind(self.me.as_str());
                renew.execute(&mut *tx).await?;
            }
            Whose::Late if !seen.is_doubted => {
                sqlx::query(DOUBT).bind(request.doubt_until()).execute(&mut *tx).await?;
                return Ok(told);
            }
            whose @ (Whose::Nobodys | Whose::Late) => {
                let lost = seen.lost + i32::from(whose == Whose::Late);
                let take = sqlx::query(TAKE).bind(self.me.as_str()).bind(request.lease_until).bind(lost);
                take.execute(&mut *tx).await?;
                told = Told::Taken { fence: seen.fence + 1, lost };
            }
            Whose::Others => return Ok(told),
        }
        if seen.is_due {
            sqlx::query(WAKE).bind(request.now).execute(&mut *tx).await?;
        }
        let again: Option<i64> = sqlx::query_scalar(AGAIN).fetch_one(&mut *tx).await?;
        if let Some(again) = again {
            sqlx::query(SEEN_AGAIN).execute(&mut *tx).await?;
            // Who has just taken the lease reads everything anyway.
            if let Told::Nothing = told {
                told = Told::Again(again);
            }
        }
        Ok(told)
    }

    fn took(&self, fence: i64, lost: i32) {
        if lost > 0 {
            tracing::warn!(lost, "a process that published events was lost: another one goes on with them");
        }
        self.desk().took(ALL, fence, lost);
    }

    /// Compares what the desk knows with what is there.
    fn compare(&self, seen: &Seen) {
        let is_mine = seen.owner.as_deref() == Some(self.me.as_str());
        let mut desk = self.desk();
        match desk.held(ALL) {
            Some(held) if !is_mine || held.fence != seen.fence => desk.lost(ALL),
            _ => {}
        }
        // Taken, and the answer was lost: nobody has been given anything of it.
        if is_mine && desk.held(ALL).is_none() {
            desk.took(ALL, seen.fence, seen.lost);
        }
    }

    /// Forgotten first: whatever becomes of the statement, nothing is given out any more.
    async fn give_up(&self) -> Result<(), StoreError> {
        self.desk().lost(ALL);
        let mut tx = self.write().await?;
        self.named(sqlx::query(GIVE_UP).bind(self.me.as_str()).execute(&mut *tx).await)?;
        tx.commit().await
    }

    /// Takes back what an owner has not ended; with the last of it the lease goes, too.
    pub(super) async fn leave_outbox(&self, owner: &str) -> Result<(), StoreError> {
        // Nobody looks at the lease meanwhile, and takes for his what is about to go.
        let _turn = self.claiming.lock().await;
        let out = self.desk().of_owner(owner);
        if self.desk().len() > out.len() {
            // Somebody else of this process keeps the lease: his claims hold, and those of before do not.
            let mut tx = self.write().await?;
            let fence = self.refence(&mut tx).await?;
            tx.commit().await?;
            self.moved(&out, fence);
            return Ok(());
        }
        if self.desk().held(ALL).is_some() { self.give_up().await } else { Ok(()) }
    }

    /// A new fence, so that a claim of before does not hold any more; none where the lease is somebody else's by now.
    pub(super) async fn refence(&self, tx: &mut SqliteConnection) -> Result<Option<i64>, StoreError> {
        self.named(sqlx::query_scalar(REFENCE).bind(self.me.as_str()).fetch_optional(tx).await)
    }

    /// Takes back what was given out, now that there is another fence.
    pub(super) fn moved(&self, out: &[Out], fence: Option<i64>) {
        let mut desk = self.desk();
        desk.take_back(out);
        match fence {
            Some(fence) => desk.refence(ALL, fence),
            None => desk.lost(ALL),
        }
    }

    /// The fence of the lease, if that is this process's, for as long as the write lock is held.
    pub(super) async fn fence(&self, tx: &mut SqliteConnection) -> Result<Option<i64>, sqlx::Error> {
        sqlx::query_scalar(FENCE).bind(self.me.as_str()).fetch_optional(tx).await
    }

    pub(super) async fn trust(tx: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        sqlx::query(TRUST).execute(tx).await.map(drop)
    }

    /// Renews claims. Whoever asks is alive, whatever the database is busy with: nobody of this process takes them from him meanwhile.
    pub(super) async fn hold_outbox(&self, claims: Vec<Claim>, lease_until: i64) -> Result<Vec<Claim>, StoreError> {
        let Some(held) = self.desk().held(ALL) else { return Ok(Vec::new()) };
        {
            let mut desk = self.desk();
            for claim in &claims {
                desk.renew(*claim, lease_until);
            }
            if claims.iter().all(|claim| desk.flight(*claim).is_none()) {
                return Ok(Vec::new());
            }
        }
        let mut tx = self.write().await?;
        let renew = sqlx::query(RENEW).bind(lease_until).bind(self.me.as_str());
        let renewed = self.named(renew.execute(&mut *tx).await)?.rows_affected();
        tx.commit().await?;
        let mut desk = self.desk();
        if renewed == 0 && desk.held(ALL) == Some(held) {
            desk.lost(ALL);
        }
        Ok(claims.into_iter().filter(|claim| desk.flight(*claim).is_some()).collect())
    }
}

/// What came of seeing to the lease.
enum Told {
    Nothing,
    Taken {
        fence: i64,
        lost: i32,
    },
    /// From this row on everything has to be read again.
    Again(i64),
}
