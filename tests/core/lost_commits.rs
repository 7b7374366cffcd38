//! G3: a commit whose answer is lost may have happened: every call says so, and nothing follows from it.

use std::any::Any;
use std::time::SystemTime;

use cqrs::prelude::*;
use cqrs::sqlx::sqlite::SqliteConnectOptions;
use cqrs::sqlx::{Sqlite, SqlitePool};
use cqrs::store::driver::{BoxFuture, Carried, Driver, Gift, HandleSpec, IdempotentRequest, Transaction};
use cqrs::store::{Claim, IdempotentClaim, IdempotentOutcome, InboxMark, Record, StoreErrorKind};
use cqrs::{BoxError, DispatchErrorKind, StoreError};
use uuid::Uuid;

use crate::support::{Probe, app, bounded, directory, write};

type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// A store whose commits happen, and whose answers never arrive.
#[derive(Debug)]
struct Silent(SqlitePool);

#[derive(Debug)]
struct SilentTransaction(Tx<Sqlite>);

impl Driver for Silent {
    fn name(&self) -> &'static str {
        "silent"
    }

    fn handle(&self) -> Option<HandleSpec> {
        Some(HandleSpec { type_id: std::any::TypeId::of::<Tx<Sqlite>>(), name: "sqlx::Sqlite" })
    }

    fn gifts(&self) -> Vec<Gift> {
        vec![Gift::new(self.0.clone())]
    }

    fn begin(&self) -> Answer<'_, Box<dyn Transaction>> {
        Box::pin(async { Ok(Box::new(SilentTransaction(Tx::begin(&self.0).await?)) as Box<dyn Transaction>) })
    }

    fn adopt(&self, handle: Box<dyn Any + Send>) -> Result<Box<dyn Transaction>, Box<dyn Any + Send>> {
        Ok(Box::new(SilentTransaction(*handle.downcast::<Tx<Sqlite>>()?)))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    cqrs_tests::nothing_is_stored! {}
}

macro_rules! never_called_in_it {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)*) => {$(
        fn $name(&mut self $(, $argument: $kind)*) -> Answer<'_, $answer> {
            $(let _ = $argument;)*
            unreachable!("nothing is stored, and no call is made within another")
        }
    )*};
}

impl Transaction for SilentTransaction {
    fn handle(&mut self) -> Option<&mut (dyn Any + Send)> {
        Some(&mut self.0)
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        Box::new(self.0)
    }

    fn carried(&mut self) -> Option<&mut Carried> {
        Some(self.0.carried())
    }

    fn start_rollback_to_savepoint(&mut self) -> bool {
        unreachable!("there are no savepoints")
    }

    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::pin(async {
            self.0.commit().await?;
            Err(StoreError::new(StoreErrorKind::CommitUnknown, "the line went dead"))
        })
    }

    fn rollback(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    never_called_in_it! {
        store(records: Vec<Record>) -> Vec<Uuid>;
        mark_handled(marks: Vec<InboxMark>) -> Vec<bool>;
        lane_is_held(lane: &str) -> bool;
        finish_work(claim: Claim) -> bool;
        claim_idempotent(request: IdempotentRequest) -> IdempotentOutcome;
        finish_idempotent(claim: IdempotentClaim, response: Vec<u8>, now: SystemTime) -> bool;
        savepoint() -> ();
        release_savepoint() -> ();
        rollback_to_savepoint() -> ();
    }
}

#[derive(DomainEvent)]
struct Wired;

/// What happens at most once, and only after a commit that is known to have happened.
#[event_handler]
async fn wired(_e: &Wired, probe: Inject<Probe>) {
    probe.note("wired");
}

#[derive(Command)]
#[command(error = BoxError)]
struct Wire;

#[command_handler]
async fn wire(_cmd: Wire, tx: &mut Tx<Sqlite>, events: &mut Events) -> Result<(), BoxError> {
    write(tx, "send").await?;
    events.raise(Wired);
    Ok(())
}

#[derive(Command)]
#[command(item = u32, error = BoxError)]
struct WireAll;

#[command_handler]
async fn wire_all(
    _cmd: WireAll,
    items: &mut Items<u32>,
    tx: &mut Tx<Sqlite>,
    events: &mut Events,
    probe: Inject<Probe>,
) -> Result<(), BoxError> {
    write(tx, "stream").await?;
    events.raise(Wired);
    items.commit(tx, 1).await?;
    probe.note("went on");
    Ok(())
}

#[tokio::test]
async fn g3_a_commit_whose_answer_is_lost_is_commit_unknown_for_every_call_and_nothing_follows_it() {
    bounded(async {
        let (directory, probe) = (directory(), std::sync::Arc::new(Probe::default()));
        let file = SqliteConnectOptions::new().filename(directory.path().join("app.db")).create_if_missing(true);
        let pool = SqlitePool::connect_with(file).await.unwrap();
        let app = app(&probe).store(Store::driver(Silent(pool))).await.unwrap();

        let error = app.send(Wire).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (DispatchErrorKind::CommitUnknown, false), "{error:?}");
        assert!(error.to_string().contains("it may have happened"), "{error}");
        assert!(std::error::Error::source(&error).unwrap().to_string().contains("the line went dead"), "{error:?}");

        let mut items = app.stream(WireAll);
        let error = items.next().await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (DispatchErrorKind::CommitUnknown, false), "{error:?}");
        assert!(items.next().await.is_none(), "the item is not delivered, and the handler does not go on");

        let mut unit = app.unit::<Sqlite>().await.unwrap();
        write(unit.tx(), "unit").await.unwrap();
        unit.events().raise(Wired);
        let error = unit.commit().await.unwrap_err();
        let is_unknown = matches!(&error, cqrs::Error::Dispatch { kind: DispatchErrorKind::CommitUnknown, .. });
        assert!(is_unknown, "{error:?}");

        // All three did happen; but nobody can know, so nobody may act upon it.
        assert_eq!(probe.rows().await, ["send", "stream", "unit"]);
        assert!(probe.log().is_empty(), "{:?}", probe.log());
    })
    .await;
}
