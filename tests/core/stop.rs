//! G14: stopping: no new claims, what runs is finished or handed back, nothing handled comes again.

use std::sync::Arc;
use std::time::Duration;

use cqrs::prelude::*;
use cqrs::sqlx::{self, Sqlite};
use cqrs::{BoxError, Builder, DispatchErrorKind, Health};
use serde::{Deserialize, Serialize};

use crate::support::{Log, Probe, Running, bounded, directory, on_file, write};

#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "baked", topic = "bakery", key = id)]
struct Baked {
    id: u32,
}

#[derive(DomainEvent, Clone, Serialize, Deserialize)]
struct Kneaded {
    id: u32,
}

#[derive(Command)]
#[command(error = sqlx::Error)]
struct Bake {
    id: u32,
}

#[command_handler]
async fn bake(cmd: Bake, tx: &mut Tx<Sqlite>, events: &mut Events, probe: Inject<Probe>) -> Result<(), sqlx::Error> {
    write(tx, format!("bake {}", cmd.id)).await?;
    probe.pass("bake").await;
    events.raise(Baked { id: cmd.id });
    events.raise(Kneaded { id: cmd.id });
    Ok(())
}

#[event_handler(group = "bakery")]
async fn baked(e: Baked, tx: &mut Tx<Sqlite>, probe: Inject<Probe>) -> Result<(), BoxError> {
    write(tx, format!("baked {}", e.id)).await?;
    probe.pass("baked").await;
    probe.note("baked");
    Ok(())
}

/// Notes that a handler was dropped, or ended.
struct Dropped<'p>(&'p Probe, &'static str);

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        self.0.note(self.1);
    }
}

#[event_handler(durable)]
async fn kneaded(e: &Kneaded, meta: &Meta, probe: Inject<Probe>, begin: &mut Begin<Sqlite>) -> Result<(), BoxError> {
    let _dropped = Dropped(&probe, "kneading dropped");
    probe.note(format!("kneading {} attempt {}", e.id, meta.attempt()));
    probe.pass("kneaded").await;
    write(begin.begin().await?, format!("kneaded {}", e.id)).await?;
    probe.note("kneaded");
    Ok(())
}

/// A file that outlives the apps on it.
struct Shop {
    directory: tempfile::TempDir,
}

type Change = fn(Builder) -> Builder;

fn as_it_is(builder: Builder) -> Builder {
    builder
}

/// Stopping waits for nothing that hangs.
fn in_a_hurry(builder: Builder) -> Builder {
    builder.shutdown_timeout(Duration::from_millis(100))
}

/// Stopping waits for far longer than a test may take: for nothing, then, that does not end by itself.
fn patient(builder: Builder) -> Builder {
    builder.shutdown_timeout(Duration::from_secs(3600))
}

impl Shop {
    fn new() -> Self {
        Self { directory: directory() }
    }

    async fn open(&self, change: Change) -> (Arc<Probe>, App) {
        let probe = Arc::new(Probe::default());
        let app = on_file(&self.directory.path().join("shop.db"), &probe, change).await;
        (probe, app)
    }

    async fn run(&self, change: Change) -> (Arc<Probe>, Running) {
        let (probe, app) = self.open(change).await;
        (probe, Running::start(app))
    }

    /// One that runs, and has come to a place that is closed, on the way of the first thing it bakes.
    async fn run_into(&self, place: &str, change: Change) -> (Arc<Probe>, Running) {
        let (probe, running) = self.run(change).await;
        bake_into(&running.app, &probe, place).await;
        (probe, running)
    }

    /// What the next one to run on the file does, until it has baked the second thing and handled it.
    async fn run_again(&self, noted: &[(&str, usize)]) -> Arc<Probe> {
        let (probe, running) = self.run(as_it_is).await;
        running.app.send(Bake { id: 2 }).await.unwrap();
        for (text, times) in noted {
            probe.noted(text, *times).await;
        }
        running.stop().await;
        probe
    }

    /// All rows, once nothing runs any more.
    async fn rows(&self) -> Vec<String> {
        let (probe, app) = self.open(as_it_is).await;
        let mut rows = probe.rows().await;
        rows.sort();
        app.shutdown().await;
        rows
    }
}

