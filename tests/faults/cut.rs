//! Connections that end after a commit was sent and before its answer: nobody can know what became of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use cqrs_tests::proxy::Proxy;
use cqrs_tests::services;

use crate::place::Place;
use crate::world::{ALL, World};

/// Each twelfth commit is the last that its connection brings to the server, in whose language it is said.
async fn commits_unanswered(store: &str, broker: &str, commit: &'static [u8]) {
    let mut world = World::new(store, broker, 40).await;
    world.stride = 50;
    let place = Place::at(&world.store);
    let proxy = Proxy::to(place.address());
    world.store = place.by_way_of(proxy.address());
    let (seen, cut) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let counted = Arc::clone(&cut);
    proxy.cut_after(move |piece| {
        let commits = piece.windows(commit.len()).any(|word| word == commit);
        let cuts = commits && seen.fetch_add(1, Ordering::Relaxed) % 12 == 11;
        counted.fetch_add(u32::from(cuts), Ordering::Relaxed);
        cuts
    });
    let process = world.start(ALL, None);
    world.arrived().await;
    process.stop(&world).await;
    world.assert_whole().await;
    let cut = cut.load(Ordering::Relaxed);
    assert!(cut >= 5, "only {cut} were cut");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g3_g9_commits_whose_answers_are_lost_double_nothing_and_lose_nothing_on_postgresql() {
    commits_unanswered(&services::postgres_url(), &services::kafka_url(), b"COMMIT\0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g3_g9_commits_whose_answers_are_lost_double_nothing_and_lose_nothing_on_mariadb() {
    // A packet of six letters and what is to be done with them: a statement.
    commits_unanswered(&services::mysql_url(), &services::amqp_url(), b"\x07\0\0\0\x03COMMIT").await;
}
