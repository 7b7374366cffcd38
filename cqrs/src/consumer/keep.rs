//! Messages that are kept in the store: to be tried again, behind others of their key, or as dead letters.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::deliver::mark;
use super::wire::{self, Received};
use crate::app::App;
use crate::broker::Delivery;
use crate::dispatch::lane;
use crate::error::chain;
use crate::fail_points::{FailPoint, pass};
use crate::registry::{GroupOptions, OnDead};
use crate::store::{Record, StoreError, StoreErrorKind, WorkKind, WorkRecord};

/// How long a text may be of a message that the store has refused.
const LONGEST_TEXT: usize = 200;

/// How much is kept of a payload that the store refuses: of the rest size and digest are said, by which it is found elsewhere.
const FIRST_BYTES: usize = 1024;

/// Keeps a message for one handler, whatever the store says of it: of what it refuses for good it is given less. It is marked
/// in the same transaction: what becomes of it is up to the stored work from here on, and a second delivery finds that out.
pub(super) async fn keep(app: &App, record: WorkRecord, payload: &[u8]) -> Result<(), StoreError> {
    keep_all(app, &[record], payload).await
}

/// Keeps one message in several rows, all of them or none. They come without their payload, of which there is one copy for each
/// row that is stored, and none for what the store might refuse.
async fn keep_all(app: &App, records: &[WorkRecord], payload: &[u8]) -> Result<(), StoreError> {
    let error = match write(app, records, payload).await {
        Err(error) if is_for_good(&error) => error,
        ended => return ended,
    };
    // Once more, as it is: a database may have had a bad moment.
    if write(app, records, payload).await.is_ok() {
        return Ok(());
    }
    let refused = chain(&error);
    let mut stubs: Vec<WorkRecord> = records.iter().map(|record| stub(record.clone(), &refused)).collect();
    let Some(first) = stubs.first() else { return Ok(()) };
    tracing::error!(name = first.name, handler = first.handler, id = %first.id, error = refused, "the store refuses a message for good: what it takes of it is a dead letter");
    if write(app, &stubs, payload).await.is_ok() {
        return Ok(());
    }
    if payload.len() <= FIRST_BYTES {
        return write(app, &stubs, payload).await;
    }
    let was_cut = format!("; its payload of {} bytes, SHA-256 {}, was cut", payload.len(), hex(payload));
    for stub in &mut stubs {
        stub.error.get_or_insert_default().push_str(&was_cut);
    }
    write(app, &stubs, &payload[..FIRST_BYTES]).await
}

/// Whether what a store answered is about what it was given, rather than about the store.
fn is_for_good(error: &StoreError) -> bool {
    !error.is_retryable() && matches!(error.kind(), StoreErrorKind::Constraint | StoreErrorKind::Database)
}

async fn write(app: &App, records: &[WorkRecord], payload: &[u8]) -> Result<(), StoreError> {
    let Some(store) = app.store() else { return Ok(()) };
    let Some(first) = records.first() else { return Ok(()) };
    let mut tx = store.begin().await?;
    if tx.mark_handled(vec![mark(app, first)]).await?.first() == Some(&false) {
        return tx.rollback().await;
    }
    pass(FailPoint::KeepMarked);
    let whole = records.iter().map(|record| WorkRecord { payload: payload.to_vec(), ..record.clone() });
    tx.store(whole.map(Record::Work).collect()).await?;
    pass(FailPoint::KeepStored);
    tx.commit().await?;
    pass(FailPoint::KeepCommitted);
    app.wake();
    if !first.dead {
        app.note_kept(&first.group);
    }
    Ok(())
}

/// What is left of a message that the store has refused: a dead letter, its texts such as any store takes. Its lane stays, or it
/// would not hold its key.
fn stub(mut record: WorkRecord, refused: &str) -> WorkRecord {
    let error = match record.error.take() {
        Some(error) => format!("the store refuses the message: {refused}; before that: {error}"),
        None => format!("the store refuses the message: {refused}"),
    };
    record.error = Some(cut(&error, 20 * LONGEST_TEXT));
    record.name = cut(&record.name, LONGEST_TEXT);
    record.key = record.key.map(|key| cut(&key, LONGEST_TEXT));
    record.headers =
        record.headers.iter().map(|(name, value)| (cut(name, LONGEST_TEXT), cut(value, LONGEST_TEXT))).collect();
    record.attempts = record.attempts.max(1);
    record.dead = true;
    record
}

