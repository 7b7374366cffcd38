//! Cases with members that come and go, and a broker that does.

use tokio::time::sleep;

use super::ledger::{Ledger, Numbered};
use super::scene::{Going, Member, PAUSE, Scene, numbered};
use super::{Fixture, fail};

/// Two members of a group both get messages, and nobody gets a later message of a key while the other holds an earlier one.
///
/// # Panics
/// Panics when the broker does not do that.
pub async fn members_share_a_topic_and_keep_the_order(fixture: &dyn Fixture) {
    let (scene, ledger) = (Scene::new(fixture), Ledger::default());
    let one = Member::start(1, scene.join(16).await, &ledger, Going::Closing);
    let two = Member::start(2, scene.join(16).await, &ledger, Going::Closing);
    let (mut number, mut published) = (0, 0);
    while ledger.of_member(1) == 0 || ledger.of_member(2) == 0 || number < 10 {
        let messages: Vec<_> = (0..50).map(|key| Numbered::new(format!("key {key}"), number)).collect();
        scene.publish_surely(messages, 50).await.unwrap_or_else(|error| fail(format_args!("{error}")));
        number += 1;
        published += 50;
        sleep(PAUSE / 10).await;
    }
    reach(&ledger, published).await;
    one.go().await;
    two.go().await;
    ledger.judge();
    scene.driver.close().await;
}

/// Members join, leave and are dropped while messages are published: each is handled, and those of a key in their order.
///
/// # Panics
/// Panics when the broker does not do that.
pub async fn loses_nothing_when_members_come_and_go(fixture: &dyn Fixture) {
    let (scene, ledger) = (Scene::new(fixture), Ledger::default());
    let one = Member::start(1, scene.join(16).await, &ledger, Going::Closing);
    let messages = numbered(20, 100);
    let count = messages.len();
    let publishing = scene.publish_surely(messages, 20);
    reach(&ledger, count / 10).await;
    let two = Member::start(2, scene.join(16).await, &ledger, Going::Dropped);
    reach(&ledger, count * 3 / 10).await;
    one.go().await;
    reach(&ledger, count / 2).await;
    let three = Member::start(3, scene.join(16).await, &ledger, Going::Closing);
    reach(&ledger, count * 7 / 10).await;
    two.go().await;
    reach(&ledger, count).await;
    publishing.await.unwrap_or_else(|error| fail(format_args!("{error}")));
    three.go().await;
    ledger.judge();
    scene.driver.close().await;
}

/// The broker is restarted while messages are published and handled: each is handled, and those of a key in their order.
///
/// # Panics
/// Panics when the broker does not do that, or the fixture cannot restart it.
pub async fn survives_a_restart(fixture: &dyn Fixture) {
    let (scene, ledger) = (Scene::new(fixture), Ledger::default());
    let member = Member::start(1, scene.join(16).await, &ledger, Going::Closing);
    let messages = numbered(20, 50);
    let count = messages.len();
    let publishing = scene.publish_surely(messages, 20);
    reach(&ledger, count / 4).await;
    match fixture.restart() {
        Some(restart) => restart.await,
        None => fail(format_args!("the fixture cannot restart its broker: leave the case out")),
    }
    reach(&ledger, count).await;
    publishing.await.unwrap_or_else(|error| fail(format_args!("{error}")));
    member.go().await;
    ledger.judge();
    scene.driver.close().await;
}

/// Waits until so many different messages are handled.
async fn reach(ledger: &Ledger, count: usize) {
    while ledger.count() < count {
        sleep(PAUSE / 10).await;
    }
}
