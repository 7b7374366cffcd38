//! G1: sound handlers, and builders that lack something: each problem says what, where and how to mend it.

use std::sync::Arc;
use std::time::Duration;

use cqrs::prelude::*;
use cqrs::sqlx::{Sqlite, SqlitePool};
use cqrs::{BoxError, Builder, ProblemKind, WiringError};
use serde::{Deserialize, Serialize};

#[derive(Command)]
#[command(error = BoxError)]
struct Place;

#[derive(Query)]
#[query(response = u32)]
struct Prices;

#[derive(DomainEvent, Clone, Serialize, Deserialize)]
struct Placed;

#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "placed")]
struct PlacedV1;

/// Handled in another service, unless a builder forgets to say so.
#[derive(Command)]
struct Forward;

trait PriceList: Send + Sync {
    fn total(&self) -> u32;
}

struct Fixed(u32);

impl PriceList for Fixed {
    fn total(&self) -> u32 {
        self.0
    }
}

struct Stats;

#[command_handler]
async fn place(_cmd: Place, _tx: &mut Tx<Sqlite>, events: &mut Events) {
    events.raise(Placed);
    events.raise(PlacedV1);
}

#[query_handler]
async fn prices(_q: Prices, prices: Inject<dyn PriceList>, _stats: Inject<Stats>) -> u32 {
    prices.total()
}

#[event_handler]
async fn on_placed(_e: &Placed, _stats: Inject<Stats>) {}

#[event_handler(durable)]
async fn durably(_e: &Placed) {}

#[event_handler(group = "stock")]
async fn stock(_e: PlacedV1, _pool: Inject<SqlitePool>) {}

#[provider]
fn fixed() -> Fixed {
    Fixed(1)
}

fn bare() -> Builder {
    cqrs::bootstrap!()
}

fn sound() -> Builder {
    bare()
        .store(Store::url("sqlite://shop.db"))
        .broker(Broker::url("memory:"))
        .provide(Stats)
        .provide_arc::<dyn PriceList>(Arc::new(Fixed(3)))
        .elsewhere::<Forward>()
}

fn problems(builder: Builder) -> WiringError {
    builder.check().unwrap_err()
}

fn kinds(error: &WiringError) -> Vec<ProblemKind> {
    error.problems().iter().map(|problem| problem.kind).collect()
}

/// The problems of a kind, in words, one after the other.
fn text(error: &WiringError, kind: ProblemKind) -> String {
    let of_kind = error.problems().iter().filter(|problem| problem.kind == kind);
    of_kind.map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn assert_says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "`{word}` is not in:\n{text}");
    }
}

#[test]
fn g1_a_sound_wiring_passes() {
    cqrs::verify!(sound());
    let expecting = sound().provide(7_u8).expects::<u8>().expects::<dyn std::fmt::Debug + Send + Sync>();
    cqrs::verify!(expecting);
}

#[test]
fn g1_everything_that_is_missing_is_reported_together_with_place_and_mend() {
    let error = problems(bare());
    let kinds = kinds(&error);
    for kind in [ProblemKind::MissingDependency, ProblemKind::NoHandler, ProblemKind::NoStore, ProblemKind::NoBroker] {
        assert!(kinds.contains(&kind), "{kind:?} is not in {error}");
    }
    assert!(kinds.iter().filter(|kind| **kind == ProblemKind::NoStore).count() >= 3, "transaction, durable, group");
    assert_says(
        &text(&error, ProblemKind::NoStore),
        &[
            "command handler `place` takes a transaction, and the app has no store",
            "durable event handler `durably` needs a store",
            "consumed event handler `stock` needs a store",
            ".store(Store::url(\"sqlite://app.db\"))",
            "builder.rs:",
        ],
    );
    assert_says(
        &text(&error, ProblemKind::NoBroker),
        &["`stock` consumes from a broker", ".broker(Broker::url(\"memory:\"))"],
    );
    assert_says(&text(&error, ProblemKind::NoHandler), &["Forward", ".elsewhere::<Forward>()", "crates = [..]"]);
    assert_says(
        &text(&error, ProblemKind::MissingDependency),
        &[
            "nobody provides `dyn builder::PriceList`",
            ".provide_arc::<dyn builder::PriceList>(..)",
            "nobody provides `builder::Stats`",
            "query handler `prices`",
            "event handler `on_placed`",
            "nobody provides `sqlx_core::pool::Pool<",
        ],
    );
    // One problem for a dependency, with everybody who asks for it.
    let stats: Vec<_> = error.problems().iter().filter(|problem| problem.what.contains("builder::Stats")).collect();
    assert_eq!((stats.len(), stats[0].places.len()), (1, 2));
}

#[test]
fn g1_a_consumer_without_a_broker_and_nothing_else() {
    let builder = bare().store(Store::url("sqlite://shop.db")).provide(Stats).elsewhere::<Forward>();
    let error = problems(builder.provide_arc::<dyn PriceList>(Arc::new(Fixed(1))));
    assert_eq!(kinds(&error), [ProblemKind::NoBroker], "{error}");
    assert!(error.to_string().starts_with("the wiring has 1 problem:\n"), "{error}");
}

#[test]
fn g1_a_dependency_provided_twice_names_both_places() {
    let error = problems(sound().provide(Stats).provide(Fixed(2)));
    assert_eq!(kinds(&error), [ProblemKind::SeveralProviders; 2], "{error}");
    let text = error.to_string();
    assert_says(&text, &["`builder::Stats` is provided twice", "provider `fixed`", ".override_arc"]);
    assert!(error.problems().iter().all(|problem| problem.places.len() == 2), "{text}");
    let pool = error.problems().iter().flat_map(|problem| &problem.places).all(|place| place.location.line > 0);
    assert!(pool, "{text}");
    cqrs::verify!(sound().override_arc::<Stats>(Arc::new(Stats)).override_arc::<Fixed>(Arc::new(Fixed(2))));
}

