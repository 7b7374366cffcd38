//! Messages and handlers: what a handler may take and return, and that it stays an ordinary function.

use std::num::ParseIntError;
use std::sync::Arc;

use cqrs::prelude::*;
use cqrs::sqlx::{self, Sqlite, SqlitePool};
use cqrs::{BoxError, DispatchErrorKind};
use serde::{Deserialize, Serialize};

use crate::support::{Harness, Probe, Refused, bounded, write};

/// An error that is no `std::error::Error`: `Debug + Display` is all a message asks of it.
#[derive(Debug)]
struct Said(String);

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<ParseIntError> for Said {
    fn from(error: ParseIntError) -> Self {
        Self(format!("said: {error}"))
    }
}

#[derive(Command)]
#[command(response = i64, error = Said)]
struct Parse(&'static str);

#[command_handler]
async fn parse(cmd: Parse) -> Result<i64, ParseIntError> {
    cmd.0.parse()
}

#[derive(Query)]
#[query(response = usize)]
struct Length {
    text: String,
}

#[query_handler]
async fn length(q: &Length) -> usize {
    q.text.len()
}

#[derive(Command)]
struct Nothing;

#[command_handler]
async fn nothing(_cmd: Nothing, probe: Inject<Probe>) {
    probe.note("nothing");
}

/// Both defaults at once: it answers `()`, and fails with a `BoxError`.
#[derive(Command)]
struct Strict(bool);

#[command_handler]
async fn strict(Strict(fine): Strict) -> Result<(), Refused> {
    if fine { Ok(()) } else { Err(Refused("not fine".to_owned())) }
}

#[derive(Command)]
struct Both {
    what: &'static str,
}

#[derive(DomainEvent)]
struct BothDone;

#[derive(NotificationEvent, Serialize, Deserialize)]
struct BothPublished {
    what: String,
}

type Db = Sqlite;
type Transaction = Tx<Db>;
type Shared<T> = Inject<T>;
type Raised<'a> = &'a mut Events;

/// Parameters are recognised by type: aliases, named lifetimes and any order of them do.
#[command_handler]
async fn both<'c>(
    cmd: &'c Both,
    events: Raised<'c>,
    meta: &'c Meta,
    probe: Shared<Probe>,
    tx: &'c mut Transaction,
    pool: Inject<SqlitePool>,
    app: &'c App,
) -> Result<(), sqlx::Error> {
    write(tx, cmd.what).await?;
    let _: &SqlitePool = &pool;
    probe.note(format!("{} {} {:?}", cmd.what, meta.attempt(), app.health()));
    events.raise(BothDone);
    events.raise(BothPublished { what: cmd.what.to_owned() });
    Ok(())
}

#[derive(Command)]
struct Late;

#[command_handler]
async fn late(_cmd: Late, begin: &mut Begin<Sqlite>) -> Result<(), BoxError> {
    let tx = begin.begin().await?;
    write(tx, "late").await?;
    write(begin.begin().await?, "again").await?;
    Ok(())
}

#[derive(Query)]
#[query(item = u32)]
struct Count(u32);

#[query_handler]
async fn count(q: Count, items: &mut Items<u32>) {
    for number in 0..q.0 {
        items.send(number).await;
    }
}

/// A handler of a concrete instance of a generic message.
#[derive(DomainEvent)]
struct Created<T: Send + Sync + 'static>(T);

#[derive(Command)]
struct Create(u8);

#[command_handler]
async fn create(cmd: Create, events: &mut Events) {
    events.raise(Created(cmd.0));
    events.raise(Created("text"));
}

#[event_handler]
async fn created(e: &Created<u8>, probe: Inject<Probe>) {
    probe.note(format!("created {}", e.0));
}

#[tokio::test]
async fn results_with_an_error_of_its_own_and_conversion_into_it() {
    bounded(async {
        let app = Harness::start().await;
        assert_eq!(app.send(Parse("42")).await.unwrap(), 42);
        let error = app.send(Parse("x")).await.unwrap_err();
        assert_eq!(error.kind(), DispatchErrorKind::Handler);
        assert_eq!(error.to_string(), "said: invalid digit found in string");
        assert!(error.handler().is_some() && !error.is_retryable() && error.name().is_none());
        assert_eq!(error.into_handler().unwrap().0, "said: invalid digit found in string");
    })
    .await;
}

#[tokio::test]
async fn plain_results_nothing_and_both_defaults() {
    bounded(async {
        let app = Harness::start().await;
        assert_eq!(app.query(Length { text: "four".to_owned() }).await.unwrap(), 4);
        app.send(Nothing).await.unwrap();
        assert_eq!(app.probe.log(), ["nothing"]);
        app.send(Strict(true)).await.unwrap();
        let error: BoxError = app.send(Strict(false)).await.unwrap_err().into_handler().unwrap();
        assert_eq!(error.downcast_ref::<Refused>(), Some(&Refused("not fine".to_owned())));
    })
    .await;
}

