//! What `&Meta` says: ids, correlation, causation, times, through every kind of call.

use std::time::{Duration, SystemTime};

use cqrs::BoxError;
use cqrs::broker::driver::{Driver, Settlement, Subscription};
use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::support::{Harness, Probe, bounded};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[derive(Command)]
#[command(response = Uuid, error = BoxError)]
struct Begin2 {
    within: bool,
}

#[derive(DomainEvent, Clone, Serialize, Deserialize)]
#[event(key = 0)]
struct Begun(String);

#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "begun", topic = "begun", key = 0)]
struct BegunV1(String);

#[derive(Command, Serialize, Deserialize)]
struct GoOn;

#[derive(Command)]
#[command(response = Uuid, error = BoxError)]
struct RaiseAll;

fn raise_all(events: &mut Events) {
    events.raise(Begun("k".to_owned()));
    events.raise(BegunV1("k".to_owned()));
    events.send(GoOn);
    events.schedule(GoOn).after(Duration::from_secs(60));
}

#[command_handler]
async fn begin2(
    cmd: Begin2,
    meta: &Meta,
    events: &mut Events,
    tx: &mut Tx<Sqlite>,
    app: &App,
) -> Result<Uuid, BoxError> {
    if cmd.within {
        return Ok(app.send(RaiseAll).within(tx).await?);
    }
    raise_all(events);
    Ok(meta.id())
}

#[command_handler]
async fn raise_all_of_them(_cmd: RaiseAll, meta: &Meta, events: &mut Events, _tx: &mut Tx<Sqlite>) -> Uuid {
    raise_all(events);
    meta.id()
}

/// `what id correlation causation key`.
fn say(probe: &Probe, what: &str, meta: &Meta) {
    let causation = meta.causation_id().map(|id| id.to_string()).unwrap_or_default();
    let key = meta.key().unwrap_or("-");
    probe.note(format!("{what} {} {} {causation} {key}", meta.id(), meta.correlation_id()));
    assert!(meta.time() <= SystemTime::now() + Duration::from_secs(3600));
}

#[event_handler(inline)]
async fn inline(_e: &Begun, meta: &Meta, probe: Inject<Probe>) {
    say(&probe, "inline", meta);
}

#[event_handler]
async fn plain(_e: &Begun, meta: &Meta, probe: Inject<Probe>) {
    say(&probe, "plain", meta);
}

#[event_handler(durable)]
async fn durable(_e: &Begun, meta: &Meta, probe: Inject<Probe>) {
    say(&probe, "durable", meta);
}

#[event_handler(group = "begun")]
async fn consumed(_e: &BegunV1, meta: &Meta, probe: Inject<Probe>) {
    say(&probe, "consumed", meta);
}

#[command_handler]
async fn go_on(_cmd: GoOn, meta: &Meta, probe: Inject<Probe>) {
    say(&probe, "command", meta);
}

/// The words of every note, sorted by what said it.
fn said(app: &Harness) -> Vec<Vec<String>> {
    let mut said: Vec<Vec<String>> =
        app.probe.log().iter().map(|noted| noted.split(' ').map(str::to_owned).collect()).collect();
    said.sort();
    said
}

#[tokio::test]
async fn g8_one_id_for_an_event_whoever_handles_it_and_one_correlation_for_what_a_call_sets_off() {
    bounded(async {
        for within in [false, true] {
            let app = Harness::start().await;
            let correlation = Uuid::now_v7();
            let cause = app.send(Begin2 { within }).correlation(correlation).await.unwrap();
            app.settle().await;
            app.advance(Duration::from_secs(60)).await;
            app.settle().await;
            let said = said(&app);
            let who: Vec<_> = said.iter().map(|words| words[0].as_str()).collect();
            assert_eq!(who, ["command", "command", "consumed", "durable", "inline", "plain"]);
            for words in &said {
                assert_eq!(words[2], correlation.to_string(), "{within}: {words:?}");
                assert_eq!(words[3], cause.to_string(), "{within}: {words:?}");
            }
            let ids: Vec<_> = said[3..].iter().map(|words| &words[1]).collect();
            assert!(ids[0] == ids[1] && ids[1] == ids[2], "{within}: {said:#?}");
            assert_ne!(said[0][1], said[1][1]);
            assert!(said[2..].iter().all(|words| words[4] == "k"), "{said:#?}");
        }
    })
    .await;
}

/// Makes every kind of call through `&App`.
#[derive(Command)]
#[command(response = Uuid, error = BoxError)]
struct Delegate;

#[command_handler]
async fn delegate(_cmd: Delegate, meta: &Meta, app: &App) -> Result<Uuid, BoxError> {
    app.send(GoOn).await?;
    app.send(GoOn).header("k", "v").await?;
    app.send(RaiseBare).await?;
    app.publish(Begun("k".to_owned())).await?;
    app.schedule(GoOn).await?;
    let mut items = app.stream(Tell);
    while items.next().await.is_some() {}
    // Whoever is polled in between, this is still the caller.
    tokio::task::yield_now().await;
    app.send(GoOn).await?;
    Ok(meta.id())
}

