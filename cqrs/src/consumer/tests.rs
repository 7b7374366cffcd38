//! The loop of a group, on virtual time, with a consumer that does what it is told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::run;
use crate::broker::driver::{Consumer, Incoming, Receipt, Settlement};
use crate::broker::{BrokerError, BrokerErrorKind, Delivery};
use crate::relay::tests::fake::FakeStore;
use crate::store::Store;
use crate::store::driver::BoxFuture;
use crate::worker::Turns;
use crate::{App, Builder};

const MS: Duration = Duration::from_millis(1);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Seen {
    Failed,
    Gave,
    Settled(Settlement),
}

/// What a consumer gives, one after the other and then nothing any more; and what became of it, and when.
#[derive(Debug, Clone)]
struct Script {
    gives: Arc<Mutex<VecDeque<Option<Delivery>>>>,
    seen: Arc<Mutex<Vec<(Seen, Instant)>>>,
}

impl Script {
    /// `None`: an error.
    fn of(gives: impl IntoIterator<Item = Option<Delivery>>) -> Self {
        Self { gives: Arc::new(Mutex::new(gives.into_iter().collect())), seen: Arc::default() }
    }

    fn note(&self, seen: Seen) {
        self.seen.lock().unwrap().push((seen, Instant::now()));
    }

    fn all(&self) -> Vec<(Seen, Instant)> {
        self.seen.lock().unwrap().clone()
    }

    /// How long after the one before it each of these came.
    fn pauses(&self, what: Seen) -> Vec<Duration> {
        let times: Vec<_> = self.all().into_iter().filter(|(seen, _)| *seen == what).map(|(_, at)| at).collect();
        times.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }
}

impl Consumer for Script {
    fn receive(&mut self, _: usize) -> BoxFuture<'_, Result<Vec<Incoming>, BrokerError>> {
        Box::pin(async {
            let Some(next) = self.gives.lock().unwrap().pop_front() else { return std::future::pending().await };
            let Some(delivery) = next else {
                self.note(Seen::Failed);
                return Err(BrokerError::new(BrokerErrorKind::Unavailable, "told to fail"));
            };
            self.note(Seen::Gave);
            Ok(vec![Incoming { receipt: Receipt(self.all().len() as u64), delivery }])
        })
    }

    fn settle(&mut self, settled: Vec<(Receipt, Settlement)>) -> BoxFuture<'_, Result<(), BrokerError>> {
        for (_, settlement) in settled {
            self.note(Seen::Settled(settlement));
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// A message that no handler takes: it is skipped.
fn foreign() -> Delivery {
    Delivery::new("t", r#"{"payload":{},"event_id":"018f0000-0000-7000-8000-000000000000","event_name":"e"}"#)
}

/// A message that would be kept as a dead letter, if there were a store to keep it.
fn unreadable() -> Delivery {
    Delivery::new("t", "no JSON")
}

async fn app() -> App {
    Builder::linked(&[]).store(Store::driver(FakeStore::default())).await.unwrap()
}

async fn start(script: &Script, turns: &Turns) -> (CancellationToken, JoinHandle<()>) {
    let stop = CancellationToken::new();
    let running = run(app().await, "group", Box::new(script.clone()), turns.clone(), stop.clone());
    (stop, tokio::spawn(running))
}

/// Stops, and gives how long that took.
async fn stop(stop: &CancellationToken, running: JoinHandle<()>) -> Duration {
    let told = Instant::now();
    stop.cancel();
    running.await.unwrap();
    told.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_gives_errors_is_asked_ever_later_and_anew_once_it_has_answered() {
    let script = Script::of([None, None, None, None, Some(foreign()), None, None]);
    let (token, running) = start(&script, &Turns::new(2)).await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    let pauses = script.pauses(Seen::Failed);
    // Of each pause the upper half is left to chance; between the fourth error and the fifth there was an answer.
    for (pause, whole) in pauses.iter().zip([100, 200, 400, 800, 100].map(Duration::from_millis)) {
        assert!(whole / 2 <= *pause && *pause <= whole + 2 * MS, "{pauses:?}");
    }
    assert_eq!(pauses.len(), 5);
    assert!(stop(&token, running).await < MS);
}

#[tokio::test(start_paused = true)]
async fn what_has_ended_is_settled_while_the_broker_is_not_asked() {
    let script = Script::of([Some(foreign()), None]);
    let (token, running) = start(&script, &Turns::new(2)).await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    let seen = script.all();
    let order: Vec<_> = seen.iter().map(|(seen, _)| *seen).collect();
    assert_eq!(order, [Seen::Gave, Seen::Failed, Seen::Settled(Settlement::Done)]);
    assert!(seen[2].1 - seen[1].1 < 10 * MS, "the pause is five times as long, at the least: {seen:?}");
    stop(&token, running).await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_pause_after_an_error() {
    let script = Script::of([const { None }; 7]);
    let (token, running) = start(&script, &Turns::new(2)).await;
    while script.all().len() < 7 {
        tokio::time::sleep(MS).await;
    }
    assert!(stop(&token, running).await < MS, "seconds are left of the pause");
}

#[tokio::test(start_paused = true)]
async fn the_pause_of_a_message_that_cannot_be_stored_takes_no_turn_and_ends_with_a_stop() {
    let (script, turns) = (Script::of([(); 3].map(|()| Some(unreadable()))), Turns::new(1));
    let (token, running) = start(&script, &turns).await;
    let returned = || script.all().iter().filter(|(seen, _)| *seen == Seen::Settled(Settlement::Return)).count();
    while returned() < 2 {
        tokio::time::sleep(MS).await;
    }
    let pauses = script.pauses(Seen::Gave);
    for (pause, whole) in pauses.iter().zip([100, 200].map(Duration::from_millis)) {
        assert!(whole / 2 <= *pause && *pause <= whole + 2 * MS, "{pauses:?}");
    }
    // The third is on its way, or pauses: for 200 ms at the least.
    tokio::time::sleep(MS).await;
    let turn = tokio::time::timeout(10 * MS, turns.wait()).await;
    assert!(turn.is_ok(), "it keeps the turn while it waits");
    assert_eq!(returned(), 2);
    assert!(stop(&token, running).await < MS);
    assert_eq!(returned(), 3, "it is handed back all the same");
}
