//! `tower` layers around calls: tower's own, and some that nobody should write.

mod own;
pub(crate) mod places;
mod strange;

use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;
use cqrs::tower::Layered;
use cqrs::{BoxError, CallKind, DispatchErrorKind};

use crate::support::{Harness, Probe, Refused, write};

/// What a call is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Answers,
    Fails,
    Panics,
    /// Writes, and never ends.
    Hangs,
}

#[derive(Command, Clone, Copy, Debug)]
#[command(response = &'static str, error = Refused)]
pub struct Work(How);

#[command_handler]
async fn work(
    cmd: Work,
    probe: Inject<Probe>,
    tx: &mut Tx<Sqlite>,
    events: &mut Events,
) -> Result<&'static str, Refused> {
    let _dropped = Noting(probe.clone(), "gone");
    probe.note("at work");
    write(tx, "worked").await.map_err(|error| Refused(error.to_string()))?;
    match cmd.0 {
        How::Answers => events.raise(Worked),
        How::Fails => return Err(Refused("no".to_owned())),
        How::Panics => panic!("work burns"),
        How::Hangs => std::future::pending().await,
    }
    Ok("done")
}

#[derive(DomainEvent)]
pub struct Worked;

#[event_handler]
async fn tell(_e: &Worked, probe: Inject<Probe>) {
    probe.note("told");
}

#[derive(Query, Clone, Copy)]
#[query(response = &'static str, error = BoxError)]
pub struct Look;

#[query_handler]
async fn look(_q: Look, probe: Inject<Probe>) -> &'static str {
    probe.note("looked");
    probe.pass("looking").await;
    "seen"
}

#[derive(Command)]
#[command(item = u32, error = BoxError)]
pub struct Count;

#[command_handler]
async fn count(_cmd: Count, probe: Inject<Probe>, items: &mut Items<u32>) {
    let _dropped = Noting(probe.clone(), "count gone");
    for number in 0..3 {
        items.send(number).await;
    }
}

/// Notes that it is dropped.
struct Noting(Inject<Probe>, &'static str);

impl Drop for Noting {
    fn drop(&mut self) {
        self.0.note(self.1);
    }
}

/// An app with layers around its calls.
async fn layered(layers: impl IntoIterator<Item = Layered>) -> Harness {
    Harness::with(|builder| layers.into_iter().fold(builder.run([""; 0]), cqrs::Builder::layer)).await
}

const COMMANDS: [CallKind; 1] = [CallKind::Command];

/// What a call that a layer turned down says of it, if the error is of this type.
fn rejected<T: std::error::Error + 'static, E: std::fmt::Debug>(error: DispatchError<E>) -> T {
    match error {
        DispatchError::Rejected { source, .. } => {
            *source.downcast::<T>().unwrap_or_else(|source| panic!("another error: {source:?}"))
        }
        other => panic!("not rejected: {other:?}"),
    }
}

/// What is said by a call that no layer touched.
async fn works(app: &Harness) {
    assert_eq!(app.send(Work(How::Answers)).await.unwrap(), "done");
}

fn is_rejected<E>(error: &DispatchError<E>) -> bool {
    error.kind() == DispatchErrorKind::Rejected
}
