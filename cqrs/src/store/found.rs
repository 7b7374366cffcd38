//! What one claim of the outbox has found so far, where rows are read in their order and what is given out is kept in mind
//! ([`Desk`]). No database here: the pages are given.
//!
//! A claim reads pages to take what it can. Of a page with nothing to take it says so ([`Way::Look`]): what follows may be a long backlog of
//! keys that are under way, and is looked through, without payloads, up to the first row that can be taken.

use std::time::Instant;

use super::claiming::Request;
use super::desk::{Asked, Desk, Offer};
use super::{Claim, ClaimedOutbox};
use crate::BoxError;
use crate::lane::Lane;

/// How many pages full of rows one claim reads at most, when it cannot take what it finds.
const MOST_PAGES: usize = 4;

/// How many rows are looked at in one statement where nothing of a page could be taken. Tests have few rows.
const LOOKED_AT: usize = if cfg!(test) { 300 } else { 2_000 };

/// How many rows a claim sets aside at most that it finds behind dead ones.
const MOST_PARKED: usize = if cfg!(test) { 1_000 } else { 10_000 };

/// How the next page is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// To take what can be taken.
    Take,
    /// To find the first row that could be taken: without payloads.
    Look,
}

/// Where a row stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) seq: i64,
    pub(super) shard: i16,
    pub(super) lane: Option<Lane>,
    pub(super) is_behind_dead: bool,
}

/// A row of a page.
pub(super) trait PageRow {
    /// Where it stands. A page without rows has one that stands nowhere.
    fn place(&self) -> Result<Option<Place>, sqlx::Error>;

    /// All of it.
    fn read(&self, claim: Claim) -> Result<ClaimedOutbox, BoxError>;
}

/// Where the reading of a page ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// There was as much as was asked for.
    Enough,
    /// There may be more behind it.
    More,
    /// There is nothing more where was looked for it.
    Last,
}

/// What one claim has found so far.
pub(super) struct Found {
    pub(super) asked: Asked,
    pub(super) rows: Vec<ClaimedOutbox>,
    /// Rows behind a dead one of their key.
    pub(super) behind_dead: Vec<i64>,
    /// Rows that cannot be read, and why.
    pub(super) unreadable: Vec<(Claim, String)>,
    /// Rows whose claim is counted before it is given out, since they may be what ends their processes.
    pub(super) suspicious: Vec<i64>,
    /// Keys that turned out to have an unreadable row.
    broken: Vec<Lane>,
    pub(super) way: Way,
    pages: usize,
    /// Whether it has read a page.
    has_read: bool,
    /// Until when it reads on: so little of a lease that what was given out first need not be renewed.
    until: Instant,
    /// How far it has read.
    pub(super) last: i64,
    /// Whether there is nothing behind that.
    pub(super) is_all: bool,
}

impl Found {
    /// For a claim that looks on until then where it can take nothing.
    pub(super) fn new(request: &Request, until: Instant) -> Self {
        let (owner, limit) = (request.owner.as_str().into(), request.limit);
        Self {
            asked: Asked { owner, lease_until: request.lease_until, limit },
            rows: Vec::new(),
            behind_dead: Vec::new(),
            unreadable: Vec::new(),
            suspicious: Vec::new(),
            broken: Vec::new(),
            way: Way::Take,
            pages: 0,
            has_read: false,
            until,
            last: 0,
            is_all: false,
        }
    }

    /// Whether a claim reads another page. Where it has read so far, the next one goes on.
    pub(super) fn reads_on(&self) -> bool {
        let is_enough = self.rows.len() == self.asked.limit || self.is_all;
        let has_room = self.pages < MOST_PAGES && self.behind_dead.len() < MOST_PARKED;
        !is_enough && has_room && (!self.has_read || Instant::now() < self.until)
    }

    /// What was found nobody will hear of: it is found again.
    pub(super) fn give_back(&self, desk: &mut Desk) {
        self.given().for_each(|claim| desk.back(claim));
        self.look_back(desk);
    }

    /// What is behind a dead row, and was not set aside, is found again.
    pub(super) fn look_back(&self, desk: &mut Desk) {
        if let Some(first) = self.behind_dead.iter().min() {
            desk.look_back(*first);
        }
    }

    /// How many rows the next page has at most.
    pub(super) fn page(&self) -> usize {
        let most = self.asked.limit;
        match self.way {
            Way::Take => (most - self.rows.len()).max(most.div_ceil(4)),
            Way::Look => LOOKED_AT,
        }
    }

    /// Every claim that was given out.
    pub(super) fn given(&self) -> impl Iterator<Item = Claim> {
        self.rows.iter().map(|row| row.claim).chain(self.unreadable.iter().map(|(claim, _)| *claim))
    }

    /// Takes what can be taken of a page that was asked for.
    pub(super) fn look_through(&mut self, page: &[impl PageRow], desk: &mut Desk) -> Result<End, sqlx::Error> {
        self.has_read = true;
        let (most, had, size) = (self.asked.limit, self.rows.len(), self.page());
        let mut count = 0;
        for row in page {
            let Some(place) = row.place()? else { break };
            if self.rows.len() == most {
                return Ok(End::Enough);
            }
            if self.way == Way::Look && self.could_take(place, desk) {
                // It is the first one of the next page.
                self.way = Way::Take;
                return Ok(End::More);
            }
            if self.way == Way::Take && !place.is_behind_dead {
                self.offer(row, place, desk);
            }
            // Reading may have begun anew.
            if place.is_behind_dead && self.behind_dead.last().is_none_or(|last| *last < place.seq) {
                self.behind_dead.push(place.seq);
            }
            self.last = place.seq;
            count += 1;
        }
        if self.rows.len() == most {
            return Ok(End::Enough);
        }
        let is_full = count == size;
        self.pages += usize::from(is_full && self.way == Way::Take);
        if count > 0 && self.rows.len() == had {
            self.way = Way::Look;
        }
        Ok(if is_full { End::More } else { End::Last })
    }

    fn could_take(&self, place: Place, desk: &mut Desk) -> bool {
        !place.is_behind_dead
            && !self.is_broken(place.lane)
            && desk.would_give(place.seq, place.shard, place.lane, &self.asked)
    }

    fn is_broken(&self, lane: Option<Lane>) -> bool {
        lane.is_some_and(|lane| self.broken.contains(&lane))
    }

    fn offer(&mut self, row: &impl PageRow, Place { seq, shard, lane, .. }: Place, desk: &mut Desk) {
        if self.is_broken(lane) {
            return;
        }
        let Offer::Given(claim) = desk.offer(seq, shard, lane, &self.asked) else { return };
        match row.read(claim) {
            Ok(row) => {
                if desk.flight(claim).is_some_and(|flight| flight.counted) {
                    self.suspicious.push(claim.seq);
                }
                self.rows.push(row);
            }
            // One bad row must not hold up the others: it becomes a dead letter here and now.
            Err(error) => {
                self.unreadable.push((claim, format!("the row cannot be read: {error}")));
                self.broken.extend(lane);
            }
        }
    }
}
