//! What a handler raises, sends and schedules.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::raised::{Raised, StoredCommand, When};
use crate::message::{Command, Event, Message, Stored, erased};

/// The way out of a handler for everything but its answer: events, stored commands, timers.
///
/// What is raised takes effect when the unit of work commits, and not at all when it fails.
///
/// ```standalone_crate
/// use cqrs::prelude::*;
///
/// #[derive(DomainEvent)]
/// struct Counted(u32);
///
/// fn count(events: &mut Events) {
///     events.raise(Counted(3));
/// }
///
/// let mut events = Events::new();                       // a handler is an ordinary function: call it
/// count(&mut events);
/// assert_eq!(events.of::<Counted>()[0].0, 3);
/// ```
#[derive(Debug, Default)]
pub struct Events {
    /// One pointer, since every call moves it twice and most raise nothing.
    list: Option<Box<List>>,
}

#[derive(Debug)]
enum List {
    Own(Vec<Raised>),
    /// For streams: the driver takes out what was raised while the handler still holds `&mut Events`.
    Shared(Arc<Mutex<Vec<Raised>>>),
}

impl List {
    fn own(&self) -> &[Raised] {
        match self {
            Self::Own(list) => list,
            Self::Shared(_) => &[],
        }
    }
}

impl Events {
    /// Makes an empty list, for calling a handler as an ordinary function.
    #[must_use]
    pub const fn new() -> Self {
        Self { list: None }
    }

    pub(crate) fn shared(list: Arc<Mutex<Vec<Raised>>>) -> Self {
        Self { list: Some(Box::new(List::Shared(list))) }
    }

    /// Raises an event: a domain event for the handlers in this service, a notification event for the broker.
    #[inline]
    pub fn raise<E: Event>(&mut self, event: E) {
        self.push(Raised::Event { spec: E::SPEC, value: erased(event) });
    }

    /// Sends a command: stored in this unit of work, run after its commit, at least once.
    pub fn send<C: Command + Stored>(&mut self, command: C) {
        self.push(Raised::Command(StoredCommand::new(command, None)));
    }

    /// Schedules a command: stored in this unit of work, due now unless the returned handle says otherwise.
    ///
    /// ```standalone_crate
    /// # use cqrs::prelude::*;
    /// # use cqrs::serde::{Serialize, Deserialize};
    /// # #[derive(Command, Serialize, Deserialize)]
    /// # #[serde(crate = "cqrs::serde")]
    /// # struct Remind { order: u32 }
    /// # let mut events = Events::new();
    /// use std::time::Duration;
    /// events.schedule(Remind { order: 7 }).after(Duration::from_secs(60)).key("remind-7");
    /// ```
    pub fn schedule<C: Command + Stored>(&mut self, command: C) -> Scheduled<'_> {
        let at = self.push(Raised::Command(StoredCommand::new(command, Some(When::Now))));
        Scheduled { events: self, at }
    }

    /// The events of type `E` raised so far, in order.
    ///
    /// For a handler that is called as an ordinary function. In a streaming handler that is being read it gives nothing:
    /// what was raised belongs to the next item, which may leave at any time.
    #[must_use]
    pub fn of<E: Event>(&self) -> Vec<&E> {
        self.own()
            .iter()
            .filter_map(|raised| match raised {
                Raised::Event { value, .. } => value.downcast_ref(),
                Raised::Command(_) => None,
            })
            .collect()
    }

    /// The commands of type `C` sent or scheduled so far, in order; in a streaming handler that is being read none, as
    /// with [`of`](Self::of).
    #[must_use]
    pub fn sent<C: Command>(&self) -> Vec<&C> {
        self.own()
            .iter()
            .filter_map(|raised| match raised {
                Raised::Command(command) => command.value.downcast_ref(),
                Raised::Event { .. } => None,
            })
            .collect()
    }

    /// Whether nothing was raised, sent or scheduled.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        match self.list.as_deref() {
            None => true,
            Some(List::Own(list)) => list.is_empty(),
            Some(List::Shared(list)) => lock(list).is_empty(),
        }
    }

    /// Whether something holds of all that is in the list; a stream's list is never asked.
    pub(crate) fn all(&self, holds: impl Fn(&Raised) -> bool) -> bool {
        !matches!(self.list.as_deref(), Some(List::Shared(_))) && self.own().iter().all(holds)
    }

    /// How much was raised, sent and scheduled so far.
    pub(crate) fn len(&self) -> usize {
        match self.list.as_deref() {
            None => 0,
            Some(List::Own(list)) => list.len(),
            Some(List::Shared(list)) => lock(list).len(),
        }
    }

    /// Forgets what came after the first `len`.
    pub(crate) fn truncate(&mut self, len: usize) {
        match self.list.as_deref_mut() {
            None => {}
            Some(List::Own(list)) => list.truncate(len),
            Some(List::Shared(list)) => lock(list).truncate(len),
        }
    }

    fn own(&self) -> &[Raised] {
        self.list.as_deref().map_or(&[], List::own)
    }

    /// Runs something on the list, wherever it is.
    fn with<R>(&mut self, run: impl FnOnce(&mut Vec<Raised>) -> R) -> R {
        match &mut **self.list.get_or_insert_with(|| Box::new(List::Own(Vec::new()))) {
            List::Own(list) => run(list),
            List::Shared(list) => run(&mut lock(list)),
        }
    }

    pub(crate) fn raise_erased(&mut self, raised: Raised) {
        self.push(raised);
    }

    fn push(&mut self, raised: Raised) -> usize {
        self.with(|list| {
            list.push(raised);
            list.len() - 1
        })
    }

    pub(crate) fn take(&mut self) -> Vec<Raised> {
        match self.list.as_deref_mut() {
            None => Vec::new(),
            Some(List::Own(list)) => std::mem::take(list),
            Some(List::Shared(list)) => std::mem::take(&mut *lock(list)),
        }
    }

    fn change(&mut self, at: usize, change: impl FnOnce(&mut StoredCommand)) {
        self.with(|list| {
            if let Some(Raised::Command(command)) = list.get_mut(at) {
                change(command);
            }
        });
    }
}

fn lock(list: &Mutex<Vec<Raised>>) -> std::sync::MutexGuard<'_, Vec<Raised>> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StoredCommand {
    pub(crate) fn new<C: Message>(command: C, timer: Option<When>) -> Self {
        Self { spec: C::SPEC, value: erased(command), id: None, timer, timer_key: None }
    }
}

/// A command just scheduled; its methods say when, and under which key.
pub struct Scheduled<'e> {
    events: &'e mut Events,
    at: usize,
}

impl Scheduled<'_> {
    /// Due so long after the unit of work stores it.
    pub fn after(self, delay: Duration) -> Self {
        self.events.change(self.at, |command| command.timer = Some(When::After(delay)));
        self
    }

    /// Due at a time.
    pub fn at(self, time: SystemTime) -> Self {
        self.events.change(self.at, |command| command.timer = Some(When::At(time)));
        self
    }

    /// Gives the timer a key: scheduling the same command with the same key again moves this timer, which keeps its id.
    pub fn key(self, key: impl Into<String>) -> Self {
        let key = key.into();
        self.events.change(self.at, |command| command.timer_key = Some(key));
        self
    }
}

impl fmt::Debug for Scheduled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduled").field("at", &self.at).finish_non_exhaustive()
    }
}
