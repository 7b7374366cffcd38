//! What a call costs that nobody asks about: it mints no id and reads no clock. Whose name an error has.

use std::time::Duration;

use crate::dispatch::Failure;
use crate::prelude::*;
use crate::store::{StoreError, StoreErrorKind};
use crate::unit::made;

/// Raises an event that is handled, which raises one that nobody handles.
#[derive(Command)]
#[command(response = u32)]
struct Slim;

#[derive(DomainEvent)]
struct Handled;

#[derive(DomainEvent)]
struct Unhandled;

#[command_handler]
async fn slim(_cmd: Slim, events: &mut Events) -> u32 {
    events.raise(Handled);
    events.raise(Unhandled);
    7
}

#[event_handler]
async fn handled(_e: &Handled, events: &mut Events) {
    events.raise(Unhandled);
}

#[derive(Query)]
#[query(response = u32)]
struct Ask;

#[query_handler]
async fn ask(_q: Ask) -> u32 {
    8
}

/// Takes its `Meta`, and asks for as much as it is told to.
#[derive(Command)]
struct Curious {
    id: bool,
    time: bool,
}

#[command_handler]
async fn curious(cmd: Curious, meta: &Meta) {
    for _ in 0..2 {
        let _ = cmd.id.then(|| (meta.id(), meta.correlation_id()));
        let _ = cmd.time.then(|| meta.time());
    }
}

/// What is made for a call, on this thread.
async fn made_for<T>(call: impl Future<Output = T>) -> u32 {
    let before = made::count();
    call.await;
    made::count() - before
}

/// With a store, which the sagas of other tests ask for.
async fn app() -> App {
    crate::Builder::linked(&[]).store(Store::url("memory:")).await.unwrap()
}

#[tokio::test]
async fn a_slim_call_mints_no_id_and_reads_no_clock() {
    let app = app().await;
    assert_eq!(made_for(async { assert_eq!(app.send(Slim).await.unwrap(), 7) }).await, 0);
    assert_eq!(made_for(async { assert_eq!(app.query(Ask).await.unwrap(), 8) }).await, 0);
    assert_eq!(made_for(async { app.publish(Handled).await.unwrap() }).await, 0);
}

#[tokio::test]
async fn what_is_asked_for_is_made_once() {
    let app = app().await;
    for (id, time) in [(false, false), (true, false), (false, true), (true, true)] {
        let made = made_for(async { app.send(Curious { id, time }).await.unwrap() }).await;
        assert_eq!(made, u32::from(id) + u32::from(time), "id: {id}, time: {time}");
    }
}

/// The name is the handler's that failed, where a handler did and the error has room for it.
#[test]
fn an_error_names_the_handler_where_it_knows_it() {
    let named = |error: Failure| error.name();
    let (handler, message) = ("ship", "Ship");
    let knows = [
        Failure::Timeout { handler, after: Duration::ZERO },
        Failure::BreakerOpen { handler, retry_after: Duration::ZERO },
        Failure::Panicked { handler, message: String::new() },
        Failure::UncommittedItem { handler },
        Failure::EventFailed { event: "shipped", handler, source: "no".into() },
    ];
    for error in knows {
        assert_eq!(named(error), Some(handler));
    }
    let behind = Box::new(Failure::BreakerOpen { handler, retry_after: Duration::ZERO });
    assert_eq!(named(Failure::FallbackFailed { primary: "late".to_owned(), source: behind }), Some(handler));
    assert_eq!(DispatchError::Handler("sold out").name(), None, "the handler's own error, and nothing beside it");
    let store = || StoreError::new(StoreErrorKind::Busy, "busy");
    let nobody = [
        Failure::NoHandler { message },
        Failure::Rejected { message, source: "no".into() },
        Failure::Store { source: store() },
        Failure::CommitUnknown { source: store() },
        Failure::ShuttingDown,
    ];
    for error in nobody {
        assert_eq!(named(error), None);
    }
}
