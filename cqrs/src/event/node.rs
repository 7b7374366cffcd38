//! One raised thing on its way through the unit of work and the handlers after it.

use std::any::Any;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::raised::Raised;
use crate::app::App;
use crate::dispatch::{DispatchError, Failure, current};
use crate::message::{Erased, MessageSpec};
use crate::unit::{Meta, MetaInit};

/// What one handler raised.
pub(crate) type Nodes = Vec<Node>;

/// The outermost call of a set of events: most are never asked about, so what is known of it is made when somebody asks.
#[derive(Debug)]
pub(crate) struct Cause {
    meta: OnceLock<Arc<Meta>>,
    /// How far the app's clock is ahead of the system's.
    ahead: Duration,
}

impl Cause {
    /// The call, where something is known about it already.
    pub(crate) fn new(app: &App, meta: Option<Arc<Meta>>) -> Self {
        Self { meta: meta.map(OnceLock::from).unwrap_or_default(), ahead: app.clock().ahead() }
    }

    pub(crate) fn meta(&self) -> &Arc<Meta> {
        let make = || Arc::new(Meta::new(MetaInit { ahead: self.ahead, ..current::caused_here() }));
        self.meta.get_or_init(make)
    }
}

/// One raised thing, how deep it is below the outermost call, and what is known about it once somebody asks.
#[derive(Debug)]
pub(crate) struct Node {
    raised: Raised,
    depth: u32,
    trail: Option<Arc<Trail>>,
    /// The call that raised it, where that is not the outermost one.
    cause: Option<Arc<Meta>>,
    meta: OnceLock<Arc<Meta>>,
}

/// The events that led to a follow-up, nearest first.
#[derive(Debug)]
struct Trail {
    name: &'static str,
    before: Option<Arc<Trail>>,
}

impl Node {
    /// Raised by the handler of the outermost call.
    pub(crate) fn root(raised: Raised) -> Self {
        Self { raised, depth: 0, trail: None, cause: None, meta: OnceLock::new() }
    }

    /// The same, to be handled after the commit of a call that the one it was raised in was made within.
    pub(crate) fn carried(mut self, cause: &Cause) -> Self {
        self.cause.get_or_insert_with(|| Arc::clone(cause.meta()));
        self
    }

    /// Raised by a handler of this event, in the call that `cause` describes.
    pub(crate) fn follow_up(&self, raised: Raised, cause: &Arc<Meta>) -> Self {
        let trail = Trail { name: self.spec().name, before: self.trail.clone() };
        Self {
            raised,
            depth: self.depth + 1,
            trail: Some(Arc::new(trail)),
            cause: Some(Arc::clone(cause)),
            meta: OnceLock::new(),
        }
    }

    pub(crate) fn raised(&self) -> &Raised {
        &self.raised
    }

    pub(crate) fn spec(&self) -> &'static MessageSpec {
        match &self.raised {
            Raised::Event { spec, .. } => spec,
            Raised::Command(command) => command.spec,
        }
    }

    pub(crate) fn value(&self) -> &(dyn Any + Send + Sync) {
        match &self.raised {
            Raised::Event { value, .. } => &**value,
            Raised::Command(command) => &*command.value,
        }
    }

    /// The event; `None` for a stored command.
    pub(crate) fn event(&self) -> Option<Erased> {
        match &self.raised {
            Raised::Event { value, .. } => Some(Arc::clone(value)),
            Raised::Command(_) => None,
        }
    }

    /// What is known about it: made once, when somebody first asks, with an id of its own.
    pub(crate) fn meta(&self, parent: &Cause) -> Arc<Meta> {
        let make = || {
            let key = self.spec().key.and_then(|key| key(self.value()));
            let parent = Arc::clone(self.cause.as_ref().unwrap_or_else(|| parent.meta()));
            Arc::new(Meta::new(MetaInit { parent: Some(parent), key, ..MetaInit::default() }))
        };
        Arc::clone(self.meta.get_or_init(make))
    }

    /// Refuses an event that is deeper than events sensibly go.
    pub(crate) fn check_depth(&self, app: &App) -> Result<(), Failure> {
        let limit = app.options().event_depth;
        if self.depth < limit { Ok(()) } else { Err(DispatchError::EventDepth { limit, cycle: self.cycle() }) }
    }

    /// The names of the last events up to this one, as far back as the previous event of the same name.
    fn cycle(&self) -> String {
        const LONGEST: usize = 8;
        let name = self.spec().name;
        let mut names = vec![name];
        let mut trail = self.trail.as_ref();
        while let Some(step) = trail {
            names.push(step.name);
            if step.name == name || names.len() > LONGEST {
                break;
            }
            trail = step.before.as_ref();
        }
        names.reverse();
        names.join(" -> ")
    }
}
