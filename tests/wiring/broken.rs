//! G1, G2: twenty problems of the handlers themselves at once; the text is `broken.txt`, line by line.
//!
//! `UPDATE_GOLDEN=1 cargo test -p cqrs-tests --test broken` writes it anew.

use std::sync::Arc;

use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;
use cqrs::{Builder, ProblemKind, WiringError};

mod foreign;

mod calls {
    //! Commands and queries with no handler and with several.
    use super::*;

    #[derive(Command)]
    pub struct Forgotten;

    #[derive(Query)]
    #[query(response = u32)]
    pub struct Unasked;

    #[derive(Command)]
    #[command(item = u32)]
    pub struct Unread;

    #[derive(Command)]
    pub struct Twice;

    #[command_handler]
    async fn first(_cmd: Twice) {}

    #[command_handler]
    async fn second(_cmd: Twice) {}

    #[derive(Query)]
    #[query(response = u32)]
    pub struct Thrice;

    #[query_handler]
    async fn one(_q: Thrice) -> u32 {
        1
    }

    #[query_handler]
    async fn two(_q: &Thrice) -> u32 {
        2
    }

    #[query_handler]
    async fn three(_q: Thrice) -> u32 {
        3
    }
}

mod dependencies {
    //! Missing, in a circle, of the wrong scope, provided twice.
    use super::*;

    pub struct Missing;
    pub trait Absent: Send + Sync {}
    pub struct Late;

    #[derive(Command)]
    pub struct Needy;

    #[command_handler]
    async fn needy(_cmd: Needy, _missing: Inject<Missing>, _absent: Inject<dyn Absent>, _again: Inject<Missing>) {}

    #[middleware]
    async fn wants(_call: Call<'_>, next: Next<'_>, _missing: Inject<Missing>) -> Outcome {
        next.run().await
    }

    pub struct Hen;
    pub struct Egg;
    pub struct Chick;
    pub struct Narcissus;

    #[provider]
    fn hen(_egg: Inject<Egg>) -> Hen {
        Hen
    }

    #[provider]
    fn egg(_chick: Inject<Chick>) -> Egg {
        Egg
    }

    #[provider]
    async fn chick(_hen: Inject<Hen>, _absent: Inject<dyn Absent>) -> Chick {
        Chick
    }

    #[provider]
    fn narcissus(_himself: Inject<Narcissus>) -> Narcissus {
        Narcissus
    }

    pub struct Session;
    pub struct Sessions;
    pub struct Cache;

    #[provider(scope = "message")]
    fn session() -> Session {
        Session
    }

    #[provider]
    fn sessions(_session: Inject<Session>) -> Sessions {
        Sessions
    }

    /// A middleware runs around the unit of work: it cannot take what lives in one.
    #[middleware(order = 7)]
    async fn around(_call: Call<'_>, next: Next<'_>, _session: Inject<Session>) -> Outcome {
        next.run().await
    }

    #[provider]
    fn cache() -> Cache {
        Cache
    }

    #[provider]
    fn other_cache() -> Arc<Cache> {
        Arc::new(Cache)
    }
}

mod stored {
    //! Stored messages: not readable, names taken, paths taken.
    use super::*;
    use serde::{Deserialize, Serialize};

    #[derive(DomainEvent)]
    pub struct Opaque;

    #[event_handler(durable)]
    async fn on_opaque(_e: &Opaque) {}

    #[derive(NotificationEvent, Serialize)]
    pub struct WriteOnly {
        id: u32,
    }

    #[event_handler(group = "readers")]
    async fn on_write_only(_e: WriteOnly) {}

    #[derive(NotificationEvent)]
    pub struct Unwritable;

    /// Published only, but a stored message all the same.
    #[derive(NotificationEvent, Serialize)]
    pub struct PublishedOnly {
        id: u32,
    }

    #[derive(NotificationEvent, Serialize, Deserialize)]
    #[event(name = "taken")]
    pub struct Taken;

    pub mod other {
        use cqrs::prelude::*;
        use serde::{Deserialize, Serialize};

        #[derive(NotificationEvent, Serialize, Deserialize)]
        #[event(name = "taken")]
        pub struct AlsoTaken;

        /// Another version is another message.
        #[derive(NotificationEvent, Serialize, Deserialize)]
        #[event(name = "taken", version = 2)]
        pub struct TakenV2;
    }

    #[derive(DomainEvent, Clone, Serialize, Deserialize)]
    pub struct Generic<T: Send + Sync + 'static>(T);

    #[event_handler(durable)]
    async fn on_generic(_e: &Generic<u8>) {}

    #[derive(DomainEvent, Clone, Serialize, Deserialize)]
    pub struct Shared;

    mod same {
        /// Two blocks of one module: the same path, by which stored rows name a handler.
        const _: () = {
            #[cqrs::event_handler(durable)]
            async fn twin(_e: &super::Shared) {}
        };

        const _: () = {
            #[cqrs::event_handler(durable)]
            async fn twin(_e: &super::Shared) {}
        };
    }
}

mod transactions {
    //! Transactions of another database than the store's.
    use super::*;

    #[derive(Command)]
    pub struct Act;

    #[command_handler]
    async fn act(_cmd: Act, _tx: &mut Tx<Sqlite>) {}

    #[derive(DomainEvent)]
    pub struct Happened;

    #[event_handler(inline)]
    async fn inline(_e: &Happened, _begin: &mut Begin<Sqlite>) {}
}

