//! What a unit of work stores: notification events, durable handlers' work, commands sent and scheduled.

use std::collections::BTreeMap;
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use super::{DispatchError, Failure};
use crate::app::App;
use crate::event::{Cause, Node, Raised, StoredCommand, When};
use crate::message::codec::EncodeFn;
use crate::message::{MessageKind, MessageSpec, WireFormat};
use crate::store::{OutboxRecord, Record, StoreError, StoreErrorKind, WorkKind, WorkRecord};
use crate::unit::Meta;
use crate::wire;

/// The rows that a unit of work stores for what was raised in it.
pub(crate) fn records_of(app: &App, nodes: &[Node], parent: &Cause) -> Result<Vec<Record>, Failure> {
    let mut records = Vec::new();
    for node in nodes {
        match node.raised() {
            Raised::Event { spec, .. } if spec.kind == MessageKind::NotificationEvent => {
                records.push(Record::Outbox(outbox_record(app, node, spec, parent)?));
            }
            Raised::Event { spec, .. } => durable_records(app, node, spec, parent, &mut records)?,
            Raised::Command(command) => records.push(Record::Work(command_record(app, node, command, parent)?)),
        }
    }
    if !records.is_empty() && app.store().is_none() {
        let what = nodes.iter().map(|node| node.spec().name).next().unwrap_or("a message");
        return Err(DispatchError::NoStore { what: format!("storing `{what}`") });
    }
    Ok(records)
}

/// Writes a message as JSON, within the limit.
pub(crate) fn encoded(app: &App, node: &Node) -> Result<Vec<u8>, Failure> {
    encoded_by(app, node, node.spec().codec.encode)
}

fn encoded_by(app: &App, node: &Node, encode: Option<EncodeFn>) -> Result<Vec<u8>, Failure> {
    let spec = node.spec();
    let unwritable = |reason: String| {
        Failure::from(StoreError::new(
            StoreErrorKind::Configuration,
            format!("`{}` cannot be stored: {reason}", spec.type_name()),
        ))
    };
    let encode = encode.ok_or_else(|| unwritable("it is not `Serialize`".to_owned()))?;
    let bytes = (encode.0)(node.value()).map_err(|error| unwritable(error.to_string()))?;
    let limit = app.options().payload_limit;
    if bytes.len() > limit {
        return Err(DispatchError::TooLarge { message: spec.name, size: bytes.len(), limit });
    }
    Ok(bytes)
}

fn outbox_record(app: &App, node: &Node, spec: &MessageSpec, parent: &Cause) -> Result<OutboxRecord, Failure> {
    let meta = node.meta(parent);
    let key = spec.key.and_then(|key| key(node.value()));
    let style = &app.options().wire;
    let payload = match style.format_of(spec) {
        WireFormat::Protobuf => encoded_by(app, node, spec.codec.protobuf.map(|protobuf| protobuf.encode))?,
        WireFormat::Json | WireFormat::CloudEvents => encoded(app, node)?,
    };
    let mut headers = carried_headers(&meta);
    let payload = wire::write(style, spec, &meta, key.as_deref(), payload, &mut headers);
    Ok(OutboxRecord {
        id: meta.id(),
        name: spec.name.to_owned(),
        version: spec.version,
        topic: spec.topic.to_owned(),
        key,
        payload,
        headers,
        raised_at: meta.time(),
    })
}

fn durable_records(
    app: &App,
    node: &Node,
    spec: &MessageSpec,
    parent: &Cause,
    records: &mut Vec<Record>,
) -> Result<(), Failure> {
    let handlers = app.plan().durable_handlers(node);
    if handlers.is_empty() {
        return Ok(());
    }
    let payload = encoded(app, node)?;
    let key = spec.key.and_then(|key| key(node.value()));
    let meta = node.meta(parent);
    for handler in handlers {
        let path = app.planned(*handler).path();
        let mut work = work_record(app, WorkKind::Durable, spec, &meta, payload.clone());
        work.lane = key.as_ref().map(|key| lane(&path, key));
        work.handler = path;
        work.key.clone_from(&key);
        records.push(Record::Work(work));
    }
    Ok(())
}

/// A key longer than this is told apart by its digest.
const LONGEST_KEY: usize = 512;

/// The lane of a handler's work on one key.
pub(crate) fn lane(handler: &str, key: &str) -> String {
    if key.len() <= LONGEST_KEY {
        return format!("{handler}\u{1f}{key}");
    }
    // No longer than any database's index takes.
    let start = &key[..key.floor_char_boundary(LONGEST_KEY / 2)];
    format!("{handler}\u{1f}{start}\u{1f}{:x}", Sha256::digest(key))
}

pub(crate) fn command_record(
    app: &App,
    node: &Node,
    command: &StoredCommand,
    parent: &Cause,
) -> Result<WorkRecord, Failure> {
    let spec = command.spec;
    if let Some(types) = app.plan().ambiguous(spec) {
        return Err(DispatchError::AmbiguousName { name: spec.name, types });
    }
    let kind = if command.timer.is_some() { WorkKind::Timer } else { WorkKind::Command };
    let meta = node.meta(parent);
    let mut work = work_record(app, kind, spec, &meta, encoded(app, node)?);
    work.id = command.id.unwrap_or(work.id);
    work.timer_key.clone_from(&command.timer_key);
    work.due_at = match command.timer {
        None | Some(When::Now) => work.due_at,
        Some(When::After(delay)) => work.due_at.checked_add(delay).unwrap_or_else(never),
        Some(When::At(time)) => time,
    };
    Ok(work)
}

fn work_record(app: &App, kind: WorkKind, spec: &MessageSpec, meta: &Meta, payload: Vec<u8>) -> WorkRecord {
    let now: SystemTime = app.clock().now();
    let mut headers = carried_headers(meta);
    wire::stamp(&mut headers, spec, meta, None);
    WorkRecord {
        id: meta.id(),
        kind,
        handler: String::new(),
        group: String::new(),
        name: spec.name.to_owned(),
        version: spec.version,
        topic: String::new(),
        key: None,
        lane: None,
        timer_key: None,
        payload,
        headers,
        // The time of the event or command itself: whoever was told it before is told no other one now.
        created_at: meta.time(),
        due_at: now,
        attempts: 0,
        error: None,
        dead: false,
    }
}

/// The headers that follow a call into whatever it sets off: the trace.
fn carried_headers(meta: &Meta) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::new();
    if let Some(parent) = meta.trace_parent() {
        headers.insert(wire::TRACEPARENT.to_owned(), parent.to_owned());
    }
    headers
}

/// The year 9999, for what is put off beyond what times can say.
fn never() -> SystemTime {
    SystemTime::UNIX_EPOCH + std::time::Duration::from_hours(70_380_768)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PostgreSQL's indexes take 2704 bytes, of which a NUL is two.
    #[test]
    fn lanes_of_long_keys_are_short_and_told_apart() {
        let long = "\u{e4}".repeat(10_000);
        let keys = [long.clone(), format!("{long}x"), format!("x{long}"), "k".repeat(512), "k".repeat(513)];
        let lanes: std::collections::BTreeSet<String> = keys.iter().map(|key| lane("mail::send", key)).collect();
        assert_eq!(lanes.len(), keys.len());
        assert!(lanes.iter().all(|lane| lane.len() < 1000));
        assert_eq!(lane("mail::send", &long), lane("mail::send", &long));
        assert_eq!(lane("mail::send", "short"), "mail::send\u{1f}short");
    }
}
