// Steps by word, by path, under another name, side by side.
use cqrs::prelude::*;
use serde::{Deserialize, Serialize};

#[saga(name = "checkout", version = 3, steps = [reserve, stock::reserve as r#again, (notify, stock::print), ship,])]
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Checkout;

#[saga_step(compensate = none)]
async fn reserve(_cx: &mut Checkout) {}

#[saga_step(compensate = none)]
async fn notify(_cx: &Checkout) {}

#[saga_step(pivot)]
async fn ship(_cx: &mut Checkout) -> Result<(), cqrs::BoxError> { Ok(()) }

mod stock {
    use cqrs::prelude::*;
    #[saga_step(compensate = none)]
    pub(super) async fn reserve(_cx: &mut super::Checkout) {}
    #[saga_step(compensate = none)]
    pub(super) async fn print(_cx: &super::Checkout) {}
}
