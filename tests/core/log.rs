//! What a test's thread logs.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, Once};

thread_local! {
    static LOG: RefCell<Option<Arc<Mutex<Vec<u8>>>>> = const { RefCell::new(None) };
}

/// What this thread logs, warnings and errors, for as long as it lives.
///
/// One subscriber serves all threads: with one for each test, a test that starts while another first comes to a place that
/// logs may find that place switched off.
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub fn start() -> Self {
        static SUBSCRIBER: Once = Once::new();
        SUBSCRIBER.call_once(|| {
            let subscriber = tracing_subscriber::fmt()
                .with_max_level(tracing::Level::WARN)
                .with_ansi(false)
                .with_writer(|| LogWriter)
                .finish();
            tracing::subscriber::set_global_default(subscriber).unwrap();
        });
        let text = Arc::new(Mutex::new(Vec::new()));
        LOG.replace(Some(Arc::clone(&text)));
        Self(text)
    }

    /// The same down to the smallest, until the guard is dropped.
    pub fn of_everything() -> (Self, tracing::subscriber::DefaultGuard) {
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .with_writer(|| LogWriter)
            .finish();
        (Self::start(), tracing::subscriber::set_default(subscriber))
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        LOG.replace(None);
    }
}

struct LogWriter;

impl std::io::Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.with_borrow(|log| {
            if let Some(log) = log {
                log.lock().unwrap().extend_from_slice(bytes);
            }
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
