//! Naming the crate that was missing mends it; naming one that registers nothing is warned about.

use std::io;
use std::sync::{Arc, Mutex};

use messages::{Archive, Log};

/// Whether a line is logged at all is asked once, by whoever comes to it first: nobody else does while somebody listens.
static ALONE: Mutex<()> = Mutex::new(());

fn everything() -> cqrs::Builder {
    cqrs::bootstrap!(crates = [billing, idle, shipping, unlinked])
}

/// What was logged meanwhile.
fn logged(run: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).without_time().with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, run);
    let bytes = lines.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_named_crate_that_registers_nothing_is_a_warning() {
    let _alone = ALONE.lock().unwrap();
    let said = logged(|| drop(everything()));
    let [line] = said.lines().collect::<Vec<_>>()[..] else { panic!("one line, not {said}") };
    assert!(line.contains("WARN"), "{line}");
    assert!(line.contains("the crate `idle` is named in `bootstrap!`, but registers nothing"), "{line}");
}

#[tokio::test]
async fn naming_the_missing_crate_mends_it() {
    let log = Arc::new(Log::default());
    let builder = {
        let _alone = ALONE.lock().unwrap();
        cqrs::verify!(everything().expects::<Log>());
        everything()
    };
    let app = builder.provide_arc(Arc::clone(&log)).await.unwrap();
    app.send(Archive).await.unwrap();
    assert_eq!(log.take(), ["unlinked: archived"]);
}
