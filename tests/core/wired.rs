//! G1, G2: the wiring of this binary, and the order of what it discovers.

use cqrs::DispatchErrorKind;
use cqrs::prelude::*;

use crate::support::{self, Harness, Probe, bounded};

#[derive(Command)]
pub struct HandledElsewhere;

#[derive(Command)]
struct Sort;

#[derive(DomainEvent)]
struct Sorted;

#[command_handler]
async fn sort(_cmd: Sort, events: &mut Events) {
    events.raise(Sorted);
}

// Written last to first on purpose: `order` first, then the module's path, then the line.

#[event_handler(order = 5)]
async fn fifth(_e: &Sorted, probe: Inject<Probe>) {
    probe.note("order 5");
}

mod zebra {
    use super::{Probe, Sorted};
    use cqrs::prelude::*;

    #[event_handler]
    async fn in_zebra(_e: &Sorted, probe: Inject<Probe>) {
        probe.note("zebra");
    }
}

#[event_handler]
async fn first_line(_e: &Sorted, probe: Inject<Probe>) {
    probe.note("line a");
}

#[event_handler]
async fn second_line(_e: &Sorted, probe: Inject<Probe>) {
    probe.note("line b");
}

mod ant {
    use super::{Probe, Sorted};
    use cqrs::prelude::*;

    #[event_handler]
    async fn in_ant(_e: &Sorted, probe: Inject<Probe>) {
        probe.note("ant");
    }

    #[event_handler(order = -1)]
    async fn before_all(_e: &Sorted, probe: Inject<Probe>) {
        probe.note("order -1");
    }
}

#[tokio::test]
async fn g2_handlers_run_by_order_then_module_then_line() {
    bounded(async {
        let app = Harness::start().await;
        app.send(Sort).await.unwrap();
        assert_eq!(app.probe.log(), ["order -1", "line a", "line b", "ant", "zebra", "order 5"]);
    })
    .await;
}

#[test]
fn g1_this_binary_is_wired() {
    cqrs::verify!(support::app(&std::sync::Arc::default()));
}

/// Sound by themselves: it does not fail.
#[test]
fn g1_verify_without_a_builder_checks_what_is_linked() {
    cqrs::verify!();
}

/// And says what a builder has to bring along.
#[test]
fn g1_verify_without_a_builder_lists_what_is_missing() {
    let name = "wired::g1_verify_without_a_builder_checks_what_is_linked";
    let text = support::printed(&mut support::process(name));
    for said in [
        "what the handlers linked here still need:",
        "no handler for the command `core::wired::HandledElsewhere`",
        "nobody provides `core::support::Probe`",
        "takes a transaction, and the app has no store",
        "consumes from a broker, and the app has none",
        ".broker(Broker::url(\"memory:\"))",
    ] {
        assert!(text.contains(said), "`{said}` is not in:\n{text}");
    }
}

#[tokio::test]
async fn g1_a_message_of_another_service_has_no_handler_here() {
    bounded(async {
        let app = Harness::start().await;
        let error = app.send(HandledElsewhere).await.unwrap_err();
        assert_eq!(error.kind(), DispatchErrorKind::NoHandler);
        assert!(error.to_string().contains("HandledElsewhere"), "{error}");
    })
    .await;
}
