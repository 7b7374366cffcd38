//! What every broker must do, by the server that all tests share; and by one that is restarted.

mod shared {
    use std::sync::Arc;

    use cqrs::broker::driver::Driver;
    use cqrs::testing::conformance::broker::Fixture;
    use cqrs::{Broker, Declare};
    use cqrs_tests::kafka;

    struct Shared(String);

    impl Fixture for Shared {
        fn connect(&self) -> Arc<dyn Driver> {
            Broker::url(self.0.clone()).connect().expect("a sound URL")
        }

        fn connect_checking(&self) -> Option<Arc<dyn Driver>> {
            Some(Broker::url(self.0.clone()).declare(Declare::Check).connect().expect("a sound URL"))
        }

        fn too_large(&self) -> Option<usize> {
            Some(1_100_000)
        }
    }

    cqrs::broker_conformance!(Shared(kafka::url()); refuses_what_is_too_large, checks_that_a_topic_is_there);
}

mod restarted {
    use std::pin::Pin;
    use std::sync::{Arc, Mutex};

    use cqrs::Broker;
    use cqrs::broker::driver::Driver;
    use cqrs::testing::conformance::broker::{self, Fixture};
    use cqrs_tests::kafka::KafkaServer;

    struct Own(String, Arc<Mutex<KafkaServer>>);

    impl Fixture for Own {
        fn connect(&self) -> Arc<dyn Driver> {
            Broker::url(self.0.clone()).connect().expect("a sound URL")
        }

        fn restart(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send + '_>>> {
            self.1.lock().expect("a server").stop();
            let server = Arc::clone(&self.1);
            tokio::task::spawn_blocking(move || server.lock().expect("a server").start_again());
            Some(Box::pin(std::future::ready(())))
        }
    }

    #[test]
    fn survives_a_restart() {
        let server = KafkaServer::start();
        let own = Own(server.url(), Arc::new(Mutex::new(server)));
        broker::run(async { own }, broker::survives_a_restart);
    }
}
