//! The table of a group: its members, and who owns which slot. Pure: no I/O, no tasks.
//!
//! Every member reads the table, changes it and writes it back where nobody was faster, once a second: that is its beat.
//! A member whose beat does not come for as long as a lease is dead, by the clock of whoever looks on; no two clocks are
//! compared. What it owned is free. A member takes free slots up to its share, and gives up what it has beyond it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::lane::fnv1a;

/// A topic and one of its slots.
pub(super) type SlotId = (String, u16);

/// The table of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Table {
    members: BTreeMap<String, Member>,
    /// Who owns each slot, by topic.
    owners: BTreeMap<String, Vec<Option<String>>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Member {
    beat: u64,
    topics: Vec<String>,
}

/// What a member is to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// What it owns.
    pub(super) mine: BTreeSet<SlotId>,
    /// What of it belongs to others, as soon as nothing of it is out.
    pub(super) shed: BTreeSet<SlotId>,
}

impl Table {
    /// A member's beat: it takes part, the dead do not, what it gives up is free, and it takes its share of what is free.
    pub(super) fn beat(
        &mut self,
        me: &str,
        topics: &[String],
        slots: u16,
        dead: &[String],
        freed: &[SlotId],
    ) -> Standing {
        self.members.retain(|member, _| !dead.contains(member));
        let member = self.members.entry(me.to_owned()).or_default();
        member.beat += 1;
        member.topics = topics.to_vec();
        for (topic, slot) in freed {
            self.free(topic, *slot, me);
        }
        let mut standing = Standing::default();
        for topic in topics {
            self.take_share(topic, slots, me, &mut standing);
        }
        standing
    }

    fn free(&mut self, topic: &str, slot: u16, me: &str) {
        let owner = self.owners.get_mut(topic).and_then(|owners| owners.get_mut(usize::from(slot)));
        if let Some(owner) = owner.filter(|owner| owner.as_deref() == Some(me)) {
            *owner = None;
        }
    }

    fn take_share(&mut self, topic: &str, slots: u16, me: &str, standing: &mut Standing) {
        let takers: Vec<&String> = self
            .members
            .iter()
            .filter(|(_, member)| member.topics.iter().any(|its| its == topic))
            .map(|(id, _)| id)
            .collect();
        let share = share(topic, &takers, slots, me);
        let owners = self.owners.entry(topic.to_owned()).or_default();
        if owners.len() < usize::from(slots) {
            owners.resize(usize::from(slots), None);
        }
        for owner in owners.iter_mut() {
            if owner.as_ref().is_some_and(|owner| !takers.contains(&owner)) {
                *owner = None;
            }
        }
        let owned = owners.iter().filter(|owner| owner.as_deref() == Some(me)).count();
        for owner in owners.iter_mut().filter(|owner| owner.is_none()).take(share.saturating_sub(owned)) {
            *owner = Some(me.to_owned());
        }
        let mine = owners.iter().zip(0_u16..).filter(|(owner, _)| owner.as_deref() == Some(me));
        let mine: Vec<SlotId> = mine.map(|(_, slot)| (topic.to_owned(), slot)).collect();
        standing.shed.extend(mine.iter().skip(share).cloned());
        standing.mine.extend(mine);
    }

    /// The members' names.
    #[cfg(test)]
    pub(super) fn members(&self) -> Vec<String> {
        self.members.keys().cloned().collect()
    }

    /// A member leaves; what it owned is free.
    pub(super) fn leave(&mut self, me: &str) {
        self.members.remove(me);
        for owner in self.owners.values_mut().flatten() {
            if owner.as_deref() == Some(me) {
                *owner = None;
            }
        }
    }
}

/// How many slots of a topic a member should own. The members that get one more are others for each topic.
fn share(topic: &str, takers: &[&String], slots: u16, me: &str) -> usize {
    let (count, slots) = (takers.len().max(1), usize::from(slots));
    let at = takers.iter().position(|taker| *taker == me).unwrap_or_default();
    let turn = usize::try_from(fnv1a(topic.bytes()) % count as u64).unwrap_or_default();
    slots / count + usize::from((at + turn) % count < slots % count)
}

/// What a member has seen of the others.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The last beat of each, and when it was first seen.
    seen: HashMap<String, (u64, Instant)>,
    looked: Option<Instant>,
}

impl Watch {
    /// Looks at the table: who has been silent for as long as a lease? Where this member has not looked itself for a
    /// while, it begins to watch anew: the others may have been as unable to beat as it was to look.
    pub(super) fn look(
        &mut self,
        table: &Table,
        me: &str,
        now: Instant,
        beat: Duration,
        lease: Duration,
    ) -> Vec<String> {
        if self.looked.is_none_or(|looked| now.duration_since(looked) > beat * 3) {
            self.seen.clear();
        }
        self.looked = Some(now);
        self.seen.retain(|member, _| table.members.contains_key(member));
        let mut dead = Vec::new();
        for (id, member) in table.members.iter().filter(|(id, _)| *id != me) {
            let seen = self.seen.entry(id.clone()).or_insert((member.beat, now));
            if seen.0 != member.beat {
                *seen = (member.beat, now);
            }
            if now.duration_since(seen.1) >= lease {
                dead.push(id.clone());
            }
        }
        dead
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Standing, Table, Watch};

