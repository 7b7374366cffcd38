//! Links and chains: the items that `#[chain_link]` and `chain!` register.

use super::guarded::{Attempted, Backup, Counts, HasPolicy, StandsInFor};
pub use crate::chain::{ChainLink, Link};
use crate::chain::{LinkThunk, chain, guarded_link, link, link_ref};
use crate::dispatch::thunk::{Answer, Handle, HandleRef};
use crate::message::{Handled, MessageKind, SourceLocation};
use crate::registry::{ChainHead, ChainItem, HandlerItem, HandlerKind, Need, Thunk, WholeThunk};

/// The item of a link that takes `M`.
pub const fn link_handler<H, M, O, How, E>(
    name: &'static str,
    location: SourceLocation,
    needs: &'static [Need],
) -> HandlerItem
where
    H: Handle<Message = M, Output = O>,
    M: Handled<Error = E>,
    O: Answer<Link<M>, E, How>,
{
    let thunk = &const { LinkThunk::<M>(link::<H, M, O, How>) };
    HandlerItem::part(HandlerKind::Link, name, location, M::SPEC, needs, Thunk::Link(thunk))
}

/// The item of a link that takes `&M`.
pub const fn link_handler_ref<H, M, O, How, E>(
    name: &'static str,
    location: SourceLocation,
    needs: &'static [Need],
) -> HandlerItem
where
    H: HandleRef<Message = M, Output = O>,
    M: Handled<Error = E>,
    O: Answer<Link<M>, E, How>,
{
    let thunk = &const { LinkThunk::<M>(link_ref::<H, M, O, How>) };
    HandlerItem::part(HandlerKind::Link, name, location, M::SPEC, needs, Thunk::Link(thunk))
}

/// The item of a link with a policy.
pub const fn guarded_link_handler<H, J, B, M, O, How, Own>(
    name: &'static str,
    location: SourceLocation,
    needs: &'static [Need],
    fallback: Option<&'static HandlerItem>,
) -> HandlerItem
where
    H: HandleRef<Message = M, Output = O> + HasPolicy,
    M: Handled,
    O: Attempted<Link<M>, M::Error, How, Own = Own>,
    J: Counts<Own>,
    B: Backup<M, Own, Link<M>, M::Error>,
{
    let thunk = &const { LinkThunk::<M>(guarded_link::<H, J, B, M, O, How>) };
    HandlerItem::part(HandlerKind::Link, name, location, M::SPEC, needs, Thunk::Link(thunk))
        .guarded(&H::POLICY, fallback)
}

/// Turns what a link returned into its result, where its type cannot be named outside of the function.
///
/// # Errors
/// With the link's error.
#[inline]
pub fn link_answer<M: Handled, O: Answer<Link<M>, M::Error, How>, How>(output: O) -> Result<Link<M>, M::Error> {
    output.answer()
}

/// What the fallback of a link stands in for.
#[must_use]
pub const fn link_stands_in_for<M: Handled>() -> StandsInFor {
    match M::SPEC.kind {
        MessageKind::Query => StandsInFor::Query,
        _ => StandsInFor::Command,
    }
}

/// A message that a chain can be for.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no single answer, so no chain can be for it",
    label = "neither a command nor a query",
    note = "a chain is for a command or a query that answers once; consider annotating `{Self}` with `#[derive(Command)]`"
)]
pub trait Chained: Handled {}

#[diagnostic::do_not_recommend]
impl<M: Handled> Chained for M {}

/// One link of a chain for `M`.
#[must_use]
pub const fn link_of<L: ChainLink<M>, M: Handled>() -> &'static HandlerItem {
    L::ITEM
}

/// The handler that a chain for `M` is to everybody else.
///
/// # Panics
/// At compile time, where the message is a streaming one.
#[must_use]
pub const fn chain_handler<M: Chained>(name: &'static str, location: SourceLocation) -> ChainHead {
    assert!(!M::SPEC.streaming, "a chain is for a message that answers once, not for a streaming one");
    let thunk = &const { WholeThunk::<M>(chain::<M>) };
    ChainHead::new::<M>(HandlerItem::part(HandlerKind::Chain, name, location, M::SPEC, &[], Thunk::Call(thunk)))
}

/// A chain.
#[must_use]
pub const fn chain_item(head: &'static ChainHead, links: &'static [&'static HandlerItem]) -> ChainItem {
    ChainItem::new(head, links)
}
