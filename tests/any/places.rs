//! A place of its own for a test's store: a file, a schema or a database.

use std::env;

use cqrs::sqlx::{AssertSqlSafe, ConnectOptions, Executor};
use cqrs::sqlx::{mysql::MySqlConnectOptions, postgres::PgConnectOptions};

/// Where a store is.
pub(crate) enum Place {
    Sqlite(tempfile::TempDir),
    Postgres(String),
    MySql(String),
}

/// The server of a kind: `CQRS_TEST_POSTGRES_URL`, `CQRS_TEST_MYSQL_URL`.
fn server(kind: &str) -> String {
    let name = format!("CQRS_TEST_{}_URL", kind.to_uppercase());
    env::var(&name).unwrap_or_else(|_| {
        panic!("`{name}` names no server for tests: start one with `tests/services up {kind}`, and load what `tests/services env` prints")
    })
}

impl Place {
    pub(crate) async fn new(kind: &str) -> Self {
        let name = format!("any_{}", uuid::Uuid::new_v4().simple());
        let place = match kind {
            "sqlite" => return Self::Sqlite(tempfile::tempdir().unwrap()),
            "postgres" => Self::Postgres(name.clone()),
            _ => Self::MySql(name.clone()),
        };
        place.tell("CREATE").await;
        place
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::Sqlite(dir) => format!("sqlite://{}", dir.path().join("any.db").display()),
            Self::Postgres(name) => format!("{}?options[search_path]={name}", server("postgres")),
            Self::MySql(name) => mysql().database(name).to_url_lossy().to_string(),
        }
    }

    pub(crate) async fn remove(self) {
        self.tell("DROP").await;
    }

    async fn tell(&self, verb: &str) {
        match self {
            Self::Sqlite(_) => {}
            Self::Postgres(name) => {
                let options: PgConnectOptions = server("postgres").parse().unwrap();
                let cascade = if verb == "DROP" { " CASCADE" } else { "" };
                let sql = AssertSqlSafe(format!("{verb} SCHEMA {name}{cascade}"));
                options.connect().await.unwrap().execute(sql).await.unwrap();
            }
            Self::MySql(name) => {
                let sql = AssertSqlSafe(format!("{verb} DATABASE {name}"));
                mysql().connect().await.unwrap().execute(sql).await.unwrap();
            }
        }
    }
}

fn mysql() -> MySqlConnectOptions {
    server("mysql").parse().unwrap()
}
