//! Keys and what surrounds a handler: attempts, fallbacks, chains. It is one call, with one key and one response.

use super::*;

#[derive(Command, Clone, Serialize, Deserialize)]
#[command(name = "idempotency.transfer", response = Receipt, error = BoxError)]
struct Transfer {
    cents: u64,
}

#[command_handler(retry(max = 2, first = "1ms"), fallback = on_paper)]
async fn on_transfer(cmd: &Transfer, tx: &mut Tx<Sqlite>, probe: Inject<Probe>) -> Result<Receipt, BoxError> {
    probe.note("transfer");
    write(tx, format!("transfer {}", cmd.cents)).await?;
    probe.pass("transfer").await;
    probe.try_it("transfer")?;
    Ok(Receipt { run: probe.count("transfer"), text: "transferred".to_owned() })
}

#[fallback]
async fn on_paper(_cmd: &Transfer, _cause: Cause<BoxError>, tx: &mut Tx<Sqlite>) -> Result<Receipt, BoxError> {
    write(tx, "on paper").await?;
    Ok(Receipt { run: 0, text: "on paper".to_owned() })
}

#[derive(Command, Serialize, Deserialize)]
#[command(name = "idempotency.settle", response = Receipt, error = BoxError)]
struct Settle {
    cents: u64,
}

#[chain_link]
async fn small_change(cmd: Settle, tx: &mut Tx<Sqlite>, probe: Inject<Probe>) -> Result<Link<Settle>, BoxError> {
    probe.note("small change");
    write(tx, "asked").await?;
    Ok(Link::Pass(cmd))
}

#[chain_link]
async fn by_card(cmd: Settle, tx: &mut Tx<Sqlite>) -> Result<Link<Settle>, BoxError> {
    write(tx, "by card").await?;
    Ok(Link::Answer(Receipt { run: 1, text: format!("{} by card", cmd.cents) }))
}

cqrs::chain!(Settle => [small_change, by_card]);

#[derive(Command)]
#[command(response = Receipt, error = BoxError)]
struct Within;

#[command_handler]
async fn within(_cmd: Within, tx: &mut Tx<Sqlite>, app: &App) -> Result<Receipt, BoxError> {
    Ok(app.send(Transfer { cents: 7 }).idempotency_key("k").within(tx).await?)
}

#[tokio::test]
async fn a_call_that_is_tried_twice_has_one_key_and_one_response() {
    bounded(async {
        for how in ["apart", "within"] {
            let app = Harness::idle().await;
            let call = async || match how {
                "apart" => app.send(Transfer { cents: 7 }).idempotency_key("k").await.unwrap(),
                _ => app.send(Within).await.unwrap(),
            };
            app.probe.fail("transfer", 1);
            let first = call().await;
            assert_eq!(first.run, 2, "{how}");
            assert_eq!(call().await, first, "{how}");
            assert_eq!((app.rows().await, keys(&app).await), (vec!["transfer 7".to_owned()], (0, 1)), "{how}");
        }
    })
    .await;
}

/// Its transaction is held for longer than the lease, so that nobody can renew that, and is let go between two attempts: whoever
/// waits for the key to be free comes in between.
#[tokio::test]
async fn g12_a_call_that_lets_go_of_its_transaction_between_attempts_keeps_its_key() {
    bounded(async {
        let lease = Duration::from_millis(1_500);
        for failures in [1, 2] {
            let app = Harness::with(|builder| builder.run([""; 0]).lease(lease)).await;
            app.probe.close("transfer");
            app.probe.fail("transfer", failures);
            let call = || tokio::spawn(app.send(Transfer { cents: 7 }).idempotency_key("k"));
            let slow = call();
            for _ in 0..failures {
                app.probe.arrived("transfer").await;
                tokio::time::sleep(lease * 3 / 2).await;
                let rival = call();
                tokio::time::sleep(lease / 2).await;
                app.probe.open("transfer");
                assert_eq!(rival.await.unwrap().unwrap_err().kind(), DispatchErrorKind::InProgress);
            }
            app.probe.open("transfer");
            let receipt = slow.await.unwrap().unwrap();
            assert_eq!(receipt.run, if failures == 1 { 2 } else { 0 });
            assert_eq!((app.probe.count("transfer"), app.rows().await.len(), keys(&app).await), (2, 1, (0, 1)));
        }
    })
    .await;
}

/// A fallback's answer is the call's.
#[tokio::test]
async fn the_response_of_a_fallback_is_stored_as_any_other() {
    bounded(async {
        for how in ["apart", "within"] {
            let app = Harness::idle().await;
            let call = async || match how {
                "apart" => app.send(Transfer { cents: 7 }).idempotency_key("k").await.unwrap(),
                _ => app.send(Within).await.unwrap(),
            };
            app.probe.fail("transfer", 2);
            assert_eq!((call().await.text, call().await.text), ("on paper".to_owned(), "on paper".to_owned()), "{how}");
            assert_eq!((app.rows().await, keys(&app).await), (vec!["on paper".to_owned()], (0, 1)), "{how}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_chain_is_asked_once() {
    bounded(async {
        let app = Harness::idle().await;
        for _ in 0..2 {
            let receipt = app.send(Settle { cents: 7 }).idempotency_key("k").await.unwrap();
            assert_eq!(receipt.text, "7 by card");
        }
        assert_eq!(
            (app.rows().await, app.probe.log().len(), keys(&app).await),
            (vec!["asked".into(), "by card".into()], 1, (0, 1))
        );
        let error = app.send(Settle { cents: 8 }).idempotency_key("k").await.unwrap_err();
        assert_eq!(error.kind(), DispatchErrorKind::KeyReused);
    })
    .await;
}
