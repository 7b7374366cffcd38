//! Dependencies: app-wide providers, message-scoped ones, overrides.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use cqrs::prelude::*;
use cqrs::sqlx::Sqlite;
use cqrs::{BoxError, DispatchErrorKind};
use serde::{Deserialize, Serialize};

use crate::support::{self, Harness, Probe, Refused, Schema, bounded, write};

pub trait Greeter: Send + Sync {
    fn greet(&self) -> String;
}

pub struct Plain;

impl Greeter for Plain {
    fn greet(&self) -> String {
        "hello".to_owned()
    }
}

struct Loud(String);

impl Greeter for Loud {
    fn greet(&self) -> String {
        self.0.to_uppercase()
    }
}

/// Needs another provider's value, written further down.
struct Doubled(u32);

#[provider]
async fn doubled(base: Inject<Base>, probe: Inject<Probe>) -> Result<Arc<Doubled>, Refused> {
    tokio::task::yield_now().await;
    probe.try_it("doubled")?;
    Ok(Arc::new(Doubled(base.0 * 2)))
}

struct Base(u32);

#[provider]
fn base(_schema: Inject<Schema>) -> Base {
    Base(21)
}

pub trait Named: Send + Sync {
    fn name(&self) -> String;
}

impl Named for Base {
    fn name(&self) -> String {
        format!("base {}", self.0)
    }
}

#[provider]
fn named(base: Inject<Base>) -> Arc<dyn Named> {
    base.arc()
}

#[derive(Query)]
#[query(response = String)]
struct Ask;

#[query_handler]
async fn ask(_q: Ask, doubled: Inject<Doubled>, greeter: Inject<dyn Greeter>, named: Inject<dyn Named>) -> String {
    format!("{} {} {}", doubled.0, greeter.greet(), named.name())
}

#[tokio::test]
async fn providers_may_be_async_shared_traits_and_depend_on_others() {
    bounded(async {
        let app = Harness::start().await;
        assert_eq!(app.query(Ask).await.unwrap(), "42 hello base 21");
    })
    .await;
}

#[tokio::test]
async fn an_override_takes_the_place_of_values_and_providers() {
    bounded(async {
        let app = Harness::with(|builder| {
            builder
                .override_arc::<dyn Greeter>(Arc::new(Loud("hey".to_owned())))
                .override_arc::<Base>(Arc::new(Base(5)))
                .override_arc::<dyn Named>(Arc::new(Base(6)))
        })
        .await;
        assert_eq!(app.query(Ask).await.unwrap(), "10 HEY base 6");
    })
    .await;
}

#[tokio::test]
async fn a_failing_provider_fails_the_start_and_is_named() {
    bounded(async {
        let probe = Arc::new(Probe::default());
        probe.fail("doubled", 1);
        let error = cqrs::testing::TestApp::new(support::app(&probe)).await.unwrap_err();
        let text = format!("{error:?}");
        assert!(text.contains("the provider `doubled`") && text.contains("scope.rs:"), "{text}");
        assert!(text.contains("because: refused: doubled"), "{text}");
    })
    .await;
}

/// One per unit of work; tells the probe when it is dropped.
struct Session {
    number: u32,
    probe: Inject<Probe>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.probe.note(format!("dropped {}", self.number));
    }
}

#[derive(Default)]
struct Sessions(AtomicU32);

#[provider]
fn sessions() -> Sessions {
    Sessions::default()
}

#[provider(scope = "message")]
async fn session(meta: &Meta, sessions: Inject<Sessions>, probe: Inject<Probe>) -> Result<Session, Refused> {
    probe.try_it("session")?;
    if meta.header("user") == Some("nobody") {
        return Err(Refused("nobody".to_owned()));
    }
    let number = sessions.0.fetch_add(1, Ordering::SeqCst) + 1;
    Ok(Session { number, probe })
}

/// Message-scoped, and of another message-scoped one.
struct Badge(String);

