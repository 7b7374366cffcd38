//! Sagas, as people who operate a service look at them.

use super::call::{SagaSteps, ended};
use super::step::{SagaContext, read_as};
use super::worker::{Recovery, recover};
use super::{SagaError, SagaId};
use crate::app::App;
use crate::diagram::Run;
use crate::store::{SagaFilter, SagaLog, SagaPhase, SagaRow, SagaStep, SagaUse, Sagas as Stored};

/// How many sagas of a version are doing the same, of those that have not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SagaCount {
    /// The stored name of the saga.
    pub saga: String,
    /// Its version.
    pub version: u32,
    /// What they are doing.
    pub phase: SagaPhase,
    /// How many.
    pub count: u64,
}

/// The sagas of an app's store. Made by [`App::sagas`].
#[derive(Debug, Clone)]
pub struct Sagas(App);

impl App {
    /// The sagas of the app's store, whoever started them.
    pub fn sagas(&self) -> Sagas {
        Sagas(self.clone())
    }
}

impl Sagas {
    fn stored(&self) -> Result<&dyn Stored, SagaError> {
        self.0.store().and_then(|store| store.sagas()).ok_or(SagaError::NoStore)
    }

    /// Sagas that a filter takes, those last started first, at most `limit`.
    ///
    /// # Errors
    /// Fails where the app has no store, or with what the store said.
    pub async fn find(&self, filter: SagaFilter, limit: usize) -> Result<Vec<SagaRow>, SagaError> {
        Ok(self.stored()?.find(filter, limit).await?)
    }

    /// How many sagas have not ended, by name, version and what they are doing: those that are stuck are those that somebody has to look at.
    /// They are counted one by one, which is for a dashboard.
    ///
    /// # Errors
    /// Fails where the app has no store, or with what the store said.
    pub async fn counts(&self) -> Result<Vec<SagaCount>, SagaError> {
        let used = self.stored()?.in_use().await?.into_iter().filter(|used| used.step.is_none());
        let mut counts: Vec<SagaCount> = used
            .map(|SagaUse { name, version, phase, count, .. }| SagaCount { saga: name, version, phase, count })
            .collect();
        counts.sort_by(|one, other| {
            (&one.saga, one.version, one.phase.as_str()).cmp(&(&other.saga, other.version, other.phase.as_str()))
        });
        Ok(counts)
    }

    /// A saga with its steps that have begun, in the order of the definition where this program has it. `None` where there is none.
    ///
    /// # Errors
    /// Fails where the app has no store, or with what the store said.
    pub async fn get(&self, id: impl Into<SagaId>) -> Result<Option<(SagaRow, Vec<SagaStep>)>, SagaError> {
        let Some((row, steps)) = self.stored()?.saga(id.into().as_str()).await? else { return Ok(None) };
        let steps = self.0.plan().sagas.in_order(&row, steps);
        Ok(Some((row, steps)))
    }

    /// The context of a saga as it is stored; of an earlier version, as what `migrates = ..` makes of it. `None` where there is none of this id.
    ///
    /// # Errors
    /// [`SagaError::IdTaken`] where the saga of this id is another one, [`SagaError::UnknownVersion`] where it is of a version that `C` is
    /// not and does not take over, [`SagaError::Context`] where the context cannot be read; else with what the store said.
    pub async fn context<C: SagaContext>(&self, id: impl Into<SagaId>) -> Result<Option<C>, SagaError> {
        let id = id.into();
        let Some((row, _)) = self.stored()?.saga(id.as_str()).await? else { return Ok(None) };
        if row.name != C::ITEM.context.name {
            return Err(SagaError::IdTaken { id });
        }
        read_as(row.version, &row.context).map(Some)
    }

    /// What a saga did, attempt by attempt, in its order.
    ///
    /// # Errors
    /// Fails where the app has no store, or with what the store said.
    pub async fn history(&self, id: impl Into<SagaId>) -> Result<Vec<SagaLog>, SagaError> {
        Ok(self.stored()?.log(id.into().as_str()).await?)
    }

    /// Asks a saga to undo what it has done. What runs is let end, and no other step begins; what waits does not wait any more. `false` where
    /// there is no such saga, or it does not go forward; behind its pivot it goes on all the same, and where what runs is its last step it may
    /// have completed before it hears of that. Written down under the app's own name; by somebody else's it is
    /// [`Operator::cancel_saga`](crate::Operator::cancel_saga).
    ///
    /// # Errors
    /// Fails where the app has no store, or with what the store said.
    pub async fn cancel(&self, id: impl Into<SagaId>) -> Result<bool, SagaError> {
        self.0.itself().cancel_saga(id).await
    }

    /// Makes a saga go on that is stuck, its attempts forgotten. `false` where there is no such saga, or it is not stuck. Written
    /// down under the app's own name; by somebody else's it is [`Operator::resume_saga`](crate::Operator::resume_saga).
    ///
    /// # Errors
    /// Fails where the app has no store, or with what the store said.
    pub async fn resume(&self, id: impl Into<SagaId>) -> Result<bool, SagaError> {
        self.0.itself().resume_saga(id).await
    }

