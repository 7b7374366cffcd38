//! What an older program left in a database goes on with this one: what the stores' own tests share of it.
//!
//! The rows are in the files `filled` of each store's tests, as the program of the first schema wrote them.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use super::driver::{ClaimRequest, Driver, IdempotentRequest, WorkShare};
use super::{
    ClaimedOutbox, ClaimedWork, Counts, IdempotentClaim, IdempotentOutcome, InboxMark, OutboxOutcome, Standing,
    WorkKind, WorkQueue,
};

const LEASE: Duration = Duration::from_secs(5);

/// Where what somebody held who is gone comes to others, it does within so many seconds.
const PATIENCE: u64 = 40;

/// Seconds after the moment at which the older program was killed.
fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

fn request(seconds: u64) -> ClaimRequest<'static> {
    ClaimRequest {
        owner: "new",
        now: at(seconds),
        lease_now: at(seconds),
        lease_until: at(seconds) + LEASE,
        limit: 100,
    }
}

/// What is handled stays handled, what waits is published and done in its order and at its time, what is dead can be replayed, and in the
/// end nothing is left.
pub(super) async fn all_goes_on(store: &dyn Driver) {
    let marks = [(0x21, Standing::Handled), (0x22, Standing::New)];
    for (event, standing) in marks {
        let (group, handler) = ("billing".to_owned(), "mail::send".to_owned());
        let mark = InboxMark { group, handler, event_id: Uuid::from_u128(event), at: at(10) };
        assert_eq!(store.standing(&mark, None).await.unwrap(), standing);
    }
    let timers = store.timers(9).await.unwrap();
    assert_eq!(timers.len(), 1, "{timers:?}");
    assert_eq!((timers[0].key.as_deref(), timers[0].due_at), (Some("7"), at(60)));

    let keyed = |key: Option<&str>, names: &[&str]| {
        (key.map(str::to_owned), names.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let ready = BTreeMap::from([keyed(None, &["alone"]), keyed(Some("a"), &["first", "second"])]);
    assert_eq!(published(store, 10, 3).await, ready);
    assert_eq!(done(store, 10, 2).await, ["held", "sent"]);
    assert_eq!(published(store, 100, 2).await, BTreeMap::from([keyed(Some("b"), &["later", "behind"])]));
    assert_eq!(done(store, 100, 3).await, ["remind", "stands", "waits"]);

    let mut dead = store.dead_letters(9).await.unwrap();
    dead.sort_by(|one, other| one.name.cmp(&other.name));
    let told: Vec<_> = dead.iter().map(|letter| (&*letter.name, &*letter.error, letter.attempts)).collect();
    assert_eq!(told, [("buried", "too large", 9), ("given-up", "never", 9)]);
    for letter in dead {
        assert!(store.replay(letter.id, at(200)).await.unwrap());
    }
    assert_eq!(published(store, 210, 2).await, BTreeMap::from([keyed(Some("c"), &["buried", "beneath"])]));
    assert_eq!(done(store, 210, 1).await, ["given-up"]);
    assert_eq!(store.counts().await.unwrap(), Counts { inbox: 1, ..Counts::default() });
}

/// A call that was done is answered as it was then, and the key of one that was killed can be had.
pub(super) async fn keys_are_known(store: &dyn Driver) {
    let asked = async |key: &str, seconds| {
        let claim = IdempotentClaim { name: "pay".to_owned(), key: key.to_owned(), token: Uuid::from_u128(9) };
        let request = IdempotentRequest {
            claim,
            payload: [0x70; 32],
            lease_now: at(seconds),
            lease_until: at(seconds) + LEASE,
            kept_since: SystemTime::UNIX_EPOCH,
        };
        store.claim_idempotent(request).await.unwrap()
    };
    assert_eq!(asked("done", 10).await, IdempotentOutcome::Done { response: b"paid".to_vec() });
    let mut seconds = 10;
    while asked("left", seconds).await == IdempotentOutcome::Running && seconds < 10 + PATIENCE {
        seconds += 1;
    }
    assert_eq!(asked("left", seconds).await, IdempotentOutcome::Running, "this call's own");
    assert!(seconds < 10 + PATIENCE, "nobody was given the key");
}

/// Publishes what is there from some second on until it is so much, and there is no more: the names of each key.
async fn published(store: &dyn Driver, from: u64, count: usize) -> BTreeMap<Option<String>, Vec<String>> {
    let (mut published, mut seen, mut seconds) = (BTreeMap::<_, Vec<_>>::new(), 0, from);
    loop {
        let claimed = store.claim_outbox(request(seconds)).await.unwrap();
        if claimed.is_empty() && (seen >= count || seconds > from + PATIENCE) {
            return published;
        }
        for ClaimedOutbox { record, claim, .. } in claimed {
            assert_eq!(record.payload, record.name.as_bytes());
            assert_eq!(record.headers["traceparent"], "00-1-01");
            assert_eq!(store.settle_outbox(vec![(claim, OutboxOutcome::Published)]).await.unwrap(), 1);
            published.entry(record.key).or_default().push(record.name);
            seen += 1;
        }
        seconds += 1;
    }
}

/// The same of work, with the names in their order. What stands in one lane is done one after the other.
async fn done(store: &dyn Driver, from: u64, count: usize) -> Vec<String> {
    let queue = |kind, group: &str| WorkQueue { kind, group: group.to_owned(), handler: "mail::send".to_owned() };
    let queues = [queue(WorkKind::Durable, ""), queue(WorkKind::Timer, ""), queue(WorkKind::Consumed, "billing")];
    let (mut names, mut seconds) = (Vec::<String>::new(), from);
    loop {
        let share = WorkShare { queues: &queues, limit: &|| 100 };
        let claimed = store.claim_work(&[share], request(seconds)).await.unwrap();
        if claimed.is_empty() && (names.len() >= count || seconds > from + PATIENCE) {
            names.sort_unstable();
            return names;
        }
        for ClaimedWork { record, claim, .. } in claimed {
            assert_eq!(record.payload, record.name.as_bytes());
            let behind = record.name != "stands" || names.iter().any(|name| name == "waits");
            assert!(behind, "before what it stands behind");
            let mut tx = store.begin().await.unwrap();
            assert!(tx.finish_work(claim).await.unwrap(), "{}", record.name);
            tx.commit().await.unwrap();
            names.push(record.name);
        }
        seconds += 1;
    }
}