/// A text that can be shown, no longer than so many bytes and what says that it was.
fn cut(text: &str, most: usize) -> String {
    let shown = text.replace('\0', "\u{fffd}");
    if shown.len() <= most {
        return shown;
    }
    let end = shown.floor_char_boundary(most);
    format!("{}... ({} bytes, SHA-256 {})", &shown[..end], text.len(), hex(text.as_bytes()))
}

/// The SHA-256 of some bytes, in hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Keeps a message whole as a dead letter of the group. `received` is what could be read of it.
///
/// Where its headers name it, and it has a key, it holds that for each handler of the group that takes its name: there is a row for
/// each. It is marked as kept: delivered again, it is there already.
pub(super) async fn bury_whole(
    app: &App,
    group: &str,
    delivery: &Delivery,
    received: Option<&Received<'_>>,
    error: &str,
) -> Result<(), StoreError> {
    tracing::error!(group, topic = delivery.topic, error, "a message is a dead letter");
    let header = |name| delivery.headers.get(name);
    let now = app.clock().now();
    let id = received.map(|received| received.id);
    let name = received.map(|received| received.name.clone());
    let name = name.or_else(|| header(wire::EVENT_NAME).cloned()).unwrap_or_default();
    let version = received.map(|received| received.version);
    let whole = WorkRecord {
        id: id.or_else(|| header(wire::EVENT_ID)?.parse().ok()).unwrap_or_else(|| id_of(delivery)),
        kind: WorkKind::Consumed,
        handler: String::new(),
        group: group.to_owned(),
        version: version.or_else(|| header(wire::EVENT_VERSION)?.parse().ok()).unwrap_or(1),
        topic: delivery.topic.clone(),
        key: delivery.key.clone(),
        lane: None,
        timer_key: None,
        payload: Vec::new(),
        headers: delivery.headers.clone(),
        created_at: now,
        due_at: now,
        attempts: 1,
        error: Some(error.to_owned()),
        dead: true,
        name,
    };
    let lanes = lanes(app, group, delivery, &whole.name);
    let rows = lanes.into_iter().map(|lane| WorkRecord { lane: Some(lane), ..whole.clone() });
    let mut rows: Vec<WorkRecord> = rows.collect();
    if rows.is_empty() {
        rows.push(whole);
    }
    keep_all(app, &rows, &delivery.payload).await
}

/// The lanes that a message holds which is kept whole.
fn lanes(app: &App, group: &str, delivery: &Delivery, name: &str) -> Vec<String> {
    let Some((key, plan)) = key_of(delivery).zip(app.plan().groups.get(group)) else { return Vec::new() };
    let takers = plan.takers(name, &delivery.topic).into_iter();
    let held = takers.filter(|(_, options)| app.options().on_dead(options.group, options.on_dead) != OnDead::Skip);
    held.map(|(handler, options)| lane_of(app, handler, &options, key)).collect()
}

/// A message's key.
pub(super) fn key_of(delivery: &Delivery) -> Option<&String> {
    delivery.key.as_ref().or_else(|| delivery.headers.get(wire::KEY))
}

/// The lane of a handler's messages of a key.
pub(super) fn lane_of(app: &App, handler: u32, options: &GroupOptions, key: &str) -> String {
    lane(&format!("{}\u{1f}{}", options.group, app.planned(handler).path()), key)
}

/// An id for a message that has none: the same whenever it is delivered.
fn id_of(delivery: &Delivery) -> Uuid {
    let mut digest = Sha256::new();
    let mut add = |bytes: &[u8]| {
        digest.update((bytes.len() as u64).to_be_bytes());
        digest.update(bytes);
    };
    add(delivery.topic.as_bytes());
    add(&delivery.payload);
    add(delivery.key.as_deref().unwrap_or_default().as_bytes());
    for (name, value) in &delivery.headers {
        add(name.as_bytes());
        add(value.as_bytes());
    }
    Uuid::new_v5(&Uuid::NAMESPACE_OID, &digest.finalize())
}