#[tokio::test]
async fn the_question_mark_into_both_error_types() {
    async fn into_error(app: &App) -> Result<(), cqrs::Error> {
        app.send(Strict(false)).await?;
        Ok(())
    }
    async fn into_box(app: &App) -> Result<(), BoxError> {
        app.send(Strict(false)).await?;
        Ok(())
    }
    async fn without_source(app: &App) -> Result<i64, BoxError> {
        Ok(app.send(Parse("x")).await?)
    }
    bounded(async {
        let app = Harness::start().await;
        let error = into_error(&app).await.unwrap_err();
        assert!(matches!(error, cqrs::Error::Dispatch { kind: DispatchErrorKind::Handler, .. }), "{error:?}");
        assert_eq!(error.to_string(), "refused: not fine");
        assert_eq!(format!("{error:?}"), "refused: not fine");
        assert_eq!(into_box(&app).await.unwrap_err().to_string(), "refused: not fine");
        assert_eq!(without_source(&app).await.unwrap_err().to_string(), "said: invalid digit found in string");
    })
    .await;
}

#[tokio::test]
async fn every_parameter_by_type() {
    bounded(async {
        let app = Harness::idle().await;
        app.send(Both { what: "one" }).await.unwrap();
        assert_eq!(app.rows().await, ["one"]);
        assert_eq!(app.probe.log(), ["one 1 Running"]);
        assert_eq!(app.events::<BothDone>().len(), 1);
        assert_eq!(app.events::<BothPublished>()[0].what, "one");
        assert_eq!(app.stored().await, (1, 0));
    })
    .await;
}

#[tokio::test]
async fn begin_begins_once_and_is_committed() {
    bounded(async {
        let app = Harness::start().await;
        app.send(Late).await.unwrap();
        assert_eq!(app.rows().await, ["late", "again"]);
    })
    .await;
}

#[tokio::test]
async fn generic_events_are_handled_instance_by_instance() {
    bounded(async {
        let app = Harness::start().await;
        app.send(Create(7)).await.unwrap();
        assert_eq!(app.probe.log(), ["created 7"]);
    })
    .await;
}

/// A handler is an ordinary function: every parameter has a public way to make one.
#[tokio::test]
async fn handlers_are_ordinary_functions() {
    bounded(async {
        let app = Harness::idle().await;
        let pool = app.probe.pool();
        assert_eq!(parse(Parse("3")).await, Ok(3));
        assert_eq!(length(&Length { text: "ab".to_owned() }).await, 2);

        let mut events = Events::new();
        assert!(events.is_empty());
        let mut tx = Tx::begin(&pool).await.unwrap();
        let probe = Inject::new(Probe::default());
        let cmd = Both { what: "by hand" };
        both(&cmd, &mut events, &Meta::default(), probe.clone(), &mut tx, Inject::new(pool.clone()), &app)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        assert_eq!(events.of::<BothDone>().len(), 1);
        assert_eq!(events.of::<BothPublished>()[0].what, "by hand");
        assert!(events.of::<Created<u8>>().is_empty());
        assert_eq!(probe.log(), ["by hand 1 Running"]);
        assert_eq!(app.stored().await, (0, 0), "what is raised beside a transaction made by hand stays with the test");

        let mut begin = Begin::new(&pool);
        late(Late, &mut begin).await.unwrap();
        begin.into_tx().unwrap().commit().await.unwrap();
        drop(Tx::begin(&pool).await.unwrap());
        assert!(Begin::<Sqlite>::new(&pool).into_tx().is_none());
        assert_eq!(app.rows().await, ["by hand", "late", "again"]);

        let mut items = Items::collecting();
        count(Count(3), &mut items).await;
        assert_eq!(items.into_vec(), [0, 1, 2]);

        let shared: Inject<dyn crate::scope::Greeter> =
            Inject::from(Arc::new(crate::scope::Plain) as Arc<dyn crate::scope::Greeter>);
        assert_eq!(shared.arc().greet(), "hello");
    })
    .await;
}

#[tokio::test]
async fn a_savepoint_of_the_handlers_own_undoes_only_itself() {
    bounded(async {
        let app = Harness::start().await;
        app.send(InSavepoint).await.unwrap();
        assert_eq!(app.rows().await, ["kept", "also kept"]);
    })
    .await;
}

#[derive(Command)]
#[command(error = sqlx::Error)]
struct InSavepoint;

#[command_handler]
async fn in_savepoint(_cmd: InSavepoint, tx: &mut Tx<Sqlite>) -> Result<(), sqlx::Error> {
    write(tx, "kept").await?;
    let mut savepoint = tx.savepoint().await?;
    sqlx::query("INSERT INTO notes (text) VALUES ('undone')").execute(&mut *savepoint).await?;
    savepoint.rollback().await?;
    write(tx, "also kept").await
}
