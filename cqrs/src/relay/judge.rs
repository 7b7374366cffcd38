//! What becomes of a claimed row: how rows travel together, and what the broker's answer means. Pure.

use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use super::RelaySettings;
use crate::broker::driver::Outgoing;
use crate::broker::{BrokerError, BrokerErrorKind, Delivery};
use crate::lane::{Lane, lane_of};
use crate::store::{Claim, ClaimedOutbox, OutboxOutcome};

/// How many rows without key travel together: few enough that one which the broker takes long to confirm holds up not much.
const MOST_KEYLESS: usize = 50;

/// Rows that are published with one call: those of one lane, in order, or some of one topic without key. So a message that
/// the broker takes long to confirm holds up its own key and little else.
#[derive(Debug, Default)]
pub(super) struct Shipment {
    /// Whose order is kept. Of a shipment without lane there is nothing to wait for.
    pub(super) lane: Option<Lane>,
    pub(super) rows: Vec<Row>,
    pub(super) batch: Vec<Outgoing>,
}

impl Shipment {
    /// What follows travels with it.
    pub(super) fn append(&mut self, mut next: Self) {
        self.rows.append(&mut next.rows);
        self.batch.append(&mut next.batch);
    }
}

/// What is remembered of a row while it is being published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) claim: Claim,
    /// How many attempts were made before.
    pub(super) attempts: u32,
}

/// What to do with claimed rows.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) shipments: Vec<Shipment>,
    /// Rows that are not even tried.
    pub(super) ended: Vec<(Claim, OutboxOutcome)>,
}

/// Plans what to do with claimed rows, which are in the order of the outbox.
pub(super) fn plan(rows: Vec<ClaimedOutbox>, payload_limit: usize) -> Plan {
    let mut plan = Plan::default();
    let mut lanes: HashMap<Lane, usize> = HashMap::new();
    let mut keyless: HashMap<String, usize> = HashMap::new();
    let mut held = HashSet::new();
    for ClaimedOutbox { claim, attempts, record } in rows {
        let lane = lane_of(&record.topic, record.key.as_deref());
        if lane.is_some_and(|lane| held.contains(&lane)) {
            plan.ended.push((claim, OutboxOutcome::HandBack));
            continue;
        }
        if record.payload.len() > payload_limit {
            let error = format!(
                "the message has {} bytes, more than `payload_limit` and what surrounds a payload allow ({payload_limit})",
                record.payload.len()
            );
            plan.ended.push((claim, OutboxOutcome::Dead { error }));
            held.extend(lane);
            continue;
        }
        let next = plan.shipments.len();
        let at = match lane {
            Some(lane) => *lanes.entry(lane).or_insert(next),
            None => match keyless.get(&record.topic) {
                Some(at) if plan.shipments[*at].rows.len() < MOST_KEYLESS => *at,
                _ => {
                    keyless.insert(record.topic.clone(), next);
                    next
                }
            },
        };
        if at == plan.shipments.len() {
            plan.shipments.push(Shipment { lane, ..Shipment::default() });
        }
        let delivery =
            Delivery { topic: record.topic, key: record.key, headers: record.headers, payload: record.payload };
        plan.shipments[at].rows.push(Row { claim, attempts });
        plan.shipments[at].batch.push(Outgoing { id: record.id, delivery });
    }
    plan
}

/// What the broker's answers about the rows of a shipment mean, in a lane or not. A missing answer is a failed attempt.
pub(super) fn outcomes(
    rows: &[Row],
    in_order: bool,
    results: Vec<Result<(), BrokerError>>,
    now: SystemTime,
    settings: &RelaySettings,
    random: f64,
) -> Vec<(Claim, OutboxOutcome)> {
    let mut failed = false;
    let mut results = results.into_iter();
    let mut outcomes = Vec::with_capacity(rows.len());
    for row in rows {
        let result = results.next().unwrap_or_else(|| Err(no_answer()));
        let outcome = match result {
            // Whatever the broker said about a row behind a failed one: it is the failed one's fault.
            Err(_) if failed => OutboxOutcome::HandBack,
            result => outcome(*row, result, now, settings, random),
        };
        failed |= in_order && !outcome.is_published();
        outcomes.push((row.claim, outcome));
    }
    outcomes
}

fn no_answer() -> BrokerError {
    BrokerError::new(BrokerErrorKind::Unavailable, "publishing gave no answer or panicked")
}

fn outcome(
    row: Row,
    result: Result<(), BrokerError>,
    now: SystemTime,
    settings: &RelaySettings,
    random: f64,
) -> OutboxOutcome {
    match result {
        Ok(()) => settings
            .keeps_for
            .map_or(OutboxOutcome::Published, |keeps_for| OutboxOutcome::Kept { at: now, until: now + keeps_for }),
        Err(error) if error.kind() == BrokerErrorKind::Refused => OutboxOutcome::Dead { error: explain(&error) },
        Err(error) => {
            let pause = settings.retry.pause(row.attempts.saturating_add(1), random);
            OutboxOutcome::Retry { due: now + pause, error: explain(&error) }
        }
    }
}

