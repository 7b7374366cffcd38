//! One link: what it returns, and how its function is called.

use std::fmt;

use crate::dispatch::DispatchError;
use crate::dispatch::thunk::{Answer, Handle, HandleLent, HandleRef};
use crate::message::Handled;
use crate::policy::{Attempted, Backup, Counts, Kept, run};
use crate::registry::HandlerItem;
use crate::unit::Cx;

/// What a link of a chain returns: the answer, or the message for the next link.
///
/// ```standalone_crate
/// use cqrs::prelude::*;
///
/// #[derive(Command)]
/// #[command(response = &'static str)]
/// struct Pay { cents: u32 }
///
/// #[chain_link]
/// async fn small_change(cmd: Pay) -> Link<Pay> {
///     if cmd.cents < 100 { Link::Answer("from the till") } else { Link::Pass(cmd) }
/// }
///
/// #[chain_link]
/// async fn by_card(_cmd: Pay) -> Link<Pay> {
///     Link::Answer("by card")
/// }
///
/// cqrs::chain!(Pay => [small_change, by_card]);
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), cqrs::Error> {
/// let app = cqrs::bootstrap!().await?;
/// assert_eq!(app.send(Pay { cents: 99 }).await?, "from the till");
/// assert_eq!(app.send(Pay { cents: 100 }).await?, "by card");
/// # Ok(())
/// # }
/// ```
#[must_use = "a link returns it: the answer, or the message for the next link"]
pub enum Link<M: Handled> {
    /// The chain's answer: no further link is asked.
    Answer(M::Response),
    /// The next link is asked. What this one wrote and raised stays.
    Pass(M),
}

impl<M: Handled + fmt::Debug> fmt::Debug for Link<M>
where
    M::Response: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(answer) => f.debug_tuple("Answer").field(answer).finish(),
            Self::Pass(message) => f.debug_tuple("Pass").field(message).finish(),
        }
    }
}

/// A function under `#[chain_link]`, for chains of `M`.
///
/// The message is a parameter and not an associated type, so that a public function may take a private message.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a link of a chain for `{M}`",
    label = "not a link for `{M}`",
    note = "the links of a chain are functions under `#[chain_link]` that take its message, `{M}`, first"
)]
pub trait ChainLink<M>: 'static {
    /// What was registered.
    const ITEM: &'static HandlerItem;

    /// Asks the link.
    fn ask<'c>(passed: &'c mut Passed<M>, cx: &'c mut Cx<'_>, link: u32) -> impl Future<Output = ()> + Send
    where
        M: Handled;
}

/// How a chain ends.
pub(super) type End<M> = Result<<M as Handled>::Response, Box<DispatchError<<M as Handled>::Error>>>;

/// The message of a chain while its links are asked, and what becomes of it. It stays in one place: handed from link to
/// link it would be copied several times for each.
pub struct Passed<M: Handled> {
    /// Taken by the link that is asked, put back if it passes.
    pub(super) message: Option<M>,
    pub(super) end: Option<End<M>>,
    /// The link that is asked, by its number in the app's plan.
    pub(super) asked: u32,
}

impl<M: Handled> fmt::Debug for Passed<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passed").field("asked", &self.asked).finish_non_exhaustive()
    }
}

impl<M: Handled> Passed<M> {
    fn note(&mut self, said: Result<Link<M>, Box<DispatchError<M::Error>>>) {
        match said {
            Ok(Link::Pass(message)) => self.message = Some(message),
            Ok(Link::Answer(answer)) => self.end = Some(Ok(answer)),
            Err(error) => self.end = Some(Err(error)),
        }
    }

    fn own(&mut self, said: Result<Link<M>, M::Error>) {
        self.note(said.map_err(|error| Box::new(DispatchError::Handler(error))));
    }
}

/// Asks a link that takes its message by value.
pub async fn ask<H, M, O, How>(passed: &mut Passed<M>, cx: &mut Cx<'_>, link: u32)
where
    H: Handle<Message = M, Output = O>,
    M: Handled,
    O: Answer<Link<M>, M::Error, How>,
{
    if let Some(message) = passed.message.take() {
        passed.own(H::call(message, cx, link).await.answer());
    }
}

/// Asks a link that takes its message by reference.
pub async fn ask_ref<H, M, O, How>(passed: &mut Passed<M>, cx: &mut Cx<'_>, link: u32)
where
    H: HandleRef<Message = M, Output = O>,
    M: Handled,
    O: Answer<Link<M>, M::Error, How>,
{
    if let Some(message) = passed.message.take() {
        let said = H::call(&message, cx, link).await.answer();
        passed.own(said);
    }
}

/// Asks a link with a policy.
pub async fn ask_guarded<H, J, B, M, O, How>(passed: &mut Passed<M>, cx: &mut Cx<'_>, link: u32)
where
    H: HandleLent<Message = M, Output = O>,
    M: Handled,
    O: Attempted<Link<M>, M::Error, How>,
    J: Counts<O::Own>,
    B: Backup<M, O::Own, Link<M>, M::Error>,
{
    // What the links before it wrote is in the same transaction.
    let mut message = Kept::Own(passed.message.take());
    let said = run::<H, J, B, _, _, How>(&mut message, cx, link, true).await;
    passed.note(said);
}
