//! A chain as one handler.
//!
//! Its links are known when the program is compiled, so all of them are one future: asking the next one costs no more than
//! calling a function.

use std::future::Future;
use std::pin::pin;

use super::link::{ChainLink, End, Passed};
use crate::dispatch::thunk::boxed;
use crate::dispatch::{Caught, DispatchError, Failure};
use crate::message::Handled;
use crate::policy::enter;
use crate::registry::{HandlerItem, WholeFuture};
use crate::unit::Cx;

/// The links of a chain, the last one outermost: `((((), First), Second), Third)`.
pub trait Links<M: Handled>: 'static {
    /// How many there are.
    const COUNT: usize;

    /// What was registered of each, in the order in which they are asked.
    fn items() -> Vec<&'static HandlerItem>;

    /// Asks them in order, until one ends the chain.
    fn ask<'c>(passed: &'c mut Passed<M>, cx: &'c mut Cx<'_>, chain: u32) -> impl Future<Output = ()> + Send;
}

impl<M: Handled> Links<M> for () {
    const COUNT: usize = 0;

    fn items() -> Vec<&'static HandlerItem> {
        Vec::new()
    }

    async fn ask<'c>(_: &'c mut Passed<M>, _: &'c mut Cx<'_>, _: u32) {}
}

impl<M: Handled, Before: Links<M>, L: ChainLink<M>> Links<M> for (Before, L) {
    const COUNT: usize = Before::COUNT + 1;

    fn items() -> Vec<&'static HandlerItem> {
        let mut items = Before::items();
        items.push(L::ITEM);
        items
    }

    async fn ask<'c>(passed: &'c mut Passed<M>, cx: &'c mut Cx<'_>, chain: u32) {
        Before::ask(passed, cx, chain).await;
        if passed.end.is_some() {
            return;
        }
        let asked = cx.app.planned(chain).links[Before::COUNT];
        passed.asked = asked;
        let joins = cx.unit.is_some() || cx.app.planned(asked).needs_unit;
        // Boxed, so that a chain without a unit of work does not carry what it takes to make one.
        if joins && let Err(failure) = Box::pin(join(cx, asked)).await {
            passed.end = Some(Err(Box::new(failure.widen())));
            return;
        }
        L::ask(passed, cx, asked).await;
    }
}

/// Puts a link in the place of the one before it, which has passed.
async fn join(cx: &mut Cx<'_>, link: u32) -> Result<(), Failure> {
    if let Some(unit) = cx.unit.as_mut() {
        unit.tx.end_late();
    }
    enter(cx, link).await
}

/// Asks the links of a chain in order, in one unit of work.
pub(crate) fn chain<M: Handled, L: Links<M>>(message: M, mut cx: Cx<'_>, handler: u32) -> WholeFuture<'_, M> {
    boxed(Box::new_uninit(), async move {
        let mut passed = Passed { message: Some(message), end: None, asked: handler };
        let asked = Caught(pin!(L::ask(&mut passed, &mut cx, handler))).await;
        (end(asked, passed, &cx), cx)
    })
}

fn end<M: Handled>(asked: Result<(), String>, passed: Passed<M>, cx: &Cx<'_>) -> End<M> {
    match asked {
        Ok(()) => {
            let exhausted = || Err(Box::new(DispatchError::ChainExhausted { message: M::SPEC.type_name() }));
            passed.end.unwrap_or_else(exhausted)
        }
        Err(message) => {
            let handler = cx.app.planned(passed.asked).item.name;
            Err(Box::new(DispatchError::Panicked { handler, message }))
        }
    }
}
