//! What every broker must do, by the server that all tests share; and by one that is restarted.

mod shared {
    use std::sync::Arc;

    use cqrs::Broker;
    use cqrs::broker::driver::Driver;
    use cqrs::testing::conformance::broker::Fixture;
    use cqrs_tests::rabbit;

    struct Shared(String);

    impl Fixture for Shared {
        fn connect(&self) -> Arc<dyn Driver> {
            Broker::url(self.0.clone()).connect().expect("a sound URL")
        }
    }

    cqrs::broker_conformance!(Shared(rabbit::url()));
}

mod restarted {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use cqrs::Broker;
    use cqrs::broker::driver::Driver;
    use cqrs::testing::conformance::broker::{self, Fixture};
    use cqrs_tests::rabbit::RabbitServer;

    struct Own(String, Arc<Mutex<RabbitServer>>);

    impl Fixture for Own {
        fn connect(&self) -> Arc<dyn Driver> {
            Broker::url(self.0.clone()).connect().expect("a sound URL")
        }

        fn restart(&self) -> Option<std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>>> {
            let server = Arc::clone(&self.1);
            let (gone, has_gone) = tokio::sync::oneshot::channel();
            tokio::task::spawn_blocking(move || {
                let mut server = server.lock().expect("a server");
                server.end();
                let _ = gone.send(());
                server.start_again();
            });
            Some(Box::pin(async { drop(has_gone.await) }))
        }

        fn patience(&self) -> Duration {
            Duration::from_mins(4)
        }
    }

    #[test]
    fn survives_a_restart() {
        let server = RabbitServer::start();
        let own = Own(server.url(), Arc::new(Mutex::new(server)));
        broker::run(async { own }, broker::survives_a_restart);
    }
}
