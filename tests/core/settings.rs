//! Settings: what `load` reads, and what each key changes.

use std::num::NonZeroU16;
use std::path::Path;
use std::time::{Duration, SystemTime};

use cqrs::prelude::*;
use cqrs::sqlx::{self, Sqlite};
use cqrs::{BoxError, DispatchErrorKind, ProblemKind, WiringError};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::support::{
    Harness, Log, Probe, Refused, Running, app, bounded, directory, message, printed, process, publish, write,
};

fn toml(text: &str) -> Settings {
    Settings::from_toml(text).unwrap()
}

async fn with(text: &str) -> Harness {
    Harness::with(|builder| builder.settings(toml(text))).await
}

/// Run in a process of its own, by the tests below: what is loaded depends on its directory and its variables.
#[test]
#[ignore = "not a test by itself: others run it, in directories of their own"]
fn what_is_loaded() {
    match Settings::load() {
        Ok(settings) => println!("loaded: {settings:?}"),
        Err(error) => println!("refused: {error}"),
    }
}

/// What a process in a directory, with these variables, loads.
fn loaded(directory: &Path, variables: &[(&str, &str)]) -> String {
    printed(process("settings::what_is_loaded").current_dir(directory).envs(variables.iter().copied()))
}

#[test]
fn load_reads_the_file_in_the_working_directory_and_variables_which_win() {
    let directory = directory();
    let nothing = loaded(directory.path(), &[]);
    assert!(nothing.contains("loaded: ") && nothing.contains("lease: None"), "no file is no error: {nothing}");
    let file = "store = 'sqlite://shop.db'\nlease = '7s'\n[group.billing]\nconcurrency = 3\non_dead = 'skip'";
    std::fs::write(directory.path().join("cqrs.toml"), file).unwrap();
    let text = loaded(directory.path(), &[]);
    assert!(text.contains("lease: Some(7s)") && text.contains("store: Some(\"sqlite\")"), "{text}");
    let variables = [("CQRS_LEASE", "9s"), ("CQRS_GROUP__BILLING__CONCURRENCY", "4"), ("CQRS_RUN", "relay,work")];
    let text = loaded(directory.path(), &variables);
    for said in ["lease: Some(9s)", "concurrency: Some(4)", "on_dead: Some(Skip)", r#"["relay", "work"]"#, "\"sqlite\""]
    {
        assert!(text.contains(said), "{said}: {text}");
    }
}

#[test]
fn load_reads_the_file_that_is_named_instead() {
    let directory = directory();
    std::fs::write(directory.path().join("cqrs.toml"), "lease = '7s'").unwrap();
    std::fs::write(directory.path().join("other.toml"), "deadline = '5s'\nrun = ['timers']").unwrap();
    let text = loaded(directory.path(), &[("CQRS_CONFIG", "other.toml")]);
    assert!(text.contains("lease: None") && text.contains(r#"run: Some(["timers"])"#), "{text}");
    let text = loaded(directory.path(), &[("CQRS_CONFIG", "none.toml")]);
    assert!(text.contains("refused: cannot read the settings in none.toml"), "{text}");
}

#[test]
fn load_says_every_mistake_with_its_place() {
    let directory = directory();
    std::fs::write(directory.path().join("cqrs.toml"), "leese = '7s'").unwrap();
    let text = loaded(directory.path(), &[("CQRS_DEADLINE", "soon")]);
    assert!(text.contains("refused: 2 settings are wrong"), "{text}");
    assert!(text.contains("unknown key `leese` in cqrs.toml; did you mean `lease`?"), "{text}");
    assert!(text.contains("`deadline` in the variable CQRS_DEADLINE is wrong"), "{text}");
}

fn wiring(text: &str) -> WiringError {
    app(&std::sync::Arc::default()).settings(toml(text)).check().unwrap_err()
}

#[test]
fn g1_a_group_or_a_part_that_there_is_not_is_a_problem_with_a_suggestion() {
    let error =
        wiring("run = ['relay', 'group:tunde']\n[group.tunde]\nconcurrency = 1\n[group.tuned]\nconcurrency = 1");
    let problems: Vec<_> = error.problems().iter().map(|problem| (problem.kind, problem.mend.as_str())).collect();
    let part = (ProblemKind::Setting, "did you mean `group:tuned`?");
    assert_eq!(problems, [part, (ProblemKind::Setting, "did you mean `tuned`?")], "{error}");
    assert!(error.to_string().contains("the settings speak of the group `tunde`"), "{error}");
    let error = wiring("[group.somebody-elses]\nconcurrency = 1");
    assert!(error.to_string().contains("the groups are: ") && error.to_string().contains("`tuned`"), "{error}");
}

/// Where, not with what: what the code brings along stays.
#[tokio::test]
async fn a_store_of_the_settings_takes_the_place_and_the_migrations_of_the_code_stay() {
    bounded(async {
        let (directory, probe) = (directory(), std::sync::Arc::new(Probe::default()));
        std::fs::create_dir(directory.path().join("migrations")).unwrap();
        let migration = "CREATE TABLE brought_along (id INTEGER PRIMARY KEY)";
        std::fs::write(directory.path().join("migrations/1_along.sql"), migration).unwrap();
        let migrator = sqlx::migrate::Migrator::new(directory.path().join("migrations")).await.unwrap();
        let place = |name: &str| directory.path().join(name);
        let url = |name: &str| format!("sqlite://{}", place(name).display());
        let builder = app(&probe).store(Store::url(url("code.db")).migrations(migrator));
        let running = builder.settings(toml(&format!("store = '{}'", url("settings.db")))).await.unwrap();
        assert!(place("settings.db").exists() && !place("code.db").exists());
        let tables = "SELECT COUNT(*) FROM brought_along";
        assert_eq!(sqlx::query_scalar::<_, i64>(tables).fetch_one(&probe.pool()).await.unwrap(), 0);
        running.shutdown().await;
        assert!(wiring("broker = 'pigeon:'").to_string().contains("no broker for `pigeon:`"));
    })
    .await;
}

/// What settings say beside a URL is judged with the store that the code names, before or after.
#[test]
fn g1_what_the_store_or_the_broker_does_not_take_is_a_problem() {
    let builder = || app(&std::sync::Arc::default());
    let store = || Store::url("sqlite://code.db");
    let settings = || toml("store_schema = 'ops'");
    for builder in [builder().store(store()).settings(settings()), builder().settings(settings()).store(store())] {
        let error = builder.check().unwrap_err().to_string();
        assert!(error.contains("the store `sqlite` takes no schema"), "{error}");
    }
    let error = builder().broker(Broker::url("memory:").partitions(NonZeroU16::MIN)).check().unwrap_err();
    let problems: Vec<_> = error.problems().iter().map(|problem| (problem.kind, problem.mend.as_str())).collect();
    assert_eq!(problems, [(ProblemKind::Setting, "correct it where the builder or the settings say it")]);
    assert!(error.to_string().contains("the broker `memory:` takes no `partitions`: leave it out"), "{error}");
}

/// One setting is enough to run a program without its servers.
#[test]
fn a_broker_in_memory_takes_the_place_of_one_on_servers() {
    let servers = Broker::url("kafka://one:9092?tls=true").declare(cqrs::Declare::Check).partitions(NonZeroU16::MIN);
    let servers = servers.tls_ca("/none/ca.pem").property("linger.ms", "5");
    let builder = app(&std::sync::Arc::default()).broker(servers);
    let words = "broker_declare = 'check'\nbroker_partitions = 4\nbroker_tls_ca = '/none/ca.pem'";
    builder.settings(toml(&format!("broker = 'memory:'\n{words}"))).check().unwrap();
}

#[derive(NotificationEvent, Clone, Serialize, Deserialize)]
#[event(name = "tuned", topic = "tuned", key = key)]
struct Tuned {
    key: String,
    number: u32,
}

/// Its attribute says the opposite of what the settings below say.
#[event_handler(group = "tuned", concurrency = 1, retry(max = 5, first = "1h"), on_dead = "skip", unknown = "skip")]
async fn on_tuned(e: Tuned, probe: Inject<Probe>) -> Result<(), Refused> {
    probe.pass("tuned").await;
    probe.try_it(&e.number.to_string())?;
    probe.note(format!("tuned {}", e.number));
    Ok(())
}

fn tuned(key: &str, number: u32) -> cqrs::Delivery {
    message("tuned", "tuned", Uuid::now_v7(), &serde_json::json!({ "key": key, "number": number })).key(key)
}

#[tokio::test]
async fn a_groups_settings_go_before_its_attribute() {
    bounded(async {
        let group = "concurrency = 3\nretry = { max = 1 }\non_dead = 'park'\nunknown = 'dead'";
        let settings = toml(&format!("[retry]\nmax = 9\n[group.tuned]\n{group}"));
        let (app, broker) = Harness::with_broker(|builder| builder.settings(settings)).await;
        // Three at once.
        app.probe.close("tuned");
        let all = (1..=3).map(|number| publish(&broker, Uuid::now_v7(), tuned(&number.to_string(), number)));
        let all = futures_util::future::join_all(all);
        tokio::join!(all, async {
            for _ in 0..3 {
                app.probe.arrived("tuned").await;
            }
            (0..9).for_each(|_| app.probe.open("tuned"));
        });
        // One attempt; what is dead holds its key back.
        app.probe.fail("4", 1);
        publish(&broker, Uuid::now_v7(), tuned("k", 4)).await;
        publish(&broker, Uuid::now_v7(), tuned("k", 5)).await;
        publish(&broker, Uuid::now_v7(), message("tuned", "untuned", Uuid::now_v7(), &serde_json::Value::Null)).await;
        app.settle().await;
        assert_eq!((app.dead().await.len(), app.probe.count("tuned 5"), app.skipped_count()), (2, 0, 0));
        assert!(app.dead().await.iter().any(|dead| dead.name == "untuned"));
    })
    .await;
}

#[tokio::test]
async fn an_attribute_goes_before_what_is_said_of_all() {
    bounded(async {
        let settings = toml("concurrency = 9\nretry = { max = 1 }");
        let (app, broker) = Harness::with_broker(|builder| builder.settings(settings)).await;
        app.probe.fail("1", 2);
        publish(&broker, Uuid::now_v7(), tuned("k", 1)).await;
        app.settle_for_hours(5).await;
        app.settle().await;
        assert_eq!((app.probe.log(), app.dead().await.len()), (vec!["tuned 1".to_owned()], 0));
    })
    .await;
}

#[derive(DomainEvent, Clone, Serialize, Deserialize)]
struct Turned;

#[event_handler(durable)]
async fn on_turned(_e: &Turned, tx: &mut Tx<Sqlite>, probe: Inject<Probe>) -> Result<(), BoxError> {
    write(tx, "turned").await?;
    probe.pass("turned").await;
    probe.note("turned");
    probe.try_it("turned")?;
    Ok(())
}

#[tokio::test]
async fn retry_is_the_policy_of_what_says_nothing() {
    bounded(async {
        let app = with("retry = { max = 2, first = '10m', factor = 1, ceiling = '10m' }").await;
        app.probe.fail("turned", 9);
        app.publish(Turned).await.unwrap();
        app.settle().await;
        app.advance(Duration::from_secs(4 * 60)).await;
        app.settle().await;
        assert_eq!(app.probe.count("turned"), 1, "half of ten minutes are left to chance, no more");
        app.advance(Duration::from_secs(7 * 60)).await;
        app.settle().await;
        assert_eq!((app.probe.count("turned"), app.dead().await.len()), (2, 1));
    })
    .await;
}

#[tokio::test]
async fn a_lease_is_as_long_as_it_is_said_to_be() {
    bounded(async {
        let app = with("lease = '40m'").await;
        app.probe.close("turned");
        app.publish(Turned).await.unwrap();
        app.probe.arrived("turned").await;
        let until =
            sqlx::query_scalar::<_, i64>("SELECT lease_until FROM cqrs_work").fetch_one(&app.probe.pool()).await;
        let until = SystemTime::UNIX_EPOCH + Duration::from_micros(until.unwrap().try_into().unwrap());
        let left = until.duration_since(SystemTime::now()).unwrap();
        assert!((Duration::from_secs(35 * 60)..=Duration::from_secs(40 * 60)).contains(&left), "{left:?}");
        app.probe.open("turned");
        app.settle().await;
    })
    .await;
}

#[tokio::test]
async fn deadline_and_payload_limit_are_as_they_are_said_to_be() {
    bounded(async {
        let app = with("deadline = '150ms'\npayload_limit = '1KiB'\nretry.max = 1").await;
        app.probe.close("turned");
        app.publish(Turned).await.unwrap();
        app.settle().await;
        assert!(app.dead().await[0].error.contains("deadline of 150ms"), "{:?}", app.dead().await);
        let error = app.publish(Tuned { key: "x".repeat(1024), number: 1 }).await.unwrap_err();
        assert!(error.to_string().contains("over the limit of 1024"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn codec_compression_and_event_source_are_as_they_are_said_to_be() {
    bounded(async {
        let words = "codec = 'cloudevents'\ncompression = 'zlib'\nevent_source = '/tuning'";
        let app = Harness::with(|builder| builder.settings(toml(words)).run([""; 0])).await;
        app.publish(Tuned { key: "x".repeat(2_000), number: 1 }).await.unwrap();
        let (body, headers) = crate::wire::row(&app).await;
        assert!(body.len() < 500, "{}", body.len());
        let of = |name: &str| headers[name].as_str();
        let said = (of("ce_specversion"), of("ce_source"), of("content-encoding"));
        assert_eq!(said, (Some("1.0"), Some("/tuning"), Some("zlib")), "{headers}");
    })
    .await;
}

#[tokio::test]
async fn a_mark_is_kept_for_the_inbox_window() {
    bounded(async {
        let (app, broker) = Harness::with_broker(|builder| builder.settings(toml("inbox_window = '1d'"))).await;
        publish(&broker, Uuid::now_v7(), tuned("k", 1)).await;
        app.settle().await;
        assert_eq!(app.counts().await.unwrap().inbox, 1);
        app.advance(Duration::from_secs(25 * 3600)).await;
        while app.counts().await.unwrap().inbox > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_response_is_kept_for_the_idempotency_retention() {
    bounded(async {
        let app = with("run = ['work']\nidempotency_retention = '1h'").await;
        app.send(crate::idempotency::pay(1)).idempotency_key("k").await.unwrap();
        app.advance(Duration::from_secs(59 * 60)).await;
        let other = app.send(crate::idempotency::pay(2)).idempotency_key("k").await.unwrap_err();
        assert_eq!(other.kind(), DispatchErrorKind::KeyReused);
        app.advance(Duration::from_secs(2 * 60)).await;
        app.send(crate::idempotency::pay(2)).idempotency_key("k").await.unwrap();
    })
    .await;
}

#[derive(DomainEvent)]
struct Circling(u32);

#[event_handler]
async fn circling(e: &Circling, events: &mut Events, probe: Inject<Probe>) {
    probe.pass("circling").await;
    if e.0 > 0 {
        events.raise(Circling(e.0 - 1));
    }
}

#[derive(Command)]
struct Circle {
    events: u32,
    deep: u32,
}

#[command_handler]
async fn circle(cmd: Circle, events: &mut Events) {
    (0..cmd.events).for_each(|_| events.raise(Circling(cmd.deep)));
}

#[tokio::test]
async fn event_depth_and_event_concurrency_are_as_they_are_said_to_be() {
    bounded(async {
        let app = with("event_depth = 3\nevent_concurrency = 4").await;
        let error = app.send(Circle { events: 1, deep: 9 }).await.unwrap_err();
        assert!(matches!(error, DispatchError::EventDepth { limit: 3, .. }), "{error:?}");
        app.probe.close("circling");
        let call = app.send(Circle { events: 4, deep: 0 });
        let (ended, ()) = tokio::join!(call, async {
            for _ in 0..4 {
                app.probe.arrived("circling").await;
            }
            (0..4).for_each(|_| app.probe.open("circling"));
        });
        ended.unwrap();
    })
    .await;
}

#[tokio::test]
async fn run_and_relay_off_say_what_runs_here() {
    bounded(async {
        for (text, published, worked) in [("run = ['work']", 0, 1), ("run = ['relay']", 1, 0), ("relay = 'off'", 0, 1)]
        {
            let (app, broker) = Harness::with_broker(|builder| builder.settings(toml(text))).await;
            drop(broker);
            app.publish(Turned).await.unwrap();
            app.publish(Tuned { key: "k".to_owned(), number: 1 }).await.unwrap();
            let left = |(published, worked): (u64, u64)| (1 - published, 1 - worked);
            while app.stored().await != left((published, worked)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            // Given every chance to do more than that.
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert_eq!(app.stored().await, left((published, worked)), "{text}");
        }
    })
    .await;
}

#[tokio::test]
async fn shutdown_timeout_is_how_long_a_stop_waits() {
    bounded(async {
        let (directory, probe, log) = (directory(), std::sync::Arc::new(Probe::default()), Log::start());
        let settings = toml("shutdown_timeout = '90ms'");
        let file = directory.path().join("app.db");
        let app = crate::support::on_file(&file, &probe, |builder| builder.settings(settings)).await;
        probe.close("turned");
        let running = Running::start(app);
        running.app.publish(Turned).await.unwrap();
        probe.arrived("turned").await;
        running.stop().await;
        assert!(log.text().contains("stopping took too long") && log.text().contains("timeout=90ms"), "{}", log.text());
    })
    .await;
}
