// A saga is not a function: its steps are.
use cqrs::prelude::*;

#[saga(steps = [reserve])]
async fn checkout(_cx: &mut Checkout) {}

struct Checkout;

fn main() {}
