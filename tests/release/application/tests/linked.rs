//! What is found of the crates that `bootstrap!` names, and what is said of the one it does not name.

use std::panic::catch_unwind;
use std::process::Command;
use std::sync::Arc;

use cqrs::ProblemKind;
use messages::{Archive, Invoice, Log, Parcels, Settle, Ship, Track};

async fn started() -> (cqrs::App, Arc<Log>) {
    let log = Arc::new(Log::default());
    let app = application::app().elsewhere::<Archive>().override_arc(Arc::clone(&log)).await.unwrap();
    (app, log)
}

#[tokio::test]
async fn handlers_of_every_named_crate_run() {
    let (app, log) = started().await;
    assert_eq!(app.send(Invoice { cents: 5 }).await.unwrap(), 10);
    assert!(app.send(Invoice { cents: -1 }).await.unwrap_err().handler().is_some());
    assert_eq!(log.take(), ["billing: invoice of 5"]);
}

#[tokio::test]
async fn handlers_of_one_event_run_in_their_order_over_crates() {
    let (app, log) = started().await;
    app.send(Ship { parcel: 3 }).await.unwrap();
    assert_eq!(
        log.take(),
        [
            "shipping: parcel 3",
            "billing: invoice of 7",
            "billing: 14 charged for parcel 3",
            "shipping: label for parcel 3",
            "shipping: the customer knows of parcel 3",
        ]
    );
}

#[tokio::test]
async fn a_chain_has_its_links_in_two_crates_and_a_link_its_fallback() {
    let (app, log) = started().await;
    assert_eq!(app.send(Settle { cents: 5 }).await.unwrap(), "by credit");
    assert_eq!(log.take(), ["billing: credit for 5?"]);
    assert_eq!(app.send(Settle { cents: 50 }).await.unwrap(), "on delivery");
    assert_eq!(log.take(), ["billing: credit for 50?", "shipping: 50 are paid on delivery"]);
    assert_eq!(app.send(Settle { cents: 15 }).await.unwrap(), "by overdraft");
    let asked = "billing: credit for 15?";
    assert_eq!(log.take(), [asked, asked, "billing: overdraft, no credit: Unavailable"]);
    assert_eq!(app.send(Settle { cents: 0 }).await.unwrap_err().to_string(), "no credit: Refused");
    assert_eq!(log.take(), ["billing: credit for 0?"]);
}

#[tokio::test]
async fn queries_streams_and_middleware_are_found() {
    let (app, log) = started().await;
    assert_eq!(app.query(Track(4)).await.unwrap(), "parcel 4 is on its way");
    assert_eq!(log.take(), ["shipping: Track asked"]);
    let mut parcels = app.stream(Parcels { count: 3 });
    for expected in 0..3 {
        assert_eq!(parcels.next().await.unwrap().unwrap(), expected);
    }
    assert!(parcels.next().await.is_none());
}

#[tokio::test]
async fn handlers_written_by_a_macro_are_found() {
    let (app, _log) = started().await;
    macro_rules! each {
        ($($message:ident)*) => { $(assert_eq!(app.send(messages::$message).await.unwrap(), stringify!($message));)* };
    }
    each!(N00 N01 N02 N03 N04 N05 N06 N07 N08 N09 N10 N11 N12 N13 N14 N15 N16 N17 N18 N19);
}

#[test]
fn a_message_of_a_crate_that_is_not_linked_has_no_handler() {
    let error = application::app().check().unwrap_err();
    let [problem] = error.problems() else { panic!("one problem, not {error}") };
    assert_eq!(problem.kind, ProblemKind::NoHandler);
    assert_eq!(problem.what, "no handler for the command `messages::Archive`");
    let [place] = &problem.places[..] else { panic!("one place, not {:?}", problem.places) };
    let location = place.location;
    assert_eq!((location.module, location.line), ("messages", line_of("pub struct Archive")));
    assert!(location.file.ends_with("messages/src/lib.rs"), "{location}");
    assert!(problem.mend.contains("`bootstrap!(crates = [..])`"), "{}", problem.mend);
    assert!(problem.mend.contains("`.elsewhere::<Archive>()`"), "{}", problem.mend);
}

/// The line of the derive that stands above a line of the messages' source.
fn line_of(declaration: &str) -> u32 {
    let source = include_str!("../../messages/src/lib.rs");
    let at = source.lines().position(|line| line.starts_with(declaration)).unwrap();
    u32::try_from(at).unwrap()
}

#[test]
fn verify_and_the_start_report_it_alike() {
    let panic = catch_unwind(|| cqrs::verify!(application::app())).unwrap_err();
    let said = panic.downcast_ref::<String>().unwrap();
    assert!(said.contains("no handler for the command `messages::Archive`"), "{said}");

    let output = Command::new(env!("CARGO_BIN_EXE_application")).output().unwrap();
    let printed = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{printed}");
    assert!(printed.contains(said.trim_end()), "{printed}\nis not\n{said}");
}

#[test]
fn elsewhere_silences_it() {
    cqrs::verify!(application::app().elsewhere::<Archive>());

    let output = Command::new(env!("CARGO_BIN_EXE_application")).arg("--elsewhere").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "shipped\n");
}