#[provider(scope = "message")]
fn badge(session: Inject<Session>) -> Badge {
    Badge(format!("badge {}", session.number))
}

#[derive(Command)]
#[command(response = String, error = BoxError)]
struct Enter {
    with_tx: bool,
}

#[derive(DomainEvent, Clone, Serialize, Deserialize)]
struct Entered;

#[command_handler]
async fn enter(cmd: Enter, badge: Inject<Badge>, session: Inject<Session>, events: &mut Events) -> String {
    if cmd.with_tx {
        events.raise(EnteredInline);
    }
    events.raise(Entered);
    format!("{} of session {}", badge.0, session.number)
}

#[event_handler(order = 1)]
async fn welcome(_e: &Entered, session: Inject<Session>, events: &mut Events) {
    session.probe.note(format!("welcome {}", session.number));
    events.raise(Welcomed);
}

#[event_handler(order = 2)]
async fn log_in(_e: &Entered, badge: Inject<Badge>, probe: Inject<Probe>) {
    probe.note(format!("log in {}", badge.0));
}

#[event_handler(durable)]
async fn later(_e: &Entered, session: Inject<Session>) {
    session.probe.note(format!("durable {}", session.number));
}

#[derive(DomainEvent)]
struct Welcomed;

#[event_handler]
async fn welcomed(_e: &Welcomed, session: Inject<Session>) {
    session.probe.note(format!("welcomed {}", session.number));
}

#[derive(DomainEvent)]
struct EnteredInline;

#[event_handler(inline)]
async fn entered_inline(_e: &EnteredInline, session: Inject<Session>, tx: &mut Tx<Sqlite>) -> Result<(), BoxError> {
    write(tx, format!("inline {}", session.number)).await?;
    Ok(())
}

/// In the reference the scope of a call's dependencies was closed before its handler ran (its weakness 40).
#[tokio::test]
async fn hole_40_message_scope_is_one_value_per_unit_shared_by_what_follows_and_dropped_after() {
    bounded(async {
        let app = Harness::idle().await;
        assert_eq!(app.send(Enter { with_tx: true }).await.unwrap(), "badge 1 of session 1");
        assert_eq!(app.rows().await, ["inline 1"]);
        assert_eq!(app.probe.log(), ["welcome 1", "log in badge 1", "welcomed 1", "dropped 1"]);
        assert_eq!(app.send(Enter { with_tx: false }).await.unwrap(), "badge 2 of session 2");
        assert_eq!(app.probe.log()[4..], ["welcome 2", "log in badge 2", "welcomed 2", "dropped 2"]);
    })
    .await;
}

#[tokio::test]
async fn a_durable_handler_has_a_scope_of_its_own() {
    bounded(async {
        let app = Harness::start().await;
        app.probe.close("durable");
        app.send(Enter { with_tx: false }).await.unwrap();
        app.settle().await;
        assert_eq!(app.probe.count("durable 2"), 1, "{:?}", app.probe.log());
        assert_eq!((app.probe.count("dropped 1"), app.probe.count("dropped 2")), (1, 1));
    })
    .await;
}

/// A call whose own handler takes nothing that is message-scoped: what follows it shares one value all the same.
#[derive(Command)]
struct EnterPlainly;

#[command_handler]
async fn enter_plainly(_cmd: EnterPlainly, events: &mut Events) {
    events.raise(Entered);
}

#[tokio::test]
async fn message_scope_is_shared_by_after_commit_handlers_of_a_plain_command() {
    bounded(async {
        let app = Harness::idle().await;
        app.send(EnterPlainly).await.unwrap();
        assert_eq!(app.probe.log(), ["welcome 1", "log in badge 1", "welcomed 1", "dropped 1"]);
        app.publish(Entered).await.unwrap();
        assert_eq!(app.probe.log()[4..], ["welcome 2", "log in badge 2", "welcomed 2", "dropped 2"]);
    })
    .await;
}

