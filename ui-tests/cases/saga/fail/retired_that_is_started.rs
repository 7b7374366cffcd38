// Nothing is started of a version that is taken over.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(name = "checkout", retired)]
#[derive(Serialize, Deserialize)]
struct Checkout;

async fn start(app: &App) {
    let _ = app.saga(Checkout);
}

fn main() {}
