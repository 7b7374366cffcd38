//! The table, kind by kind, as `docs/web.md` shows it.

use std::marker::PhantomData;
use std::time::Duration;

use ::axum::http::StatusCode;
use ::axum::http::header::RETRY_AFTER;
use ::axum::response::IntoResponse;
use DispatchErrorKind as Kind;

use super::told;
use crate::dispatch::Failure;
use crate::message::Message;
use crate::middleware::Fault;
use crate::store::{StoreError, StoreErrorKind};
use crate::{BoxError, Command, DispatchErrorKind, SagaError};

/// What no client may read.
const SECRET: &str = "hunter2";

/// Generic, since a derive registers no generic type: every app of these tests would want a handler for it.
#[derive(Command)]
#[command(crate = crate, error = BoxError)]
struct Place<T>(PhantomData<T>);

fn store(kind: StoreErrorKind) -> StoreError {
    StoreError::new(kind, SECRET)
}

/// One failure of each kind, with what is told of it: the status, and when to try again.
fn table() -> Vec<(Failure, u16, Option<&'static str>)> {
    let secret = || SECRET.to_owned();
    let source = || BoxError::from(SECRET);
    vec![
        (Failure::NoHandler { message: SECRET }, 500, None),
        (Failure::ChainExhausted { message: SECRET }, 500, None),
        (Failure::Timeout { handler: SECRET, after: Duration::ZERO }, 504, None),
        (Failure::BreakerOpen { handler: SECRET, retry_after: Duration::from_millis(29_001) }, 503, Some("30")),
        (Failure::Panicked { handler: SECRET, message: secret() }, 500, None),
        (Failure::Rejected { message: SECRET, source: source() }, 403, None),
        (Failure::Rejected { message: SECRET, source: Fault::new(SECRET).into() }, 500, None),
        #[cfg(feature = "tower")]
        (
            Failure::Rejected { message: SECRET, source: ::tower::load_shed::error::Overloaded::new().into() },
            503,
            Some("1"),
        ),
        #[cfg(feature = "tower")]
        (Failure::Rejected { message: SECRET, source: ::tower::timeout::error::Elapsed::new().into() }, 504, None),
        (Failure::Dependency { dependency: SECRET, provider: SECRET, source: source() }, 500, None),
        (Failure::WouldDeadlock { message: SECRET }, 500, None),
        (Failure::InvalidKey { reason: SECRET }, 400, None),
        (Failure::KeyReused { key: secret() }, 422, None),
        (Failure::InProgress { key: secret() }, 409, Some("1")),
        (Failure::NoStore { what: secret() }, 500, None),
        (Failure::Store { source: store(StoreErrorKind::Busy) }, 503, Some("1")),
        (Failure::Store { source: store(StoreErrorKind::Unavailable) }, 503, Some("1")),
        (Failure::Store { source: store(StoreErrorKind::Constraint) }, 500, None),
        (Failure::CommitUnknown { source: store(StoreErrorKind::CommitUnknown) }, 500, None),
        (Failure::UncommittedItem { handler: SECRET }, 500, None),
        (Failure::EventFailed { event: SECRET, handler: SECRET, source: source() }, 500, None),
        (Failure::EventDepth { limit: 64, cycle: secret() }, 500, None),
        (Failure::AmbiguousName { name: SECRET, types: vec![SECRET] }, 500, None),
        (
            // Nothing of the handler before the fallback, everything of the fallback.
            Failure::FallbackFailed { primary: secret(), source: Box::new(Failure::KeyReused { key: secret() }) },
            422,
            None,
        ),
        (Failure::ShuttingDown, 503, Some("1")),
        (Failure::TooLarge { message: SECRET, size: 2, limit: 1 }, 500, None),
        (Failure::TooLarge { message: Place::<()>::SPEC.name, size: 2, limit: 1 }, 413, None),
    ]
}

#[test]
fn every_kind_has_its_status_and_none_gives_away_its_text() {
    for (failure, status, retry_after) in table() {
        let kind = failure.kind();
        let problem = told::<Place<()>>(&failure.widen());
        let body = serde_json::to_string(&problem).unwrap();
        assert_eq!(problem.status().as_u16(), status, "{kind:?}");
        assert!(!body.contains(SECRET), "{kind:?}: {body}");
        // What is logged has the name that the client got.
        let logged = status >= 500 || kind == Kind::Rejected;
        assert_eq!(body.contains("urn:uuid:"), logged, "{kind:?}: {body}");
        let response = problem.into_response();
        let header = response.headers().get(RETRY_AFTER).map(|value| value.to_str().unwrap());
        assert_eq!(header, retry_after, "{kind:?}");
    }
}

#[test]
fn the_table_of_the_documentation_is_this_one() {
    let chapter = include_str!("../../docs/web.md");
    let row = |kind: Kind, status: u16| {
        let (kind, status) = (format!("`{kind:?}`"), format!("| {status} "));
        chapter.lines().any(|line| line.starts_with("| ") && line.contains(&kind) && line.contains(&status))
    };
    for (failure, status, _) in table() {
        let kind = failure.kind();
        assert!(row(kind, status), "no row of the chapter says that {kind:?} is {status}");
    }
    assert!(row(Kind::Handler, StatusCode::INTERNAL_SERVER_ERROR.as_u16()));
}

/// What is told of an error of a saga, as it is and in an error of any type.
#[test]
fn an_error_of_a_saga_says_what_a_client_can_do_about_it() {
    let (id, source) = (|| "checkout-42".into(), || BoxError::from(SECRET));
    let table = [
        (SagaError::IdTaken { id: id() }, 409, None),
        (SagaError::Missing { id: id() }, 404, None),
        (SagaError::ShuttingDown { id: id() }, 503, Some("1")),
        (SagaError::Store(store(StoreErrorKind::Busy)), 503, Some("1")),
        (SagaError::Store(store(StoreErrorKind::Constraint)), 500, None),
        (SagaError::Compensated { step: SECRET.to_owned(), source: source() }, 500, None),
        (SagaError::Stuck { step: SECRET.to_owned(), reason: SECRET, source: source() }, 500, None),
        (SagaError::UnknownVersion { saga: SECRET.to_owned(), version: 2 }, 500, None),
        (SagaError::Context { source: source() }, 500, None),
        (SagaError::NoStore, 500, None),
    ];
    for (error, status, retry_after) in table {
        let words = error.to_string();
        let problem = told::<Place<()>>(&crate::DispatchError::Handler(BoxError::from(error)));
        let body = serde_json::to_string(&problem).unwrap();
        assert!(!body.contains(SECRET), "{words}: {body}");
        let response = problem.into_response();
        let told = response.headers().get(RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!((response.status().as_u16(), told.as_deref()), (status, retry_after), "{words}");
    }
}