#[derive(Command)]
struct RaiseBare;

/// Needs no unit of work: nothing is known about its own call until somebody asks.
#[command_handler]
async fn raise_bare(_cmd: RaiseBare, events: &mut Events) {
    events.raise(Begun("k".to_owned()));
}

#[derive(Query)]
#[query(item = u32)]
struct Tell;

#[query_handler]
async fn tell(_q: Tell, items: &mut Items<u32>, meta: &Meta, probe: Inject<Probe>) {
    say(&probe, "stream", meta);
    items.send(1).await;
}

#[tokio::test]
async fn what_a_handler_sends_through_the_app_carries_its_correlation() {
    bounded(async {
        let app = Harness::start().await;
        let correlation = Uuid::now_v7();
        let (cause, other) = tokio::join!(app.send(Delegate).correlation(correlation), app.send(Delegate));
        let (cause, other) = (cause.unwrap(), other.unwrap());
        app.settle().await;
        let said = said(&app);
        let (ours, theirs): (Vec<_>, Vec<_>) = said.iter().partition(|words| words[2] == correlation.to_string());
        for (said, correlation, cause) in [(ours, correlation, cause), (theirs, other, other)] {
            let who: Vec<_> = said.iter().map(|words| words[0].as_str()).collect();
            assert_eq!(who[..4], ["command"; 4], "{said:#?}");
            assert_eq!(who[4..], ["durable", "durable", "inline", "inline", "plain", "plain", "stream"], "{said:#?}");
            assert!(said.iter().all(|words| words[2] == correlation.to_string()), "{said:#?}");
            let caused = said.iter().filter(|words| words[3] == cause.to_string());
            assert_eq!(
                caused.map(|words| words[0].as_str()).collect::<Vec<_>>(),
                ["command", "command", "command", "stream"]
            );
        }
        // Nobody is being polled any more: a call from outside is its own beginning.
        let apart = app.send(Begin2 { within: false }).await.unwrap();
        assert_ne!(apart, cause);
        app.settle().await;
        let plain = crate::meta::said(&app)
            .into_iter()
            .filter(|words| words[0] == "plain")
            .find(|words| words[3] == apart.to_string());
        assert_eq!(plain.unwrap()[2], apart.to_string());
    })
    .await;
}

/// Asks for nothing but the app.
#[derive(Command)]
#[command(error = BoxError)]
struct Forward;

#[command_handler]
async fn forward(_cmd: Forward, app: &App) -> Result<(), BoxError> {
    app.send(GoOn).await?;
    Ok(())
}

#[tokio::test]
async fn a_handler_that_takes_the_app_alone_hands_its_correlation_on_too() {
    bounded(async {
        let app = Harness::start().await;
        let correlation = Uuid::now_v7();
        app.send(Forward).correlation(correlation).await.unwrap();
        app.send(Forward).await.unwrap();
        app.settle().await;
        let said = said(&app);
        let ours: Vec<_> = said.iter().filter(|words| words[2] == correlation.to_string()).collect();
        assert!(!ours.is_empty() && ours.len() < said.len(), "{said:#?}");
        // A command has no cause of its own where it came from outside: these came from the handler.
        let apart = said.iter().filter(|words| words[2] != correlation.to_string() && words[0] == "command");
        assert!(apart.clone().count() > 0 && apart.clone().all(|words| words[2] == words[3]), "{said:#?}");
    })
    .await;
}

/// Tells what a caller said about the stream.
#[derive(Query)]
#[query(item = String)]
struct Headers;

#[query_handler]
async fn headers(_q: Headers, items: &mut Items<String>, meta: &Meta) {
    items.send(format!("{:?} {}", meta.headers(), meta.correlation_id())).await;
}

/// Streams within a handler, and says something about it.
#[derive(Command)]
#[command(response = Option<String>, error = BoxError)]
struct Around(Uuid);

#[command_handler]
async fn around(cmd: Around, app: &App) -> Result<Option<String>, BoxError> {
    let said = app.stream(Headers).header("k", "v").next().await.transpose()?;
    let other = app.stream(Headers).correlation(cmd.0).next().await.transpose()?;
    assert!(other.is_some_and(|other| other == format!("{{}} {}", cmd.0)));
    Ok(said)
}

