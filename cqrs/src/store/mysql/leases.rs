//! Shards of the outbox: taken, kept, given up.
//!
//! Every change is one statement that asks for the fence it was made for: nobody ever holds a lock on a shard while he
//! does something else, so that a process that is stopped in the middle keeps nobody waiting.

use std::time::SystemTime;

use sqlx::Row;

use super::fault::Tries;
use super::{MySqlStore, rows};
use crate::store::claiming::Request;
use crate::store::desk::{Desk, Out};
use crate::store::shards::{self, Shard};
use crate::store::{Claim, StoreError};

/// How often shards are looked after while there are some: so many times in a lease.
const LOOKS_A_LEASE: i64 = 2;

const ALIVE: &str = "
INSERT INTO cqrs_instances (owner, alive_until) VALUES (?, ?)
ON DUPLICATE KEY UPDATE alive_until = GREATEST(alive_until, VALUES(alive_until))";

const LIVE: &str = "SELECT owner, alive_until FROM cqrs_instances";

const FORGET: &str = "DELETE FROM cqrs_instances WHERE owner = ? AND alive_until <= ?";

const SHARDS: &str = "SELECT shard, owner, fence, lease_until, lost FROM cqrs_shards";

const KEEP: &str = "UPDATE cqrs_shards SET lease_until = GREATEST(COALESCE(lease_until, 0), ?) WHERE owner = ?";

/// Whoever leaves a shard behind with its owner in it was lost.
const TAKE: &str = "
UPDATE cqrs_shards
SET lost = CASE WHEN owner IS NULL THEN lost ELSE lost + 1 END, owner = ?, fence = fence + 1, lease_until = ?
WHERE shard = ? AND fence = ? AND (owner IS NULL OR owner = ? OR lease_until IS NULL OR lease_until <= ?)";

/// Claims made before do not fit those that come after.
const REFENCE: &str = "UPDATE cqrs_shards SET fence = fence + 1 WHERE shard = ? AND owner = ? AND fence = ?";

const LEAVE: &str =
    "UPDATE cqrs_shards SET owner = NULL, lease_until = NULL WHERE shard = ? AND owner = ? AND fence = ?";

const TRUST: &str = "UPDATE cqrs_shards SET lost = 0 WHERE shard = ? AND owner = ? AND fence = ?";

/// Every statement of this file that looks something up, for the test that none of them scans a table: there are few shards
/// and instances, and some statements read them all.
#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[FORGET, TAKE, REFENCE, LEAVE, TRUST];

/// A shard, and how many of its owners were lost.
type Known = (Shard, i32);

impl MySqlStore {
    fn desk(&self) -> std::sync::MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What a process keeps in mind, for a moment.
    pub(super) fn with_desk<T>(&self, ask: impl FnOnce(&mut Desk) -> T) -> T {
        ask(&mut self.desk())
    }

    /// Looks after the shards, where it is time to: says that this process lives, keeps what it has, takes its fair share,
    /// and gives up what is more than that.
    pub(super) async fn tend(&self, request: &Request) -> Result<(), StoreError> {
        self.take_back_expired(request).await?;
        let often = (request.lease_until - request.lease_now) / LOOKS_A_LEASE;
        let is_early = |tended: i64| (tended..tended.saturating_add(often)).contains(&request.lease_now);
        let tended = self.tended.load(std::sync::atomic::Ordering::Acquire);
        if is_early(tended) && self.with_desk(|desk| !desk.open().is_empty()) {
            return Ok(());
        }
        let mut tries = Tries::default();
        loop {
            // It looks anew at what is there, whatever of it was done before.
            let shared = self.share_out(request).await;
            if !tries.again(&shared) {
                self.named(shared)?;
                break;
            }
        }
        self.tended.store(request.lease_now, std::sync::atomic::Ordering::Release);
        Ok(())
    }

    /// The next claim looks after the shards first.
    pub(super) fn tend_soon(&self) {
        self.tended.store(i64::MIN, std::sync::atomic::Ordering::Release);
    }

