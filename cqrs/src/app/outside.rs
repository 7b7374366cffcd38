//! A unit of work outside a handler.

use std::fmt;
use std::sync::Arc;

use super::App;
use crate::Error;
use crate::dispatch::{begin_tx, conclude, current, empty_unit};
use crate::event::Events;
use crate::store::driver::Transaction;
use crate::store::{StoreError, StoreErrorKind};
use crate::unit::{Cx, Meta, MetaInit, Tx, TxOf, Unit};

/// A unit of work outside a handler: a transaction and the events raised beside it. Dropped, it is rolled back.
///
/// ```no_run,standalone_crate
/// # use cqrs::prelude::*;
/// # use cqrs::sqlx::{self, Sqlite};
/// # #[derive(DomainEvent)]
/// # struct Imported;
/// # async fn example(app: App) -> Result<(), cqrs::Error> {
/// let mut unit = app.unit::<Sqlite>().await?;
/// let (tx, events) = unit.parts();
/// sqlx::query("INSERT INTO imports DEFAULT VALUES").execute(&mut **tx).await?;
/// events.raise(Imported);
/// unit.commit().await?;
/// # Ok(())
/// # }
/// ```
pub struct OutsideUnit<Db: TxOf> {
    app: App,
    tx: Tx<Db>,
    events: Events,
}

impl App {
    /// Begins a unit of work outside a handler.
    ///
    /// # Errors
    /// Fails when the app has no store, when the store gives no such transaction, or when it cannot begin one.
    pub async fn unit<Db: TxOf>(&self) -> Result<OutsideUnit<Db>, Error> {
        let tx = begin_tx(self, "unit").await?.into_any();
        let tx = Db::adopt(tx).map_err(|_| {
            let what = format!("the app's store gives no `Tx<{}>`", std::any::type_name::<Db>());
            StoreError::new(StoreErrorKind::Configuration, what)
        })?;
        Ok(OutsideUnit { app: self.clone(), tx, events: Events::new() })
    }
}

impl<Db: TxOf> OutsideUnit<Db> {
    /// The transaction.
    pub fn tx(&mut self) -> &mut Tx<Db> {
        &mut self.tx
    }

    /// The events.
    pub fn events(&mut self) -> &mut Events {
        &mut self.events
    }

    /// Both.
    pub fn parts(&mut self) -> (&mut Tx<Db>, &mut Events) {
        (&mut self.tx, &mut self.events)
    }

    /// Commits, as after a handler: inline handlers, stored events, the commit, plain handlers.
    ///
    /// # Errors
    /// Fails when an inline handler fails, or when the store does; then nothing was committed, unless it is
    /// [`CommitUnknown`](crate::DispatchErrorKind::CommitUnknown).
    pub async fn commit(self) -> Result<(), Error> {
        let Self { app, mut tx, events } = self;
        let Some(tx) = app.store().and_then(|store| store.adopt(Db::take_out(&mut tx)).ok()) else {
            let what = "the app's store does not take its own transaction back";
            return Err(StoreError::new(StoreErrorKind::Configuration, what).into());
        };
        let meta = Arc::new(Meta::new(MetaInit { ahead: app.clock().ahead(), ..current::caused_here() }));
        let cx = Cx { app: app.clone(), events, unit: Some(unit_of(&app, tx, &meta)) };
        let conclusion = conclude(cx, Some(meta), "unit").await?;
        conclusion.complete(&app).await?;
        Ok(())
    }
}

fn unit_of(app: &App, tx: Box<dyn Transaction>, meta: &Arc<Meta>) -> Box<Unit<'static>> {
    let mut unit = empty_unit(app, Arc::clone(meta));
    unit.tx.open = Some(tx);
    unit
}

impl<Db: TxOf> fmt::Debug for OutsideUnit<Db> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutsideUnit").finish_non_exhaustive()
    }
}
