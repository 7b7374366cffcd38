//! Functions of every kind with as many parameters as one call takes by a function of its own, with one more, and with
//! far more than anybody writes: there is no longest list.

use cqrs::BoxError;
use cqrs::prelude::*;

use crate::support::{Harness, Probe, bounded};

/// A dependency for each bit.
struct Bit<const N: u32>(u32);

macro_rules! bits {
    ($($name:ident: $number:literal)*) => {$(
        #[provider]
        fn $name() -> Bit<$number> {
            Bit(1 << $number)
        }
    )*};
}

bits! {
    b0: 0 b1: 1 b2: 2 b3: 3 b4: 4 b5: 5 b6: 6 b7: 7 b8: 8 b9: 9 b10: 10 b11: 11 b12: 12 b13: 13 b14: 14 b15: 15 b16: 16
    b17: 17 b18: 18 b19: 19 b20: 20 b21: 21
}

/// A function that notes its name and its bits. With the metadata in front and the probe behind it takes two more.
macro_rules! function {
    ($(#[$attribute:meta])+ $name:ident($message:ty) -> $answer:ty { $value:expr } $($bit:ident: $number:literal)*) => {
        $(#[$attribute])+
        #[allow(clippy::too_many_arguments, reason = "that is the point")]
        async fn $name(_: $message, meta: &Meta, $($bit: Inject<Bit<$number>>,)* probe: Inject<Probe>) -> $answer {
            assert!(!meta.id().is_nil());
            probe.note(format!("{} {:b}", stringify!($name), 0 $(| $bit.0)*));
            $value
        }
    };
}

/// The same with five, six and twenty-four parameters.
macro_rules! functions {
    ($(
        $(#[$attribute:meta])+ $five:ident($of_five:ty) $six:ident($of_six:ty) $many:ident($of_many:ty)
        -> $answer:ty { $value:expr }
    )*) => {$(
        function!($(#[$attribute])+ $five($of_five) -> $answer { $value } b0: 0 b1: 1 b2: 2);
        function!($(#[$attribute])+ $six($of_six) -> $answer { $value } b0: 0 b1: 1 b2: 2 b3: 3);
        function!($(#[$attribute])+ $many($of_many) -> $answer { $value }
            b21: 21 b20: 20 b19: 19 b18: 18 b17: 17 b16: 16 b15: 15 b14: 14 b13: 13 b12: 12 b11: 11
            b10: 10 b9: 9 b8: 8 b7: 7 b6: 6 b5: 5 b4: 4 b3: 3 b2: 2 b1: 1 b0: 0);
    )*};
}

#[derive(Command)]
struct CommandOfFive;
#[derive(Command)]
struct CommandOfSix;
#[derive(Command)]
struct CommandOfMany;
#[derive(Query)]
struct QueryOfFive;
#[derive(Query)]
struct QueryOfSix;
#[derive(Query)]
struct QueryOfMany;
#[derive(DomainEvent)]
struct EventOfAll;
#[derive(Command)]
struct RaiseAll;
#[derive(Command)]
struct InTurn;
#[derive(Command)]
struct FailsToFive;
#[derive(Command)]
struct FailsToSix;
#[derive(Command)]
struct FailsToMany;

functions! {
    #[command_handler]
    command_5(CommandOfFive) command_6(CommandOfSix) command_24(CommandOfMany) -> () { () }
    #[query_handler]
    query_5(QueryOfFive) query_6(&QueryOfSix) query_24(QueryOfMany) -> () { () }
    #[event_handler(inline)]
    event_5(&EventOfAll) event_6(&EventOfAll) event_24(&EventOfAll) -> () { () }
    #[chain_link]
    link_5(&InTurn) link_6(&InTurn) link_24(&InTurn) -> Link<InTurn> { Link::Pass(InTurn) }
    #[fallback]
    fallback_5(FailsToFive) fallback_6(&FailsToSix) fallback_24(FailsToMany) -> () { () }
}

#[command_handler]
async fn raise_all(_cmd: RaiseAll, events: &mut Events) {
    events.raise(EventOfAll);
}

#[chain_link]
async fn last(_cmd: InTurn) -> Link<InTurn> {
    Link::Answer(())
}

cqrs::chain!(InTurn => [link_5, link_6, link_24, last]);

#[command_handler(fallback = fallback_5)]
async fn fails_to_five(_cmd: &FailsToFive) -> Result<(), BoxError> {
    Err("five".into())
}

#[command_handler(fallback = fallback_6)]
async fn fails_to_six(_cmd: &FailsToSix) -> Result<(), BoxError> {
    Err("six".into())
}

#[command_handler(fallback = fallback_24)]
async fn fails_to_many(_cmd: &FailsToMany) -> Result<(), BoxError> {
    Err("many".into())
}

/// What functions of one kind note.
fn noted(kind: &str) -> Vec<String> {
    vec![format!("{kind}_5 111"), format!("{kind}_6 1111"), format!("{kind}_24 {:b}", (1 << 22) - 1)]
}

#[tokio::test]
async fn commands_and_queries_with_five_six_and_many_parameters_get_each_of_them() {
    bounded(async {
        let harness = Harness::start().await;
        harness.app.send(CommandOfFive).await.unwrap();
        harness.app.send(CommandOfSix).await.unwrap();
        harness.app.send(CommandOfMany).await.unwrap();
        harness.app.query(QueryOfFive).await.unwrap();
        harness.app.query(QueryOfSix).await.unwrap();
        harness.app.query(QueryOfMany).await.unwrap();
        assert_eq!(harness.probe.log(), [noted("command"), noted("query")].concat());
    })
    .await;
}

#[tokio::test]
async fn event_handlers_with_five_six_and_many_parameters_get_each_of_them() {
    bounded(async {
        let harness = Harness::start().await;
        harness.app.send(RaiseAll).await.unwrap();
        let (mut log, mut expected) = (harness.probe.log(), noted("event"));
        log.sort();
        expected.sort();
        assert_eq!(log, expected);
    })
    .await;
}

#[tokio::test]
async fn links_with_five_six_and_many_parameters_get_each_of_them() {
    bounded(async {
        let harness = Harness::start().await;
        harness.app.send(InTurn).await.unwrap();
        assert_eq!(harness.probe.log(), noted("link"));
    })
    .await;
}

#[tokio::test]
async fn fallbacks_with_five_six_and_many_parameters_get_each_of_them() {
    bounded(async {
        let harness = Harness::start().await;
        harness.app.send(FailsToFive).await.unwrap();
        harness.app.send(FailsToSix).await.unwrap();
        harness.app.send(FailsToMany).await.unwrap();
        assert_eq!(harness.probe.log(), noted("fallback"));
    })
    .await;
}

macro_rules! sum {
    ($name:ident -> $sum:ident: $($bit:ident: $number:literal)*) => {
        struct $sum(u32);

        #[provider]
        #[allow(clippy::too_many_arguments, reason = "that is the point")]
        fn $name($($bit: Inject<Bit<$number>>),*) -> $sum {
            $sum(0 $(| $bit.0)*)
        }
    };
}

sum!(of_five -> OfFive: b4: 4 b3: 3 b2: 2 b1: 1 b0: 0);
sum!(of_six -> OfSix: b5: 5 b4: 4 b3: 3 b2: 2 b1: 1 b0: 0);
sum!(of_many -> OfMany:
    b21: 21 b20: 20 b19: 19 b18: 18 b17: 17 b16: 16 b15: 15 b14: 14 b13: 13 b12: 12 b11: 11
    b10: 10 b9: 9 b8: 8 b7: 7 b6: 6 b5: 5 b4: 4 b3: 3 b2: 2 b1: 1 b0: 0);

#[derive(Query)]
#[query(response = [u32; 3])]
struct Sums;

#[query_handler]
async fn sums(_q: Sums, five: Inject<OfFive>, six: Inject<OfSix>, many: Inject<OfMany>) -> [u32; 3] {
    [five.0, six.0, many.0]
}

#[tokio::test]
async fn providers_with_five_six_and_many_parameters_get_each_of_them() {
    bounded(async {
        let harness = Harness::start().await;
        assert_eq!(harness.app.query(Sums).await.unwrap(), [0b1_1111, 0b11_1111, (1 << 22) - 1]);
    })
    .await;
}
