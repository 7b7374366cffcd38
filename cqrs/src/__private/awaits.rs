//! Events that steps of sagas wait for.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::message::{Event, MessageKind, Stored};
use crate::saga::item::AwaitsItem;
use crate::unit::Cx;

/// The fields by which a saga and an event find each other.
pub trait By: 'static {
    /// The context of the saga.
    type Context: 'static;
    /// The event.
    type Event: 'static;

    /// The field of either as JSON.
    fn field(context: Option<&Self::Context>, event: Option<&Self::Event>) -> Option<Vec<u8>>;
}

/// What such a field can be.
#[diagnostic::on_unimplemented(
    message = "a saga cannot find its event by a field of the type `{Self}`",
    label = "not `Serialize + Eq`",
    note = "both fields are of one type, which is `Serialize` and `Eq`, such as an id"
)]
pub trait Comparable: Serialize + Eq {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + Eq> Comparable for T {}

/// The field of the event, of the type that the field of the context has.
#[diagnostic::on_unimplemented(
    message = "the event's field is `{Self}`, and the context's is `{T}`",
    label = "two types",
    note = "a saga and its event find each other by two fields of one type: `by = order`, or `by = (order, order_id)` where they have two names"
)]
pub trait SameAs<T> {
    /// The same.
    fn same(&self) -> &T;
}

impl<T> SameAs<T> for T {
    fn same(&self) -> &T {
        self
    }
}

/// Reads the field of the context or of the event.
pub fn by<C, E, T: Comparable, U: SameAs<T>>(
    context: Option<&C>,
    event: Option<&E>,
    of_context: fn(&C) -> &T,
    of_event: fn(&E) -> &U,
) -> Option<Vec<u8>> {
    let of_event = event.map(|event| of_event(event).same());
    serde_json::to_vec(context.map(of_context).or(of_event)?).ok()
}

/// What a step waits for.
#[must_use]
pub const fn awaits<E: Event + Stored, B: By<Event = E>>(timeout: Option<Duration>) -> AwaitsItem {
    AwaitsItem {
        event: E::SPEC,
        of_event: |event| B::field(None, Some(event.downcast_ref()?)),
        of_context: |context| B::field(Some(context.downcast_ref()?), None),
        timeout,
        group: None,
    }
}

/// The same, consumed by a group of that name.
///
/// # Panics
/// At compile time, where the event is consumed from no topic.
#[must_use]
// The compiler then blames the caller alone, which is the name in `group = ..`.
#[track_caller]
pub const fn in_group(mut item: AwaitsItem, group: &'static str) -> AwaitsItem {
    assert!(
        matches!(item.event.kind, MessageKind::NotificationEvent),
        "a domain event is consumed by no group: leave `group` out, or wait for a notification event"
    );
    item.group = Some(group);
    item
}

/// The event that a step has waited for. It is another's, too, so the step only looks at it.
#[expect(clippy::expect_used, reason = "a step that waits is called with what it has waited for")]
pub fn awaited<E: Send + Sync + 'static>(context: &Cx<'_>) -> Arc<E> {
    let event = context.unit.as_ref().and_then(|unit| unit.event.clone());
    event
        .and_then(|event| event.downcast().ok())
        .expect("a step was called without what it has waited for; please report this")
}
