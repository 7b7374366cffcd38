//! Which timer takes the place of which. Pure.

use std::collections::HashMap;
use std::hash::Hash;

use uuid::Uuid;

use super::WorkRecord;

/// Of the timers of each key among some records the last one, which is the one that counts.
pub(super) fn last_of<K: Eq + Hash>(
    records: &[WorkRecord],
    key_of: impl Fn(&WorkRecord) -> Option<K>,
) -> HashMap<K, Uuid> {
    records.iter().filter_map(|record| Some((key_of(record)?, record.id))).collect()
}

/// What is left to be stored: of the timers of each key the one that counts, under the id of the one it takes the place of. Gives
/// those that did not keep their own, each by the id it came with and the id it has.
pub(super) fn replaced<K: Eq + Hash>(
    records: Vec<WorkRecord>,
    key_of: impl Fn(&WorkRecord) -> Option<K>,
    last: &HashMap<K, Uuid>,
    kept_ids: &HashMap<K, Uuid>,
) -> (Vec<WorkRecord>, Vec<(Uuid, Uuid)>) {
    let (mut kept, mut moved) = (Vec::with_capacity(records.len()), Vec::new());
    for mut record in records {
        let Some(key) = key_of(&record) else {
            kept.push(record);
            continue;
        };
        let (own, counts) = (record.id, last.get(&key).copied());
        let id = kept_ids.get(&key).copied().or(counts).unwrap_or(own);
        if id != own {
            moved.push((own, id));
        }
        if counts == Some(own) {
            record.id = id;
            kept.push(record);
        }
    }
    (kept, moved)
}