    /// Takes up sagas now, as [`App::run`] does all the while: what is due by now and in nobody's hands, and what processes held that are
    /// gone. Each is gone on with until it has ended or waits; what falls due later is left alone. At most 64 at once, and of a saga
    /// that has limits as many as these let: it waits for room, also for that of sagas which this process goes on with already.
    ///
    /// It ends a third of a lease after the last one: an owner that is late may be given so long to show that it lives. Where it is dropped,
    /// what it has taken up goes on.
    ///
    /// ```standalone_crate
    /// use cqrs::prelude::*;
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[saga(name = "checkout", steps = [reserve])]
    /// #[derive(Debug, Serialize, Deserialize)]
    /// struct Checkout;
    ///
    /// #[saga_step(compensate = none)]
    /// async fn reserve(_cx: &mut Checkout) {}
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let app = cqrs::bootstrap!().store(Store::url("memory:")).await?;
    /// let recovery = app.sagas().recover().await?;
    /// println!("{} completed, {} stuck", recovery.completed, recovery.stuck);
    /// # assert_eq!(recovery, cqrs::Recovery::default());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Fails where the app has no store, or with what the store said; what was taken up by then goes on.
    pub async fn recover(&self) -> Result<Recovery, SagaError> {
        recover(&self.0).await
    }

    /// Waits until a saga has ended, whoever goes on with it. Gives its context.
    ///
    /// # Errors
    /// As awaiting the saga does; [`SagaError::Missing`] where there is none of this id.
    pub async fn join<C: SagaContext>(&self, id: impl Into<SagaId>) -> Result<C, SagaError> {
        ended(&self.0, &id.into()).await?.context()
    }

    /// The steps of a saga as they end, whoever goes on with it; those that have ended come first. It starts nothing, and dropping it stops
    /// nothing.
    ///
    /// ```standalone_crate
    /// use cqrs::prelude::*;
    /// use futures_util::StreamExt;
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[saga(name = "checkout", steps = [reserve, charge])]
    /// #[derive(Debug, Serialize, Deserialize)]
    /// struct Checkout;
    ///
    /// #[saga_step(compensate = none)]
    /// async fn reserve(_cx: &mut Checkout) {}
    ///
    /// #[saga_step(compensate = none)]
    /// async fn charge(_cx: &mut Checkout) {}
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let app = cqrs::bootstrap!().store(Store::url("memory:")).await?;
    /// let id = app.saga(Checkout).start().await?;
    /// let first = app.sagas().steps(id.clone()).next().await.expect("it has two")?;
    /// assert_eq!(first.name(), "reserve");
    /// let second = app.sagas().steps(id).after(first.number()).next().await.expect("one is left")?;
    /// assert_eq!(second.name(), "charge");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Of the stream, as its last item: as awaiting the saga does; [`SagaError::Missing`] where there is none of this id.
    pub fn steps(&self, id: impl Into<SagaId>) -> SagaSteps {
        SagaSteps::follow(self.0.clone(), id.into())
    }

    /// What a saga did, as a Mermaid sequence diagram: each attempt with how long after the start it began and ended and what it came to,
    /// pauses, the way back, the end; and what is under way or waits now. `None` where there is none of this id.
    ///
    /// ```standalone_crate
    /// use cqrs::prelude::*;
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[saga(name = "checkout", steps = [reserve, charge])]
    /// #[derive(Debug, Serialize, Deserialize)]
    /// struct Checkout;
    ///
    /// #[saga_step(compensate = release)]
    /// async fn reserve(_cx: &mut Checkout) {}
    ///
    /// #[compensation]
    /// async fn release(_cx: &mut Checkout) {}
    ///
    /// #[saga_step(compensate = none)]
    /// async fn charge(_cx: &mut Checkout) -> Result<(), cqrs::BoxError> { Err("no money".into()) }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let app = cqrs::bootstrap!().store(Store::url("memory:")).await?;
    /// app.saga(Checkout).id("c1").await.unwrap_err();
    /// let timeline = app.sagas().timeline("c1").await?.expect("the saga was started");
    /// println!("{timeline}");
    /// # assert!(timeline.starts_with("sequenceDiagram\n"), "{timeline}");
    /// # assert!(timeline.contains("no money") && timeline.contains("compensated"), "{timeline}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Fails where the app has no store, or with what the store said.
    pub async fn timeline(&self, id: impl Into<SagaId>) -> Result<Option<String>, SagaError> {
        let (id, stored) = (id.into(), self.stored()?);
        let Some((row, steps)) = stored.saga(id.as_str()).await? else { return Ok(None) };
        let mut log = stored.log(id.as_str()).await?;
        // What was stored since belongs to a later picture.
        log.retain(|entry| entry.number <= row.logged);
        let plan = self.0.plan().sagas.get(&row.name, row.version).map(AsRef::as_ref);
        Ok(Some(Run { row: &row, steps: &steps, log: &log, plan }.draw()))
    }
}
