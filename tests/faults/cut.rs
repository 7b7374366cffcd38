//! Connections that end after a commit was sent and before its answer: nobody can know what became of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use cqrs::sqlx::ConnectOptions;
use cqrs::sqlx::postgres::{PgConnectOptions, PgSslMode};
use cqrs_tests::proxy::Proxy;
use cqrs_tests::services;

use crate::world::{ALL, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g3_g9_commits_whose_answers_are_lost_double_nothing_and_lose_nothing() {
    let mut world = World::new(&services::postgres_url(), &services::kafka_url(), 40).await;
    world.stride = 50;
    let own: PgConnectOptions = world.store.parse().unwrap();
    let proxy = Proxy::to(SocketAddr::new(own.get_host().parse().unwrap(), own.get_port()));
    let address = proxy.address();
    let own = own.host(&address.ip().to_string()).port(address.port()).ssl_mode(PgSslMode::Disable);
    world.store = own.to_url_lossy().to_string();
    let (seen, cut) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let counted = Arc::clone(&cut);
    proxy.cut_after(move |piece| {
        let cuts = piece.windows(7).any(|word| word == b"COMMIT\0") && seen.fetch_add(1, Ordering::Relaxed) % 12 == 11;
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
