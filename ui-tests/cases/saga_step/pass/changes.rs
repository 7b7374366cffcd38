// What a step beside others may return: a change, a `Result` of one, nothing; also behind an alias.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(steps = [(nothing, change, result, alias), result as alone])]
#[derive(Serialize, Deserialize)]
struct Checkout(u8);

impl Apply<u8> for Checkout {
    fn apply(&mut self, change: u8) { self.0 += change; }
}

type Changed = Result<u8, String>;

#[saga_step(compensate = none)]
async fn nothing(_cx: &Checkout) {}
#[saga_step(compensate = none)]
async fn change(_cx: &Checkout) -> u8 { 1 }
#[saga_step(compensate = none, fallback = one)]
async fn result(_cx: &Checkout) -> Result<u8, String> { Ok(1) }
#[saga_step(compensate = none, timeout = "1s")]
async fn alias(_cx: &Checkout) -> Changed { Ok(1) }
#[fallback]
async fn one(_cx: &Checkout) -> u8 { 1 }