    async fn share_out(&self, request: &Request) -> Result<(), sqlx::Error> {
        let alive = sqlx::query(self.names.sql(ALIVE)).bind(self.me.as_str()).bind(request.lease_until);
        alive.execute(&self.pool).await?;
        let live = self.live(request.lease_now).await?;
        let all = self.shards().await?;
        self.forget_lost(&all);
        let keep = sqlx::query(self.names.sql(KEEP)).bind(request.lease_until).bind(self.me.as_str());
        keep.execute(&self.pool).await?;
        let known: Vec<Shard> = all.iter().map(|(shard, _)| shard.clone()).collect();
        let plan = shards::plan(&self.me, &live, &known, request.lease_now);
        let is_wanted = |shard: &Shard| {
            let is_mine = shard.owner.as_deref() == Some(self.me.as_str());
            // One that is this process's and is not known here was left by a statement whose answer was lost.
            plan.take.contains(&shard.number) || (is_mine && self.with_desk(|desk| desk.held(shard.number).is_none()))
        };
        let wanted: Vec<&Known> = all.iter().filter(|(shard, _)| is_wanted(shard)).collect();
        for shard in self.with_desk(|desk| desk.leave(&plan.leave)) {
            self.give_up(shard).await?;
        }
        for (shard, lost) in wanted {
            let lost = lost + i32::from(shard.owner.is_some());
            self.take_shard(shard.number, shard.fence, lost, request).await?;
        }
        Ok(())
    }

    async fn take_shard(&self, shard: i16, fence: i64, lost: i32, request: &Request) -> Result<(), sqlx::Error> {
        let taken = sqlx::query(self.names.sql(TAKE))
            .bind(self.me.as_str())
            .bind(request.lease_until)
            .bind(shard)
            .bind(fence)
            .bind(self.me.as_str())
            .bind(request.lease_now)
            .execute(&self.pool)
            .await?;
        self.with_desk(|desk| match taken.rows_affected() {
            0 => desk.lost(shard),
            _ => desk.took(shard, fence + 1, lost),
        });
        Ok(())
    }

    /// Who lives. Whoever has not been heard of for long is forgotten.
    async fn live(&self, now: i64) -> Result<Vec<String>, sqlx::Error> {
        let mut live = Vec::new();
        for row in sqlx::query(self.names.sql(LIVE)).fetch_all(&self.pool).await? {
            let (owner, until): (Vec<u8>, i64) = (row.try_get("owner")?, row.try_get("alive_until")?);
            if until > now {
                live.push(String::from_utf8_lossy(&owner).into_owned());
            } else {
                sqlx::query(self.names.sql(FORGET)).bind(owner).bind(now).execute(&self.pool).await?;
            }
        }
        Ok(live)
    }

    async fn shards(&self) -> Result<Vec<Known>, sqlx::Error> {
        let read = |row: sqlx::mysql::MySqlRow| {
            let owner: Option<Vec<u8>> = row.try_get("owner")?;
            let shard = Shard {
                number: row.try_get("shard")?,
                owner: owner.map(|owner| String::from_utf8_lossy(&owner).into_owned()),
                fence: row.try_get("fence")?,
                lease_until: row.try_get("lease_until")?,
            };
            Ok((shard, row.try_get("lost")?))
        };
        let mut all: Vec<Known> = sqlx::query(self.names.sql(SHARDS))
            .fetch_all(&self.pool)
            .await?
            .into_iter()
            .map(read)
            .collect::<Result<_, sqlx::Error>>()?;
        all.sort_by_key(|(shard, _)| shard.number);
        Ok(all)
    }

    /// Forgets shards that have another owner, or another fence, by now.
    fn forget_lost(&self, all: &[Known]) {
        self.with_desk(|desk| {
            for (shard, fence) in desk.shards() {
                let is_mine = |other: &Shard| {
                    other.number == shard && other.fence == fence && other.owner.as_deref() == Some(self.me.as_str())
                };
                if !all.iter().any(|(other, _)| is_mine(other)) {
                    desk.lost(shard);
                }
            }
        });
    }

    /// Finds out which shards are still this process's.
    pub(super) async fn look_at_shards(&self) -> Result<(), StoreError> {
        let all = self.named(self.shards().await)?;
        self.forget_lost(&all);
        Ok(())
    }

    async fn give_up(&self, shard: i16) -> Result<(), sqlx::Error> {
        let Some(held) = self.with_desk(|desk| desk.held(shard)) else { return Ok(()) };
        self.with_desk(|desk| desk.lost(shard));
        let leave = sqlx::query(self.names.sql(LEAVE)).bind(shard).bind(self.me.as_str()).bind(held.fence);
        leave.execute(&self.pool).await.map(drop)
    }

