//! The shards of the outbox: leased, renewed, given up. What to do about them, [`plan`] says.

use sqlx::{Executor, Postgres, Row};

use super::PostgresStore;
use crate::store::claiming::Request;
use crate::store::desk::Out;
use crate::store::shards::{Shard, plan};
use crate::store::{Claim, StoreError};

/// How often the shards are looked at while rows are claimed: so soon another process gets its share. What is found to belong to nobody
/// is seen to at once.
const LOOK_EVERY: i64 = 3_000_000;

/// How long a process that is gone is remembered.
const FORGET_AFTER: i64 = 3_600_000_000;

/// How often a process that finds nothing reads everything once more.
const START_OVER_EVERY: i64 = 10_000_000;

const LOOK: &str = "
SELECT shard, owner, fence, lease_until,
    (SELECT array_agg(owner) FROM cqrs_instances WHERE alive_until > $1) AS live
FROM cqrs_shards ORDER BY shard";

/// A process that let its lease run out was lost, with what it was busy with.
const TAKE: &str = "
WITH free AS (
    SELECT shard FROM cqrs_shards
    WHERE shard = ANY ($1) AND (owner IS NULL OR lease_until <= $2) FOR UPDATE SKIP LOCKED
)
UPDATE cqrs_shards AS mine
SET owner = $3, fence = fence + 1, lease_until = $4, lost = CASE WHEN owner IS NULL THEN lost ELSE lost + 1 END
FROM free WHERE mine.shard = free.shard
RETURNING mine.shard, mine.fence, mine.lost";

/// Says that this process is alive and wants its share, and renews what it has.
const RENEW: &str = "
WITH alive AS (
    INSERT INTO cqrs_instances (owner, alive_until) VALUES ($3, $4)
    ON CONFLICT (owner) DO UPDATE SET alive_until = GREATEST(cqrs_instances.alive_until, excluded.alive_until)
)
UPDATE cqrs_shards AS mine SET lease_until = GREATEST(mine.lease_until, $4)
FROM unnest($1::smallint[], $2::bigint[]) AS held (shard, fence)
WHERE mine.shard = held.shard AND mine.fence = held.fence AND mine.owner = $3
RETURNING mine.shard";

const GIVE_UP: &str = "
UPDATE cqrs_shards SET owner = NULL, lease_until = NULL WHERE owner = $1 AND shard = ANY ($2)";

/// So that what was given out before cannot be told from nothing any more.
const REFENCE: &str = "
UPDATE cqrs_shards SET fence = fence + 1 WHERE owner = $1 AND shard = ANY ($2) RETURNING shard, fence";

const LEAVE: &str = "DELETE FROM cqrs_instances WHERE owner = $1";

/// Processes that are long gone.
const FORGET: &str = "DELETE FROM cqrs_instances WHERE alive_until < $1";

/// Every statement of this file: their tables have a row for each shard and process.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[LOOK, TAKE, RENEW, GIVE_UP, REFENCE, LEAVE, FORGET];

/// What a process knows of its leases, by the clock they run by.
#[derive(Debug, Default)]
pub(super) struct Leases {
    /// Until when every shard is held.
    until: i64,
    /// When they were looked at.
    looked: Option<i64>,
    /// When rows were last read from the first one on.
    started_over: i64,
}

impl Leases {
    fn needs_look(&self, now: i64) -> bool {
        self.looked.is_none_or(|looked| now < looked || now - looked >= LOOK_EVERY) || self.until <= now
    }

    /// There are shards that nobody has: they are looked at with the next claim.
    pub(super) fn look_soon(&mut self) {
        self.looked = None;
    }

    /// Whether everything is to be read once more, though nothing should be found: somebody may have changed rows by hand.
    pub(super) fn is_time_to_start_over(&mut self, now: i64) -> bool {
        let is_time = now < self.started_over || now - self.started_over >= START_OVER_EVERY;
        if is_time {
            self.started_over = now;
        }
        is_time
    }
}

impl PostgresStore {
    /// Sees to the shards, if it is time to: takes, renews and gives up.
    pub(super) async fn tend(&self, request: &Request) -> Result<(), StoreError> {
        let now = request.lease_now;
        let (needs_look, needs_renewal) = {
            let leases = self.leases();
            let half = (request.lease_until - now) / 2;
            (leases.needs_look(now), leases.until - now <= half)
        };
        if !needs_look && !needs_renewal {
            return Ok(());
        }
        if needs_renewal {
            self.renew_shards(request.lease_until).await?;
        }
        let shards = self.look(now).await?;
        let plan = plan(&self.me, &shards.1, &shards.0, now);
        if !plan.take.is_empty() {
            self.take_shards(plan.take, request).await?;
            self.forget_instances(now - FORGET_AFTER).await?;
        }
        let leave = self.desk().leave(&plan.leave);
        self.give_up(&leave).await?;
        let mut leases = self.leases();
        leases.looked = Some(now);
        if needs_renewal {
            leases.until = request.lease_until;
        }
        Ok(())
    }

