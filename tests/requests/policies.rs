//! One table of what becomes of calls, for every kind of handler that a policy may stand on.

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;
use cqrs::{BoxError, BreakerPhase};
use serde::{Deserialize, Serialize};

use crate::support::{Harness, Probe, Refused, bounded, write};

/// Stored work is retried by the store: its breaker sees each attempt, of any other handler each call. With twice as many
/// failures to open it, the table is the same.
const SEEN_BY_CALL: u32 = 1;
const SEEN_BY_ATTEMPT: u32 = 2;

/// A handler with every policy but a fallback, which does what the probe says.
macro_rules! handler {
    ($attribute:ident($($own:tt)*) $name:ident($($parameters:tt)*) opens after $failures:tt;
     $($before:expr)?; $output:ty: $answer:expr) => {
        #[$attribute(
            $($own)*
            retry(max = 2, first = "1ms"),
            timeout = "250ms",
            breaker(failures = $failures, open_for = "10m"),
            on = [Refused(why) if why == "counts"]
        )]
        async fn $name($($parameters)*, probe: Inject<Probe>) -> Result<$output, Refused> {
            $($before;)?
            act(&probe).await?;
            Ok($answer)
        }
    };
}

async fn act(probe: &Probe) -> Result<(), Refused> {
    probe.note("attempt");
    probe.try_it("counts")?;
    probe.try_it("does not count")?;
    if probe.try_it("hangs").is_err() {
        std::future::pending::<()>().await;
    }
    Ok(())
}

async fn row(tx: &mut Tx<Sqlite>) -> Result<(), Refused> {
    write(tx, "row").await.map_err(|error| Refused(error.to_string()))
}

#[derive(Command)]
#[command(error = BoxError)]
pub struct ByCommand;

handler!(command_handler() by_command(_m: &ByCommand, tx: &mut Tx<Sqlite>) opens after 4; row(tx).await?; (): ());

#[derive(Query)]
#[query(response = (), error = BoxError)]
pub struct ByQuery;

handler!(query_handler() by_query(_m: &ByQuery) opens after 4; ; (): ());

#[derive(Command)]
#[command(item = u32, error = BoxError)]
pub struct ByStream;

handler!(command_handler() by_stream(_m: &ByStream, items: &mut Items<u32>, tx: &mut Tx<Sqlite>) opens after 4;
    row(tx).await?; (): items.commit(tx, 1).await.map_err(|error| Refused(error.to_string()))?);

#[derive(Command)]
#[command(error = BoxError)]
pub struct ByLink;

#[chain_link]
async fn passes(_m: &ByLink) -> Link<ByLink> {
    Link::Pass(ByLink)
}

handler!(chain_link() by_link(_m: &ByLink, tx: &mut Tx<Sqlite>) opens after 4;
    row(tx).await?; Link<ByLink>: Link::Answer(()));

cqrs::chain!(ByLink => [passes, by_link]);

#[derive(DomainEvent)]
pub struct ByPlain;

handler!(event_handler() by_plain(_m: &ByPlain) opens after 4; ; (): ());

#[derive(DomainEvent)]
pub struct ByInline;

handler!(event_handler(inline,) by_inline(_m: &ByInline, tx: &mut Tx<Sqlite>) opens after 4; row(tx).await?; (): ());

#[derive(DomainEvent, Serialize, Deserialize)]
pub struct ByDurable;

handler!(event_handler(durable,) by_durable(_m: &ByDurable, tx: &mut Tx<Sqlite>) opens after 8; row(tx).await?; (): ());

#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(topic = "policies")]
pub struct ByGroup;

handler!(event_handler(group = "policies",) by_group(_m: &ByGroup, tx: &mut Tx<Sqlite>) opens after 8;
    row(tx).await?; (): ());

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Command,
    Query,
    Stream,
    Link,
    Plain,
    Inline,
    Durable,
    Group,
}

impl Kind {
    fn handler(self) -> &'static str {
        match self {
            Self::Command => "by_command",
            Self::Query => "by_query",
            Self::Stream => "by_stream",
            Self::Link => "by_link",
            Self::Plain => "by_plain",
            Self::Inline => "by_inline",
            Self::Durable => "by_durable",
            Self::Group => "by_group",
        }
    }

    fn is_stored(self) -> bool {
        matches!(self, Self::Durable | Self::Group)
    }

    fn writes(self) -> bool {
        !matches!(self, Self::Query | Self::Plain)
    }
}

/// An app whose calls go to a handler of one kind.
struct Table {
    kind: Kind,
    harness: Harness,
    /// The errors of plain handlers, which are nobody's answer.
    event_errors: Arc<Mutex<Vec<String>>>,
}

/// An error and its causes, in one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    match error.source() {
        None => error.to_string(),
        Some(source) => format!("{error}: {}", chain(source)),
    }
}

fn told(result: Result<(), impl Error + 'static>) -> Option<String> {
    result.err().map(|error| chain(&error))
}

impl Table {
    async fn of(kind: Kind) -> Self {
        let event_errors: Arc<Mutex<Vec<String>>> = Arc::default();
        let listener = Arc::clone(&event_errors);
        let harness =
            Harness::with(|builder| builder.on_event_error(move |error| listener.lock().unwrap().push(chain(error))))
                .await;
        Self { kind, harness, event_errors }
    }

