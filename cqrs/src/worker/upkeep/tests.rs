//! What the log says of work that nobody takes.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;
use tracing::field::{Field, Visit};
use tracing::instrument::WithSubscriber;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use uuid::Uuid;

use super::WARN;
use crate::store::{Record as Stored, Store, WorkKind, WorkRecord};
use crate::{App, Builder};

/// Remembers the warnings: their fields, in a line.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// Waits for so many.
    async fn reach(&self, count: usize) {
        let enough = async {
            while self.all().len() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(45), enough).await;
        assert!(waited.is_ok(), "{:?}", self.all());
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() != "message" {
            let _ = write!(self.0, "{}={value:?} ", field.name());
        }
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN && metadata.target().starts_with("cqrs::worker::upkeep")
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0.trim_end().to_owned());
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn piece(kind: WorkKind, group: &str, handler: &str) -> Stored {
    let now = SystemTime::now();
    Stored::Work(WorkRecord {
        id: Uuid::now_v7(),
        kind,
        handler: handler.to_owned(),
        group: group.to_owned(),
        name: "placed".to_owned(),
        version: 1,
        topic: String::new(),
        key: None,
        lane: None,
        timer_key: None,
        payload: b"{}".to_vec(),
        headers: BTreeMap::new(),
        created_at: now,
        due_at: now,
        attempts: 0,
        error: None,
        dead: false,
    })
}

async fn app(file: &std::path::Path) -> App {
    Builder::linked(&[]).store(Store::url(format!("sqlite://{}", file.display()))).await.unwrap()
}

#[tokio::test]
async fn g11_work_of_a_handler_or_a_group_that_is_not_here_is_named_once_an_hour() {
    let directory = std::env::temp_dir().join(format!("cqrs-upkeep-{}", Uuid::now_v7()));
    std::fs::create_dir(&directory).unwrap();
    let app = app(&directory.join("app.db")).await;
    let store = app.store().unwrap();
    let mut tx = store.begin().await.unwrap();
    let gone = [
        piece(WorkKind::Durable, "", "mail::gone"),
        piece(WorkKind::Consumed, "gone", "bill::gone"),
        piece(WorkKind::Durable, "", "mail::gone"),
        piece(WorkKind::Command, "", ""),
    ];
    tx.store(gone.into()).await.unwrap();
    tx.commit().await.unwrap();

    let (warnings, stop) = (Warnings::default(), CancellationToken::new());
    let upkeep = super::run(app.clone(), Arc::clone(store), stop.clone()).with_subscriber(warnings.clone());
    let upkeep = tokio::spawn(upkeep);
    let hourly = [
        r#"rows=1 kind="consumed" group="gone" handler="bill::gone""#,
        r#"rows=2 kind="durable" group="" handler="mail::gone""#,
    ];
    warnings.reach(2).await;
    let mut seen = warnings.all();
    seen.sort();
    assert_eq!(seen, hourly);
    // A move within the hour wakes it as well, and has nothing to say.
    app.clock().advance(WARN / 2);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(warnings.all().len(), 2);
    app.clock().advance(WARN / 2);
    warnings.reach(4).await;
    assert_eq!(warnings.all().len(), 4);
    stop.cancel();
    upkeep.await.unwrap();
    drop(app);
    let _ = std::fs::remove_dir_all(directory);
}