    const BEAT: Duration = Duration::from_secs(1);
    const LEASE: Duration = Duration::from_secs(5);

    fn topics() -> Vec<String> {
        vec!["t".to_owned(), "u".to_owned()]
    }

    fn beat(table: &mut Table, me: &str) -> Standing {
        table.beat(me, &topics(), 8, &[], &[])
    }

    /// Every member beats, and gives up what it is to, until nothing changes.
    fn settle(table: &mut Table, members: &[&str]) -> Vec<usize> {
        for _ in 0..10 {
            for me in members {
                let shed: Vec<_> = beat(table, me).shed.into_iter().collect();
                table.beat(me, &topics(), 8, &[], &shed);
            }
        }
        let standings: Vec<_> = members.iter().map(|me| beat(table, me)).collect();
        let all: BTreeSet<_> = standings.iter().flat_map(|standing| standing.mine.iter()).collect();
        assert_eq!(all.len(), 16, "every slot has an owner");
        assert_eq!(standings.iter().map(|standing| standing.mine.len()).sum::<usize>(), 16, "and only one");
        assert!(standings.iter().all(|standing| standing.shed.is_empty()));
        standings.iter().map(|standing| standing.mine.len()).collect()
    }

    #[test]
    fn members_share_the_slots_evenly_whoever_comes_and_goes() {
        let mut table = Table::default();
        assert_eq!(settle(&mut table, &["a"]), [16]);
        assert_eq!(settle(&mut table, &["a", "b"]), [8, 8]);
        let three = settle(&mut table, &["a", "b", "c"]);
        assert!(three.iter().all(|count| (4..=6).contains(count)), "{three:?}");
        table.leave("b");
        assert_eq!(settle(&mut table, &["a", "c"]), [8, 8]);
        let many: Vec<_> = (0..20).map(|n| format!("m{n:02}")).collect();
        let mut all: Vec<_> = many.iter().map(String::as_str).collect();
        all.extend(["a", "c"]);
        settle(&mut table, &all);
    }

    #[test]
    fn nobody_takes_what_another_has_not_given_up() {
        let mut table = Table::default();
        beat(&mut table, "a");
        assert_eq!(beat(&mut table, "b").mine, BTreeSet::new());
        let shed = beat(&mut table, "a").shed;
        assert_eq!(shed.len(), 8);
        assert_eq!(beat(&mut table, "b").mine, BTreeSet::new());
        table.beat("a", &topics(), 8, &[], &[shed.first().unwrap().clone()]);
        assert_eq!(beat(&mut table, "b").mine, BTreeSet::from([shed.first().unwrap().clone()]));
        // What is somebody else's cannot be given up.
        table.beat("a", &topics(), 8, &[], &[shed.first().unwrap().clone()]);
        assert_eq!(beat(&mut table, "b").mine.len(), 1);
    }

    #[test]
    fn what_the_dead_owned_is_free() {
        let mut table = Table::default();
        beat(&mut table, "a");
        let standing = table.beat("b", &topics(), 8, &["a".to_owned()], &[]);
        assert_eq!(standing.mine.len(), 16);
        // It was not dead: it finds that it owns nothing, and gets its share like anybody who comes.
        assert_eq!(beat(&mut table, "a").mine, BTreeSet::new());
        assert_eq!(settle(&mut table, &["a", "b"]), [8, 8]);
    }

    #[test]
    fn a_topic_is_shared_by_those_who_take_it() {
        let mut table = Table::default();
        table.beat("a", &["t".to_owned()], 8, &[], &[]);
        let standing = table.beat("b", &["u".to_owned()], 8, &[], &[]);
        assert_eq!(standing.mine.len(), 8);
        assert!(standing.shed.is_empty());
        assert_eq!(table.beat("a", &["t".to_owned()], 8, &[], &[]).mine.len(), 8);
    }

    #[test]
    fn a_member_is_dead_when_it_has_been_seen_silent_for_a_lease() {
        let (mut table, mut watch, start) = (Table::default(), Watch::default(), Instant::now());
        beat(&mut table, "a");
        beat(&mut table, "b");
        for second in 0..5 {
            assert!(watch.look(&table, "b", start + BEAT * second, BEAT, LEASE).is_empty(), "{second}");
        }
        assert_eq!(watch.look(&table, "b", start + LEASE, BEAT, LEASE), ["a"]);
        beat(&mut table, "a");
        assert!(watch.look(&table, "b", start + LEASE + BEAT, BEAT, LEASE).is_empty());
    }

    #[test]
    fn who_could_not_look_judges_nobody_by_it() {
        let (mut table, mut watch, start) = (Table::default(), Watch::default(), Instant::now());
        beat(&mut table, "a");
        watch.look(&table, "b", start, BEAT, LEASE);
        assert!(watch.look(&table, "b", start + LEASE * 2, BEAT, LEASE).is_empty());
    }
}
