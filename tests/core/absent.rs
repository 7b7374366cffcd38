//! Stored work that only another version of the program can do waits for that one.

use std::sync::Arc;
use std::time::Duration;

use cqrs::prelude::*;
use cqrs::sqlx::{self, AssertSqlSafe};
use serde::{Deserialize, Serialize};

use crate::support::{Harness, Log, Probe, Running, bounded, directory, on_file};

const HOUR: Duration = Duration::from_secs(3600);

#[derive(Command, Serialize, Deserialize)]
#[command(name = "absent.later")]
struct Later;

#[command_handler]
async fn later(_cmd: Later, probe: Inject<Probe>) {
    probe.note("later");
}

#[derive(DomainEvent, Serialize, Deserialize)]
#[event(name = "absent.happened", key = key)]
struct Happened {
    key: u32,
}

#[event_handler(durable, retry(max = 2, first = "1s"))]
async fn happened(_e: &Happened, probe: Inject<Probe>) {
    probe.note("happened");
}

/// An app with a piece of stored work that is due in a minute, changed as another program would have written it.
async fn with_work_of_another(change: &str) -> Harness {
    let app = Harness::start().await;
    app.schedule(Later).after(Duration::from_secs(60)).await.unwrap();
    let change = AssertSqlSafe(format!("UPDATE cqrs_work SET {change} WHERE name = 'absent.later'"));
    sqlx::query(change).execute(&app.probe.pool()).await.unwrap();
    app
}

async fn attempts(app: &Harness) -> Vec<u32> {
    attempts_of(&app.probe).await
}

async fn attempts_of(probe: &Probe) -> Vec<u32> {
    sqlx::query_scalar("SELECT attempts FROM cqrs_work").fetch_all(&probe.pool()).await.unwrap()
}

#[tokio::test]
async fn g11_work_of_a_handler_that_is_not_here_is_left_to_who_has_it() {
    bounded(async {
        for change in [
            "kind = 'durable', handler = 'mail::in_a_newer_version'",
            "kind = 'consumed', consumer_group = 'of_a_newer_version', handler = 'bill::later'",
            "kind = 'consumed', consumer_group = 'of_a_newer_version', handler = ''",
        ] {
            let app = with_work_of_another(change).await;
            for _ in 0..8 {
                app.advance(HOUR).await;
                // Nothing here is due: it would not settle.
                app.settle().await;
            }
            assert_eq!((attempts(&app).await, app.dead().await.len()), (vec![0], 0), "{change}");
        }
    })
    .await;
}

#[tokio::test]
async fn g11_a_command_that_is_not_here_waits_for_a_day_and_uses_up_no_attempts() {
    bounded(async {
        for change in ["name = 'absent.later'", "name = 'absent.newer'", "kind = 'command', version = 9"] {
            let is_here = change == "name = 'absent.later'";
            let app = with_work_of_another(change).await;
            for _ in 0..23 {
                app.advance(HOUR).await;
                app.settle().await;
            }
            let expected = if is_here { vec![] } else { vec![0] };
            assert_eq!((attempts(&app).await, app.dead().await.len()), (expected, 0), "{change}");
            assert_eq!(app.probe.count("later"), usize::from(is_here));
            app.advance(2 * HOUR).await;
            app.settle().await;
            let dead = app.dead().await;
            assert_eq!(dead.len(), usize::from(!is_here));
            assert!(dead.iter().all(|letter| letter.error.contains("in this program")), "{dead:?}");
        }
    })
    .await;
}

#[event_handler]
async fn plain_by_now(_e: &Happened, probe: Inject<Probe>) {
    probe.note("plain");
}

/// A handler that was durable and is plain by now takes what is raised from now on. What was stored for it is nobody's: it is
/// named, counted, and neither lost nor handled by a handler that was changed so as not to be tried again.
#[tokio::test]
async fn g11_work_of_a_handler_that_is_no_longer_durable_is_named_and_waits() {
    bounded(async {
        let log = Log::start();
        let directory = directory();
        let file = directory.path().join("changed.db");
        let probe = Arc::new(Probe::default());
        let (durable, plain) = (concat!(module_path!(), "::happened"), concat!(module_path!(), "::plain_by_now"));
        let change = |from: &'static str, to: &'static str| {
            let pool = probe.pool();
            async move {
                let change = "UPDATE cqrs_work SET handler = ?, lane = NULL WHERE handler = ?";
                sqlx::query(change).bind(to).bind(from).execute(&pool).await.unwrap();
            }
        };
        // As a program left it in which that handler was durable: one that waits, and one that is dead.
        let app = on_file(&file, &probe, |builder| builder.run([""; 0])).await;
        for key in 1..=2 {
            app.publish(Happened { key }).await.unwrap();
        }
        change(durable, plain).await;
        let dead = "UPDATE cqrs_work SET state = 'dead', attempts = 2, error = 'refused' WHERE message_key = '2'";
        sqlx::query(dead).execute(&probe.pool()).await.unwrap();
        app.shutdown().await;
        drop(app);
        assert_eq!(probe.count("plain"), 2);

        let running = Running::start(on_file(&file, &probe, |builder| builder).await);
        let named = |rows: u32| format!("rows={rows} kind=\"durable\" group=\"\" handler=\"{plain}\"");
        while !log.text().contains(&named(1)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let letters = running.app.dead_letters(9).await.unwrap();
        let counts = running.app.counts().await.unwrap();
        assert_eq!((counts.work, counts.dead, letters[0].handler.as_str()), (1, 1, plain));
        assert!(running.app.replay(letters[0].id).await.unwrap());
        running.app.schedule(Later).await.unwrap();
        // It comes after them and is done: nobody tries them.
        while running.app.counts().await.unwrap().work > 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let counts = running.app.counts().await.unwrap();
        assert_eq!((counts.work, counts.dead), (2, 0));
        assert_eq!((probe.count("later"), probe.count("happened"), attempts_of(&probe).await), (1, 0, vec![0, 0]));
        running.stop().await;

        // Durable again, it has them.
        let running = Running::start(on_file(&file, &probe, |builder| builder).await);
        while !log.text().contains(&named(2)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        change(plain, durable).await;
        running.app.schedule(Later).await.unwrap();
        probe.noted("happened", 2).await;
        running.stop().await;
    })
    .await;
}

/// The program that stored it is newer: its handler takes a version that ours does not know yet.
#[tokio::test]
async fn g11_an_event_of_another_version_waits_for_the_program_whose_handler_takes_it() {
    bounded(async {
        let path = concat!(module_path!(), "::happened");
        let change = format!(
            "kind = 'durable', handler = '{path}', name = 'absent.happened', version = 2, payload = '{{\"key\":7}}'"
        );
        let app = with_work_of_another(&change).await;
        for _ in 0..8 {
            app.advance(HOUR).await;
            app.settle().await;
        }
        assert_eq!((attempts(&app).await, app.dead().await.len(), app.probe.log().len()), (vec![0], 0, 0));
        // The newer program has been rolled back: so is what it stored.
        sqlx::query("UPDATE cqrs_work SET version = 1").execute(&app.probe.pool()).await.unwrap();
        app.advance(HOUR).await;
        app.settle().await;
        assert_eq!((app.probe.log(), app.stored().await), (vec!["happened".to_owned()], (0, 0)));
    })
    .await;
}
