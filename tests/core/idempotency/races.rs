//! Several calls with one key at the same time, in one process and in several; and processes that die or stall.

use std::sync::Arc;

use super::*;
use crate::support::{directory, on_file};

/// How calls with one key ended: the runs that were answered, and how many were told to wait.
async fn outcomes(
    calls: Vec<tokio::task::JoinHandle<Result<Receipt, DispatchError<BoxError>>>>,
) -> (Vec<usize>, usize) {
    let (mut runs, mut waiting) = (Vec::new(), 0);
    for call in calls {
        match call.await.unwrap() {
            Ok(receipt) => runs.push(receipt.run),
            Err(DispatchError::InProgress { .. }) => waiting += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    (runs, waiting)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_hundred_calls_at_once_one_runs() {
    bounded(async {
        let app = Harness::idle().await;
        let calls = (0..100).map(|_| tokio::spawn(app.send(pay(100)).idempotency_key("k")));
        let (runs, waiting) = outcomes(calls.collect()).await;
        assert!(!runs.is_empty() && runs.iter().all(|run| *run == 1), "{runs:?}");
        assert_eq!(runs.len() + waiting, 100);
        assert_eq!((app.rows().await.len(), app.stored().await.0, keys(&app).await), (1, 1, (0, 1)));
        assert_eq!(app.probe.log(), ["pay", "after"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g12_two_apps_on_one_file_do_a_call_once() {
    bounded(async {
        let directory = directory();
        let file = directory.path().join("keys.db");
        // What both share is the probe, too: it counts what either does.
        let probe = Arc::new(Probe::default());
        let apps = [on_file(&file, &probe, |builder| builder).await, on_file(&file, &probe, |builder| builder).await];
        for round in 0..10 {
            let key = format!("k{round}");
            let calls = (0..8).map(|number| tokio::spawn(apps[number % 2].send(pay(round)).idempotency_key(&key)));
            let (runs, waiting) = outcomes(calls.collect()).await;
            assert!(!runs.is_empty() && runs.windows(2).all(|runs| runs[0] == runs[1]), "{runs:?}");
            assert_eq!(runs.len() + waiting, 8);
            for app in &apps {
                assert_eq!(app.send(pay(round)).idempotency_key(&key).await.unwrap().run, runs[0]);
            }
        }
        assert_eq!((probe.rows().await.len(), probe.count("pay"), probe.count("after")), (10, 10, 10));
        for app in apps {
            app.shutdown().await;
        }
    })
    .await;
}

/// Its process dies between the claim and the commit: nothing frees the key but the lease.
#[tokio::test]
async fn a_call_that_died_with_its_process_is_done_by_the_next_after_its_lease() {
    bounded(async {
        for takes_tx in [true, false] {
            let directory = directory();
            let file = directory.path().join("crash.db");
            let first = Arc::new(Probe::default());
            let died = std::thread::spawn({
                let (file, probe) = (file.clone(), Arc::clone(&first));
                move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    runtime.block_on(async {
                        let app = on_file(&file, &probe, |builder| builder.lease(Duration::from_secs(1))).await;
                        let place = if takes_tx { "pay" } else { "charge" };
                        probe.close(place);
                        if takes_tx {
                            tokio::spawn(app.send(pay(100)).idempotency_key("k"));
                        } else {
                            tokio::spawn(app.send(charge(100)).idempotency_key("k"));
                        }
                        probe.arrived(place).await;
                    });
                }
            });
            tokio::task::spawn_blocking(|| died.join().unwrap()).await.unwrap();

            let probe = Arc::new(Probe::default());
            let app = on_file(&file, &probe, |builder| builder).await;
            let held = "SELECT COUNT(*) FROM cqrs_idempotent WHERE done_at IS NULL";
            let held: i64 = sqlx::query_scalar(held).fetch_one(&probe.pool()).await.unwrap();
            assert_eq!(held, 1, "nobody has freed it");
            let receipt = loop {
                let call = async {
                    if takes_tx {
                        app.send(pay(100)).idempotency_key("k").await
                    } else {
                        app.send(charge(100)).idempotency_key("k").await
                    }
                };
                match call.await {
                    Ok(receipt) => break receipt,
                    Err(DispatchError::InProgress { .. }) => {}
                    Err(error) => panic!("{error:?}"),
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            };
            assert_eq!((receipt.run, app.counts().await.unwrap().outbox), (1, 1));
            assert_eq!(probe.rows().await.len(), usize::from(takes_tx));
            app.shutdown().await;
        }
    })
    .await;
}

/// As another call does that finds the lease run out: from here on the key is its own.
async fn take_over(app: &Harness) {
    let taken = sqlx::query("UPDATE cqrs_idempotent SET token = x'00'").execute(&app.probe.pool()).await.unwrap();
    assert_eq!(taken.rows_affected(), 1);
}

#[tokio::test]
async fn g12_a_call_that_lost_its_key_cannot_commit() {
    bounded(async {
        let app = Harness::idle().await;
        app.probe.close("charge");
        let stalled = app.send(charge(100)).idempotency_key("k");
        let meanwhile = async {
            app.probe.arrived("charge").await;
            take_over(&app).await;
            app.probe.open("charge");
        };
        let error = tokio::join!(stalled, meanwhile).0.unwrap_err();
        assert_eq!(error.kind(), DispatchErrorKind::InProgress);
        assert_eq!((app.stored().await, keys(&app).await), ((0, 0), (1, 0)), "the other call's claim stays");
        assert_eq!(app.probe.log(), ["charge"]);
    })
    .await;
}

/// An app of such a lease, whose handler without a transaction waits until it is let go.
async fn waiting(lease: Duration) -> Harness {
    let app = Harness::with(|builder| builder.run([""; 0]).lease(lease)).await;
    app.probe.close("charge");
    app
}

#[tokio::test]
async fn g12_a_call_that_lost_its_key_is_given_up_while_its_handler_runs() {
    bounded(async {
        let app = waiting(Duration::from_millis(300)).await;
        let stalled = app.send(charge(100)).idempotency_key("k");
        let meanwhile = async {
            app.probe.arrived("charge").await;
            take_over(&app).await;
        };
        let error = tokio::join!(stalled, meanwhile).0.unwrap_err();
        assert_eq!(error.kind(), DispatchErrorKind::InProgress);
        assert_eq!((app.probe.log(), keys(&app).await), (vec!["charge".into(), "charge dropped".into()], (1, 0)));
    })
    .await;
}

#[tokio::test]
async fn a_handler_that_runs_for_longer_than_the_lease_keeps_its_key() {
    bounded(async {
        let lease = Duration::from_secs(2);
        let app = waiting(lease).await;
        let slow = app.send(charge(100)).idempotency_key("k");
        let meanwhile = async {
            app.probe.arrived("charge").await;
            for _ in 0..2 {
                tokio::time::sleep(lease).await;
                let error = app.send(charge(100)).idempotency_key("k").await.unwrap_err();
                assert_eq!(error.kind(), DispatchErrorKind::InProgress);
            }
            app.probe.open("charge");
        };
        assert_eq!(tokio::join!(slow, meanwhile).0.unwrap().run, 1);
        assert_eq!(app.send(charge(100)).idempotency_key("k").await.unwrap().run, 1);
    })
    .await;
}

/// Whoever holds the transaction that the response will be stored in may hold it for longer than the lease: on SQLite it
/// cannot be renewed meanwhile, and nobody can take the key either.
#[tokio::test]
async fn a_handler_that_holds_its_transaction_for_longer_than_the_lease_keeps_its_key() {
    bounded(async {
        let lease = Duration::from_millis(300);
        let app = Harness::with(|builder| builder.run([""; 0]).lease(lease)).await;
        app.probe.close("pay");
        let slow = tokio::spawn(app.send(pay(100)).idempotency_key("k"));
        app.probe.arrived("pay").await;
        tokio::time::sleep(lease * 2).await;
        let rival = tokio::spawn(app.send(pay(100)).idempotency_key("k"));
        tokio::time::sleep(lease).await;
        app.probe.open("pay");
        assert_eq!(outcomes(vec![slow, rival]).await, (vec![1, 1], 0));
        assert_eq!((app.rows().await.len(), keys(&app).await), (1, (0, 1)));
    })
    .await;
}

/// A call with a key that asks again and again, for so long: every time it is told to wait.
async fn in_progress_for(app: &Harness, so_long: Duration) {
    let begun = std::time::Instant::now();
    while begun.elapsed() < so_long {
        let error = app.send(charge(100)).idempotency_key("k").await.unwrap_err();
        assert_eq!(error.kind(), DispatchErrorKind::InProgress);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Somebody else writes while the lease is to be renewed: it counts from when that was asked for, and so does the time
/// to the next renewal.
#[tokio::test]
async fn g12_a_lease_that_is_renewed_late_is_renewed_again_soon() {
    bounded(async {
        let lease = Duration::from_secs(3);
        let app = waiting(lease).await;
        let slow = app.send(charge(100)).idempotency_key("k");
        let meanwhile = async {
            app.probe.arrived("charge").await;
            let writer = app.unit::<Sqlite>().await.unwrap();
            // The renewal is asked for after a third of the lease, and granted when little is left of what it asked for.
            tokio::time::sleep(lease * 5 / 4).await;
            drop(writer);
            in_progress_for(&app, lease / 2).await;
            app.probe.open("charge");
        };
        assert_eq!(tokio::join!(slow, meanwhile).0.unwrap().run, 1);
        assert_eq!(app.probe.log(), ["charge"]);
    })
    .await;
}

/// Its lease runs out where nobody could renew it, and whoever asks next finds that: the owner, which lives, has a chance.
#[tokio::test]
async fn g12_an_owner_that_could_not_renew_its_lease_keeps_its_key() {
    bounded(async {
        let lease = Duration::from_secs(2);
        let app = waiting(lease).await;
        let slow = app.send(charge(100)).idempotency_key("k");
        let meanwhile = async {
            app.probe.arrived("charge").await;
            let writer = app.unit::<Sqlite>().await.unwrap();
            tokio::time::sleep(lease * 3 / 2).await;
            // In line behind the renewal, which asked for a lease that has run out by now.
            let rival = tokio::spawn(app.send(charge(100)).idempotency_key("k"));
            tokio::time::sleep(lease / 4).await;
            drop(writer);
            assert_eq!(rival.await.unwrap().unwrap_err().kind(), DispatchErrorKind::InProgress);
            in_progress_for(&app, lease / 2).await;
            app.probe.open("charge");
        };
        assert_eq!(tokio::join!(slow, meanwhile).0.unwrap().run, 1);
        assert_eq!(app.probe.log(), ["charge"]);
    })
    .await;
}