    /// Takes back what somebody of this process was given and has not been heard of since. His claims must not fit any more:
    /// so the shard is taken anew.
    async fn take_back_expired(&self, request: &Request) -> Result<(), StoreError> {
        let out = self.with_desk(|desk| desk.expired(request.lease_now));
        if out.is_empty() {
            return Ok(());
        }
        self.refence(&Out::shards(&out)).await?;
        // What of it is in somebody else's shards by now, is his.
        let numbers: Vec<i64> = self.with_desk(|desk| {
            let mine = out.iter().filter(|out| desk.flight(out.claim).is_some());
            mine.map(|out| out.claim.seq).collect()
        });
        self.named(self.count_attempts(&numbers).await)?;
        self.with_desk(|desk| desk.take_back(&out));
        Ok(())
    }

    /// Gives shards new fences: what is taken back of them is given out again, and the claims of before must not fit it.
    async fn refence(&self, shards: &[i16]) -> Result<(), StoreError> {
        for shard in shards {
            let Some(held) = self.with_desk(|desk| desk.held(*shard)) else { continue };
            let refence = sqlx::query(self.names.sql(REFENCE)).bind(*shard).bind(self.me.as_str()).bind(held.fence);
            let is_mine = self.named(refence.execute(&self.pool).await)?.rows_affected() > 0;
            self.with_desk(|desk| if is_mine { desk.refence(*shard, held.fence + 1) } else { desk.lost(*shard) });
        }
        Ok(())
    }

    /// Hands back what an owner was given. Where nothing is under way any more, the shards go with it.
    pub(super) async fn release_outbox(&self, owner: &str) -> Result<(), StoreError> {
        let (out, is_idle) = self.with_desk(|desk| {
            let out = desk.of_owner(owner);
            let is_idle = desk.len() == out.len();
            (out, is_idle)
        });
        if !is_idle {
            self.refence(&Out::shards(&out)).await?;
            self.with_desk(|desk| desk.take_back(&out));
            return Ok(());
        }
        let forget = sqlx::query(self.names.sql(FORGET)).bind(self.me.as_str()).bind(i64::MAX);
        self.named(forget.execute(&self.pool).await)?;
        for (shard, _) in self.with_desk(|desk| desk.shards()) {
            self.named(self.give_up(shard).await)?;
        }
        Ok(())
    }

    /// Renews claims, by renewing the leases of their shards.
    pub(super) async fn hold_outbox(&self, claims: Vec<Claim>, until: SystemTime) -> Result<Vec<Claim>, StoreError> {
        let until = rows::micros(until);
        if self.with_desk(|desk| claims.iter().all(|claim| desk.flight(*claim).is_none())) {
            return Ok(Vec::new());
        }
        let mut tries = Tries::default();
        loop {
            let kept = self.keep_and_live(until).await;
            if !tries.again(&kept) {
                self.named(kept)?;
                break;
            }
        }
        self.look_at_shards().await?;
        Ok(self.with_desk(|desk| {
            let held: Vec<Claim> = claims.into_iter().filter(|claim| desk.flight(*claim).is_some()).collect();
            for claim in &held {
                desk.renew(*claim, until);
            }
            held
        }))
    }

    async fn keep_and_live(&self, until: i64) -> Result<(), sqlx::Error> {
        let keep = sqlx::query(self.names.sql(KEEP)).bind(until).bind(self.me.as_str());
        keep.execute(&self.pool).await?;
        let alive = sqlx::query(self.names.sql(ALIVE)).bind(self.me.as_str()).bind(until);
        alive.execute(&self.pool).await.map(drop)
    }

    /// Something of these shards was settled: what they hold ends no process.
    pub(super) async fn trust(&self, mut shards: Vec<i16>) -> Result<(), StoreError> {
        shards.sort_unstable();
        shards.dedup();
        for shard in shards {
            let Some(held) = self.with_desk(|desk| desk.held(shard)).filter(|held| held.lost > 0) else { continue };
            let trust = sqlx::query(self.names.sql(TRUST)).bind(shard).bind(self.me.as_str()).bind(held.fence);
            self.named(trust.execute(&self.pool).await)?;
            self.with_desk(|desk| desk.trust(shard));
        }
        Ok(())
    }
}
