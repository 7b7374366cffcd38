//! What a process keeps in mind, against a model of the table.

use super::*;

/// Numbers that look random, and are the same in every run.
pub(in crate::store) struct Dice(pub(in crate::store) u64);

impl Dice {
    pub(in crate::store) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn asked(owner: &str, limit: usize) -> Asked {
    Asked { owner: owner.into(), limit, lease_until: 5 }
}

/// A row of the model's table.
#[derive(Debug, Clone)]
struct Row {
    lane: Option<Lane>,
    shard: i16,
    is_waiting: bool,
    /// The commit that made it ready: at a look only what was committed by then is seen.
    ready_since: u64,
}

/// The table, and one process that publishes from it.
struct Model {
    dice: Dice,
    table: BTreeMap<i64, Row>,
    /// Rows that have a number and are not committed.
    pending: Vec<(i64, Option<Lane>)>,
    next: i64,
    commits: u64,
    seen: u64,
    desk: Desk,
    out: Vec<Claim>,
    published: Vec<(i64, Option<Lane>)>,
    /// Of each lane what is committed, so that nothing of it is added before.
    open: HashSet<Lane>,
}

impl Model {
    fn new(seed: u64, lost: i32) -> Self {
        let mut desk = Desk::default();
        for shard in 0..4 {
            desk.took(shard, 1, lost);
        }
        Self {
            dice: Dice(seed),
            table: BTreeMap::new(),
            pending: Vec::new(),
            next: 1,
            commits: 0,
            seen: 0,
            desk,
            out: Vec::new(),
            published: Vec::new(),
            open: HashSet::new(),
        }
    }

    /// A transaction takes a number; who writes a key has others wait for it, as handlers do that lock what they change.
    fn insert(&mut self) {
        let lane = Some(self.dice.roll(6)).filter(|lane| *lane < 5);
        if lane.is_none_or(|lane| self.open.insert(lane)) {
            self.pending.push((self.next, lane));
        }
        self.next += 1;
    }

    fn commit(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let at = usize::try_from(self.dice.roll(self.pending.len() as u64)).unwrap();
        let (seq, lane) = self.pending.remove(at);
        if let Some(lane) = lane {
            self.open.remove(&lane);
        }
        self.commits += 1;
        let shard = i16::try_from(lane.unwrap_or(seq.unsigned_abs()) % 4).unwrap();
        self.table.insert(seq, Row { lane, shard, is_waiting: false, ready_since: self.commits });
    }

    /// As the statement that reads a page does it, with a settlement in the middle now and then.
    fn claim(&mut self, limit: usize) {
        let cursor = self.desk.begin_read();
        let late =
            self.table.iter().filter(|(seq, row)| **seq <= cursor && !row.is_waiting && row.ready_since > self.seen);
        let start = late.map(|(seq, _)| seq - 1).min().unwrap_or(cursor).min(cursor);
        self.seen = self.commits;
        let page: Vec<(i64, Row)> = self
            .table
            .range(start + 1..)
            .filter(|(_, row)| !row.is_waiting)
            .take(limit)
            .map(|(seq, row)| (*seq, row.clone()))
            .collect();
        let is_behind = |seq: i64, row: &Row, table: &BTreeMap<i64, Row>| {
            row.lane.is_some() && table.range(..seq).any(|(_, earlier)| earlier.is_waiting && earlier.lane == row.lane)
        };
        let behind: Vec<bool> = page.iter().map(|(seq, row)| is_behind(*seq, row, &self.table)).collect();
        if self.dice.roll(3) == 0 {
            self.settle();
        }
        let asked = asked("me", limit);
        let mut last = start;
        for ((seq, row), is_behind) in page.into_iter().zip(behind) {
            last = seq;
            if is_behind {
                continue;
            }
            if let Offer::Given(claim) = self.desk.offer(seq, row.shard, row.lane, &asked) {
                assert!(!self.out.contains(&claim), "{seq} was given out twice");
                self.out.push(claim);
            }
        }
        self.desk.read_to(last);
        self.desk.end_read();
    }

