//! Chains: links asked in order, in one unit of work.

use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;
use cqrs::{BoxError, DispatchErrorKind};
use serde::{Deserialize, Serialize};

use crate::support::{Harness, Log, Probe, Refused, bounded, write};

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Way {
    Till,
    Card,
    Invoice,
    /// Every link passes.
    Nobody,
    /// The second link fails after it wrote.
    Fails,
    /// The second link panics after it wrote.
    Panics,
    /// The second link's own fallback answers.
    FallsBack,
}

#[derive(Command, Debug, Clone, Serialize, Deserialize)]
#[command(response = String, error = BoxError)]
pub struct Pay(pub Way);

#[derive(DomainEvent, Debug, Clone)]
pub struct Seen(pub &'static str);

#[event_handler]
async fn seen(e: &Seen, probe: Inject<Probe>) {
    probe.note(format!("seen by {}", e.0));
}

#[derive(NotificationEvent, Serialize, Deserialize)]
pub struct Paid(pub String);

/// A value for each unit of work: links of one call see the same.
pub struct Ticket(String);

#[provider(scope = "message")]
fn ticket(meta: &Meta) -> Ticket {
    Ticket(meta.id().to_string())
}

/// Takes nothing but events, and no transaction.
#[chain_link]
async fn from_the_till(cmd: Pay, events: &mut Events, ticket: Inject<Ticket>, probe: Inject<Probe>) -> Link<Pay> {
    probe.note("till");
    probe.note(format!("ticket {}", ticket.0));
    events.raise(Seen("till"));
    if cmd.0 == Way::Till { Link::Answer("till".to_owned()) } else { Link::Pass(cmd) }
}

mod cards {
    use super::*;

    /// In another module, with a transaction, an error of its own and a fallback.
    #[chain_link(fallback = by_other_card, on = [Refused(why) if why == "card"])]
    pub async fn by_card(
        cmd: &Pay,
        tx: &mut Tx<Sqlite>,
        events: &mut Events,
        ticket: Inject<Ticket>,
        probe: Inject<Probe>,
    ) -> Result<Link<Pay>, Refused> {
        probe.note("card");
        probe.note(format!("ticket {}", ticket.0));
        write(tx, "card").await.map_err(|error| Refused(error.to_string()))?;
        events.raise(Seen("card"));
        probe.pass("card").await;
        match cmd.0 {
            Way::Card => Ok(Link::Answer("card".to_owned())),
            Way::Fails => Err(Refused("bank".to_owned())),
            Way::FallsBack => Err(Refused("card".to_owned())),
            Way::Panics => panic!("the card reader burns"),
            _ => Ok(Link::Pass(cmd.clone())),
        }
    }

    #[fallback]
    async fn by_other_card(
        cmd: Pay,
        cause: Cause<Refused>,
        tx: &mut Tx<Sqlite>,
        events: &mut Events,
    ) -> Result<Link<Pay>, BoxError> {
        write(tx, format!("other card after: {cause}")).await?;
        events.raise(Seen("other card"));
        // Passed on from a fallback, the rest of the chain is asked.
        Ok(Link::Pass(cmd))
    }
}

#[chain_link]
async fn by_invoice(cmd: Pay, tx: &mut Tx<Sqlite>, events: &mut Events) -> Result<Link<Pay>, BoxError> {
    write(tx, "invoice").await?;
    events.raise(Paid("invoice".to_owned()));
    if matches!(cmd.0, Way::Invoice | Way::FallsBack) {
        Ok(Link::Answer("invoice".to_owned()))
    } else {
        Ok(Link::Pass(cmd))
    }
}

cqrs::chain!(Pay => [from_the_till, cards::by_card, by_invoice]);

#[tokio::test]
async fn the_first_link_that_answers_ends_the_chain() {
    bounded(async {
        let harness = Harness::idle().await;
        assert_eq!(harness.send(Pay(Way::Till)).await.unwrap(), "till");
        assert!(harness.rows().await.is_empty(), "no later link was asked, and no transaction begun for it");
        assert_eq!(harness.send(Pay(Way::Card)).await.unwrap(), "card");
        assert_eq!(harness.rows().await, ["card"]);
        assert_eq!(harness.send(Pay(Way::Invoice)).await.unwrap(), "invoice");
        assert_eq!(harness.rows().await, ["card", "card", "invoice"], "what a passing link wrote stays");
    })
    .await;
}

/// Of the reference only the head's events were kept (its weakness 32).
#[tokio::test]
async fn hole_32_events_of_every_link_are_processed() {
    bounded(async {
        let harness = Harness::idle().await;
        harness.send(Pay(Way::Invoice)).await.unwrap();
        assert_eq!(harness.probe.count("seen by till"), 1);
        assert_eq!(harness.probe.count("seen by card"), 1);
        assert_eq!(harness.stored().await, (1, 0), "the last link's notification event is in the outbox");
    })
    .await;
}

#[tokio::test]
async fn links_share_one_unit_of_work_and_its_dependencies() {
    bounded(async {
        let harness = Harness::idle().await;
        harness.send(Pay(Way::Card)).await.unwrap();
        let tickets: Vec<String> = harness.probe.log().into_iter().filter(|line| line.starts_with("ticket")).collect();
        assert_eq!(tickets.len(), 2);
        assert_eq!(tickets[0], tickets[1]);
    })
    .await;
}

#[tokio::test]
async fn an_error_ends_the_chain_and_undoes_all_of_it() {
    bounded(async {
        let harness = Harness::idle().await;
        let error = harness.send(Pay(Way::Fails)).await.unwrap_err();
        assert_eq!(error.kind(), DispatchErrorKind::Handler);
        assert_eq!(error.to_string(), "refused: bank");
        assert_eq!(error.primary_cause(), None, "an error outside of `on` asks no fallback");
        assert!(harness.rows().await.is_empty());
        assert_eq!(harness.probe.count("seen by till"), 0, "nor do the events of links that had passed survive");
    })
    .await;
}

#[tokio::test]
async fn a_panic_is_the_links_own() {
    bounded(async {
        let harness = Harness::idle().await;
        let error = harness.send(Pay(Way::Panics)).await.unwrap_err();
        assert_eq!(error.kind(), DispatchErrorKind::Panicked);
        assert_eq!(error.name(), Some("by_card"));
        assert!(harness.rows().await.is_empty());
        assert_eq!(harness.send(Pay(Way::Card)).await.unwrap(), "card", "the app goes on");
    })
    .await;
}

#[tokio::test]
async fn past_the_end_is_an_error_of_its_own() {
    bounded(async {
        let harness = Harness::idle().await;
        let error = harness.send(Pay(Way::Nobody)).await.unwrap_err();
        assert_eq!(error.kind(), DispatchErrorKind::ChainExhausted);
        assert!(error.to_string().contains("chains::Pay"), "{error}");
        assert!(harness.rows().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_links_fallback_undoes_that_link_alone() {
    bounded(async {
        let log = Log::start();
        let harness = Harness::idle().await;
        assert_eq!(harness.send(Pay(Way::FallsBack)).await.unwrap(), "invoice");
        assert_eq!(harness.rows().await, ["other card after: refused: card", "invoice"]);
        let seen: Vec<String> = harness.probe.log().into_iter().filter(|line| line.starts_with("seen")).collect();
        assert_eq!(seen, ["seen by till", "seen by other card"], "what the failed link raised is undone with it");
        assert!(log.text().contains("by_other_card"), "{}", log.text());
    })
    .await;
}

#[tokio::test]
async fn a_chain_runs_within_another_commands_transaction() {
    bounded(async {
        let harness = Harness::idle().await;
        let mut unit = harness.unit::<Sqlite>().await.unwrap();
        write(unit.tx(), "outer").await.unwrap();
        let answer = harness.send(Pay(Way::FallsBack)).within(unit.tx()).await.unwrap();
        assert_eq!(answer, "invoice");
        harness.send(Pay(Way::Fails)).within(unit.tx()).await.unwrap_err();
        unit.commit().await.unwrap();
        assert_eq!(harness.rows().await, ["outer", "other card after: refused: card", "invoice"]);
    })
    .await;
}

/// Wherever a chain within a transaction is dropped, it leaves all of it or nothing, and the transaction usable.
#[tokio::test]
async fn a_chain_dropped_at_any_poll_leaves_the_outer_transaction_whole() {
    bounded(async {
        let harness = Harness::idle().await;
        for polls in 0..60 {
            let mut unit = harness.unit::<Sqlite>().await.unwrap();
            write(unit.tx(), "outer").await.unwrap();
            {
                let mut call = harness.send(Pay(Way::FallsBack)).within(unit.tx());
                for _ in 0..polls {
                    if futures_util::poll!(&mut call).is_ready() {
                        break;
                    }
                    tokio::time::sleep(std::time::Duration::from_micros(300)).await;
                }
            }
            write(unit.tx(), "after").await.unwrap();
            unit.commit().await.unwrap();
            let rows = harness.rows().await;
            let whole = ["outer", "other card after: refused: card", "invoice", "after"];
            assert!(rows == ["outer", "after"] || rows == whole, "after {polls} polls: {rows:?}");
            cqrs::sqlx::query("DELETE FROM notes").execute(&harness.probe.pool()).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_chain_that_is_dropped_rolls_back() {
    bounded(async {
        let harness = Harness::idle().await;
        harness.probe.close("card");
        {
            let mut call = harness.send(Pay(Way::Card));
            tokio::select! {
                _ = &mut call => panic!("it waits at the card"),
                () = harness.probe.arrived("card") => {}
            }
        }
        assert!(harness.rows().await.is_empty());
        let log = harness.probe.log();
        assert!(!log.iter().any(|line| line.starts_with("seen")), "{log:?}");
    })
    .await;
}

#[derive(Command, Serialize, Deserialize)]
#[command(error = BoxError)]
pub struct Order(pub Way);

#[command_handler]
async fn order(cmd: Order, events: &mut Events) -> Result<(), BoxError> {
    events.send(Pay(cmd.0));
    Ok(())
}

#[tokio::test]
async fn a_stored_command_may_have_a_chain() {
    bounded(async {
        let harness = Harness::start().await;
        harness.send(Order(Way::Invoice)).await.unwrap();
        harness.settle().await;
        assert_eq!(harness.rows().await, ["card", "invoice"]);
        harness.send(Order(Way::Nobody)).await.unwrap();
        harness.settle_for_hours(6).await;
        let dead = harness.dead().await;
        assert_eq!(dead.len(), 1);
        assert!(dead[0].error.contains("every link"), "{}", dead[0].error);
    })
    .await;
}

#[derive(Query, Clone)]
#[query(response = &'static str, error = BoxError)]
pub struct Where(pub u8);

#[chain_link]
async fn in_memory(q: Where) -> Result<Link<Where>, BoxError> {
    Ok(if q.0 == 0 { Link::Answer("memory") } else { Link::Pass(q) })
}

#[chain_link(timeout = "20ms", fallback = on_paper)]
async fn on_disk(q: &Where) -> Result<Link<Where>, BoxError> {
    if q.0 == 2 {
        std::future::pending::<()>().await;
    }
    Ok(Link::Answer("disk"))
}

#[fallback]
async fn on_paper(_q: &Where, cause: Cause<BoxError>) -> Link<Where> {
    assert!(matches!(cause, Cause::Timeout));
    Link::Answer("paper")
}

cqrs::chain!(Where => [in_memory, on_disk]);

#[tokio::test]
async fn queries_have_chains_too() {
    bounded(async {
        let harness = Harness::idle().await;
        assert_eq!(harness.query(Where(0)).await.unwrap(), "memory");
        assert_eq!(harness.query(Where(1)).await.unwrap(), "disk");
        assert_eq!(harness.query(Where(2)).await.unwrap(), "paper");
    })
    .await;
}
