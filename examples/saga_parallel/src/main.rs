//! Steps side by side: they are called at once, and each returns what is to change instead of changing it. That is stored as soon as it
//! returns; the changes are made together when all have ended, in the order in which the steps are listed. Where one fails, the others are
//! let end, and are undone.
//!
//! `cargo run -p saga_parallel`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use cqrs::prelude::*;
use cqrs::{BoxError, SagaError};
use serde::{Deserialize, Serialize};
use tokio::sync::Barrier;

#[saga(name = "trip", version = 1, steps = [(flight, hotel, car), papers])]
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Trip {
    number: u32,
    nights: u32,
    #[serde(default)]
    booked: Vec<String>,
    #[serde(default)]
    cents: u32,
}

/// What a step of the group returns.
#[derive(Serialize, Deserialize)]
struct Booking {
    what: String,
    cents: u32,
}

impl Apply<Booking> for Trip {
    fn apply(&mut self, Booking { what, cents }: Booking) {
        self.booked.push(what);
        self.cents += cents;
    }
}

/// Side by side with others a step sees the context as it was before the group, and does not change it.
#[saga_step(compensate = cancel)]
async fn car(cx: &Trip, all: Inject<Barrier>) -> Result<Booking, BoxError> {
    meet(&all).await;
    println!("  car: booked");
    Ok(Booking { what: "car".to_owned(), cents: cx.nights * 3_000 })
}

#[saga_step(compensate = cancel)]
async fn hotel(cx: &Trip, all: Inject<Barrier>, app: &App) -> Result<Booking, BoxError> {
    meet(&all).await;
    ended(app, cx, 1).await?;
    if cx.nights > 14 {
        println!("  hotel: full");
        return Err("the hotel is full".into());
    }
    println!("  hotel: booked");
    Ok(Booking { what: "hotel".to_owned(), cents: cx.nights * 9_000 })
}

#[saga_step(compensate = cancel)]
async fn flight(cx: &Trip, all: Inject<Barrier>, app: &App) -> Result<Booking, BoxError> {
    meet(&all).await;
    ended(app, cx, 2).await?;
    // Were this process to end here, the one that takes the saga over would call the flight again, and nothing else.
    for step in app.sagas().get(id(cx)).await?.map(|(_, steps)| steps).unwrap_or_default() {
        let patch = step.returned.map(|patch| format!(" {}", String::from_utf8_lossy(&patch))).unwrap_or_default();
        println!("    stored of {}: {}{patch}", step.step, step.progress.as_str());
    }
    println!("  flight: booked, while the context has {:?}", cx.booked);
    Ok(Booking { what: "flight".to_owned(), cents: 25_000 })
}

/// Of a group that failed no change was made. What is to be undone is known by the key that its step had.
#[compensation]
async fn cancel(cx: &Trip, key: StepKey) {
    println!("  cancels {}, with {:?} in the context", key.of_step(), cx.booked);
}

#[saga_step(pivot)]
async fn papers(cx: &mut Trip) {
    println!("  papers for {}", cx.booked.join(", "));
}

/// None goes on before all are called. The last to come says so.
async fn meet(all: &Barrier) {
    if all.wait().await.is_leader() {
        println!("  all three are called");
    }
}

/// Until so many steps are stored as ended: so this program's bookings always end in the same order.
async fn ended(app: &App, cx: &Trip, steps: usize) -> Result<(), SagaError> {
    while app.sagas().history(id(cx)).await?.len() < steps {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

fn id(cx: &Trip) -> String {
    format!("trip-{}", cx.number)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let directory = tempfile::tempdir()?;
    let store = Store::url(format!("sqlite://{}", directory.path().join("trips.db").display()));
    let app = cqrs::bootstrap!().store(store).provide(Barrier::new(3)).await?;
    for (number, nights) in [(1, 7), (2, 21)] {
        println!("trip {number}, {nights} nights:");
        let trip = Trip { number, nights, booked: Vec::new(), cents: 0 };
        match app.saga(trip.clone()).id(id(&trip)).await {
            Ok(trip) => println!("  {} cents for {:?}", trip.cents, trip.booked),
            Err(SagaError::Compensated { step, source }) => println!("  undone, since `{step}` failed: {source}"),
            Err(error) => return Err(error.into()),
        }
    }
    app.shutdown().await;
    Ok(())
}
