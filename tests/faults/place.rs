//! A database of a test's own, of each kind that there is a store for.

use std::path::Path;

use cqrs::sqlx::any::AnyPoolOptions;
use cqrs::sqlx::mysql::MySqlConnectOptions;
use cqrs::sqlx::postgres::PgConnectOptions;
use cqrs::sqlx::{self, AnyPool, AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection};

/// Where the database is: on a server that it is created and dropped on, or in a file.
pub enum Place {
    Postgres(PgConnectOptions),
    MySql(MySqlConnectOptions),
    Sqlite,
}

impl Place {
    /// The server of a URL; a file where it says `sqlite`.
    pub fn at(store: &str) -> Self {
        match store.split_once(':').map_or(store, |(scheme, _)| scheme) {
            "sqlite" => Self::Sqlite,
            "mysql" => Self::MySql(store.parse().unwrap()),
            _ => Self::Postgres(store.parse().unwrap()),
        }
    }

    /// Creates a database, in a directory that is the test's own where it is a file, and says where it is.
    pub async fn create(&self, name: &str, directory: &Path) -> String {
        let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
        match self {
            Self::Postgres(server) => {
                server.connect().await.unwrap().execute(create).await.unwrap();
                server.clone().database(name).to_url_lossy().to_string()
            }
            Self::MySql(server) => {
                server.connect().await.unwrap().execute(create).await.unwrap();
                server.clone().database(name).to_url_lossy().to_string()
            }
            Self::Sqlite => format!("sqlite://{}", directory.join("faults.db").display()),
        }
    }

    /// A pool of its database, with tables of ours.
    pub async fn pool(&self, url: &str, tables: &[(&str, &str)]) -> AnyPool {
        sqlx::any::install_default_drivers();
        let url = if matches!(self, Self::Sqlite) { format!("{url}?mode=rwc") } else { url.to_owned() };
        let pool = AnyPoolOptions::new().max_connections(2).connect(&url).await.unwrap();
        let number = match self {
            Self::Postgres(_) => "BIGSERIAL PRIMARY KEY",
            Self::MySql(_) => "BIGINT AUTO_INCREMENT PRIMARY KEY",
            Self::Sqlite => "INTEGER PRIMARY KEY AUTOINCREMENT",
        };
        for (table, columns) in tables {
            let columns = columns.replace("NUMBER", number);
            pool.execute(AssertSqlSafe(format!("CREATE TABLE {table} ({columns})"))).await.unwrap();
        }
        pool
    }

    /// Drops it; a file goes with its directory.
    pub async fn drop(&self, name: &str) {
        match self {
            Self::Postgres(_) => {
                self.postgres().await.execute(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).await.unwrap();
            }
            Self::MySql(server) => {
                let drop = AssertSqlSafe(format!("DROP DATABASE {name}"));
                server.connect().await.unwrap().execute(drop).await.unwrap();
            }
            Self::Sqlite => {}
        }
    }

    /// A connection to the server, beside the database.
    ///
    /// # Panics
    /// It is another server.
    pub async fn postgres(&self) -> PgConnection {
        let Self::Postgres(server) = self else { panic!("not PostgreSQL") };
        PgConnection::connect_with(server).await.unwrap()
    }
}