async fn bake_into(app: &App, probe: &Probe, place: &str) {
    probe.close(place);
    app.send(Bake { id: 1 }).await.unwrap();
    probe.arrived(place).await;
}

/// Gives everything that was begun every chance to end too early.
async fn every_chance() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// Told to stop, it does not before a place is opened.
async fn waits_for(place: &str, probe: &Probe, running: Running) {
    let app = running.app.clone();
    running.tell();
    app.stopping().await;
    let ended = tokio::spawn(running.ended());
    every_chance().await;
    assert_eq!(app.health(), Health::Stopping);
    probe.open(place);
    ended.await.unwrap();
    assert_eq!(app.health(), Health::Stopped);
}

#[tokio::test]
async fn g14_health_and_what_happens_to_calls() {
    bounded(async {
        let shop = Shop::new();
        let (probe, app) = shop.open(as_it_is).await;
        assert_eq!(app.health(), Health::Idle);
        let stopping = tokio::spawn(app.stopping());
        let running = Running::start(app.clone());
        bake_into(&app, &probe, "kneaded").await;
        assert_eq!(app.health(), Health::Running);
        assert!(!stopping.is_finished());

        running.tell();
        stopping.await.unwrap();
        assert_eq!(app.health(), Health::Stopping);
        // Calls still come through while what runs is finished; what they store is for the next start.
        app.send(Bake { id: 2 }).await.unwrap();
        probe.open("kneaded");
        running.ended().await;
        assert_eq!(app.health(), Health::Stopped);
        assert_eq!(app.send(Bake { id: 3 }).await.unwrap_err().kind(), DispatchErrorKind::ShuttingDown);
        assert!(app.publish(Kneaded { id: 3 }).await.is_err());
        assert_eq!(probe.count("kneading 2 attempt 1"), 0, "claimed while stopping");
    })
    .await;
}

#[tokio::test]
async fn g14_what_runs_is_finished_and_nothing_handled_comes_again() {
    bounded(async {
        let shop = Shop::new();
        let (probe, running) = shop.run_into("kneaded", as_it_is).await;
        probe.noted("baked", 1).await;
        waits_for("kneaded", &probe, running).await;
        assert_eq!((probe.count("kneaded"), probe.count("baked")), (1, 1));

        let probe = shop.run_again(&[("kneaded", 1), ("baked", 1)]).await;
        assert_eq!((probe.count("kneading 1 attempt 1"), probe.count("kneading 2 attempt 1")), (0, 1));
        assert_eq!(shop.rows().await, ["bake 1", "bake 2", "baked 1", "baked 2", "kneaded 1", "kneaded 2"]);
    })
    .await;
}

#[tokio::test]
async fn g14_a_consumed_message_that_runs_is_finished_before_the_broker_goes() {
    bounded(async {
        let shop = Shop::new();
        let (probe, running) = shop.run_into("baked", as_it_is).await;
        waits_for("baked", &probe, running).await;
        assert_eq!(probe.count("baked"), 1);

        let probe = shop.run_again(&[("baked", 1)]).await;
        assert_eq!(probe.count("baked"), 1, "the first is not handled again");
        assert_eq!(shop.rows().await[..4], ["bake 1", "bake 2", "baked 1", "baked 2"]);
    })
    .await;
}

#[tokio::test]
async fn g12_g14_what_does_not_end_in_time_is_handed_back_and_cannot_commit_later() {
    bounded(async {
        let shop = Shop::new();
        let (probe, running) = shop.run_into("kneaded", in_a_hurry).await;
        running.stop().await;
        assert_eq!(probe.count("kneading dropped"), 1, "what is handed back runs no further");

        // At once, and as if it had not been attempted.
        let (second, again) = shop.run(as_it_is).await;
        second.noted("kneaded", 1).await;
        probe.open("kneaded");
        again.stop().await;
        assert_eq!(second.count("kneading 1 attempt 1"), 1, "{:?}", second.log());
        assert_eq!(shop.rows().await, ["bake 1", "baked 1", "kneaded 1"]);
    })
    .await;
}

/// A transaction that hangs is dropped with its handler: the file is free when `run` returns.
#[tokio::test]
async fn g14_a_hanging_transaction_does_not_outlive_the_shutdown() {
    bounded(async {
        let shop = Shop::new();
        let (_probe, running) = shop.run_into("baked", in_a_hurry).await;
        running.stop().await;
        shop.run_again(&[("baked", 2)]).await;
        assert_eq!(shop.rows().await[..4], ["bake 1", "bake 2", "baked 1", "baked 2"]);
    })
    .await;
}

