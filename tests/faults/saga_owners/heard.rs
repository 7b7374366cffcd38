//! Sagas that wait for notification events, which come over a broker: each twice, and not always when it is waited for. Their processes
//! are killed while they keep what comes, tell those that wait for it, and take that up.

use std::num::NonZeroU16;

use cqrs::__private::FailPoint;
use cqrs::broker::driver::{Driver as _, Outgoing};
use cqrs::prelude::*;
use cqrs::store::Any;
use cqrs::{BoxError, Delivery, SagaCall, SagaId};
use cqrs_tests::services;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::awaited::{Heard, untold};
use super::ground::{Ground, Started};
use super::program::Break;
use super::shapes::{Story, Variant, note, note_elsewhere, to_the_end};
use crate::named::Named;
use crate::world::{LOOK, PATIENCE, for_all};

/// An answer. Nobody publishes it from here: it is another service's.
#[derive(NotificationEvent, Debug, Clone, Serialize, Deserialize)]
#[event(name = "replied", topic = "replies", key = saga)]
struct Replied {
    saga: String,
    number: i32,
}

#[saga(name = "inquiry", steps = [i_one, (i_heard, i_call), i_again, i_last])]
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Inquiry {
    saga: String,
    #[serde(flatten)]
    story: Story,
    #[serde(default)]
    numbers: Vec<i32>,
}

impl Apply<Heard> for Inquiry {
    fn apply(&mut self, Heard(step, number): Heard) {
        self.story.told.push(step);
        self.numbers.extend(number);
    }
}

untold!(Inquiry, i_one, i_one_back);
untold!(Inquiry, i_heard, i_heard_back);
untold!(Inquiry, i_again, i_again_back);

#[saga_step(compensate = i_one_back)]
async fn i_one(cx: &mut Inquiry, tx: &mut Tx<Any>, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
    note(tx, "i_one", &key, meta).await?;
    cx.story.tell("i_one")
}

#[saga_step(awaits = Replied, by = saga, compensate = i_heard_back)]
async fn i_heard(cx: &Inquiry, e: &Replied, tx: &mut Tx<Any>, key: StepKey, meta: &Meta) -> Result<Heard, BoxError> {
    note(tx, "i_heard", &key, meta).await?;
    cx.story.clone().tell("i_heard").map(|()| Heard("i_heard".to_owned(), Some(e.number)))
}

#[saga_step(compensate = i_call_back)]
async fn i_call(cx: &Inquiry, key: StepKey, meta: &Meta) -> Result<Heard, BoxError> {
    note_elsewhere("i_call", &key, meta).await?;
    cx.story.clone().tell("i_call").map(|()| Heard("i_call".to_owned(), None))
}

#[compensation(retry(max = 3, first = "20ms"))]
async fn i_call_back(cx: &mut Inquiry, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
    note_elsewhere("i_call", &key, meta).await?;
    cx.story.tell("undo i_call")
}

#[saga_step(awaits = Replied, by = saga, compensate = i_again_back)]
async fn i_again(cx: &mut Inquiry, e: &Replied, tx: &mut Tx<Any>, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
    note(tx, "i_again", &key, meta).await?;
    cx.numbers.push(e.number);
    cx.story.tell("i_again")
}

/// Each of its steps has heard an answer of its own, or it does not come to its end.
#[saga_step(compensate = none)]
async fn i_last(cx: &mut Inquiry, tx: &mut Tx<Any>, key: StepKey, meta: &Meta) -> Result<(), BoxError> {
    cx.numbers.sort_unstable();
    if cx.numbers != [1, 2] {
        return Err(format!("its steps have heard {:?}", cx.numbers).into());
    }
    note(tx, "i_last", &key, meta).await?;
    cx.story.tell("i_last")
}

const INQUIRY: Variant = to_the_end(
    "inquiry",
    &[&["i_one"], &["i_heard", "i_call"], &["i_again"], &["i_last"]],
    &["i_one", "i_heard", "i_call", "i_again", "i_last"],
);

const INQUIRY_BACK: Variant = Variant {
    name: "inquiry_back",
    fails: "i_again",
    phase: "compensated",
    forward: &[&["i_one"], &["i_heard", "i_call"]],
    back: &["i_call", "i_heard", "i_one"],
    told: &["i_one", "i_heard", "i_call"],
    ..INQUIRY
};

pub const ALL: [&Variant; 2] = [&INQUIRY, &INQUIRY_BACK];

/// One of them, to be started.
pub fn inquiry(app: &App, story: Story, id: &str) -> SagaCall<impl cqrs::__private::SagaContext + use<>> {
    app.saga(Inquiry { saga: id.to_owned(), story, numbers: Vec::new() }).id(SagaId::from(id.to_owned()))
}

/// The parts of a process that takes up what nobody holds, and keeps what comes.
const HEARS: &str = "sagas,work,group:inquiry";