#[tokio::test]
async fn a_failing_message_provider_fails_the_call_as_a_dependency() {
    bounded(async {
        let app = Harness::idle().await;
        app.probe.fail("session", 1);
        let error = app.send(Enter { with_tx: false }).await.unwrap_err();
        let DispatchError::Dependency { dependency, provider: "session", source } = &error else { panic!("{error:?}") };
        assert!(dependency.ends_with("scope::Session"), "{dependency}");
        assert!(source.downcast_ref::<Refused>().is_some());
        let error = app.send(Enter { with_tx: false }).header("user", "nobody").await.unwrap_err();
        assert_eq!(error.kind(), DispatchErrorKind::Dependency);
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "refused: nobody");
        assert!(app.probe.log().is_empty() && app.events::<Entered>().is_empty());

        // Made for an after-commit handler, its failure is that handler's alone.
        app.probe.fail("session", 1);
        app.send(EnterPlainly).await.unwrap();
        assert_eq!((app.event_error_count(), app.probe.count("log in badge 1")), (1, 1));
    })
    .await;
}

/// Who sent the call, as its headers say.
struct Who(String);

#[provider(scope = "message")]
fn who(meta: &Meta) -> Who {
    Who(meta.header("user").unwrap_or("nobody").to_owned())
}

#[derive(Command)]
#[command(error = BoxError)]
struct Sign;

#[derive(DomainEvent)]
struct Signed;

#[derive(Command)]
#[command(error = BoxError)]
struct SignAsking;

#[command_handler]
async fn sign(_cmd: Sign, events: &mut Events) {
    events.raise(Signed);
}

#[command_handler]
async fn sign_asking(_cmd: SignAsking, who: Inject<Who>, events: &mut Events, probe: Inject<Probe>) {
    probe.note(format!("sign {}", who.0));
    events.raise(Signed);
}

#[event_handler(inline)]
async fn signed_inline(_e: &Signed, who: Inject<Who>, probe: Inject<Probe>) {
    probe.note(format!("inline {}", who.0));
}

#[event_handler]
async fn signed(_e: &Signed, who: Inject<Who>, probe: Inject<Probe>) {
    probe.note(format!("plain {}", who.0));
}

#[tokio::test]
async fn a_message_scoped_provider_sees_the_calls_headers_whoever_asks_first() {
    bounded(async {
        let app = Harness::idle().await;
        app.send(SignAsking).header("user", "ada").await.unwrap();
        app.send(Sign).header("user", "bob").await.unwrap();
        assert_eq!(app.probe.log(), ["sign ada", "inline ada", "plain ada", "inline bob", "plain bob"]);
    })
    .await;
}

/// What one call's dependencies and handlers take for the call.
struct Seen(uuid::Uuid);

#[provider(scope = "message")]
fn seen(meta: &Meta) -> Seen {
    Seen(meta.correlation_id())
}

#[derive(DomainEvent)]
struct Looked;

#[event_handler(inline)]
async fn looked_inline(_e: &Looked, seen: Inject<Seen>, meta: &Meta, probe: Inject<Probe>) -> Result<(), BoxError> {
    probe.note(format!("inline {}", seen.0 == meta.correlation_id()));
    Ok(())
}

#[event_handler]
async fn looked(_e: &Looked, seen: Inject<Seen>, meta: &Meta, probe: Inject<Probe>) {
    probe.note(format!("after {}", seen.0 == meta.correlation_id()));
}

/// A unit outside of handlers is one call, too.
#[tokio::test]
async fn message_scoped_providers_of_a_unit_see_its_own_meta() {
    bounded(async {
        let app = Harness::idle().await;
        let mut unit = app.unit::<Sqlite>().await.unwrap();
        unit.events().raise(Looked);
        unit.commit().await.unwrap();
        assert_eq!(app.probe.log(), ["inline true", "after true"]);
    })
    .await;
}