    /// The shards, and who is alive. What is somebody else's by now is forgotten.
    async fn look(&self, now: i64) -> Result<(Vec<Shard>, Vec<String>), StoreError> {
        let (mut shards, mut live) = (Vec::new(), Vec::new());
        for row in sqlx::query(self.names.sql(LOOK)).bind(now).fetch_all(&self.pool).await? {
            live = row.try_get::<Option<Vec<String>>, _>("live")?.unwrap_or_default();
            shards.push(Shard {
                number: row.try_get("shard")?,
                owner: row.try_get("owner")?,
                fence: row.try_get("fence")?,
                lease_until: row.try_get("lease_until")?,
            });
        }
        let mut desk = self.desk();
        for (shard, fence) in desk.shards() {
            let is_mine =
                |row: &&Shard| row.number == shard && row.fence == fence && row.owner.as_ref() == Some(&self.me);
            if !shards.iter().any(|row| is_mine(&row)) {
                desk.lost(shard);
            }
        }
        // Taken, and the answer was lost: nobody works on it, so it is given back.
        for row in &mut shards {
            if row.owner.as_ref() == Some(&self.me) && desk.held(row.number).is_none() {
                desk.took(row.number, row.fence, 0);
            }
        }
        Ok((shards, live))
    }

    async fn take_shards(&self, shards: Vec<i16>, request: &Request) -> Result<(), StoreError> {
        let taken = sqlx::query(self.names.sql(TAKE))
            .bind(shards)
            .bind(request.lease_now)
            .bind(self.me.as_str())
            .bind(request.lease_until)
            .fetch_all(&self.pool)
            .await?;
        for row in taken {
            let (shard, lost): (i16, i32) = (row.try_get("shard")?, row.try_get("lost")?);
            if lost > 0 {
                tracing::warn!(shard, lost, "a process that published events was lost: its shard is taken over");
            }
            self.desk().took(shard, row.try_get("fence")?, lost);
        }
        Ok(())
    }

    /// Says that this process is alive, and renews every shard that it holds. What is somebody else's is forgotten, with what was given out of it.
    async fn renew_shards(&self, lease_until: i64) -> Result<(), StoreError> {
        let held = self.desk().shards();
        let (shards, fences): (Vec<i16>, Vec<i64>) = held.into_iter().unzip();
        let renewed: Vec<i16> = sqlx::query_scalar(self.names.sql(RENEW))
            .bind(&shards)
            .bind(fences)
            .bind(self.me.as_str())
            .bind(lease_until)
            .fetch_all(&self.pool)
            .await?;
        let mut desk = self.desk();
        for shard in shards.into_iter().filter(|shard| !renewed.contains(shard)) {
            desk.lost(shard);
        }
        Ok(())
    }

    /// Gives shards up. Forgotten first: whatever becomes of the statement, nothing of them is given out any more.
    async fn give_up(&self, shards: &[i16]) -> Result<(), StoreError> {
        if shards.is_empty() {
            return Ok(());
        }
        for shard in shards {
            self.desk().lost(*shard);
        }
        sqlx::query(self.names.sql(GIVE_UP)).bind(self.me.as_str()).bind(shards).execute(&self.pool).await?;
        Ok(())
    }

    /// Gives shards a new fence, so that a claim of before does not hold any more. Gives the fences of those that are still this
    /// process's.
    pub(super) async fn refence<'e>(
        &self,
        executor: impl Executor<'e, Database = Postgres>,
        shards: Vec<i16>,
    ) -> Result<Vec<(i16, i64)>, StoreError> {
        let statement = sqlx::query_as(self.names.sql(REFENCE)).bind(self.me.as_str()).bind(shards);
        Ok(statement.fetch_all(executor).await?)
    }

    /// Takes back what was given out, now that its shards have other fences.
    pub(super) fn moved(&self, out: &[Out], fences: &[(i16, i64)]) {
        let mut desk = self.desk();
        desk.take_back(out);
        for (shard, fence) in fences {
            desk.refence(*shard, *fence);
        }
        for shard in Out::shards(out).into_iter().filter(|shard| fences.iter().all(|(mine, _)| mine != shard)) {
            desk.lost(shard);
        }
    }

    /// Takes back what an owner has not ended; with the last of it the shards go, too.
    pub(super) async fn leave_outbox(&self, owner: &str) -> Result<(), StoreError> {
        let out = self.desk().of_owner(owner);
        if self.desk().len() > out.len() {
            // Somebody else of this process keeps its shards: his claims hold, and those of before do not.
            let fences = self.refence(&self.pool, Out::shards(&out)).await?;
            self.moved(&out, &fences);
            return Ok(());
        }
        let shards: Vec<i16> = self.desk().shards().into_iter().map(|(shard, _)| shard).collect();
        if shards.is_empty() {
            return Ok(());
        }
        self.give_up(&shards).await?;
        sqlx::query(self.names.sql(LEAVE)).bind(self.me.as_str()).execute(&self.pool).await?;
        *self.leases() = Leases::default();
        Ok(())
    }

    async fn forget_instances(&self, before: i64) -> Result<(), StoreError> {
        sqlx::query(self.names.sql(FORGET)).bind(before).execute(&self.pool).await?;
        Ok(())
    }

    pub(super) async fn hold_outbox(&self, claims: Vec<Claim>, lease_until: i64) -> Result<Vec<Claim>, StoreError> {
        if claims.is_empty() {
            return Ok(claims);
        }
        // A process that is never idle renews more often than it looks at the shards, and is alive all the same.
        self.renew_shards(lease_until).await?;
        let mut desk = self.desk();
        for claim in &claims {
            desk.renew(*claim, lease_until);
        }
        let held = claims.into_iter().filter(|claim| desk.flight(*claim).is_some()).collect();
        drop(desk);
        let mut leases = self.leases();
        leases.until = leases.until.max(lease_until);
        Ok(held)
    }
}