    /// One of what is out ends; of a key the first.
    fn settle(&mut self) {
        if self.out.is_empty() {
            return;
        }
        let at = usize::try_from(self.dice.roll(self.out.len() as u64)).unwrap();
        let lane = self.table[&self.out[at].seq].lane;
        let first = (0..self.out.len())
            .filter(|at| self.table[&self.out[*at].seq].lane == lane)
            .min_by_key(|at| self.out[*at].seq);
        let claim = self.out.remove(first.filter(|_| lane.is_some()).unwrap_or(at));
        match self.dice.roll(6) {
            0 => {
                self.table.get_mut(&claim.seq).unwrap().is_waiting = true;
                self.desk.ended(claim);
                self.back_behind(claim, lane);
            }
            1 => {
                self.desk.back(claim);
                self.back_behind(claim, lane);
            }
            _ => {
                self.table.remove(&claim.seq);
                self.published.push((claim.seq, lane));
                self.desk.published(claim);
            }
        }
    }

    /// What follows a row of its key that failed, was not attempted.
    fn back_behind(&mut self, claim: Claim, lane: Option<Lane>) {
        if lane.is_none() {
            return;
        }
        let (back, out) =
            self.out.iter().partition(|other| other.seq > claim.seq && self.table[&other.seq].lane == lane);
        self.out = out;
        let back: Vec<Claim> = back;
        for claim in back {
            self.desk.back(claim);
        }
    }

    fn wake(&mut self) {
        self.commits += 1;
        for row in self.table.values_mut().filter(|row| row.is_waiting) {
            (row.is_waiting, row.ready_since) = (false, self.commits);
        }
    }

    fn step(&mut self) {
        match self.dice.roll(12) {
            0..3 => self.insert(),
            3..6 => self.commit(),
            6..8 => {
                let limit = 1 + usize::try_from(self.dice.roll(5)).unwrap();
                self.claim(limit);
            }
            8..11 => self.settle(),
            _ if self.dice.roll(8) == 0 => {
                let out = self.desk.expired(5);
                self.desk.take_back(&out);
                self.out.clear();
            }
            _ => self.wake(),
        }
    }

