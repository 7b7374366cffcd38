//! Diagrams of an app, as [Mermaid](https://mermaid.js.org) texts, which GitHub and editors draw.
//!
//! They are made from what is registered, so they are never out of date, and without I/O: a builder draws as well as a
//! running app. Pure: models of what is drawn (`chain`, `saga`), and a writer of Mermaid (`mermaid`) whose labels hold any name
//! without breaking the diagram. What one saga did is drawn from its rows (`saga`).

mod chain;
mod error;
mod mermaid;
mod saga;
mod words;

/// Reads diagrams with the real Mermaid.
#[cfg(test)]
#[path = "../../../tests/mermaid/real.rs"]
mod real;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use self::chain::ChainDiagram;
pub use self::error::{DiagramError, DiagramErrorKind};
pub(crate) use self::saga::Run;
pub use self::saga::SagaDiagram;
use crate::app::{App, Builder};
use crate::breaker::{BreakerPolicy, policies};
use crate::message::{Message, MessageSpec};
use crate::registry::{ChainItem, HandlerItem};
use crate::saga::item::SagaItem;
use crate::saga::step::SagaContext;
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
    sagas: Vec<&'static SagaItem>,
    handlers: Vec<&'static HandlerItem>,
    breakers: Arc<BTreeMap<String, BreakerPolicy>>,
}

impl Diagrams {
    fn new(
        chains: &[&'static ChainItem],
        mut sagas: Vec<&'static SagaItem>,
        handlers: Vec<&'static HandlerItem>,
        defaults: BreakerPolicy,
    ) -> Self {
        let breakers = Arc::new(policies(&breakers(&handlers), defaults));
        sagas.sort_by_key(|saga| (saga.context.name, saga.context.version, saga.location()));
        Self { chains: chains.to_vec(), sagas, handlers, breakers }
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

    /// A saga, by the type of its context.
    ///
    /// ```standalone_crate
    /// use cqrs::prelude::*;
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[saga(name = "checkout", version = 2, steps = [reserve, charge, ship])]
    /// #[derive(Serialize, Deserialize)]
    /// struct Checkout { order: u32 }
    ///
    /// #[saga_step(compensate = release, retry(max = 3))]
    /// async fn reserve(_cx: &mut Checkout) {}
    ///
    /// #[compensation]
    /// async fn release(_cx: &mut Checkout) {}
    ///
    /// #[saga_step(compensate = none, timeout = "10s")]
    /// async fn charge(_cx: &mut Checkout) -> Result<(), cqrs::BoxError> { Ok(()) }
    ///
    /// #[saga_step(pivot)]
    /// async fn ship(_cx: &mut Checkout) {}
    ///
    /// # fn main() -> Result<(), cqrs::Error> {
    /// let diagrams = cqrs::bootstrap!().diagram();           // connects to nothing
    /// let checkout = diagrams.saga::<Checkout>();
    /// println!("{}\n{}", checkout.sequence(), checkout.class());
    /// # let same = diagrams.saga_named("checkout")?;
    /// # assert_eq!(checkout.sequence(), same.sequence());
    /// # assert_eq!(checkout.class(), diagrams.saga_version("checkout", 2)?.class());
    /// # assert!(checkout.sequence().starts_with("sequenceDiagram\n"), "{}", checkout.sequence());
    /// # assert!(checkout.class().starts_with("classDiagram\n"), "{}", checkout.class());
    /// # Ok(())
    /// # }
    /// ```
    pub fn saga<C: SagaContext>(&self) -> SagaDiagram {
        self.draw_saga(C::ITEM)
    }

    /// A saga by a name: the stored one, its context's type, or that with its path.
    ///
    /// # Errors
    /// Where no saga is called so, and where several are, such as versions of one; the error says what there is.
    pub fn saga_named(&self, name: &str) -> Result<SagaDiagram, DiagramError> {
        let named: Vec<&'static SagaItem> =
            self.sagas.iter().copied().filter(|saga| is_called(saga.context, name)).collect();
        match named[..] {
            [saga] => Ok(self.draw_saga(saga)),
            [] => Err(DiagramError::unknown_saga(name, self.sagas.iter().map(|saga| saga.context))),
            _ => Err(DiagramError::ambiguous_saga(name, &contexts(named))),
        }
    }

    /// A saga by its stored name and version, which rows and messages say of it.
    ///
    /// # Errors
    /// Where no saga is stored under the name, or none of this version; the error says what there is.
    pub fn saga_version(&self, name: &str, version: u32) -> Result<SagaDiagram, DiagramError> {
        let named: Vec<&'static SagaItem> =
            self.sagas.iter().copied().filter(|saga| saga.context.name == name).collect();
        match named.iter().find(|saga| saga.context.version == version) {
            Some(saga) => Ok(self.draw_saga(saga)),
            None if named.is_empty() => {
                Err(DiagramError::unknown_saga(name, self.sagas.iter().map(|saga| saga.context)))
            }
            None => Err(DiagramError::unknown_version(name, version, &contexts(named))),
        }
    }

    /// Every saga, by stored name and version.
    pub fn sagas(&self) -> impl Iterator<Item = SagaDiagram> {
        self.sagas.iter().map(|saga| self.draw_saga(saga))
    }

    fn draw_saga(&self, saga: &'static SagaItem) -> SagaDiagram {
        SagaDiagram::new(saga, Arc::clone(&self.breakers))
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
        Diagrams::new(&draft.chains, draft.sagas.clone(), draft.items().copied().collect(), self.options.breaker)
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
        let sagas = plan.sagas.iter().map(|saga| saga.item).collect();
        let handlers = plan.handlers.iter().map(|planned| planned.item).collect();
        Diagrams::new(&plan.chains, sagas, handlers, self.options().breaker)
    }
}

fn contexts(sagas: Vec<&'static SagaItem>) -> Vec<&'static MessageSpec> {
    sagas.into_iter().map(|saga| saga.context).collect()
}

fn is_called(spec: &MessageSpec, name: &str) -> bool {
    let path = spec.type_name();
    spec.name == name || path == name || words::short(path) == name
}

/// Whether two items are the same function: a fallback may stand behind several links.
fn is_same(a: &HandlerItem, b: &HandlerItem) -> bool {
    (a.location, a.name) == (b.location, b.name)
}
