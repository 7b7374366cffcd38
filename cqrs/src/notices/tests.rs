use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use futures_util::stream;
use tokio::sync::broadcast;
use tracing::Level;

use super::*;
use crate::logged::Log;
use crate::store::StoreErrorKind;
use crate::store::driver::BoxFuture;

/// A database's channel.
struct Line {
    words: broadcast::Sender<Option<String>>,
    told: Mutex<Vec<(String, Instant)>>,
    /// A pooler takes everything and delivers nothing.
    is_cut: AtomicBool,
    listened: AtomicU8,
}

impl Line {
    fn new() -> Arc<Self> {
        let words = broadcast::channel(100).0;
        Arc::new(Self { words, told: Mutex::default(), is_cut: AtomicBool::new(false), listened: AtomicU8::new(0) })
    }

    /// What processes have told, tests apart.
    fn told(&self) -> Vec<(String, Instant)> {
        let told = self.told.lock().unwrap();
        told.iter().filter(|(word, _)| !word.starts_with(TEST)).cloned().collect()
    }

    /// How often somebody tested whether words arrive.
    fn tests(&self) -> usize {
        self.told.lock().unwrap().iter().filter(|(word, _)| word.starts_with(TEST)).count()
    }
}

impl Notices for Line {
    fn announce(&self, word: String) -> BoxFuture<'_, Result<(), StoreError>> {
        self.told.lock().unwrap().push((word.clone(), Instant::now()));
        if !self.is_cut.load(Ordering::Relaxed) {
            let _ = self.words.send(Some(word));
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn listen(&self) -> BoxFuture<'_, Result<BoxStream<'static, Result<String, StoreError>>, StoreError>> {
        self.listened.fetch_add(1, Ordering::Relaxed);
        let words = stream::unfold(self.words.subscribe(), async |mut words| {
            let word = words.recv().await.ok()?;
            Some((word.ok_or_else(|| StoreError::new(StoreErrorKind::Unavailable, "cut")), words))
        });
        Box::pin(std::future::ready(Ok(Box::pin(words) as BoxStream<'static, _>)))
    }
}

/// Listens as `me`, counting how often the bell is rung.
struct Listening {
    rung: Arc<Mutex<Vec<Instant>>>,
    stop: CancellationToken,
    ended: tokio::task::JoinHandle<()>,
}

impl Listening {
    async fn start(line: &Arc<Line>) -> Self {
        let (bell, stop, rung) = (Arc::new(Notify::new()), CancellationToken::new(), Arc::<Mutex<Vec<_>>>::default());
        let (heard, counted) = (Arc::clone(&bell), Arc::clone(&rung));
        tokio::spawn(async move {
            loop {
                heard.notified().await;
                counted.lock().unwrap().push(Instant::now());
            }
        });
        tokio::task::yield_now().await;
        let (line, until) = (Arc::clone(line), stop.clone());
        let ended = tokio::spawn(async move { listen(&*line, "me", &bell, &until).await });
        Self { rung, stop, ended }
    }

    fn rung(&self) -> usize {
        self.rung.lock().unwrap().len()
    }
}

async fn tell(line: &Arc<Line>, word: &str) {
    line.announce(word.to_owned()).await.unwrap();
    sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn what_others_tell_rings_the_bell_and_neither_ones_own_words_nor_tests_do() {
    let line = Line::new();
    let listening = Listening::start(&line).await;
    sleep(Duration::from_millis(1)).await;
    assert_eq!(listening.rung(), 1, "what was stored before it listened has to be looked for");
    tell(&line, "me").await;
    tell(&line, "test of another").await;
    assert_eq!(listening.rung(), 1);
    tell(&line, "another").await;
    assert_eq!(listening.rung(), 2);
    listening.stop.cancel();
    listening.ended.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pooler_that_delivers_nothing_is_noticed_at_the_start_and_later() {
    let (line, log) = (Line::new(), Log::new());
    let said = || log.lines(Level::WARN, "does not come back").len();
    line.is_cut.store(true, Ordering::Relaxed);
    let listening = Listening::start(&line).await;
    sleep(PATIENCE + Duration::from_secs(1)).await;
    assert_eq!((line.tests(), line.listened.load(Ordering::Relaxed)), (1, 1));
    let warnings = log.lines(Level::WARN, "found by polling");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    for mend in ["pool_mode = transaction", "a URL past it", "leave `notify` away"] {
        assert!(warnings[0].contains(mend), "{warnings:?}");
    }
    sleep(BETWEEN_TESTS + PATIENCE).await;
    assert_eq!((line.tests(), said()), (2, 1), "it is said once");
    // It is tried again after a while, and then it is heard.
    line.is_cut.store(false, Ordering::Relaxed);
    sleep(BETWEEN_TESTS).await;
    assert_eq!((line.tests(), line.listened.load(Ordering::Relaxed), listening.rung()), (3, 3, 1));
    assert_eq!(log.lines(Level::INFO, "told to this one again").len(), 1);
    // The test is repeated on the same connection, and fails where nothing arrives any more.
    sleep(BETWEEN_TESTS).await;
    assert_eq!((line.tests(), line.listened.load(Ordering::Relaxed)), (4, 3));
    line.is_cut.store(true, Ordering::Relaxed);
    sleep(BETWEEN_TESTS * 2 + PATIENCE * 2).await;
    assert!(line.listened.load(Ordering::Relaxed) > 3);
    assert_eq!(said(), 2, "and again where it had been heard");
    listening.stop.cancel();
    listening.ended.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_made_anew_and_the_bell_rung_for_what_was_missed() {
    let line = Line::new();
    let listening = Listening::start(&line).await;
    sleep(Duration::from_millis(1)).await;
    line.words.send(None).unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!((line.listened.load(Ordering::Relaxed), listening.rung()), (2, 2));
    tell(&line, "another").await;
    assert_eq!(listening.rung(), 3);
}

#[tokio::test(start_paused = true)]
async fn it_stops_in_the_middle_of_a_test_and_of_a_pause() {
    let line = Line::new();
    line.is_cut.store(true, Ordering::Relaxed);
    for wait in [Duration::from_millis(1), PATIENCE + Duration::from_secs(1)] {
        let listening = Listening::start(&line).await;
        sleep(wait).await;
        let stopped = Instant::now();
        listening.stop.cancel();
        listening.ended.await.unwrap();
        assert_eq!(stopped.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_is_told_at_once_and_what_follows_within_the_pause_once() {
    let (line, tracker) = (Line::new(), TaskTracker::new());
    let (announcer, begun) = (Announcer::new(line.clone(), "me"), Instant::now());
    for _ in 0..100 {
        announcer.note_stored(&tracker);
        sleep(Duration::from_millis(1)).await;
    }
    tracker.close();
    tracker.wait().await;
    let told = line.told();
    assert!(told.iter().all(|(word, _)| word == "me"));
    assert_eq!(told[0].1, begun);
    assert!((2..=4).contains(&told.len()), "{told:?}");
    // Nothing is left untold: the last comes after the last that was stored.
    assert!(told.last().unwrap().1 >= begun + Duration::from_millis(99), "{told:?}");
}