    /// Publishes whatever is left.
    fn finish(&mut self) {
        while !self.pending.is_empty() {
            self.commit();
        }
        for _ in 0..100_000 {
            if self.table.is_empty() {
                return;
            }
            self.wake();
            self.claim(3);
            self.settle();
        }
        panic!("never found: {:?}, cursor {}", self.table, self.desk.cursor);
    }
}

/// Rows that are committed late, retried, handed back, lost and settled while somebody reads: each is published once, and those of a
/// key in order.
#[test]
fn everything_is_found_and_every_key_kept_in_order() {
    for seed in 0..400 {
        let mut model = Model::new(seed, if seed % 4 == 0 { SUSPICIOUS } else { 0 });
        for _ in 0..400 {
            model.step();
        }
        let stored = model.table.len() + model.pending.len() + model.published.len();
        model.finish();
        assert_eq!(model.published.len(), stored, "seed {seed}");
        let mut last: HashMap<Lane, i64> = HashMap::new();
        for (seq, lane) in &model.published {
            let Some(lane) = lane else { continue };
            let before = last.insert(*lane, *seq);
            assert!(before.is_none_or(|before| before < *seq), "seed {seed}: {seq} of {lane} after {before:?}");
        }
        assert_eq!((model.desk.len(), model.desk.lanes.len()), (0, 0), "what is remembered does not grow");
    }
}

#[test]
fn of_a_shard_whose_owners_were_lost_one_row_is_out_at_a_time() {
    let mut desk = Desk::default();
    desk.took(1, 4, SUSPICIOUS);
    desk.took(2, 1, SUSPICIOUS - 1);
    let asked = asked("me", 9);
    desk.begin_read();
    let given: Vec<bool> = [(1, 1), (2, 1), (3, 2), (4, 2), (5, 1)]
        .map(|(seq, shard)| matches!(desk.offer(seq, shard, None, &asked), Offer::Given(_)))
        .to_vec();
    assert_eq!(given, [true, false, true, true, false]);
    desk.read_to(5);
    desk.end_read();
    assert!(desk.flight(Claim { seq: 1, fence: 4 }).unwrap().counted);
    desk.ended(Claim { seq: 1, fence: 4 });
    assert_eq!(desk.begin_read(), 1, "it reads on where it passed something by");
    desk.trust(1);
    for seq in [2, 5] {
        assert!(matches!(desk.offer(seq, 1, None, &asked), Offer::Given(_)), "{seq}");
    }
}

#[test]
fn a_claim_of_an_earlier_fence_is_none() {
    let mut desk = Desk::default();
    desk.took(1, 1, 0);
    let asked = asked("me", 9);
    desk.begin_read();
    assert_eq!(desk.offer(7, 1, None, &asked), Offer::Given(Claim { seq: 7, fence: 1 }));
    desk.read_to(7);
    let out = desk.expired(5);
    assert_eq!(out, [Out { claim: Claim { seq: 7, fence: 1 }, shard: 1 }]);
    assert!(desk.flight(out[0].claim).is_some(), "until its fence has moved, it is out");
    desk.take_back(&out);
    desk.refence(1, 2);
    assert_eq!(desk.begin_read(), 6);
    assert_eq!(desk.offer(7, 1, None, &asked), Offer::Given(Claim { seq: 7, fence: 2 }));
    assert!(desk.flight(Claim { seq: 7, fence: 1 }).is_none());
    desk.ended(Claim { seq: 7, fence: 1 });
    assert_eq!(desk.len(), 1);
    desk.lost(1);
    assert_eq!((desk.len(), desk.offer(7, 1, None, &asked)), (0, Offer::Passed));
}

#[test]
fn a_shard_is_left_when_nothing_of_it_is_under_way() {
    let mut desk = Desk::default();
    desk.took(1, 1, 0);
    desk.took(2, 1, 0);
    let asked = asked("me", 9);
    desk.begin_read();
    desk.offer(7, 1, None, &asked);
    desk.read_to(7);
    desk.end_read();
    assert_eq!(desk.leave(&[1, 2]), [2]);
    assert!(desk.open().is_empty());
    desk.ended(Claim { seq: 7, fence: 1 });
    assert_eq!(desk.leave(&[1, 2]), [1, 2]);
    assert!(desk.leave(&[]).is_empty());
    assert_eq!((desk.open(), desk.begin_read()), (vec![1, 2], 0), "what was passed by meanwhile is read again");
}

#[test]
fn a_lane_is_one_owners_at_a_time_and_takes_not_all_it_can_hold() {
    let mut desk = Desk::default();
    desk.took(1, 1, 0);
    let given =
        |desk: &mut Desk, seq, lane, asked: &Asked| matches!(desk.offer(seq, 1, Some(lane), asked), Offer::Given(_));
    desk.begin_read();
    let (me, you) = (asked("me", 2), asked("you", 2));
    assert!(given(&mut desk, 1, 7, &me));
    assert!(!given(&mut desk, 2, 7, &you), "its first row is somebody else's");
    assert!(!given(&mut desk, 3, 7, &me), "an earlier row was passed by");
    desk.read_to(3);
    desk.ended(Claim { seq: 1, fence: 1 });
    desk.end_read();
    assert_eq!(desk.begin_read(), 1, "it reads on where it passed something by");
    assert!(given(&mut desk, 2, 7, &you) && given(&mut desk, 3, 7, &you));
    assert!(!given(&mut desk, 4, 7, &you), "as much as it asks for at once is under way");
    assert!(given(&mut desk, 5, 8, &you), "another lane");
}

#[cfg(feature = "mysql")]
#[test]
fn what_was_settled_since_a_read_began_is_known_until_it_ends() {
    let mut desk = Desk::default();
    desk.took(1, 1, 0);
    let asked = Asked { owner: "one".into(), limit: 10, lease_until: 5 };
    let given = |offer| if let Offer::Given(claim) = offer { claim } else { panic!("{offer:?}") };
    let first = given(desk.offer(1, 1, Some(7), &asked));
    desk.begin_read();
    desk.published(first);
    assert!(desk.was_settled(1) && !desk.was_settled(2));
    // What is behind it may go; had it stayed there, not.
    let second = given(desk.offer(2, 1, Some(7), &asked));
    desk.ended(second);
    assert!(desk.was_settled(2));
    assert_eq!(desk.offer(3, 1, Some(7), &asked), Offer::Passed);
    desk.end_read();
    assert!(!desk.was_settled(1) && !desk.was_settled(2));
}
