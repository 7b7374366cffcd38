//! What is said where migrations do not fit the database.

/// Whose migrations they are: each has a list, and a table, of its own.
#[derive(Debug, Clone, Copy)]
pub(super) enum Whose {
    Ours,
    Users,
}

impl Whose {
    /// As error texts say it.
    pub(super) fn possessive(self) -> &'static str {
        match self {
            Self::Ours => "the framework's",
            Self::Users => "your",
        }
    }

    /// A migration was applied that this program does not know.
    pub(super) fn newer(self, missing: i64, applied: i64, known: i64) -> String {
        let mine = self.possessive();
        if missing > known {
            return format!(
                "{mine} schema is at version {applied}, this program knows versions up to {known}: a newer \
                 program has migrated the database; deploy that one"
            );
        }
        format!(
            "{mine} schema has migration {missing}, which this program lacks, though it knows versions up to {known}: \
             deploy the program that has it, or put the migration's file back"
        )
    }

    /// A migration was applied in another form.
    pub(super) fn changed(self, version: i64) -> String {
        match self {
            Self::Ours => format!(
                "the framework's migration {version} was applied in another form: the database was \
                 migrated by a build of this framework that was never released"
            ),
            Self::Users => format!(
                "your migration {version} was changed after it was applied: restore its file, and put \
                 the change into a migration of its own"
            ),
        }
    }

    /// A migration was begun and not ended, which only a server can leave behind that runs no DDL in transactions.
    #[cfg(feature = "mysql")]
    pub(super) fn cut_off(self, version: i64) -> String {
        format!(
            "{} migration {version} was cut off in the middle: look which of its statements were run, undo or complete \
             them by hand, and delete its row from the table of migrations, or set `success` there",
            self.possessive()
        )
    }
}
