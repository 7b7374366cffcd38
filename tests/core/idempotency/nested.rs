//! Calls with a key from handlers: within the caller's transaction, and apart from it.

use super::*;

/// What a handler does with a payment.
#[derive(Clone, Copy, PartialEq)]
enum How {
    /// In its own transaction.
    Within,
    /// Twice in its own transaction.
    Twice,
    /// In its own transaction; then it fails.
    ThenFail,
    /// In its own transaction, dropped in the middle; then again.
    Dropped,
    /// In a unit of its own.
    Apart,
}

#[derive(Command)]
#[command(response = Vec<usize>, error = BoxError)]
struct Order {
    cents: u64,
    how: How,
}

#[command_handler]
async fn order(cmd: Order, tx: &mut Tx<Sqlite>, app: &App, probe: Inject<Probe>) -> Result<Vec<usize>, BoxError> {
    write(tx, "order").await?;
    let call = || app.send(pay(cmd.cents)).idempotency_key("k");
    let ended = match cmd.how {
        How::Apart => call().await,
        How::Dropped => {
            tokio::select! {
                biased;
                ended = call().within(tx) => panic!("{ended:?}"),
                () = probe.arrived("pay") => {}
            }
            probe.open("pay");
            call().within(tx).await
        }
        How::Within | How::Twice | How::ThenFail => call().within(tx).await,
    };
    let mut runs = match ended {
        Ok(receipt) => vec![receipt.run],
        Err(error) => {
            probe.note(format!("{:?}", error.kind()));
            vec![0]
        }
    };
    if cmd.how == How::Twice {
        runs.push(call().within(tx).await?.run);
        let error = app.send(pay(cmd.cents + 1)).idempotency_key("k").within(tx).await.unwrap_err();
        probe.note(format!("{:?}", error.kind()));
    }
    if cmd.how == How::ThenFail { Err(Refused("order".to_owned()).into()) } else { Ok(runs) }
}

/// A handler without a transaction.
#[derive(Command)]
#[command(response = usize, error = BoxError)]
struct Checkout;

#[command_handler]
async fn checkout(_cmd: Checkout, app: &App) -> Result<usize, BoxError> {
    Ok(app.send(pay(100)).idempotency_key("k").await?.run)
}

async fn ordered(app: &Harness, how: How) -> Vec<usize> {
    app.send(Order { cents: 100, how }).await.unwrap()
}

#[tokio::test]
async fn within_the_key_is_taken_when_the_caller_commits() {
    bounded(async {
        let app = Harness::idle().await;
        app.send(Order { cents: 100, how: How::ThenFail }).await.unwrap_err();
        assert_eq!((app.rows().await.len(), app.stored().await, keys(&app).await), (0, (0, 0), (0, 0)));
        assert_eq!(ordered(&app, How::Within).await, [2], "it was undone, and so is done anew");
        assert_eq!((app.rows().await, keys(&app).await), (vec!["order".to_owned(), "pay 100".to_owned()], (0, 1)));
        // From then on it is done, for whoever asks.
        assert_eq!(ordered(&app, How::Within).await, [2]);
        assert_eq!(app.send(pay(100)).idempotency_key("k").await.unwrap().run, 2);
        assert_eq!((app.rows().await.len(), app.stored().await.0, app.probe.count("after")), (3, 1, 1));
    })
    .await;
}

#[tokio::test]
async fn within_a_key_is_done_once_in_one_transaction_too() {
    bounded(async {
        let app = Harness::idle().await;
        assert_eq!(ordered(&app, How::Twice).await, [1, 1]);
        assert_eq!((app.rows().await.len(), keys(&app).await, app.probe.count("KeyReused")), (2, (0, 1), 1));
    })
    .await;
}

#[tokio::test]
async fn within_a_failure_frees_the_key_and_leaves_the_rest() {
    bounded(async {
        let app = Harness::idle().await;
        for what in ["pay", "pay panics", "audit"] {
            app.probe.fail(what, 1);
            assert_eq!(ordered(&app, How::Within).await, [0]);
            assert_eq!(keys(&app).await, (0, 0));
        }
        assert_eq!(app.rows().await, ["order"; 3]);
        app.probe.close("pay");
        assert_eq!(ordered(&app, How::Dropped).await, [5]);
        assert_eq!((app.rows().await.len(), keys(&app).await, app.probe.count("after")), (5, (0, 1), 1));
    })
    .await;
}

#[tokio::test]
async fn within_a_key_of_a_running_call_is_in_progress() {
    bounded(async {
        let app = Harness::idle().await;
        let running = "INSERT INTO cqrs_idempotent (name, idempotency_key, payload, token, lease_until) \
                       SELECT name, 'k', payload, x'00', 9e15 FROM cqrs_idempotent";
        app.send(pay(100)).idempotency_key("other").await.unwrap();
        sqlx::query(running).execute(&app.probe.pool()).await.unwrap();
        assert_eq!(ordered(&app, How::Within).await, [0]);
        assert_eq!((app.probe.count("InProgress"), app.rows().await), (1, vec!["pay 100".into(), "order".into()]));
    })
    .await;
}

/// A transaction that is under way is no place to find out whether an owner still lives; what comes after it is.
#[tokio::test]
async fn within_a_key_of_a_call_that_died_is_free_soon() {
    bounded(async {
        let app = Harness::with(|builder| builder.run([""; 0]).lease(Duration::from_millis(300))).await;
        let died = "INSERT INTO cqrs_idempotent (name, idempotency_key, payload, token, lease_until) \
                    SELECT name, 'k', payload, x'00', 1 FROM cqrs_idempotent";
        app.send(pay(100)).idempotency_key("other").await.unwrap();
        sqlx::query(died).execute(&app.probe.pool()).await.unwrap();
        let mut asked = 1;
        while ordered(&app, How::Within).await != [2] {
            asked += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(asked > 2 && app.probe.count("InProgress") == asked - 1, "{asked}: {:?}", app.probe.log());
        assert_eq!((app.probe.count("pay"), keys(&app).await), (2, (0, 2)));
    })
    .await;
}

#[tokio::test]
async fn apart_from_a_transaction_that_is_held_is_refused_at_once() {
    bounded(async {
        let app = Harness::idle().await;
        assert_eq!(ordered(&app, How::Apart).await, [0]);
        assert_eq!(app.probe.log(), ["WouldDeadlock"]);
        assert_eq!((app.rows().await, keys(&app).await), (vec!["order".to_owned()], (0, 0)));
    })
    .await;
}

#[tokio::test]
async fn a_handler_without_transaction_makes_calls_with_keys() {
    bounded(async {
        let app = Harness::idle().await;
        assert_eq!(app.send(Checkout).await.unwrap(), 1);
        assert_eq!(app.send(Checkout).await.unwrap(), 1);
        assert_eq!(app.probe.log(), ["pay", "after"]);
    })
    .await;
}

#[tokio::test]
async fn within_a_unit_outside_a_handler() {
    bounded(async {
        let app = Harness::idle().await;
        for _ in 0..2 {
            let mut unit = app.unit::<Sqlite>().await.unwrap();
            assert_eq!(app.send(pay(100)).within(unit.tx()).idempotency_key("k").await.unwrap().run, 1);
            unit.commit().await.unwrap();
        }
        assert_eq!((app.rows().await.len(), keys(&app).await), (1, (0, 1)));
    })
    .await;
}
