//! Pays in every way there is, and shows what each call left behind.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]
#![allow(clippy::unused_async, reason = "a handler is async, whether it waits for something or not")]

use chain::{Paid, Pay};
use cqrs::prelude::*;
use cqrs::sqlx::{self, Sqlite};

#[event_handler]
async fn show(e: &Paid) {
    println!("  {} cents {}", e.cents, e.how);
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), cqrs::Error> {
    let directory = tempfile::tempdir()?;
    let app = chain::app(&directory.path().join("payments.db")).provide_arc::<dyn chain::Bank>(chain::bank()).await?;
    let mut unit = app.unit::<Sqlite>().await?;
    sqlx::query("CREATE TABLE notes (text TEXT)").execute(&mut **unit.tx()).await?;
    unit.commit().await?;

    let nothing = Pay { cents: 500, voucher: None, card: None, regular_customer: false };
    for (who, pay) in [
        ("a voucher", Pay { voucher: Some("SUMMER"), ..nothing.clone() }),
        ("a card", Pay { card: Some("4000"), ..nothing.clone() }),
        ("a card of a bank that is down", Pay { card: Some("4002"), ..nothing.clone() }),
        ("a card that is refused", Pay { card: Some("4001"), regular_customer: true, ..nothing.clone() }),
        ("a regular customer", Pay { regular_customer: true, ..nothing.clone() }),
        ("a stranger", nothing),
    ] {
        println!("{who}");
        match app.send(pay).await {
            Ok(answer) => println!("  {answer}"),
            Err(error) => println!("  {:?}: {error}", error.kind()),
        }
        for note in left(&app).await? {
            println!("  noted: {note}");
        }
    }
    Ok(())
}

/// Takes the notes that were committed.
async fn left(app: &App) -> Result<Vec<String>, cqrs::Error> {
    let mut unit = app.unit::<Sqlite>().await?;
    let notes = sqlx::query_scalar("SELECT text FROM notes ORDER BY rowid").fetch_all(&mut **unit.tx()).await?;
    sqlx::query("DELETE FROM notes").execute(&mut **unit.tx()).await?;
    unit.commit().await?;
    Ok(notes)
}
