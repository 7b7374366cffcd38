//! What people who operate a service do to rows, each time with an entry of who did it: the order of the steps, which is the
//! same in every database. Each has the [`Statements`].

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::{AuditAction, AuditChange, DeadLetterId, Operation, OutboxId, SagaAsked, Signed, TimerName, Touched};

/// What a statement of a database ends with.
type Answer<T> = Result<T, sqlx::Error>;

/// The statements of one database, in a transaction. What they find is locked, so that what is written down is what was there.
pub(super) trait Statements: Send {
    /// A dead row, and how many bytes its payload has.
    fn dead_row(&mut self, id: DeadLetterId) -> impl Future<Output = Answer<Option<(Touched, u64)>>> + Send;

    /// Makes a dead row due, its attempts forgotten.
    fn replay(&mut self, id: DeadLetterId, now: SystemTime) -> impl Future<Output = Answer<()>> + Send;

    /// Deletes a dead row.
    fn discard(&mut self, id: DeadLetterId) -> impl Future<Output = Answer<()>> + Send;

    /// Gives a dead row another payload and other headers, which come as JSON.
    fn edit(&mut self, id: DeadLetterId, payload: Vec<u8>, headers: String) -> impl Future<Output = Answer<()>> + Send;

    /// Makes a row of the outbox due that waits; `None` where it does not wait.
    fn wake(&mut self, id: OutboxId, now: SystemTime) -> impl Future<Output = Answer<Option<Touched>>> + Send;

    /// The timers of a name that are neither being done nor dead, in the order of storing, each with when it is due.
    fn timers(&mut self, timer: TimerName) -> impl Future<Output = Answer<Vec<(Touched, SystemTime)>>> + Send;

    /// Makes a timer begin anew, to be due then.
    fn move_timer(&mut self, seq: i64, due: SystemTime) -> impl Future<Output = Answer<()>> + Send;

    /// Deletes a timer.
    fn delete_timer(&mut self, seq: i64) -> impl Future<Output = Answer<()>> + Send;

    /// Asks for something of a saga. Gives its stored name; `None` where this cannot be asked of any of that id.
    fn ask_saga(
        &mut self,
        id: &str,
        asked: SagaAsked,
        now: SystemTime,
    ) -> impl Future<Output = Answer<Option<String>>> + Send;

    /// Writes down what was done to a row, with what was different before, as numbers.
    fn note(
        &mut self,
        action: AuditAction,
        touched: &Touched,
        signed: &Signed,
    ) -> impl Future<Output = Answer<()>> + Send;
}

/// Does what it is told to, and writes it down. Gives the rows that something was done to.
pub(super) async fn operate(on: &mut impl Statements, operation: Operation, signed: &Signed) -> Answer<Vec<Touched>> {
    let action = operation.action();
    let touched = act(on, operation, signed.at).await?;
    for touched in &touched {
        on.note(action, touched, signed).await?;
    }
    Ok(touched)
}

async fn act(on: &mut impl Statements, operation: Operation, now: SystemTime) -> Answer<Vec<Touched>> {
    match operation {
        Operation::Replay(id) => {
            let found = on.dead_row(id).await?;
            on.replay(id, now).await?;
            Ok(found.into_iter().map(|(touched, _)| touched).collect())
        }
        Operation::Discard(id) => {
            let found = on.dead_row(id).await?;
            on.discard(id).await?;
            Ok(found.into_iter().map(|(touched, _)| touched).collect())
        }
        Operation::Edit { id, payload, headers } => edit(on, id, payload, &headers, now).await,
        Operation::Requeue(id) => requeue(on, id, now).await,
        Operation::Reschedule { timer, due } => reschedule(on, timer, due).await,
        Operation::Cancel(timer) => cancel(on, timer).await,
        Operation::AskSaga { id, asked } => {
            let name = on.ask_saga(&id, asked, now).await?;
            Ok(name.map(|name| Touched::saga(name, id)).into_iter().collect())
        }
    }
}

async fn edit(
    on: &mut impl Statements,
    id: DeadLetterId,
    payload: Vec<u8>,
    headers: &BTreeMap<String, String>,
    now: SystemTime,
) -> Answer<Vec<Touched>> {
    let headers = serde_json::to_string(headers).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let Some((mut touched, before)) = on.dead_row(id).await? else { return Ok(Vec::new()) };
    touched.change = Some(AuditChange::Size { before, after: payload.len() as u64 });
    on.edit(id, payload, headers).await?;
    on.replay(id, now).await?;
    Ok(vec![touched])
}

async fn requeue(on: &mut impl Statements, id: OutboxId, now: SystemTime) -> Answer<Vec<Touched>> {
    if let Some(woken) = on.wake(id, now).await? {
        return Ok(vec![woken]);
    }
    let Some((touched, _)) = on.dead_row(id.dead_letter()).await? else { return Ok(Vec::new()) };
    on.replay(id.dead_letter(), now).await?;
    Ok(vec![touched])
}

async fn reschedule(on: &mut impl Statements, timer: TimerName, due: SystemTime) -> Answer<Vec<Touched>> {
    let mut found = on.timers(timer).await?;
    let Some((mut last, before)) = found.pop() else { return Ok(Vec::new()) };
    for (other, _) in found {
        on.delete_timer(other.row).await?;
    }
    on.move_timer(last.row, due).await?;
    last.change = Some(AuditChange::Due { before, after: due });
    Ok(vec![last])
}

async fn cancel(on: &mut impl Statements, timer: TimerName) -> Answer<Vec<Touched>> {
    let found = on.timers(timer).await?;
    for (timer, _) in &found {
        on.delete_timer(timer.row).await?;
    }
    Ok(found.into_iter().map(|(timer, _)| timer).collect())
}