    /// Makes one call; gives what it failed with.
    async fn call(&self) -> Option<String> {
        let app = &self.harness;
        match self.kind {
            Kind::Command => told(app.send(ByCommand).await),
            Kind::Query => told(app.query(ByQuery).await),
            Kind::Link => told(app.send(ByLink).await),
            Kind::Stream => {
                let mut items = app.stream(ByStream);
                let mut failed = None;
                while let Some(item) = items.next().await {
                    failed = told(item.map(drop));
                }
                failed
            }
            Kind::Plain => {
                app.publish(ByPlain).await.unwrap();
                self.event_errors.lock().unwrap().pop()
            }
            Kind::Inline => told(app.publish(ByInline).await),
            Kind::Durable => {
                app.publish(ByDurable).await.unwrap();
                self.settled().await
            }
            Kind::Group => {
                app.publish(ByGroup).await.unwrap();
                self.settled().await
            }
        }
    }

    /// Makes the attempts at stored work; gives the error it died of.
    async fn settled(&self) -> Option<String> {
        for _ in 0..3 {
            self.harness.settle().await;
            self.harness.advance(Duration::from_secs(1)).await;
        }
        let letter = self.harness.dead().await.pop()?;
        assert!(self.harness.discard(letter.id).await.unwrap());
        Some(letter.error)
    }

    fn breaker(&self) -> (BreakerPhase, u32) {
        let path = format!("policies::{}", self.kind.handler());
        let state =
            self.harness.breakers().into_iter().find(|state| state.name.ends_with(&path)).expect("it is declared");
        (state.phase, state.failures)
    }

    async fn rows(&self) -> usize {
        self.harness.rows().await.len()
    }
}

/// One call: what the handler does and how often, and what must come of it.
struct Row {
    does: (&'static str, u32),
    attempts: usize,
    /// What the error ends with, or is about.
    fails_with: Option<&'static str>,
    /// How many failures the breaker counts afterwards, where it sees each call; `None`: it is open.
    failures: Option<u32>,
}

const fn row_of(
    does: &'static str,
    times: u32,
    attempts: usize,
    fails_with: Option<&'static str>,
    failures: u32,
) -> Row {
    Row { does: (does, times), attempts, fails_with, failures: if failures < 4 { Some(failures) } else { None } }
}

const COUNTS: Option<&str> = Some("refused: counts");
const OTHER: Option<&str> = Some("refused: does not count");
const TIMEOUT: Option<&str> = Some("took longer than 250ms");
const OPEN: Option<&str> = Some("circuit breaker");

const TABLE: [Row; 9] = [
    row_of("succeeds", 0, 1, None, 0),
    row_of("counts", 1, 2, None, 0),
    row_of("does not count", 1, 1, OTHER, 0),
    row_of("counts", 2, 2, COUNTS, 1),
    row_of("hangs", 2, 2, TIMEOUT, 2),
    row_of("does not count", 1, 1, OTHER, 2),
    row_of("counts", 2, 2, COUNTS, 3),
    row_of("counts", 2, 2, COUNTS, 4),
    row_of("succeeds", 0, 0, OPEN, 4),
];

async fn policies_of(kind: Kind) {
    let table = Table::of(kind).await;
    let seen = if kind.is_stored() { SEEN_BY_ATTEMPT } else { SEEN_BY_CALL };
    for (number, row) in TABLE.iter().enumerate() {
        let what = format!("{kind:?}, row {number}");
        let (attempts, rows) = (table.harness.probe.count("attempt"), table.rows().await);
        table.harness.probe.fail(row.does.0, row.does.1);
        let failed = table.call().await;
        // Stored work that is not let in waits: there is nobody to tell.
        let waits = kind.is_stored() && row.fails_with == OPEN;
        match (&failed, row.fails_with.filter(|_| !waits)) {
            (None, None) => {}
            (Some(error), Some(expected)) => assert!(error.contains(expected), "{what}: {error}"),
            _ => panic!("{what}: {failed:?} instead of {:?}", row.fails_with),
        }
        assert_eq!(table.harness.probe.count("attempt") - attempts, row.attempts, "{what}");
        let state = table.breaker();
        match row.failures {
            Some(failures) => assert_eq!(state, (BreakerPhase::Closed, failures * seen), "{what}"),
            None => assert_eq!(state.0, BreakerPhase::Open, "{what}"),
        }
        let written = usize::from(kind.writes() && failed.is_none() && !waits);
        assert_eq!(table.rows().await - rows, written, "{what}: only the attempt that succeeded leaves something");
    }
    let rows = table.rows().await;
    table.harness.advance(Duration::from_secs(600)).await;
    assert_eq!(
        (table.call().await, table.breaker()),
        (None, (BreakerPhase::Closed, 0)),
        "{kind:?}: the trial closes it"
    );
    let written = usize::from(kind.writes()) + usize::from(kind.is_stored());
    assert_eq!(table.rows().await - rows, written, "{kind:?}: what waited is done as well");
}

#[tokio::test]
async fn policies_of_a_command_handler() {
    bounded(policies_of(Kind::Command)).await;
}

#[tokio::test]
async fn policies_of_a_query_handler() {
    bounded(policies_of(Kind::Query)).await;
}

#[tokio::test]
async fn policies_of_a_streaming_handler() {
    bounded(policies_of(Kind::Stream)).await;
}

#[tokio::test]
async fn policies_of_a_chain_link() {
    bounded(policies_of(Kind::Link)).await;
}

#[tokio::test]
async fn policies_of_a_plain_event_handler() {
    bounded(policies_of(Kind::Plain)).await;
}

#[tokio::test]
async fn policies_of_an_inline_event_handler() {
    bounded(policies_of(Kind::Inline)).await;
}

#[tokio::test]
async fn policies_of_a_durable_event_handler() {
    bounded(policies_of(Kind::Durable)).await;
}

#[tokio::test]
async fn policies_of_a_consumers_handler() {
    bounded(policies_of(Kind::Group)).await;
}
