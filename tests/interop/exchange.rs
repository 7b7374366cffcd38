//! What one side publishes, the other handles.

use std::process::Stdio;
use std::time::Duration;

use cqrs::prelude::*;
use cqrs_tests::python;
use cqrs_tests::services::Private;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{PAGE, Running, Schema, Tell, bounded};

const MEMBERS: i64 = 3;

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no `{name}` in {value}")).to_owned()
}

/// A time as python prints it, in microseconds.
fn micros(time: &str) -> i64 {
    let (seconds, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let fraction = fraction.split(['+', 'Z']).next().unwrap_or_default();
    let whole = humantime::parse_rfc3339_weak(seconds.split('+').next().unwrap_or_default()).expect("a time");
    let whole = whole.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    i64::try_from(whole).expect("a time") * 1_000_000 + format!("{fraction:0<6}").parse::<i64>().expect("a fraction")
}

/// python-cqrs publishes events of both kinds; ours are handled once each, with the domain event that follows.
async fn python_publishes(schema: &Schema, url: &str) {
    let url = url.to_owned();
    let published = tokio::task::spawn_blocking(move || python::run("publish.py", &[&url, "interop.joined"]));
    let published = published.await.expect("it was published");
    assert_eq!(published.len(), 2 * usize::try_from(MEMBERS).expect("few"));
    let rows = schema.noted(published.len()).await;
    assert_eq!(rows.len(), published.len(), "each once");
    for (said, at) in published.iter().zip(0..) {
        let id: Uuid = text(said, "id").parse().expect("a UUID");
        let (_, time, member, name, code, city) = rows.iter().find(|row| row.0 == id).expect("it was handled");
        assert_eq!(*time, micros(&text(said, "time")), "{said}");
        assert_eq!((*member, name.as_str(), code.as_str()), (at / 2, format!("Zoë {}", at / 2).as_str(), "75001"));
        let paris = (text(said, "kind") == "dataclass").then_some("Paris");
        assert_eq!(city.as_deref(), paris, "{said}");
    }
    let counted = schema.number("SELECT count(DISTINCT id) FROM counted").await;
    assert_eq!(counted, 2 * MEMBERS, "the domain events that follow");
}

/// What our outbox publishes is read and handled by python-cqrs, as events of both kinds.
async fn we_publish(running: &Running, url: &str) {
    let consumers = ["pydantic", "dataclass"].map(|kind| {
        let arguments = [url, "interop.noted", &format!("python-{kind}"), kind, &MEMBERS.to_string()];
        let consumer = python::script("consume.py").args(arguments).stdout(Stdio::piped()).spawn();
        (kind, consumer.expect("python runs: it was installed"))
    });
    running.app.send(Tell { members: MEMBERS, places: 1 }).await.expect("a commit");
    for (kind, consumer) in consumers {
        let output = tokio::task::spawn_blocking(|| consumer.wait_with_output()).await.expect("no panic");
        let said = python::printed(kind, &output.expect("an end"));
        let of = |handler| said.iter().filter(move |line| line["handler"] == handler);
        let noted: Vec<_> = of("note").map(|line| line["payload"].clone()).collect();
        let expected = |member: i64| json!({"member_id": member, "full_name": format!("Zoë {member}"), "items": [{"postal_code": "75001", "city": null}]});
        assert_eq!(noted.len(), usize::try_from(MEMBERS).expect("few"), "{kind}");
        for member in 0..MEMBERS {
            assert!(noted.contains(&expected(member)), "{kind}: {noted:?}");
            assert!(of("count").any(|line| line["member_id"] == member), "{kind}: the domain events that follow");
        }
        for line in of("note") {
            assert_eq!(
                (text(line, "name"), text(line, "topic")),
                ("member_noted".to_owned(), "interop.noted".to_owned())
            );
            let age =
                std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_micros();
            let age = i64::try_from(age).expect("a time") - micros(&text(line, "time"));
            assert!((0..3_600_000_000).contains(&age), "{kind}: a time in UTC: {line}");
            assert_eq!(text(line, "id").parse::<Uuid>().expect("a UUID").get_version_num(), 7);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn python_cqrs_and_we_exchange_events_of_both_kinds_over_kafka() {
    let servers = tokio::task::block_in_place(|| Private::start(&["kafka"]));
    let url = servers.url("kafka");
    bounded(async {
        let schema = Schema::make().await;
        let running = Running::start(&schema, Broker::url(url), &["relay", "group:interop-members"]).await;
        python_publishes(&schema, url).await;
        we_publish(&running, url).await;
        running.end().await;
        schema.drop().await;
    })
    .await;
}

/// Runs a snippet of the page, with other names.
async fn snippet(url: &str, part: &str, names: &[(&str, &str)]) {
    let named = |text: String, (from, to): &(&str, &str)| text.replace(&format!("\"{from}\""), &format!("\"{to}\""));
    let text = names.iter().fold(PAGE.block("python", part), named);
    let url = url.to_owned();
    let ran = tokio::task::spawn_blocking(move || python::run("snippet.py", &[&url, &text]));
    ran.await.expect("it ran");
}

/// What python-cqrs writes as Protocol Buffers has its id in a header of another name, and its content type in a property.
async fn python_publishes_protobuf(schema: &Schema, url: &str) {
    let url = url.to_owned();
    let publish = move || python::run("publish.py", &[&url, "interop.counted", "protobuf"]);
    let published = tokio::task::spawn_blocking(publish).await.expect("it was published");
    for (said, member) in published.iter().zip(0i64..) {
        let id: Uuid = text(said, "id").parse().expect("a UUID");
        let sql =
            format!("SELECT count(*) FROM noted WHERE id = '{id}' AND member_id = {member} AND full_name = 'counted'");
        while schema.number(&sql).await == 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    assert_eq!(published.len(), usize::try_from(MEMBERS).expect("few"));
}

#[tokio::test(flavor = "multi_thread")]
async fn python_cqrs_and_we_exchange_events_of_both_kinds_over_amqp() {
    let servers = tokio::task::block_in_place(|| Private::start(&["amqp"]));
    let url = servers.url("amqp");
    bounded(async {
        let schema = Schema::make().await;
        let running = Running::start(&schema, Broker::url(url), &["relay", "group:interop-members"]).await;
        for topic in ["interop.joined", "interop.counted"] {
            snippet(url, "topic.bind", &[("members", topic)]).await;
        }
        python_publishes(&schema, url).await;
        python_publishes_protobuf(&schema, url).await;
        for queue in ["python-pydantic", "python-dataclass"] {
            snippet(url, "queue.bind", &[("members", "interop.noted"), ("billing", queue)]).await;
        }
        we_publish(&running, url).await;
        running.end().await;
        schema.drop().await;
    })
    .await;
}