/// A call from outside that is under way is something that was begun.
#[tokio::test]
async fn g14_a_call_that_runs_is_finished_before_the_store_closes() {
    bounded(async {
        let shop = Shop::new();
        let (probe, running) = shop.run(as_it_is).await;
        probe.close("bake");
        let app = running.app.clone();
        let call = tokio::spawn(async move { app.send(Bake { id: 1 }).await });
        probe.arrived("bake").await;
        waits_for("bake", &probe, running).await;
        call.await.unwrap().unwrap();
        assert_eq!(shop.rows().await, ["bake 1"]);
    })
    .await;
}

#[tokio::test]
async fn g14_shutdown_stops_what_runs_and_waits_for_it() {
    bounded(async {
        let shop = Shop::new();
        let (probe, running) = shop.run_into("kneaded", as_it_is).await;
        let app = running.app.clone();
        let shutdown = tokio::spawn({
            let app = app.clone();
            async move { app.shutdown().await }
        });
        app.stopping().await;
        probe.open("kneaded");
        shutdown.await.unwrap();
        assert_eq!((app.health(), probe.count("kneaded")), (Health::Stopped, 1));
        running.ended().await;
        app.shutdown().await;
    })
    .await;
}

#[derive(Command)]
#[command(item = u32, error = BoxError)]
struct Slice;

/// Parks without a transaction after each slice, and holds one while it cuts.
#[command_handler]
async fn slice(_cmd: Slice, items: &mut Items<u32>, tx: &mut Tx<Sqlite>, probe: Inject<Probe>) -> Result<(), BoxError> {
    let _dropped = Dropped(&probe, "slicing dropped");
    for number in 1.. {
        write(tx, format!("slice {number}")).await?;
        probe.pass("slice").await;
        items.commit(tx, number).await?;
    }
    Ok(())
}

#[tokio::test]
async fn g14_a_stream_that_nobody_reads_holds_up_no_stop_and_ends_when_it_is_read_again() {
    bounded(async {
        let shop = Shop::new();
        let (probe, running) = shop.run(patient).await;
        let app = running.app.clone();
        let (mut parked, mut unread) = (app.stream(Slice), app.stream(Slice));
        assert_eq!(parked.next().await.unwrap().unwrap(), 1);
        running.stop().await;
        assert_eq!((app.health(), probe.count("slicing dropped")), (Health::Stopped, 0));
        for stream in [&mut parked, &mut unread] {
            let error = stream.next().await.unwrap().unwrap_err();
            assert_eq!(error.kind(), DispatchErrorKind::ShuttingDown);
            assert!(stream.next().await.is_none());
        }
        assert_eq!((probe.count("slicing dropped"), shop.rows().await), (1, vec!["slice 1".to_owned()]));
    })
    .await;
}

#[tokio::test]
async fn g14_an_item_that_is_asked_for_is_waited_for() {
    bounded(async {
        let shop = Shop::new();
        let (probe, running) = shop.run(patient).await;
        probe.close("slice");
        let mut items = running.app.stream(Slice);
        let asked = tokio::spawn(async move { (items.next().await.unwrap().unwrap(), items) });
        probe.arrived("slice").await;
        waits_for("slice", &probe, running).await;
        let (item, items) = asked.await.unwrap();
        drop(items);
        assert_eq!((item, shop.rows().await), (1, vec!["slice 1".to_owned()]));
    })
    .await;
}

#[derive(Command)]
struct Rest;

#[command_handler]
async fn rest(_cmd: Rest, _meta: &Meta, probe: Inject<Probe>) {
    probe.pass("rest").await;
}

