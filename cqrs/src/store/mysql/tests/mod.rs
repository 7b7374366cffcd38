//! What the store promises, on a real server.

mod conformance;

use std::env;

use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, MySqlConnection};
use uuid::Uuid;

use super::MySqlStore;
use crate::store::Store;
use crate::store::driver::Driver;

/// A database that goes with the test.
struct Place {
    url: String,
    name: String,
}

fn server() -> MySqlConnectOptions {
    let url = env::var("CQRS_TEST_MYSQL_URL").expect(
        "CQRS_TEST_MYSQL_URL says which MySQL or MariaDB server to test with, `mysql://user:password@host:3306`: \
         start one by `tests/services up`, and say `eval \"$(tests/services env)\"`",
    );
    url.parse().unwrap()
}

/// A connection to the server, to look on.
async fn onlooker() -> MySqlConnection {
    server().connect().await.unwrap()
}

impl Place {
    async fn new() -> Self {
        let name = format!("cqrs_test_{}", Uuid::new_v4().simple());
        onlooker().await.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
        let options = server().database(&name);
        Self { url: options.to_url_lossy().to_string(), name }
    }

    fn store(&self) -> Store {
        Store::url(self.url.as_str())
    }

    async fn open(&self) -> MySqlStore {
        let store = MySqlStore::connect(self.store()).await.unwrap();
        store.migrate().await.unwrap();
        store
    }
}

/// Drops the database on a thread of its own: a destructor cannot wait.
impl Drop for Place {
    fn drop(&mut self) {
        let name = self.name.clone();
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async {
                let Ok(mut connection) = server().connect().await else { return };
                let _ = connection.execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name}"))).await;
            });
        });
        let _ = dropping.join();
    }
}
