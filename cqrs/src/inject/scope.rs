//! Message scope: dependencies that live as long as one unit of work and the handlers after it.

use std::fmt;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::{Resolved, Resolver};
use crate::app::App;
use crate::dispatch::{Caught, DispatchError, Failure};
use crate::registry::ProviderItem;
use crate::unit::Meta;
use crate::wiring::Planned;

/// Where a dependency comes from.
#[derive(Debug, Clone)]
pub(crate) enum Slot {
    /// Made when the app started.
    App(Resolved),
    /// Made once per unit of work: the number of its provider.
    Scoped(usize),
}

/// A message-scoped provider and where its own dependencies come from.
#[derive(Debug)]
pub(crate) struct ScopedProvider {
    pub(crate) item: ProviderItem,
    /// What it provides, for error texts.
    pub(crate) name: &'static str,
    pub(crate) slots: Vec<Slot>,
    /// The scoped providers it needs, directly or not, each after what it needs itself.
    pub(crate) before: Vec<usize>,
}

/// The message-scoped dependencies made so far in one unit of work.
pub(crate) struct Scope {
    /// The call's, whichever of its handlers asks first: what a provider reads from it is the same for all of them.
    meta: Arc<Meta>,
    made: Mutex<Vec<Option<Resolved>>>,
}

impl Scope {
    pub(crate) fn new(meta: Arc<Meta>) -> Self {
        Self { meta, made: Mutex::default() }
    }

    /// The dependencies of a handler, those made per unit of work included.
    pub(crate) async fn slots(&self, app: &App, planned: &Planned) -> Result<Arc<[Resolved]>, Failure> {
        let providers = &app.plan().scoped;
        // Held while a provider runs: whoever else needs the value waits for it instead of making a second one.
        let mut made = self.made.lock().await;
        made.resize(providers.len(), None);
        for slot in &planned.slots {
            let Slot::Scoped(number) = slot else { continue };
            for number in providers[*number].before.iter().chain([number]) {
                if made[*number].is_none() {
                    made[*number] = Some(make(&providers[*number], &made, &self.meta).await?);
                }
            }
        }
        Ok(pick(&planned.slots, &made).into())
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scope")
    }
}

fn pick(slots: &[Slot], made: &[Option<Resolved>]) -> Vec<Resolved> {
    slots
        .iter()
        .filter_map(|slot| match slot {
            Slot::App(resolved) => Some(resolved.clone()),
            Slot::Scoped(number) => made.get(*number).cloned().flatten(),
        })
        .collect()
}

async fn make(provider: &ScopedProvider, made: &[Option<Resolved>], meta: &Meta) -> Result<Resolved, Failure> {
    let slots = pick(&provider.slots, made);
    let future = (provider.item.thunk)(Resolver::new(&slots, Some(meta)));
    let failed = |source| DispatchError::Dependency { dependency: provider.name, provider: provider.item.name, source };
    match Caught(future).await {
        Ok(Ok(resolved)) => Ok(resolved),
        Ok(Err(source)) => Err(failed(source)),
        Err(panic) => Err(failed(format!("it panicked: {panic}").into())),
    }
}
