//! What a test's thread logs.

use std::cell::RefCell;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, Once};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

type Lines = Arc<Mutex<Vec<(Level, String)>>>;

thread_local! {
    static LINES: RefCell<Option<Lines>> = const { RefCell::new(None) };
}

/// What was logged since, on this thread, for as long as it lives.
///
/// One subscriber serves all threads: with one for each test, a test that starts while another first comes to a place that
/// logs may find that place switched off.
pub(crate) struct Log(Lines);

impl Log {
    pub(crate) fn new() -> Self {
        static SUBSCRIBER: Once = Once::new();
        SUBSCRIBER.call_once(|| tracing::subscriber::set_global_default(Listener).unwrap());
        let lines = Lines::default();
        LINES.replace(Some(Arc::clone(&lines)));
        Self(lines)
    }

    /// The lines of a level that name something.
    pub(crate) fn lines(&self, level: Level, about: &str) -> Vec<String> {
        let lines = self.0.lock().unwrap();
        lines.iter().filter(|(at, line)| *at == level && line.contains(about)).map(|(_, line)| line.clone()).collect()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        LINES.replace(None);
    }
}

struct Listener;

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
        let lines = LINES.with_borrow(Option::clone);
        if let Some(lines) = lines {
            let mut line = Line(String::new());
            event.record(&mut line);
            lines.lock().unwrap().push((*event.metadata().level(), line.0));
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