#[tokio::test]
async fn a_stream_takes_headers_and_a_correlation() {
    bounded(async {
        let app = Harness::idle().await;
        let (one, other) = (Uuid::now_v7(), Uuid::now_v7());
        let mut items = app.stream(Headers).header("a", "1").header("b", "2").correlation(one).header("a", "3");
        assert_eq!(items.next().await.unwrap().unwrap(), format!(r#"{{"a": "3", "b": "2"}} {one}"#));
        // What is said does not take the place of what is known: the handler that streams is the cause.
        let said = app.send(Around(other)).correlation(one).await.unwrap();
        assert_eq!(said.unwrap(), format!(r#"{{"k": "v"}} {one}"#));
    })
    .await;
}

/// Tells the time of the call itself, before and after it raised.
#[derive(Command)]
#[command(response = SystemTime)]
struct Stamp;

#[derive(DomainEvent, Serialize, Deserialize)]
struct Stamped;

#[derive(NotificationEvent, Serialize, Deserialize)]
#[event(name = "stamped", topic = "stamped")]
struct StampedV1;

#[command_handler]
async fn stamp(_cmd: Stamp, meta: &Meta, events: &mut Events) -> SystemTime {
    let time = meta.time();
    events.raise(Stamped);
    events.raise(StampedV1);
    events.send(StampLater);
    assert_eq!(meta.time(), time);
    time
}

#[derive(Command, Serialize, Deserialize)]
struct StampLater;

fn say_when(probe: &Probe, what: &str, meta: &Meta) {
    let since = meta.time().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    probe.note(format!("{what} {}", since.as_nanos()));
}

#[event_handler(inline)]
async fn stamped_inline(_e: &Stamped, meta: &Meta, probe: Inject<Probe>) {
    say_when(&probe, "domain", meta);
}

#[event_handler]
async fn stamped(_e: &Stamped, meta: &Meta, probe: Inject<Probe>) {
    say_when(&probe, "domain", meta);
}

#[event_handler(durable)]
async fn stamped_durably(_e: &Stamped, meta: &Meta, probe: Inject<Probe>) {
    say_when(&probe, "domain", meta);
    probe.pass("stamped durably").await;
}

#[event_handler(group = "stamped")]
async fn stamped_elsewhere(_e: &StampedV1, meta: &Meta, probe: Inject<Probe>) {
    say_when(&probe, "notification", meta);
}

#[command_handler]
async fn stamp_later(_cmd: StampLater, meta: &Meta, probe: Inject<Probe>) {
    say_when(&probe, "command", meta);
}

#[tokio::test]
async fn the_time_of_an_event_is_the_same_for_everybody_and_goes_by_the_apps_clock() {
    bounded(async {
        let (app, broker) = Harness::with_broker(|builder| builder).await;
        let subscription = Subscription { group: "watch".into(), topics: vec!["stamped".into()], prefetch: 9 };
        let mut watch = broker.subscribe(subscription).await.unwrap();
        for ahead in [Duration::ZERO, 3 * DAY] {
            app.advance(ahead).await;
            let now = || SystemTime::now() + ahead;
            let before = now() - Duration::from_micros(1);
            let called = app.send(Stamp).await.unwrap();
            let sent = now();
            let received = watch.receive(1).await.unwrap().remove(0);
            watch.settle(vec![(received.receipt, Settlement::Done)]).await.unwrap();
            app.settle().await;
            let mut said: Vec<(String, SystemTime)> = app
                .probe
                .log()
                .iter()
                .map(|line| {
                    let (what, nanos) = line.split_once(' ').unwrap();
                    (what.to_owned(), SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos.parse().unwrap()))
                })
                .collect();
            said = said.split_off(if ahead.is_zero() { 0 } else { 5 });
            said.sort();
            let what: Vec<_> = said.iter().map(|(what, _)| what.as_str()).collect();
            assert_eq!(what, ["command", "domain", "domain", "domain", "notification"]);
            assert!(said.iter().all(|(_, time)| called <= *time && *time <= sent), "{called:?} {said:?} {sent:?}");
            assert!(before <= called, "the app's clock: {before:?} {called:?}");
            assert!(said[1].1 == said[2].1 && said[2].1 == said[3].1, "inline, plain and durable: {said:?}");
            let body: serde_json::Value = serde_json::from_slice(received.delivery.payload()).unwrap();
            let wire = humantime::parse_rfc3339(body["event_timestamp"].as_str().unwrap()).unwrap();
            assert_eq!(wire, said[4].1, "on the wire as for whoever consumes it");
        }
    })
    .await;
}

/// A second attempt is of the same event.
#[tokio::test]
async fn the_time_of_stored_work_is_that_of_its_event_with_every_attempt() {
    bounded(async {
        let app = Harness::with(|builder| builder.deadline(Duration::from_millis(100))).await;
        app.probe.close("stamped durably");
        app.send(Stamp).await.unwrap();
        app.settle().await;
        app.settle_an_hour_later().await;
        let domain: Vec<_> = app.probe.log().into_iter().filter(|line| line.starts_with("domain")).collect();
        assert_eq!(domain.len(), 4, "inline, plain, and two attempts: {domain:?}");
        assert!(domain.iter().all(|line| *line == domain[0]), "{domain:?}");
    })
    .await;
}
