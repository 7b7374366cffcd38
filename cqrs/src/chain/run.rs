//! A chain as one handler.

use super::link::{End, LinkThunk, Passed};
use crate::dispatch::thunk::boxed;
use crate::dispatch::{Caught, DispatchError};
use crate::message::Handled;
use crate::policy::enter;
use crate::registry::{Thunk, WholeFuture};
use crate::unit::Cx;

/// Asks the links of a chain in order, in one unit of work.
pub(crate) fn chain<M: Handled>(message: M, mut cx: Cx<'_>, handler: u32) -> WholeFuture<'_, M> {
    boxed(Box::new_uninit(), async move {
        let answer = ask(message, &mut cx, handler).await;
        (answer, cx)
    })
}

async fn ask<M: Handled>(message: M, cx: &mut Cx<'_>, handler: u32) -> End<M> {
    let mut passed = Passed { message: Some(message), end: None };
    let links = cx.app.planned(handler).links.clone();
    for link in &*links {
        let planned = cx.app.planned(*link);
        let item = planned.item;
        if planned.needs_unit || cx.unit.is_some() {
            // Boxed, so that a chain without a unit of work does not carry what it takes to make one.
            Box::pin(enter(cx, *link)).await.map_err(|failure| Box::new(failure.widen()))?;
        }
        let Thunk::Link(thunk) = item.thunk else { continue };
        let Some(thunk) = thunk.downcast_ref::<LinkThunk<M>>() else { continue };
        if let Err(message) = Caught((thunk.0)(&mut passed, cx, *link)).await {
            return Err(Box::new(DispatchError::Panicked { handler: item.name, message }));
        }
        if let Some(end) = passed.end {
            return end;
        }
        if let Some(unit) = cx.unit.as_mut() {
            unit.tx.end_late();
        }
    }
    Err(Box::new(DispatchError::ChainExhausted { message: M::SPEC.type_name() }))
}
