//! Brings the schema up to date: ours first, the user's after it.

use std::borrow::Cow;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, MySqlConnection, SqlSafeStr};

use super::MySqlStore;
use crate::store::migrations::Whose;
use crate::store::{StoreError, StoreErrorKind};

const MIGRATIONS: [(i64, &str, &str); 4] = [
    (1, "messages", include_str!("migrations/0001_messages.sql")),
    (2, "operations", include_str!("migrations/0002_operations.sql")),
    (3, "published", include_str!("migrations/0003_published.sql")),
    (4, "sagas", include_str!("migrations/0004_sagas.sql")),
];

/// The lock is the server's, not the database's: so it is named after the database. A name has 64 characters at most.
const LOCK: &str = "SELECT GET_LOCK(CONCAT('cqrs_migrate_', LEFT(SHA2(CONCAT(DATABASE(), '/', ?), 256), 40)), ?)";

/// How many seconds somebody waits for the lock before it says so, and asks again.
const ASK_AGAIN: u32 = 10;

/// How often it asks: another instance that starts at the same time may have long migrations of its own to run.
const PATIENCE: usize = 30;

impl MySqlStore {
    pub(super) async fn bring_up_to_date(&self) -> Result<(), StoreError> {
        let mut connection = self.named(self.pool.acquire().await)?;
        // A lock is the connection's: whatever becomes of this future, it ends with it.
        connection.close_on_drop();
        self.lock(&mut connection).await?;
        self.apply_ours(&mut connection).await?;
        if let Some(migrator) = &self.migrator {
            let end = migrator.run_direct(None, &mut *connection, false).await;
            self.judge(end, migrator, Whose::Users, &mut connection).await?;
        }
        Ok(())
    }

    /// Waits for its turn: DDL is in no transaction, and two processes that start together would both run the same.
    async fn lock(&self, connection: &mut MySqlConnection) -> Result<(), StoreError> {
        for _ in 0..PATIENCE {
            let asked = sqlx::query_scalar(LOCK).bind(self.names.bookkeeping()).bind(ASK_AGAIN);
            let got: Option<i64> = self.named(asked.fetch_one(&mut *connection).await)?;
            if got == Some(1) {
                return Ok(());
            }
            tracing::info!(place = %self.place, "waiting for another process that brings the schema up to date");
        }
        let what = format!("{}: another process has been migrating the database for too long", self.place);
        Err(StoreError::new(StoreErrorKind::Busy, what))
    }

    /// A migration of ours that was cut off in the middle is begun anew: each of its steps can be done again.
    async fn apply_ours(&self, connection: &mut MySqlConnection) -> Result<(), StoreError> {
        let migrator = self.ours();
        if self.named(has_table(connection, &migrator.table_name).await)? {
            let text = format!("DELETE FROM {} WHERE success = FALSE", migrator.table_name);
            self.named(sqlx::query(AssertSqlSafe(text)).execute(&mut *connection).await)?;
        }
        let end = migrator.run_direct(None, &mut *connection, false).await;
        self.judge(end, &migrator, Whose::Ours, connection).await
    }

    /// Our migrations, with the names of this store.
    pub(super) fn ours(&self) -> Migrator {
        let migrations = MIGRATIONS.map(|(version, name, sql)| {
            let sql = AssertSqlSafe(self.names.text(sql)).into_sql_str();
            Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, sql, false)
        });
        let mut migrator = Migrator::with_migrations(migrations.into());
        // Our own: `_sqlx_migrations` is the user's, and two lists of migrations in one table contradict one another.
        migrator.dangerous_set_table_name(self.names.bookkeeping());
        migrator.set_locking(false);
        migrator
    }

    async fn judge(
        &self,
        end: Result<(), MigrateError>,
        migrator: &Migrator,
        whose: Whose,
        connection: &mut MySqlConnection,
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
            MigrateError::Dirty(version) => (StoreErrorKind::Configuration, whose.cut_off(*version)),
            MigrateError::ExecuteMigration(_, version) => (
                StoreErrorKind::Database,
                format!(
                    "{} migration {version} failed; what it did before stays, since this database has no transactions \
                     for DDL",
                    whose.possessive()
                ),
            ),
            _ => (StoreErrorKind::Database, format!("{} migrations failed", whose.possessive())),
        };
        Err(StoreError::new(kind, format!("{}: {what}", self.place)).with_source(error))
    }
}

async fn has_table(connection: &mut MySqlConnection, table: &str) -> Result<bool, sqlx::Error> {
    let found: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?",
    )
    .bind(table)
    .fetch_one(connection)
    .await?;
    Ok(found > 0)
}

async fn latest(connection: &mut MySqlConnection, table: &str) -> Option<i64> {
    let sql = AssertSqlSafe(format!("SELECT MAX(version) FROM {table}"));
    sqlx::query_scalar(sql).fetch_one(connection).await.ok()
}
