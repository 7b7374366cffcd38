//! Commands for later: a timer is stored in the unit of work that schedules it, has a key by which it is moved or cancelled,
//! and fires once, however many instances of the service run. One that falls due while none runs fires when one does.
//!
//! `cargo run -p timers`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::path::Path;
use std::time::{Duration, SystemTime};

use cqrs::prelude::*;
use cqrs::sqlx::{self, Sqlite};
use serde::{Deserialize, Serialize};

#[derive(Command)]
#[command(error = cqrs::BoxError)]
struct PlaceOrder {
    id: u32,
    pieces: u32,
}

/// Is stored until it is due.
#[derive(Command, Serialize, Deserialize)]
#[command(error = sqlx::Error)]
struct Remind {
    order: u32,
    not_before: SystemTime,
}

#[command_handler]
async fn place_order(cmd: PlaceOrder, events: &mut Events) -> Result<(), cqrs::BoxError> {
    let (soon, not_before) = in_ms(200);
    events.schedule(Remind { order: cmd.id, not_before }).after(soon).key(format!("order-{}", cmd.id));
    if cmd.pieces == 0 {
        return Err("an order of nothing".into()); // the timer is rolled back with everything else
    }
    Ok(())
}

#[command_handler]
async fn remind(cmd: Remind, tx: &mut Tx<Sqlite>) -> Result<(), sqlx::Error> {
    let insert = sqlx::query("INSERT INTO reminders (customer_order, early) VALUES (?, ?)");
    insert.bind(cmd.order).bind(SystemTime::now() < cmd.not_before).execute(&mut **tx).await?;
    Ok(())
}

/// Days, in a shop.
fn in_ms(milliseconds: u64) -> (Duration, SystemTime) {
    let delay = Duration::from_millis(milliseconds);
    (delay, SystemTime::now() + delay)
}

/// One of several instances of the service, on one database.
async fn instance(file: &Path) -> Result<App, cqrs::Error> {
    cqrs::bootstrap!().store(Store::url(format!("sqlite://{}", file.display()))).await
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), cqrs::Error> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("orders.db");
    let (app, other) = (instance(&file).await?, instance(&file).await?);
    let mut unit = app.unit::<Sqlite>().await?;
    sqlx::query("CREATE TABLE reminders (customer_order INTEGER, early BOOLEAN)").execute(&mut **unit.tx()).await?;
    unit.commit().await?;

    for (id, pieces) in [(1, 5), (2, 0), (3, 2), (4, 7)] {
        if let Err(error) = app.send(PlaceOrder { id, pieces }).await {
            println!("order {id}: {error}");
        }
    }
    println!("timers: {}", keys(&app).await?);

    // The same command and key again: the timer moves, and carries what is said now.
    let (_, later) = in_ms(600);
    app.schedule(Remind { order: 1, not_before: later }).at(later).key("order-1").await?;
    println!("order 3 is paid, its timer cancelled: {}", app.cancel_timer::<Remind>("order-3").await?);
    println!("timers: {}", keys(&app).await?);

    let all_fired = async || {
        while app.counts().await.is_ok_and(|counts| counts.timers > 0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::try_join!(app.run_until(all_fired()), other.run_until(all_fired()))?;

    let select = "SELECT customer_order, count(*), max(early) FROM reminders GROUP BY customer_order";
    let mut unit = app.unit::<Sqlite>().await?;
    let reminders: Vec<(u32, u32, bool)> = sqlx::query_as(select).fetch_all(&mut **unit.tx()).await?;
    for (order, times, early) in reminders {
        println!("order {order}: reminded {times} time, too early: {early}");
    }
    Ok(())
}

/// Of the timers that wait.
async fn keys(app: &App) -> Result<String, cqrs::Error> {
    let mut keys: Vec<_> = app.timers(10).await?.into_iter().filter_map(|timer| timer.key).collect();
    keys.sort();
    Ok(keys.join(", "))
}
