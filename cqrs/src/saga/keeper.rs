//! Keeps the events that steps wait for: to the rest of the app a handler of the event, which stores it for the saga.
//!
//! Of a notification event it is a handler of a consumer group, of a domain event a durable one: so it is delivered, tried again,
//! and done once, as for every other handler. What it stores commits with the mark that it was handled.

use std::collections::BTreeMap;

use super::instance::digest;
use super::step::{SagaContext, SagaStep};
use crate::BoxError;
use crate::dispatch::DispatchError;
use crate::message::{Erased, MessageKind, MessageSpec};
use crate::registry::{EventFuture, EventMode, GroupOptions, HandlerItem, Need, RetryOptions};
use crate::store::{AwaitedEvent, SagaWait};
use crate::unit::Cx;
use crate::wire::CONTENT_TYPE;

/// The handler that keeps what a step waits for, if it waits.
pub(crate) const fn keeper<S: SagaStep<C>, C: SagaContext>(name: &'static str) -> Option<HandlerItem> {
    let Some(awaits) = &S::ITEM.awaits else { return None };
    let mode = if matches!(awaits.event.kind, MessageKind::NotificationEvent) {
        let group = match awaits.group {
            Some(group) => group,
            None => C::SPEC.name,
        };
        EventMode::Group(GroupOptions::of(group))
    } else {
        EventMode::Durable(RetryOptions::NONE)
    };
    Some(HandlerItem::event(mode, name, C::SPEC.location, 0, awaits.event, &[Need::Sagas], keep::<S, C>))
}

fn keep<S: SagaStep<C>, C: SagaContext>(event: Erased, mut cx: Cx<'_>, _: u32) -> EventFuture<'_> {
    Box::pin(async move {
        let kept = keep_in::<S, C>(&event, &mut cx).await;
        (kept, cx)
    })
}

async fn keep_in<S: SagaStep<C>, C: SagaContext>(event: &Erased, cx: &mut Cx<'_>) -> Result<(), BoxError> {
    let lacks =
        || DispatchError::<std::convert::Infallible>::NoStore { what: "keeping what a saga waits for".to_owned() };
    let (Some(awaits), Some(unit)) = (&S::ITEM.awaits, cx.unit.as_mut()) else { return Err(lacks().into()) };
    let Some(field) = (awaits.of_event)(&**event) else {
        return Err(
            format!("the field by which `{}` finds its saga cannot be written as JSON", awaits.event.name).into()
        );
    };
    let (payload, headers) = written(awaits.event, event)?;
    let kept = AwaitedEvent {
        id: unit.meta.id(),
        wait: SagaWait { saga: C::SPEC.name.to_owned(), event: awaits.event.name.to_owned(), key: digest(&field) },
        version: awaits.event.version,
        payload,
        headers,
        at: cx.app.clock().now(),
    };
    let tx = unit.tx.open.as_mut().ok_or_else(lacks)?;
    tx.keep_awaited(kept, cx.app.clock().now()).await?;
    unit.has_news = true;
    Ok(())
}

/// The event as it is kept, and the headers that say how it is written.
fn written(spec: &MessageSpec, event: &Erased) -> Result<(Vec<u8>, BTreeMap<String, String>), BoxError> {
    let protobuf = spec.codec.protobuf.map(|protobuf| protobuf.encode);
    let (encode, written_as) = match (spec.codec.encode, protobuf) {
        (Some(json), _) => (json, None),
        (None, Some(protobuf)) => (protobuf, Some("application/protobuf")),
        (None, None) => return Err(format!("`{}` cannot be written", spec.type_name()).into()),
    };
    let header = written_as.map(|written_as| (CONTENT_TYPE.to_owned(), written_as.to_owned()));
    Ok(((encode.0)(&**event)?, header.into_iter().collect()))
}
