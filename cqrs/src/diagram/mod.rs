//! Diagrams of an app, as [Mermaid](https://mermaid.js.org) texts, which GitHub and editors draw.
//!
//! They are made from what is registered, so they are never out of date, and without I/O: a builder draws as well as a
//! running app. Pure: a model of what is drawn (`chain`), and a writer of Mermaid (`mermaid`) whose labels hold any name
//! without breaking the diagram.

mod chain;
mod error;
mod mermaid;
mod words;

/// Reads diagrams with the real Mermaid.
#[cfg(test)]
#[path = "../../../tests/mermaid/real.rs"]
mod real;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use self::chain::ChainDiagram;
pub use self::error::{DiagramError, DiagramErrorKind};
use crate::app::{App, Builder};
use crate::breaker::{BreakerPolicy, policies};
use crate::message::{Message, MessageSpec};
use crate::registry::{ChainItem, HandlerItem};
use crate::wiring::breakers;

/// The diagrams of an app: made by [`Builder::diagram`] and [`App::diagram`].
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
/// # fn main() -> Result<(), cqrs::Error> {
/// let diagrams = cqrs::bootstrap!().diagram();           // connects to nothing
/// let pay = diagrams.chain::<Pay>()?;
/// println!("{}\n{}", pay.sequence(), pay.class());
/// # let same = diagrams.chain_named("Pay")?;
/// # assert_eq!(pay.sequence(), same.sequence());
/// # assert!(pay.sequence().starts_with("sequenceDiagram\n"), "{}", pay.sequence());
/// # assert!(pay.class().starts_with("classDiagram\n"), "{}", pay.class());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Diagrams {
    chains: Vec<&'static ChainItem>,
    handlers: Vec<&'static HandlerItem>,
    breakers: Arc<BTreeMap<String, BreakerPolicy>>,
}

impl Diagrams {
    fn new(chains: &[&'static ChainItem], handlers: Vec<&'static HandlerItem>, defaults: BreakerPolicy) -> Self {
        let breakers = Arc::new(policies(&breakers(&handlers), defaults));
        Self { chains: chains.to_vec(), handlers, breakers }
    }

    /// The chain of a message.
    ///
    /// # Errors
    /// Where no chain handles it; the error says what does.
    pub fn chain<M: Message>(&self) -> Result<ChainDiagram, DiagramError> {
        match self.chains.iter().find(|chain| chain.item.message.type_id == M::SPEC.type_id) {
            Some(chain) => Ok(self.draw(chain)),
            None => Err(DiagramError::no_chain(M::SPEC, self.handler(M::SPEC))),
        }
    }

    /// The chain of a message by its name: the stored one, the type's, or the type's with its path.
    ///
    /// # Errors
    /// Where no chain handles it, and where messages of several chains are called so; the error says what there is.
    pub fn chain_named(&self, name: &str) -> Result<ChainDiagram, DiagramError> {
        let named: Vec<&'static ChainItem> =
            self.chains.iter().copied().filter(|chain| is_called(chain.item.message, name)).collect();
        match named[..] {
            [chain] => Ok(self.draw(chain)),
            [] => match self.handlers.iter().find(|item| is_called(item.message, name)) {
                Some(item) => Err(DiagramError::no_chain(item.message, self.handler(item.message))),
                None => Err(DiagramError::unknown(name, self.chains.iter().map(|chain| chain.item.message))),
            },
            _ => Err(DiagramError::ambiguous(name, named.into_iter().map(|chain| chain.item.message))),
        }
    }

    /// Every chain, in the order of their places in the source.
    pub fn chains(&self) -> impl Iterator<Item = ChainDiagram> {
        self.chains.iter().map(|chain| self.draw(chain))
    }

    fn draw(&self, chain: &'static ChainItem) -> ChainDiagram {
        ChainDiagram::new(chain, Arc::clone(&self.breakers))
    }

    fn handler(&self, spec: &MessageSpec) -> Option<&'static HandlerItem> {
        self.handlers.iter().find(|item| item.message.type_id == spec.type_id).copied()
    }
}

impl Builder {
    /// Draws what is registered, without connecting, whether or not the wiring is right.
    ///
    /// See [`Diagrams`] for an example.
    pub fn diagram(&self) -> Diagrams {
        let draft = self.draft();
        Diagrams::new(&draft.chains, draft.items().copied().collect(), self.options.breaker)
    }
}

impl App {
    /// Draws what is registered.
    ///
    /// ```standalone_crate
    /// # use cqrs::prelude::*;
    /// #[derive(Command)]
    /// struct Tick;
    ///
    /// #[command_handler]
    /// async fn tick(_cmd: Tick) {}
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), cqrs::Error> {
    /// let app = cqrs::bootstrap!().await?;
    /// let error = app.diagram().chain::<Tick>().unwrap_err();
    /// assert!(error.to_string().contains("handled by `tick`"), "a handler by itself is no chain: {error}");
    /// # Ok(())
    /// # }
    /// ```
    pub fn diagram(&self) -> Diagrams {
        let plan = self.plan();
        Diagrams::new(&plan.chains, plan.handlers.iter().map(|planned| planned.item).collect(), self.options().breaker)
    }
}

fn is_called(spec: &MessageSpec, name: &str) -> bool {
    let path = spec.type_name();
    spec.name == name || path == name || words::short(path) == name
}