/// The store owns the pool and gives it out: a second one of the user's is a second provider.
#[test]
fn g1_a_pool_beside_the_stores_own_is_provided_twice() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    let pool = SqlitePool::connect_lazy("sqlite://other.db").unwrap();
    let error = problems(sound().provide(pool.clone()));
    assert_eq!(kinds(&error), [ProblemKind::SeveralProviders], "{error}");
    assert_says(&error.to_string(), &["given out by the store", "Sqlite>` is provided twice"]);
    let own = bare().store(Store::pool(pool)).broker(Broker::url("memory:")).provide(Stats).elsewhere::<Forward>();
    cqrs::verify!(own.provide_arc::<dyn PriceList>(Arc::new(Fixed(3))));
}

#[test]
fn g1_what_is_expected_counts_in_a_check_and_not_at_the_start() {
    // Awaited, the builder opens its store.
    let directory = tempfile::tempdir().unwrap();
    let file = format!("sqlite://{}", directory.path().join("shop.db").display());
    let builder = || {
        let builder = bare().store(Store::url(&file)).broker(Broker::url("memory:")).elsewhere::<Forward>();
        builder.provide(Stats).expects::<dyn PriceList>()
    };
    cqrs::verify!(builder());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(async { builder().await.unwrap_err() });
    let cqrs::Error::Wiring(error) = &error else { panic!("{error:?}") };
    assert_eq!(kinds(error), [ProblemKind::NotSupplied], "{error}");
    assert_says(&error.to_string(), &["`dyn builder::PriceList` is expected, but was not supplied", "expected here"]);
    cqrs::verify!(builder().provide_arc::<dyn PriceList>(Arc::new(Fixed(1))));
}

/// Store, broker and settings are reported with the wiring errors, and nothing was connected.
#[test]
fn g1_wrong_urls_are_reported_with_the_rest() {
    let builder = bare().store(Store::url("oracle://shop")).broker(Broker::url("carrier-pigeon:")).provide(Stats);
    let error = problems(builder);
    assert_says(
        &text(&error, ProblemKind::Setting),
        &[
            "`oracle:`",
            "`carrier-pigeon:`",
            "begins with `mysql:` or `mariadb:` or `sqlite:` or `postgres:` or `memory:`",
        ],
    );
    assert_eq!(kinds(&error).iter().filter(|kind| **kind == ProblemKind::Setting).count(), 2, "{error}");
    assert!(kinds(&error).contains(&ProblemKind::MissingDependency) && kinds(&error).contains(&ProblemKind::NoHandler));
}

#[test]
fn g1_a_lease_and_a_deadline_that_are_too_short_are_wrong_settings() {
    let (short, shortest) = (Duration::from_millis(99), Duration::from_millis(100));
    let builder = |lease, deadline| sound().lease(lease).deadline(deadline);
    cqrs::verify!(builder(shortest, shortest));
    let error = problems(builder(short, short));
    assert_eq!(kinds(&error), [ProblemKind::Setting; 2], "{error}");
    assert_says(&error.to_string(), &["`lease` is 99ms", "`deadline` is 99ms", "the shortest is 100ms"]);
    assert_says(&problems(builder(shortest, short)).to_string(), &["1 problem", "`deadline` is 99ms"]);
    cqrs::verify!(sound().idempotency_retention(shortest));
    let error = problems(sound().idempotency_retention(short));
    assert_says(&error.to_string(), &["1 problem", "`idempotency_retention` is 99ms", "the shortest is 100ms"]);
}

#[test]
fn g1_a_pool_that_is_none_is_a_wrong_setting() {
    let builder = bare().store(Store::pool(7_u8)).broker(Broker::url("memory:")).provide(Stats).elsewhere::<Forward>();
    let error = problems(builder.provide_arc::<dyn PriceList>(Arc::new(Fixed(1))));
    assert_says(
        &text(&error, ProblemKind::Setting),
        &["takes a `MySqlPool` or a `SqlitePool` or a `PgPool`", ", not a `u8`"],
    );
}

#[test]
fn g2_the_same_builder_gives_the_same_text() {
    assert_eq!(problems(bare()).to_string(), problems(bare()).to_string());
    assert_eq!(problems(bare()), problems(bare()));
}

/// `verify!` fails a test with the whole text.
#[test]
fn g1_verify_panics_with_every_problem() {
    let panic = std::panic::catch_unwind(|| cqrs::verify!(bare())).unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    assert_says(text, &["the wiring has ", "nobody provides `builder::Stats`", "\n     help: "]);
}

/// The start reports the same, and a store that cannot be opened with it.
#[tokio::test]
async fn g1_awaiting_the_builder_reports_the_same_and_what_is_wrong_with_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let builder = |file: &str| bare().store(Store::url(format!("sqlite://{}", directory.path().join(file).display())));
    let error = builder("shop.db").await.unwrap_err();
    let cqrs::Error::Wiring(found) = &error else { panic!("{error:?}") };
    assert_eq!(found.problems(), problems(builder("shop.db")).problems());
    assert_eq!(format!("{error:?}"), error.to_string(), "`main` prints the text as it is");

    let error = builder("nowhere/shop.db").await.unwrap_err();
    let cqrs::Error::Wiring(more) = &error else { panic!("{error:?}") };
    assert_eq!(more.problems().len(), found.problems().len() + 1);
    assert_says(&text(more, ProblemKind::Setting), &["nowhere` does not exist", "mkdir -p"]);
}
