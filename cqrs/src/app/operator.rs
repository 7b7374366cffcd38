//! What somebody does to what is stored, under a name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::bulk::Deed;
use super::edit::{self, EditError};
use super::{App, Bulk, Outbox};
use crate::Error;
use crate::saga::{SagaError, SagaId};
use crate::store::driver::Driver;
use crate::store::{
    DeadFilter, DeadLetterId, Operation, Operations, SagaAsked, Signed, StoreError, StoreErrorKind, TimerName,
};

/// Somebody who operates a service: what he does is written down under his name, in the transaction in which it is done.
/// Made by [`App::operator`].
///
/// ```standalone_crate
/// use std::time::Duration;
///
/// use cqrs::prelude::*;
/// use cqrs::store::{AuditAction, TimerName};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Command, Serialize, Deserialize)]
/// struct Remind;
///
/// #[command_handler]
/// async fn remind(_cmd: Remind) {}
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), cqrs::Error> {
/// let app = cqrs::bootstrap!().store(Store::url("memory:")).await?;
/// app.schedule(Remind).after(Duration::from_secs(3600)).key("order-7").await?;
///
/// let anna = app.operator("anna").note("the customer called");
/// let later = std::time::SystemTime::now() + Duration::from_secs(7200);
/// assert!(anna.reschedule_timer(TimerName::of::<Remind>("order-7"), later).await?);
///
/// let entry = &app.audit(10, None).await?[0];
/// assert_eq!((entry.by.as_str(), entry.action), ("anna", AuditAction::Reschedule));
/// assert_eq!((entry.name.as_str(), entry.key.as_deref()), ("Remind", Some("order-7")));
/// assert_eq!(entry.note, "the customer called");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Operator {
    pub(super) app: App,
    by: String,
    note: String,
}

impl App {
    /// Somebody who operates this service. What is done by the app itself is written down under the name of its start.
    pub fn operator(&self, by: impl Into<String>) -> Operator {
        Operator { app: self.clone(), by: by.into(), note: String::new() }
    }

    /// The app itself, as one who operates.
    pub(crate) fn itself(&self) -> Operator {
        self.operator(self.owner())
    }

    pub(super) fn need_store(&self) -> Result<&Arc<dyn Driver>, StoreError> {
        self.store().ok_or_else(|| {
            let what = "the app has no store; give the builder one: `.store(Store::url(\"sqlite://app.db\"))`";
            StoreError::new(StoreErrorKind::Configuration, what)
        })
    }

    /// What the store does for people who operate.
    pub(super) fn operations(&self) -> Result<&dyn Operations, StoreError> {
        let store = self.need_store()?;
        store.operations().ok_or_else(|| {
            let what =
                format!("the store `{}` gives out no operations: its driver is to say `operations`", store.name());
            StoreError::new(StoreErrorKind::Configuration, what)
        })
    }
}

impl Operator {
    /// Says why: it is written down with everything done from here on.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// The outbox, with what is done there under this name.
    pub fn outbox(&self) -> Outbox {
        Outbox::new(self.clone())
    }

    /// Makes a dead letter due again, in its place in the order of its key, its attempts forgotten. `false` where there is
    /// none of this name.
    ///
    /// # Errors
    /// Fails when the app has no store, or with what the store said.
    pub async fn replay(&self, id: DeadLetterId) -> Result<bool, Error> {
        self.end(Operation::Replay(id), "").await
    }

    /// Deletes a dead letter; the later messages of its key go on. `false` where there is none of this name.
    ///
    /// # Errors
    /// Fails when the app has no store, or with what the store said.
    pub async fn discard(&self, id: DeadLetterId) -> Result<bool, Error> {
        self.end(Operation::Discard(id), "").await
    }

