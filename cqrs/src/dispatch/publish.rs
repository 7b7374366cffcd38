//! Publishing an event and scheduling a command from outside a handler.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use uuid::Uuid;

use super::Failure;
use crate::Error;
use crate::app::App;
use crate::event::{Raised, StoredCommand, When};
use crate::message::{Command, Event, Stored, erased};
use crate::store::driver::BoxFuture;
use crate::unit::Cx;

/// A unit of work around one raised thing.
enum State {
    New(App, Raised),
    Running(BoxFuture<'static, Result<Option<Uuid>, Failure>>),
    Done,
}

impl State {
    /// Gives the id under which it was stored, if it was.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Uuid>, Error>> {
        loop {
            match self {
                Self::New(..) => {
                    let Self::New(app, raised) = std::mem::replace(self, Self::Done) else { return Poll::Pending };
                    *self = Self::Running(Box::pin(run(app, raised)));
                }
                Self::Running(future) => {
                    let result = std::task::ready!(future.as_mut().poll(cx));
                    *self = Self::Done;
                    return Poll::Ready(result.map_err(Error::from));
                }
                Self::Done => return Poll::Pending,
            }
        }
    }
}

async fn run(app: App, raised: Raised) -> Result<Option<Uuid>, Failure> {
    if app.is_stopped() {
        return Err(Failure::ShuttingDown);
    }
    let _running = app.calling();
    let what = match &raised {
        Raised::Event { spec, .. } => spec.name,
        Raised::Command(command) => command.spec.name,
    };
    let mut cx = Cx::new(app.clone());
    cx.events.raise_erased(raised);
    let conclusion = super::conclude(cx, None, what).await?;
    let id = conclusion.ids.first().copied();
    conclusion.complete(&app).await?;
    Ok(id)
}

/// The future of [`App::publish`]: nothing happens until it is polled.
#[must_use = "nothing is published until it is awaited"]
pub struct Publish(State);

impl Publish {
    pub(crate) fn new<E: Event>(app: App, event: E) -> Self {
        Self(State::New(app, Raised::Event { spec: E::SPEC, value: erased(event) }))
    }
}

impl Future for Publish {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx).map_ok(|_| ())
    }
}

impl fmt::Debug for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Publish")
    }
}

/// The future of [`App::schedule`]: nothing happens until it is polled. Gives the timer's id.
#[must_use = "nothing is scheduled until it is awaited"]
pub struct Schedule {
    state: State,
    id: TimerId,
}

impl Schedule {
    pub(crate) fn new<C: Command + Stored>(app: App, command: C) -> Self {
        let id = Uuid::now_v7();
        let command = StoredCommand { id: Some(id), ..StoredCommand::new(command, Some(When::Now)) };
        Self { state: State::New(app, Raised::Command(command)), id: TimerId(id) }
    }

    /// Due so long after it is stored.
    pub fn after(mut self, delay: Duration) -> Self {
        self.change(|command| command.timer = Some(When::After(delay)));
        self
    }

    /// Due at a time.
    pub fn at(mut self, time: SystemTime) -> Self {
        self.change(|command| command.timer = Some(When::At(time)));
        self
    }

    /// Gives the timer a key: scheduling the same command with the same key again moves this timer, which keeps its id.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        let key = key.into();
        self.change(|command| command.timer_key = Some(key));
        self
    }

    fn change(&mut self, change: impl FnOnce(&mut StoredCommand)) {
        if let State::New(_, Raised::Command(command)) = &mut self.state {
            change(command);
        }
    }
}

impl Future for Schedule {
    type Output = Result<TimerId, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.state.poll(cx).map_ok(|stored| stored.map_or(self.id, TimerId))
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schedule").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Names a scheduled command: its handler finds the same id in `Meta::id`, and [`App::timers`] lists the timer by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TimerId(Uuid);

impl TimerId {
    /// The id as a UUID.
    pub fn uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for TimerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
