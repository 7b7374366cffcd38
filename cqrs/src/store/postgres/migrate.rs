//! Brings the schema up to date: ours first, the user's after it.

use std::borrow::Cow;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, PgConnection, SqlSafeStr};

use super::{PostgresStore, fault};
use crate::store::migrations::Whose;
use crate::store::{StoreError, StoreErrorKind};

const MIGRATIONS: [(i64, &str, &str); 4] = [
    (1, "messages", include_str!("migrations/0001_messages.sql")),
    (2, "operations", include_str!("migrations/0002_operations.sql")),
    (3, "published", include_str!("migrations/0003_published.sql")),
    (4, "sagas", include_str!("migrations/0004_sagas.sql")),
];

/// One at a time brings a schema up to date. The lock goes with the transaction, so that it works behind a pooler, too.
const LOCK: &str = "SELECT pg_advisory_xact_lock($1)";

impl PostgresStore {
    /// Our migrations, with the names of this store. They are applied in a table of our own: `_sqlx_migrations` is the user's, and
    /// two lists of migrations in one table contradict one another.
    pub(super) fn migrations(&self) -> Migrator {
        let migrations = MIGRATIONS.map(|(version, name, sql)| {
            let sql = AssertSqlSafe(self.names.text(sql)).into_sql_str();
            Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, sql, false)
        });
        let mut migrator = Migrator::with_migrations(migrations.into());
        migrator.set_locking(false);
        migrator.dangerous_set_table_name(self.names.bookkeeping());
        if let Some(schema) = self.names.schema() {
            migrator.create_schema(format!("\"{schema}\""));
        }
        migrator
    }

    pub(super) async fn bring_up_to_date(&self) -> Result<(), StoreError> {
        self.apply(&self.migrations(), Whose::Ours).await?;
        match &self.migrator {
            Some(migrator) => self.apply(migrator, Whose::Users).await,
            None => Ok(()),
        }
    }

    /// Runs migrations in a transaction that holds a lock. sqlx's own lock belongs to the session, which a pooler may give to
    /// somebody else. Within our transaction sqlx gives each migration a savepoint.
    async fn apply(&self, migrator: &Migrator, whose: Whose) -> Result<(), StoreError> {
        // A migration that asks to run outside of a transaction gets what it asks for, with sqlx's lock.
        if leaves_transaction(migrator) {
            let mut connection = self.pool.acquire().await?;
            let end = migrator.run_direct(None, &mut *connection, false).await;
            return self.judge(end, migrator, whose, &mut connection).await;
        }
        let mut tx = self.write().await?;
        sqlx::query(LOCK).bind(self.names.lock(&["migrate"])).execute(&mut *tx).await?;
        let end = migrator.run_direct(None, &mut *tx, false).await;
        let end = match self.judge(end, migrator, whose, &mut tx).await {
            Ok(()) => return tx.commit().await,
            Err(error) => error,
        };
        // At once: others wait for the lock.
        if let Some(tx) = tx.into_inner() {
            drop(tx.rollback().await);
        }
        Err(end)
    }

    async fn judge(
        &self,
        end: Result<(), MigrateError>,
        migrator: &Migrator,
        whose: Whose,
        connection: &mut PgConnection,
    ) -> Result<(), StoreError> {
        let error = match end {
            Ok(()) => return Ok(()),
            Err(MigrateError::Execute(error)) => return Err(error.into()),
            Err(error) => error,
        };
        let (kind, what) = match &error {
            MigrateError::VersionMissing(missing) => {
                let known = migrator.iter().map(|migration| migration.version).max().unwrap_or(0);
                let applied = latest(connection, &migrator.table_name).await.unwrap_or(*missing);
                (StoreErrorKind::SchemaNewer, whose.newer(*missing, applied, known))
            }
            MigrateError::VersionMismatch(version) => (StoreErrorKind::Configuration, whose.changed(*version)),
            MigrateError::ExecuteMigration(error, version) => {
                (kind_of(error), format!("{} migration {version} failed, and nothing of it stays", whose.possessive()))
            }
            _ => (StoreErrorKind::Database, format!("{} migrations failed", whose.possessive())),
        };
        Err(StoreError::new(kind, what).with_source(error))
    }
}

/// Whether a migration of these asks to run outside of a transaction.
fn leaves_transaction(migrator: &Migrator) -> bool {
    migrator.iter().any(|migration| migration.no_tx)
}

/// The user's migrations: they run under our lock, or where they leave the transaction that has it, under sqlx's own.
pub(super) fn adopted(mut migrator: Migrator) -> Migrator {
    let locks = leaves_transaction(&migrator);
    migrator.set_locking(locks);
    migrator
}

/// What a failed migration is to whoever decides: a missing right is not the migration's fault.
fn kind_of(error: &sqlx::Error) -> StoreErrorKind {
    error.as_database_error().and_then(fault::judge).map_or(StoreErrorKind::Database, |(kind, _)| kind)
}

async fn latest(connection: &mut PgConnection, table: &str) -> Option<i64> {
    let sql = AssertSqlSafe(format!("SELECT MAX(version) FROM {table}"));
    sqlx::query_scalar(sql).fetch_one(connection).await.ok()
}
