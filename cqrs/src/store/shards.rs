//! Which process publishes what of an outbox that is shared by shards. Pure.
//!
//! A row's shard follows from its topic and key. [`plan`] says which shards a process takes and which it gives up. Which of their rows it
//! has given out, its [`Desk`](super::desk::Desk) keeps in mind.

use uuid::Uuid;

use crate::lane::lane_of;

/// How many shards there are: at most so many processes publish at once. The schema has as many rows.
pub(super) const SHARDS: u16 = 16;

/// The shard of a row; of one without key any.
pub(super) fn shard_of(topic: &str, key: Option<&str>, id: Uuid) -> i16 {
    let number = lane_of(topic, key).map_or_else(|| u64::from(id.as_bytes()[15]), |lane| lane ^ (lane >> 32));
    i16::try_from(number % u64::from(SHARDS)).unwrap_or(0)
}

/// A shard, as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shard {
    pub(super) number: i16,
    pub(super) owner: Option<String>,
    pub(super) fence: i64,
    pub(super) lease_until: Option<i64>,
}

/// What to do about the shards.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Free, or left by a process that is gone: to be taken.
    pub(super) take: Vec<i16>,
    /// More than a fair share, now that there are others: to be given up as soon as nothing of them is under way.
    pub(super) leave: Vec<i16>,
}

/// Which shards a process takes and leaves, of the `live` ones that share them, itself among them.
pub(super) fn plan(me: &str, live: &[String], shards: &[Shard], now: i64) -> Plan {
    let mut live: Vec<&str> = live.iter().map(String::as_str).chain([me]).collect();
    live.sort_unstable();
    live.dedup();
    let rank = live.iter().position(|name| *name == me).unwrap_or(0);
    let fair = shards.len() / live.len() + usize::from(rank < shards.len() % live.len());
    let mine: Vec<i16> =
        shards.iter().filter(|shard| shard.owner.as_deref() == Some(me)).map(|shard| shard.number).collect();
    let is_free = |shard: &&Shard| {
        shard.owner.as_deref().is_none_or(|owner| owner != me && shard.lease_until.is_none_or(|until| until <= now))
    };
    let free = shards.iter().filter(is_free).map(|shard| shard.number);
    Plan { take: free.take(fair.saturating_sub(mine.len())).collect(), leave: mine.into_iter().skip(fair).collect() }
}

#[cfg(test)]
mod tests;
