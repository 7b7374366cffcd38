//! A database of a test's own, of each kind that there is a store for.

use std::net::SocketAddr;
use std::path::Path;

use cqrs::sqlx::any::AnyPoolOptions;
use cqrs::sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use cqrs::sqlx::postgres::{PgConnectOptions, PgSslMode};
use cqrs::sqlx::{self, AnyConnection, AnyPool, AssertSqlSafe, ConnectOptions, Connection, Executor};

/// `faults`, as PostgreSQL keeps it, hashed once: the 4096 times that are usual, with each connection, are most of what a process
/// without optimization does at its start.
const PASSWORD: &str = "SCRAM-SHA-256$1:ZmF1bHRzIG9mIGEgdGVzdA==$IzjB+OThDWzsz6VItStYv3mWW3rs9/xlllmIVke8oMo=:vmTz6vPi1FAhn+oWVOnhnRB55z86aw/Oiovscg3c7HA=";

/// Where the database is: on a server that it is created and dropped on, or in a file.
#[derive(Clone)]
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

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        let (host, port) = match self {
            Self::Postgres(server) => (server.get_host(), server.get_port()),
            Self::MySql(server) => (server.get_host(), server.get_port()),
            Self::Sqlite => panic!("a file has no address"),
        };
        SocketAddr::new(host.parse().unwrap(), port)
    }

    /// The same by way of another address, where everybody can read what is said.
    pub fn by_way_of(&self, address: SocketAddr) -> String {
        let (host, port) = (address.ip().to_string(), address.port());
        let url = match self.clone() {
            Self::Postgres(server) => server.host(&host).port(port).ssl_mode(PgSslMode::Disable).to_url_lossy(),
            Self::MySql(server) => server.host(&host).port(port).ssl_mode(MySqlSslMode::Disabled).to_url_lossy(),
            Self::Sqlite => panic!("a file has no address"),
        };
        url.to_string()
    }

    /// Creates a database, in a directory that is the test's own where it is a file, and says where it is.
    pub async fn create(&self, name: &str, directory: &Path) -> String {
        let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
        match self {
            Self::Postgres(server) => {
                let mut own = server.connect().await.unwrap();
                own.execute(AssertSqlSafe(format!("CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'"))).await.unwrap();
                own.execute(AssertSqlSafe(format!("CREATE DATABASE {name} OWNER {name}"))).await.unwrap();
                let owner = server.clone().username(name).password("faults").ssl_mode(PgSslMode::Disable);
                owner.database(name).to_url_lossy().to_string()
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

    /// What a column is cast to, to be printed.
    pub const fn text(&self) -> &'static str {
        if matches!(self, Self::MySql(_)) { "CHAR" } else { "TEXT" }
    }

    /// Drops it; a file goes with its directory.
    pub async fn drop(&self, name: &str) {
        match self {
            Self::Postgres(server) => {
                let mut own = server.connect().await.unwrap();
                own.execute(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).await.unwrap();
                own.execute(AssertSqlSafe(format!("DROP ROLE {name}"))).await.unwrap();
            }
            Self::MySql(server) => {
                let drop = AssertSqlSafe(format!("DROP DATABASE {name}"));
                server.connect().await.unwrap().execute(drop).await.unwrap();
            }
            Self::Sqlite => {}
        }
    }

    /// Ends the connections to the database, by one to its server, or by one to itself, which stays.
    pub async fn disconnect(&self, name: &str, own: &mut AnyConnection) {
        if matches!(self, Self::Postgres(_)) {
            let end = format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()"
            );
            own.execute(AssertSqlSafe(end)).await.unwrap();
            return;
        }
        let of_it = format!(
            "SELECT CAST(id AS SIGNED) FROM information_schema.processlist WHERE db = '{name}' AND id <> CONNECTION_ID()"
        );
        let ids: Vec<i64> = sqlx::query_scalar(AssertSqlSafe(of_it)).fetch_all(&mut *own).await.unwrap();
        for id in ids {
            // It may have gone by itself.
            let _ = own.execute(AssertSqlSafe(format!("KILL {id}"))).await;
        }
    }

    /// How many others are connected to the database, as one says that is.
    pub async fn others(&self, own: &mut AnyConnection) -> i64 {
        let count = match self {
            Self::Postgres(_) => {
                "SELECT COUNT(*) FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            }
            _ => "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()",
        };
        sqlx::query_scalar(count).fetch_one(own).await.unwrap()
    }

    /// Has whoever connects from now on write nothing, or write again.
    pub async fn set_read_only(&self, name: &str, is_so: bool) {
        match self {
            Self::Postgres(server) => {
                let setting = format!("ALTER DATABASE {name} SET default_transaction_read_only = {is_so}");
                server.connect().await.unwrap().execute(AssertSqlSafe(setting)).await.unwrap();
            }
            Self::MySql(server) => {
                let setting = format!("SET GLOBAL tx_read_only = {is_so}");
                server.connect().await.unwrap().execute(AssertSqlSafe(setting)).await.unwrap();
            }
            Self::Sqlite => panic!("a file has no settings"),
        }
    }

    /// One more connection to the server, if there is one.
    pub async fn connection(&self) -> Result<AnyConnection, sqlx::Error> {
        let url = match self {
            Self::Postgres(server) => server.to_url_lossy(),
            Self::MySql(server) => server.to_url_lossy(),
            Self::Sqlite => panic!("a file takes any number of them"),
        };
        AnyConnection::connect(url.as_str()).await
    }

    /// One more connection to the database, which its owner has no part in.
    pub async fn inside(&self, name: &str) -> AnyConnection {
        let url = match self {
            Self::Postgres(server) => server.clone().database(name).to_url_lossy(),
            Self::MySql(server) => server.clone().database(name).to_url_lossy(),
            Self::Sqlite => panic!("a file takes any number of them"),
        };
        AnyConnection::connect(url.as_str()).await.unwrap()
    }
}
