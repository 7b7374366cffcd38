//! Links and chains: the items that `#[chain_link]` and `chain!` register.

use std::marker::PhantomData;

use super::guarded::{Attempted, Backup, Counts, HasPolicy, StandsInFor};
pub use crate::chain::{ChainLink, Link, Passed, ask, ask_guarded, ask_ref};
use crate::chain::{Links, chain as run};
use crate::dispatch::thunk::{Answer, Handle, HandleLent, HandleRef};
use crate::message::{Handled, Message, MessageKind, SourceLocation};
use crate::registry::{ChainItem, HandlerItem, HandlerKind, Need, Thunk, WholeThunk};

/// Checks a link that takes `M`.
#[must_use]
pub const fn checked_link<H, M, O, How, E>() -> usize
where
    H: Handle<Message = M, Output = O>,
    M: Handled<Error = E>,
    O: Answer<Link<M>, E, How>,
{
    0
}

/// Checks a link that takes `&M`.
#[must_use]
pub const fn checked_link_ref<H, M, O, How, E>() -> usize
where
    H: HandleRef<Message = M, Output = O>,
    M: Handled<Error = E>,
    O: Answer<Link<M>, E, How>,
{
    0
}

/// Checks a link with a policy.
#[must_use]
pub const fn checked_guarded_link<H, J, B, M, O, How, Own>() -> usize
where
    H: HandleLent<Message = M, Output = O>,
    M: Handled,
    O: Attempted<Link<M>, M::Error, How, Own = Own>,
    J: Counts<Own>,
    B: Backup<M, Own, Link<M>, M::Error>,
{
    0
}

/// The item of a link.
pub const fn link<M: Message>(name: &'static str, location: SourceLocation, needs: &'static [Need]) -> HandlerItem {
    HandlerItem::part(HandlerKind::Link, name, location, M::SPEC, needs, Thunk::Part)
}

/// The item of a link with a policy.
pub const fn guarded_link<H: HasPolicy, M: Message>(
    name: &'static str,
    location: SourceLocation,
    needs: &'static [Need],
    fallback: Option<&'static HandlerItem>,
) -> HandlerItem {
    link::<M>(name, location, needs).guarded(&H::POLICY, fallback)
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

/// Checks the message of a chain.
///
/// # Panics
/// At compile time, where the message is a streaming one.
#[must_use]
// The compiler then blames the caller alone, which is the message in `chain!`.
#[track_caller]
pub const fn chain_for<M: Chained>() -> usize {
    assert!(!M::SPEC.streaming, "a chain is for a message that answers once; a streaming one has a single handler");
    0
}

/// Checks one link of a chain for `M`.
#[must_use]
pub const fn link_of<L: ChainLink<M>, M: Handled>() -> usize {
    0
}

/// What `chain!` registers.
pub trait Chain {
    /// The chain.
    const ITEM: ChainItem;
}

/// A chain in the making.
#[derive(Debug)]
pub struct ChainOf<M, L> {
    name: &'static str,
    location: SourceLocation,
    links: PhantomData<fn(M) -> L>,
}

/// A chain for `M`, without a link.
#[must_use]
pub const fn chain_of<M: Handled>(name: &'static str, location: SourceLocation) -> ChainOf<M, ()> {
    ChainOf { name, location, links: PhantomData }
}

impl<M, L> ChainOf<M, L> {
    /// The chain with one more link, asked last.
    #[must_use]
    pub const fn then<Last>(self) -> ChainOf<M, (L, Last)> {
        ChainOf { name: self.name, location: self.location, links: PhantomData }
    }
}

/// A whole chain, which is a handler to everybody else.
#[must_use]
pub const fn chain_item<M: Handled, L: Links<M>>(chain: &ChainOf<M, L>) -> ChainItem {
    let thunk = &const { WholeThunk::<M>(run::<M, L>) };
    let item = HandlerItem::part(HandlerKind::Chain, chain.name, chain.location, M::SPEC, &[], Thunk::Call(thunk));
    ChainItem::new::<M>(item, L::items)
}