#[tokio::test]
async fn g14_what_a_stop_waited_for_in_vain_is_named() {
    bounded(async {
        let log = Log::start();
        let shop = Shop::new();
        let (probe, running) = shop.run(in_a_hurry).await;
        let app = running.app.clone();
        for place in ["kneaded", "rest", "cooled"] {
            probe.close(place);
        }
        app.publish(Kneaded { id: 1 }).await.unwrap();
        probe.arrived("kneaded").await;
        let mut parked = app.stream(Slice);
        parked.next().await.unwrap().unwrap();
        let calls = [
            tokio::spawn({
                let app = app.clone();
                async move { app.send(Rest).await.map_err(BoxError::from) }
            }),
            tokio::spawn({
                let app = app.clone();
                async move { app.publish(Cooled).await.map_err(BoxError::from) }
            }),
        ];
        probe.arrived("rest").await;
        probe.arrived("cooled").await;
        running.stop().await;
        let text = log.text();
        for name in ["event handler `kneaded` (1)", "command handler `rest` (1)", "event handler `cooled` (1)"] {
            assert!(text.contains(name), "{name}: {text}");
        }
        assert!(text.contains("calls=2") && text.contains("handed back") && text.contains("rolled back"), "{text}");
        assert!(!text.contains("slice"), "it is parked: {text}");
        // As it says: they go on.
        probe.open("rest");
        probe.open("cooled");
        for call in calls {
            call.await.unwrap().unwrap();
        }
    })
    .await;
}

/// An after-commit handler of a call nobody listens to any more is waited for.
#[tokio::test]
async fn g3_g14_what_goes_on_after_a_commit_is_waited_for() {
    bounded(async {
        let shop = Shop::new();
        let (probe, app) = shop.open(as_it_is).await;
        probe.close("cooled");
        tokio::select! {
            biased;
            _ = app.publish(Cooled) => panic!("it waits"),
            () = probe.arrived("cooled") => {}
        }
        let stopped = app.clone();
        let shutdown = tokio::spawn(async move { stopped.shutdown().await });
        app.stopping().await;
        assert!(probe.log().is_empty());
        probe.open("cooled");
        shutdown.await.unwrap();
        assert_eq!(probe.log(), ["cooled"]);
    })
    .await;
}

#[derive(DomainEvent)]
struct Cooled;

#[event_handler]
async fn cooled(_e: &Cooled, probe: Inject<Probe>) {
    probe.pass("cooled").await;
    probe.note("cooled");
}

/// `run` ends on SIGTERM and on ctrl-c; what runs is finished.
#[cfg(unix)]
#[tokio::test]
async fn g14_sigterm_ends_run_after_what_runs() {
    use tokio::signal::unix::{SignalKind, signal};
    bounded(async {
        // One after the other: a signal is the whole process's.
        for (name, kind) in [("-TERM", SignalKind::terminate()), ("-INT", SignalKind::interrupt())] {
            // Registered before the first is sent: from here on the signal ends no process.
            let mut registered = signal(kind).unwrap();
            let shop = Shop::new();
            let (probe, app) = shop.open(as_it_is).await;
            let run = tokio::spawn({
                let app = app.clone();
                async move { app.run().await }
            });
            bake_into(&app, &probe, "kneaded").await;
            let mut stopping = Box::pin(app.stopping());
            loop {
                let kill = std::process::Command::new("kill").args([name, &std::process::id().to_string()]).status();
                assert!(kill.unwrap().success());
                registered.recv().await;
                // The app may listen a moment later than this test does: it is sent again until it is heard.
                tokio::select! {
                    biased;
                    () = &mut stopping => break,
                    () = tokio::time::sleep(Duration::from_millis(20)) => {}
                }
            }
            probe.open("kneaded");
            run.await.unwrap().unwrap();
            assert_eq!((app.health(), probe.count("kneaded")), (Health::Stopped, 1), "{name}");
        }
    })
    .await;
}

/// An empty list runs nothing, which is what was asked for: the app runs, and what is stored waits for another process.
#[tokio::test]
async fn an_app_that_runs_nothing_is_running_until_it_is_stopped() {
    bounded(async {
        let shop = Shop::new();
        let (_probe, app) = shop.open(|builder| builder.run([""; 0])).await;
        assert_eq!(app.health(), Health::Idle);
        let running = Running::start(app);
        while running.app.health() == Health::Idle {
            tokio::task::yield_now().await;
        }
        running.app.send(Bake { id: 1 }).await.unwrap();
        assert_eq!(running.app.health(), Health::Running);
        let app = running.app.clone();
        running.stop().await;
        let counts = app.counts().await.unwrap();
        assert_eq!((app.health(), counts.outbox, counts.work), (Health::Stopped, 1, 1));
    })
    .await;
}