mod chains {
    //! Links in no chain and twice in one, a chain beside a handler, and what links, fallbacks and breakers lack.
    use super::*;

    #[derive(Command)]
    pub struct Pay;

    #[chain_link]
    async fn by_card(cmd: Pay) -> Link<Pay> {
        Link::Pass(cmd)
    }

    #[chain_link(fallback = by_hand, breaker(failures = 2, name = "bank"))]
    async fn by_invoice(cmd: &Pay, _missing: Inject<dependencies::Missing>) -> Link<Pay> {
        let _ = cmd;
        Link::Answer(())
    }

    #[fallback]
    async fn by_hand(_cmd: &Pay, _tx: &mut Tx<Sqlite>, _absent: Inject<dyn dependencies::Absent>) -> Link<Pay> {
        Link::Answer(())
    }

    #[chain_link]
    async fn forgotten(cmd: Pay) -> Link<Pay> {
        Link::Pass(cmd)
    }

    cqrs::chain!(Pay => [by_card, by_invoice, by_card]);

    #[command_handler(breaker(failures = 3, name = "bank"))]
    async fn pay(_cmd: &Pay) {}
}

mod sagas {
    //! Two of one name and version.
    use super::*;

    #[cqrs::saga(name = "order", version = 2, steps = [ship])]
    #[derive(serde::Serialize, serde::Deserialize)]
    pub struct Order;

    #[cqrs::saga(name = "order", version = 2, steps = [send])]
    #[derive(serde::Serialize, serde::Deserialize)]
    pub struct Purchase;

    #[saga_step(pivot)]
    async fn ship(_cx: &mut Order) {}

    #[saga_step(compensate = none)]
    async fn send(_cx: &mut Purchase, _absent: Inject<dyn dependencies::Absent>) {}
}

fn app() -> Builder {
    cqrs::bootstrap!()
        .store(Store::driver(foreign::Foreign::default()))
        .broker(Broker::url("pigeon:"))
        .expects::<dependencies::Late>()
}

fn problems() -> WiringError {
    app().check().unwrap_err()
}

/// The start reports what is expected and not supplied, too.
async fn at_the_start() -> WiringError {
    match app().await.unwrap_err() {
        cqrs::Error::Wiring(error) => error,
        error => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn g1_g2_every_problem_at_once_in_one_order_and_one_text() {
    let error = at_the_start().await;
    let text = error.to_string();
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/wiring/broken.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(golden, &text).unwrap();
    }
    let expected = std::fs::read_to_string(golden).unwrap();
    for (number, (said, expected)) in text.lines().zip(expected.lines()).enumerate() {
        assert_eq!(said, expected, "line {} of {golden}", number + 1);
    }
    assert_eq!(text, expected);
    assert!(error.problems().len() >= 20, "{}", error.problems().len());
    assert!(!text.contains(env!("CARGO_MANIFEST_DIR")), "paths are those of the workspace");
}

#[test]
fn g1_each_problem_has_places_and_a_mend() {
    for problem in problems().problems() {
        assert!(!problem.mend.is_empty() && !problem.what.is_empty(), "{problem}");
        let setting = problem.kind == ProblemKind::Setting;
        assert!(setting || problem.places.iter().all(|place| place.location.line > 0), "{problem}");
        assert!(setting || !problem.places.is_empty(), "{problem}");
    }
}

#[test]
fn g1_every_kind_that_handlers_can_cause_is_found() {
    let found: Vec<_> = problems().problems().iter().map(|problem| problem.kind).collect();
    for kind in [
        ProblemKind::NoHandler,
        ProblemKind::SeveralHandlers,
        ProblemKind::MissingDependency,
        ProblemKind::SeveralProviders,
        ProblemKind::DependencyCycle,
        ProblemKind::ScopeMismatch,
        ProblemKind::WrongTransaction,
        ProblemKind::NotStored,
        ProblemKind::NameTaken,
        ProblemKind::HandlerTwice,
        ProblemKind::LinkNotListed,
        ProblemKind::LinkTwice,
        ProblemKind::Breaker,
        ProblemKind::Setting,
    ] {
        assert!(found.contains(&kind), "{kind:?}: {found:?}");
    }
}

#[test]
fn g2_the_order_is_the_same_every_time() {
    let first = problems();
    for _ in 0..5 {
        assert_eq!(problems(), first);
    }
}

/// Without a builder: what none could mend fails, what one may still bring along is no mistake yet.
#[test]
fn g1_verify_without_a_builder_fails_with_what_no_builder_could_mend() {
    let panic = std::panic::catch_unwind(|| cqrs::verify!()).unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    let said = [
        "2 handlers for the command `broken::calls::Twice`",
        "3 handlers for the query `broken::calls::Thrice`",
        "`broken::dependencies::Cache` is provided twice",
        "need one another",
        "cannot be written and read back",
        "`broken::stored::PublishedOnly` is stored, but cannot be written and read back",
        "2 stored events are called `taken`, version 1",
        "2 stored handlers share the path",
        "`by_card`",
        "`bank`",
    ];
    for said in said {
        assert!(text.contains(said), "`{said}` is not in:\n{text}");
    }
    for open in
        ["no handler for", "nobody provides", "needs a store", "the app has no store", "the app has none", "forgotten"]
    {
        assert!(!text.contains(open), "`{open}` is in:\n{text}");
    }
    let wrong = problems().problems().iter().filter(|problem| problem.what.contains("handlers for the")).count();
    assert_eq!(text.matches("handlers for the").count(), wrong, "{text}");
}