    /// Gives a dead letter another payload and replays it, in one transaction. The payload is of the same form as
    /// [`DeadLetter::payload`](crate::store::DeadLetter::payload), and not compressed: the whole body where that is what is
    /// kept, of an event that could not be published or read, and the message alone otherwise. `false` where there is none of
    /// this name.
    ///
    /// ```standalone_crate
    /// use cqrs::prelude::*;
    /// use cqrs::testing::TestApp;
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(DomainEvent, Clone, Serialize, Deserialize)]
    /// struct Placed { address: String }
    ///
    /// #[event_handler(durable, retry(max = 1))]
    /// async fn ship(e: &Placed) -> Result<(), String> {
    ///     if e.address.is_empty() { Err("no address".to_owned()) } else { Ok(()) }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), cqrs::Error> {
    /// let app = TestApp::new(cqrs::bootstrap!().store(Store::url("memory:"))).await?;
    /// app.publish(Placed { address: String::new() }).await?;
    /// app.settle().await;
    /// let letter = &app.dead_letters(10).await?[0];
    /// assert_eq!((letter.error.as_str(), letter.payload.as_slice()), ("no address", &br#"{"address":""}"#[..]));
    ///
    /// let anna = app.operator("anna");
    /// let refused = anna.edit_and_replay(letter.id, r#"{"adress":"Main St. 1"}"#).await.unwrap_err();
    /// assert!(refused.to_string().contains("missing field `address`"), "{refused}");
    /// assert!(anna.edit_and_replay(letter.id, r#"{"address":"Main St. 1"}"#).await?);
    /// app.settle().await;
    /// assert!(app.dead_letters(10).await?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The old payload is kept nowhere; the audit log has its length alone. Whoever may need it keeps it before.
    ///
    /// # Errors
    /// [`EditError::Unreadable`] where the payload cannot be read as the message it stands for, [`EditError::Unknown`] where
    /// this program has no type for it, [`EditError::Store`] with what the store said. Nothing is changed then.
    pub async fn edit_and_replay(&self, id: DeadLetterId, payload: impl Into<Vec<u8>>) -> Result<bool, EditError> {
        let payload = payload.into();
        let Some(letter) = self.app.operations()?.dead_letter(id).await? else { return Ok(false) };
        let headers: BTreeMap<String, String> = edit::check(&self.app, &letter, &payload).await?;
        Ok(self.operate(Operation::Edit { id, payload, headers }, "").await?)
    }

    /// Replays every dead letter that a filter takes.
    pub fn replay_all(&self, filter: DeadFilter) -> Bulk {
        Bulk::new(self.clone(), Deed::Replay, filter)
    }

    /// Discards every dead letter that a filter takes.
    pub fn discard_all(&self, filter: DeadFilter) -> Bulk {
        Bulk::new(self.clone(), Deed::Discard, filter)
    }

    /// Moves a timer, by its id or by command and key: it begins anew, and keeps its id. `false` where none waits, as while it
    /// is being done.
    ///
    /// # Errors
    /// Fails when the app has no store, or with what the store said.
    pub async fn reschedule_timer(&self, timer: impl Into<TimerName>, at: SystemTime) -> Result<bool, Error> {
        Ok(self.operate(Operation::Reschedule { timer: timer.into(), due: at }, "").await?)
    }

    /// Cancels a timer, by its id or by command and key. `false` where none waits, as while it is being done.
    ///
    /// # Errors
    /// Fails when the app has no store, or with what the store said.
    pub async fn cancel_timer(&self, timer: impl Into<TimerName>) -> Result<bool, Error> {
        self.end(Operation::Cancel(timer.into()), "").await
    }

    /// Asks a saga to undo what it has done, as [`Sagas::cancel`](crate::saga::Sagas::cancel) does.
    ///
    /// ```standalone_crate
    /// use cqrs::prelude::*;
    /// use cqrs::store::AuditAction;
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[saga(name = "checkout", steps = [reserve, charge])]
    /// #[derive(Debug, Serialize, Deserialize)]
    /// struct Checkout;
    ///
    /// #[saga_step(compensate = none)]
    /// async fn reserve(_cx: &mut Checkout) {}
    ///
    /// /// The bank is closed until an hour from now.
    /// #[saga_step(compensate = none, retry(max = 9, first = "1h"))]
    /// async fn charge(_cx: &mut Checkout) -> Result<(), cqrs::BoxError> { Err("closed".into()) }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let app = cqrs::bootstrap!().store(Store::url("memory:")).await?;
    /// app.saga(Checkout).id("c1").start().await?;
    ///
    /// assert!(app.operator("anna").note("the customer called").cancel_saga("c1").await?);
    ///
    /// let entry = &app.audit(10, None).await?[0];
    /// assert_eq!((entry.by.as_str(), entry.action), ("anna", AuditAction::CancelSaga));
    /// assert_eq!((entry.name.as_str(), entry.key.as_deref()), ("checkout", Some("c1")));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SagaError::NoStore`] where the app has no store that keeps sagas; else with what the store said.
    pub async fn cancel_saga(&self, id: impl Into<SagaId>) -> Result<bool, SagaError> {
        self.ask_saga(id.into(), SagaAsked::Cancel).await
    }

    /// Makes a saga go on that is stuck, as [`Sagas::resume`](crate::saga::Sagas::resume) does.
    ///
    /// # Errors
    /// [`SagaError::NoStore`] where the app has no store that keeps sagas; else with what the store said.
    pub async fn resume_saga(&self, id: impl Into<SagaId>) -> Result<bool, SagaError> {
        self.ask_saga(id.into(), SagaAsked::Resume).await
    }

    async fn ask_saga(&self, id: SagaId, asked: SagaAsked) -> Result<bool, SagaError> {
        let store = self.app.store().ok_or(SagaError::NoStore)?;
        let sagas = store.sagas().ok_or(SagaError::NoStore)?;
        if store.operations().is_some() {
            return Ok(self.operate(Operation::AskSaga { id: id.as_str().to_owned(), asked }, "").await?);
        }
        let done = sagas.ask(id.as_str(), asked, self.app.clock().now()).await?;
        self.unwritten(store.name(), done);
        Ok(done)
    }

    /// Does what every driver can do, whether it writes it down or not.
    pub(super) async fn end(&self, operation: Operation, addition: &str) -> Result<bool, Error> {
        let store = self.app.need_store()?;
        if store.operations().is_some() {
            return Ok(self.operate(operation, addition).await?);
        }
        let done = match operation {
            Operation::Replay(id) => store.replay(id, self.app.clock().now()).await?,
            Operation::Discard(id) => store.discard(id).await?,
            Operation::Cancel(TimerName::Key { name, key }) => store.cancel_timer(&name, &key).await?,
            other => self.operate(other, addition).await?,
        };
        self.unwritten(store.name(), done);
        Ok(done)
    }

    fn unwritten(&self, store: &str, done: bool) {
        if done {
            tracing::warn!(store, by = self.by, "the store writes down nothing of what is done to it");
            self.app.wake();
        }
    }

    /// Does it, and writes it down. `addition` is said beside the operator's own note.
    pub(super) async fn operate(&self, operation: Operation, addition: &str) -> Result<bool, StoreError> {
        let action = operation.action();
        let said = [addition, self.note.as_str()].into_iter().filter(|said| !said.is_empty());
        let note = said.collect::<Vec<_>>().join("; ");
        let signed = Signed { by: self.by.clone(), at: self.app.clock().now(), note };
        let done = self.app.operations()?.operate(operation, signed).await?;
        if done {
            tracing::info!(action = action.as_str(), by = self.by, "done to what is stored");
            self.app.wake();
        }
        Ok(done)
    }
}

impl fmt::Debug for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operator").field("by", &self.by).field("note", &self.note).finish_non_exhaustive()
    }
}
