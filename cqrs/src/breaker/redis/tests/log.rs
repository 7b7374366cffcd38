//! Remembers what is logged on this thread.

use std::fmt::{self, Write};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Metadata, Subscriber, span};

/// What was logged since, on this thread.
pub(super) struct Log {
    lines: Arc<Mutex<Vec<(Level, String)>>>,
    _guard: DefaultGuard,
}

impl Log {
    pub(super) fn new() -> Self {
        let lines = Arc::default();
        let guard = tracing::subscriber::set_default(Listener(Arc::clone(&lines)));
        Self { lines, _guard: guard }
    }

    /// The lines of a level that name something.
    pub(super) fn lines(&self, level: Level, about: &str) -> Vec<String> {
        let lines = self.lines.lock().unwrap();
        lines.iter().filter(|(at, line)| *at == level && line.contains(about)).map(|(_, line)| line.clone()).collect()
    }
}

struct Listener(Arc<Mutex<Vec<(Level, String)>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, "{}={value:?} ", field.name());
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("cqrs")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push((*event.metadata().level(), line.0));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