const WAITING: &str = "SELECT COUNT(*) FROM cqrs_saga_steps JOIN cqrs_sagas ON cqrs_sagas.id = cqrs_saga_steps.saga
    WHERE step = 'i_heard' AND progress = 'awaiting' AND owner IS NULL";

/// What a process passes from when something has come, and how often before it dies.
const POINTS: [(FailPoint, u32); 9] = [
    (FailPoint::ConsumerReceived, 2),
    (FailPoint::AttemptMarked, 2),
    (FailPoint::AttemptHandled, 2),
    (FailPoint::ConsumerSettling, 2),
    (FailPoint::ConsumerSettled, 2),
    (FailPoint::SagaTold, 1),
    (FailPoint::SagaTakenUp, 2),
    (FailPoint::SagaCame, 1),
    (FailPoint::SagaCame, 9),
];

/// What another service publishes: each answer twice, as one that does not know whether it has arrived.
async fn answer(broker: &Named, sagas: &[Started]) {
    for (_, saga) in sagas {
        for number in [1, 2] {
            let body = json!({
                "payload": { "saga": saga, "number": number }, "event_id": Uuid::now_v7(),
                "event_timestamp": "2026-01-02T03:04:05Z", "event_name": "replied", "topic": "replies",
            });
            let delivery = Delivery::new("replies", body.to_string()).key(saga.as_str());
            for _ in 0..2 {
                published(broker, &delivery).await;
            }
        }
    }
}

/// Once there is who takes it.
async fn published(broker: &Named, delivery: &Delivery) {
    let publishing = async {
        while broker.publish(vec![Outgoing { id: Uuid::now_v7(), delivery: delivery.clone() }]).await[0].is_err() {
            tokio::time::sleep(LOOK / 2).await;
        }
    };
    tokio::time::timeout(PATIENCE, publishing).await.expect("the broker takes it");
}

fn six(name: &str) -> Vec<Started> {
    (0..6).map(|number| (ALL[number % 2], format!("{name}-{number}"))).collect()
}

async fn dies_at((point, passes): (FailPoint, u32), store: &str, broker: &str) {
    let mut ground = Ground::new(store).await;
    ground.use_broker(broker);
    let publisher = Broker::url(broker).partitions(NonZeroU16::new(4).unwrap()).connect().unwrap();
    let publisher = Named { broker: publisher, name: ground.on_broker(), most: usize::MAX };
    // Those that wait when something comes, those for which it came before they began, and those to which it comes when all are well.
    let (waiting, early, late) = (six("waiting"), six("early"), six("late"));
    let mut process = ground.start(HEARS, &waiting, Some((point.name(), passes, Break::Kill)));
    ground.until("they wait", async || ground.count(WAITING).await >= 6).await;
    answer(&publisher, &waiting).await;
    answer(&publisher, &early).await;
    assert!(ground.dies(&mut process).await, "nobody passes {}", point.name());
    let started = [waiting, early, late.clone()].concat();
    let process = ground.start(HEARS, &started, None);
    ground.until("they wait", async || ground.count(&format!("{WAITING} AND id LIKE 'late%'")).await >= 6).await;
    answer(&publisher, &late).await;
    ground.ended(started.len()).await;
    // By each of the two steps that wait for it.
    let kept = i64::try_from(4 * started.len()).unwrap();
    ground.until("all is kept", async || ground.count("SELECT COUNT(*) FROM cqrs_saga_events").await >= kept).await;
    ground.stop(process).await;
    assert_eq!(ground.count("SELECT COUNT(*) FROM cqrs_saga_events").await, kept, "{}", ground.log());
    ground.assert_ended(&started).await;
    publisher.close().await;
    ground.end().await;
}

#[test]
fn g8_g15_what_comes_over_nats_for_sagas_is_heard_once_though_who_keeps_it_dies_on_postgresql() {
    for_all(&POINTS, async |point| dies_at(point, &services::postgres_url(), &services::nats_url()).await);
}

#[test]
fn g8_g15_what_comes_over_rabbitmq_for_sagas_is_heard_once_though_who_keeps_it_dies_on_mariadb() {
    let points = [(FailPoint::ConsumerSettling, 2), (FailPoint::SagaTold, 1), (FailPoint::SagaCame, 1)];
    for_all(&points, async |point| dies_at(point, &services::mysql_url(), &services::amqp_url()).await);
}

#[test]
fn g8_g15_what_comes_over_kafka_for_sagas_is_heard_once_though_who_keeps_it_dies_on_sqlite() {
    // Whoever keeps an event there wakes those that wait for it: nobody tells them afterwards.
    let points = POINTS.into_iter().filter(|(point, _)| *point != FailPoint::SagaTold);
    for_all(&points.collect::<Vec<_>>(), async |point| dies_at(point, "sqlite", &services::kafka_url()).await);
}
