//! Brings the schema up to date: ours first, the user's after it.

use std::borrow::Cow;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{SqlSafeStr, SqliteConnection};

use super::SqliteStore;
use crate::store::migrations::Whose;
use crate::store::{StoreError, StoreErrorKind};

/// Our own: `_sqlx_migrations` is the user's, and two lists of migrations in one table contradict one another.
const TABLE: &str = "_cqrs_migrations";

const MIGRATIONS: [(i64, &str, &str); 8] = [
    (1, "messages", include_str!("migrations/0001_messages.sql")),
    (2, "idempotent", include_str!("migrations/0002_idempotent.sql")),
    (3, "doubted", include_str!("migrations/0003_doubted.sql")),
    (4, "doubted_keys", include_str!("migrations/0004_doubted_keys.sql")),
    (5, "operations", include_str!("migrations/0005_operations.sql")),
    (6, "relay", include_str!("migrations/0006_relay.sql")),
    (7, "published", include_str!("migrations/0007_published.sql")),
    (8, "sagas", include_str!("migrations/0008_sagas.sql")),
];

/// How often migrations ask for the write lock before they give up; each time they wait for the busy timeout. Another
/// instance that starts at the same time may have long migrations of its own to run.
const PATIENCE: usize = 12;

/// Our migrations.
pub(super) fn migrator() -> Migrator {
    let migrations = MIGRATIONS.map(|(version, name, sql)| {
        Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, sql.into_sql_str(), false)
    });
    let mut migrator = Migrator::with_migrations(migrations.into());
    migrator.dangerous_set_table_name(TABLE);
    migrator
}

impl SqliteStore {
    pub(super) async fn bring_up_to_date(&self) -> Result<(), StoreError> {
        self.apply(&migrator(), Whose::Ours).await?;
        match &self.migrator {
            Some(migrator) => self.apply(migrator, Whose::Users).await,
            None => Ok(()),
        }
    }

    /// Runs migrations under the write lock: sqlx has no lock for SQLite, and two processes that start together would
    /// both find the same migration missing. Within our transaction sqlx gives each migration a savepoint.
    async fn apply(&self, migrator: &Migrator, whose: Whose) -> Result<(), StoreError> {
        // A migration that asks to run outside of a transaction gets what it asks for, without that protection.
        if migrator.iter().any(|migration| migration.no_tx) {
            let mut connection = self.named(self.writer.acquire().await)?;
            let end = migrator.run_direct(None, &mut *connection, false).await;
            return self.judge(end, migrator, whose, &mut connection).await;
        }
        let mut tx = self.write_patiently().await?;
        let end = migrator.run_direct(None, &mut *tx, false).await;
        self.judge(end, migrator, whose, &mut tx).await?;
        tx.commit().await
    }

    async fn write_patiently(&self) -> Result<crate::unit::Tx<sqlx::Sqlite>, StoreError> {
        for _ in 1..PATIENCE {
            match self.write().await {
                Err(error) if error.kind() == StoreErrorKind::Busy => {
                    tracing::info!(place = %self.place, "waiting for the write lock, to bring the schema up to date");
                }
                end => return end,
            }
        }
        self.write().await
    }

    async fn judge(
        &self,
        end: Result<(), MigrateError>,
        migrator: &Migrator,
        whose: Whose,
        connection: &mut SqliteConnection,
    ) -> Result<(), StoreError> {
        let error = match end {
            Ok(()) => return Ok(()),
            Err(MigrateError::Execute(error)) => return Err(self.place.explain(error)),
            Err(error) => error,
        };
        let (kind, what) = match &error {
            MigrateError::VersionMissing(missing) => {
                let known = migrator.iter().map(|migration| migration.version).max().unwrap_or(0);
                let applied = latest(connection, &migrator.table_name).await.unwrap_or(*missing);
                (StoreErrorKind::SchemaNewer, whose.newer(*missing, applied, known))
            }
            MigrateError::VersionMismatch(version) => (StoreErrorKind::Configuration, whose.changed(*version)),
            MigrateError::ExecuteMigration(_, version) => (
                StoreErrorKind::Database,
                format!("{} migration {version} failed, and nothing of it stays", whose.possessive()),
            ),
            _ => (StoreErrorKind::Database, format!("{} migrations failed", whose.possessive())),
        };
        Err(StoreError::new(kind, format!("{}: {what}", self.place)).with_source(error))
    }
}

async fn latest(connection: &mut SqliteConnection, table: &str) -> Option<i64> {
    let sql = sqlx::AssertSqlSafe(format!("SELECT MAX(version) FROM {table}"));
    sqlx::query_scalar(sql).fetch_one(connection).await.ok()
}