/// An error with what caused it, in one line.
pub(super) fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::{Duration, SystemTime};

    use uuid::Uuid;

    use super::{Row, outcome, outcomes, plan};
    use crate::broker::{BrokerError, BrokerErrorKind};
    use crate::relay::RelaySettings;
    use crate::store::{Claim, ClaimedOutbox, OutboxOutcome, OutboxRecord};

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn row(seq: i64, topic: &str, key: Option<&str>, size: usize) -> ClaimedOutbox {
        let record = OutboxRecord {
            id: Uuid::now_v7(),
            name: "e".into(),
            version: 1,
            topic: topic.into(),
            key: key.map(Into::into),
            payload: vec![0; size],
            headers: BTreeMap::new(),
            raised_at: NOW,
        };
        ClaimedOutbox { claim: Claim { seq, fence: 1 }, attempts: 0, record }
    }

    #[test]
    fn rows_of_a_key_travel_together_in_order_and_so_do_those_without_one() {
        let rows = vec![
            row(1, "t", Some("a"), 1),
            row(2, "t", None, 1),
            row(3, "u", Some("a"), 1),
            row(4, "t", Some("a"), 1),
            row(5, "t", None, 1),
            row(6, "u", None, 1),
        ];
        let plan = plan(rows, 10);
        let seqs: Vec<Vec<_>> =
            plan.shipments.iter().map(|shipment| shipment.rows.iter().map(|row| row.claim.seq).collect()).collect();
        assert_eq!(seqs, [vec![1, 4], vec![2, 5], vec![3], vec![6]]);
        assert!(plan.ended.is_empty());
    }

    #[test]
    fn of_rows_without_key_not_too_many_wait_for_one_another() {
        let shipments = plan((0..120).map(|seq| row(seq, "t", None, 1)).collect(), 10).shipments;
        let sizes: Vec<_> = shipments.iter().map(|shipment| shipment.rows.len()).collect();
        assert_eq!(sizes, [50, 50, 20]);
    }

    #[test]
    fn without_a_key_each_row_has_its_own_outcome() {
        let rows: Vec<_> = (1..=3).map(|seq| Row { claim: Claim { seq, fence: 1 }, attempts: 0 }).collect();
        let refused = Err(BrokerError::new(BrokerErrorKind::Refused, "no"));
        let outcomes = outcomes(&rows, false, vec![Ok(()), refused, Ok(())], NOW, &RelaySettings::default(), 1.0);
        assert!(matches!(outcomes[1].1, OutboxOutcome::Dead { .. }));
        assert_eq!([&outcomes[0].1, &outcomes[2].1], [&OutboxOutcome::Published; 2]);
    }

    #[test]
    fn a_row_over_the_limit_is_dead_and_holds_the_later_ones_of_its_key() {
        let rows = vec![
            row(1, "t", Some("a"), 10),
            row(2, "t", Some("a"), 11),
            row(3, "t", Some("a"), 1),
            row(4, "t", Some("b"), 1),
            row(5, "t", None, 11),
            row(6, "t", None, 1),
        ];
        let plan = plan(rows, 10);
        let seqs: Vec<_> = plan.shipments.iter().flat_map(|shipment| &shipment.rows).map(|row| row.claim.seq).collect();
        assert_eq!(seqs, [1, 4, 6]);
        let ended: Vec<_> = plan.ended.iter().map(|(claim, outcome)| (claim.seq, outcome)).collect();
        assert!(matches!(
            ended[..],
            [(2, OutboxOutcome::Dead { .. }), (3, OutboxOutcome::HandBack), (5, OutboxOutcome::Dead { .. })]
        ));
    }

    #[test]
    fn only_a_refusal_is_final() {
        let settings = RelaySettings::default();
        let judge = |attempts, kind| {
            let row = Row { claim: Claim { seq: 1, fence: 1 }, attempts };
            outcome(row, Err(BrokerError::new(kind, "no").with_source("because")), NOW, &settings, 1.0)
        };
        let retry =
            |millis| OutboxOutcome::Retry { due: NOW + Duration::from_millis(millis), error: "no: because".into() };
        assert_eq!(judge(0, BrokerErrorKind::Refused), OutboxOutcome::Dead { error: "no: because".into() });
        assert_eq!(judge(0, BrokerErrorKind::Unavailable), retry(100));
        assert_eq!(judge(3, BrokerErrorKind::Unavailable), retry(800));
        assert_eq!(judge(u32::MAX, BrokerErrorKind::Configuration), retry(5000));
        assert_eq!(judge(0, BrokerErrorKind::Closed), retry(100));
    }

    #[test]
    fn what_comes_behind_a_failed_row_was_not_attempted() {
        let settings = RelaySettings::default();
        let rows: Vec<_> = (1..=4).map(|seq| Row { claim: Claim { seq, fence: 1 }, attempts: 0 }).collect();
        let error = |kind| Err(BrokerError::new(kind, "no"));
        let results = vec![Ok(()), error(BrokerErrorKind::Unavailable), error(BrokerErrorKind::Refused)];
        let outcomes = outcomes(&rows, true, results, NOW, &settings, 1.0);
        assert_eq!(outcomes[0].1, OutboxOutcome::Published);
        assert!(matches!(outcomes[1].1, OutboxOutcome::Retry { .. }));
        assert_eq!(outcomes[2].1, OutboxOutcome::HandBack);
        assert_eq!(outcomes[3].1, OutboxOutcome::HandBack);
    }

    #[test]
    fn a_missing_answer_is_a_failed_attempt() {
        let rows = [Row { claim: Claim { seq: 1, fence: 1 }, attempts: 0 }];
        let outcomes = outcomes(&rows, true, Vec::new(), NOW, &RelaySettings::default(), 1.0);
        assert!(matches!(outcomes[0].1, OutboxOutcome::Retry { .. }));
    }
}
