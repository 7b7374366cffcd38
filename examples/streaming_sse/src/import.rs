//! The import: a streaming command that sends a command for each line, and says what became of it.

use std::time::Duration;

use cqrs::prelude::*;
use cqrs::sqlx::{self, Sqlite, SqlitePool};
use cqrs::{DispatchError, Problem};
use serde::{Deserialize, Serialize};

/// The one file there is.
const BOOKS: &str = include_str!("../books.csv");

/// Puts the books of a file on the shelf, and tells of each line.
#[derive(Command, Deserialize)]
#[command(item = Line, error = ImportError)]
pub(crate) struct ImportBooks {
    pub(crate) file: String,
    /// How many lines are done already.
    #[serde(default)]
    pub(crate) done: u64,
}

/// What became of a line.
#[derive(Serialize)]
pub(crate) struct Line {
    number: u64,
    of: u64,
    title: String,
    /// Why it is not on the shelf.
    refused: Option<String>,
}

#[derive(Debug, thiserror::Error, Problem)]
pub(crate) enum ImportError {
    #[error("there is no file `{0}`")]
    #[problem(status = 404)]
    NoSuchFile(String),
    /// Says nothing of clients: they get a 500 without its text.
    #[error(transparent)]
    Call(#[from] cqrs::BoxError),
}

/// How long a line takes: so long that one can watch, where somebody does.
pub(crate) struct Pace(pub(crate) Duration);

#[command_handler]
async fn import_books(
    cmd: ImportBooks,
    items: &mut Items<Line>,
    app: &App,
    pace: Inject<Pace>,
) -> Result<(), ImportError> {
    if cmd.file != "books" {
        return Err(ImportError::NoSuchFile(cmd.file));
    }
    let of = BOOKS.lines().count() as u64;
    for (number, text) in (1..).zip(BOOKS.lines()).filter(|(number, _)| *number > cmd.done) {
        tokio::time::sleep(pace.0).await;
        let mut cells = text.split(',').map(str::to_owned);
        let mut cell = || cells.next().unwrap_or_default();
        let book = ShelveBook { isbn: cell(), title: cell(), copies: cell() };
        let title = book.title.clone();
        // Each line is a unit of work of its own: one that is refused stops no other.
        let refused = match app.send(book).await {
            Ok(()) => None,
            Err(DispatchError::Handler(refusal @ ShelfError::Copies(_))) => Some(refusal.to_string()),
            Err(failure) => return Err(ImportError::Call(failure.into())),
        };
        items.send(Line { number, of, title, refused }).await;
    }
    Ok(())
}

/// Puts a book on the shelf. Again and again is the same as once: a client whose connection broke may not know that its
/// last lines are done.
#[derive(Command)]
#[command(error = ShelfError)]
struct ShelveBook {
    isbn: String,
    title: String,
    copies: String,
}

#[derive(Debug, thiserror::Error)]
enum ShelfError {
    #[error("`{0}` is no number of copies")]
    Copies(String),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

#[command_handler]
async fn shelve_book(cmd: ShelveBook, tx: &mut Tx<Sqlite>, _shelf: Inject<Shelf>) -> Result<(), ShelfError> {
    let copies: u32 = cmd.copies.parse().map_err(|_| ShelfError::Copies(cmd.copies))?;
    sqlx::query("INSERT INTO books (isbn, title, copies) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
        .bind(cmd.isbn)
        .bind(cmd.title)
        .bind(copies)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// How many books are on the shelf.
#[derive(Query)]
#[query(response = i64, error = sqlx::Error)]
pub(crate) struct CountBooks;

#[query_handler]
async fn count_books(_q: CountBooks, pool: Inject<SqlitePool>) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT COUNT(*) FROM books").fetch_one(&*pool).await
}

/// The table, made at the start.
struct Shelf;

#[provider]
async fn shelf(pool: Inject<SqlitePool>) -> Result<Shelf, sqlx::Error> {
    sqlx::query("CREATE TABLE books (isbn TEXT PRIMARY KEY, title TEXT NOT NULL, copies INTEGER NOT NULL)")
        .execute(&*pool)
        .await?;
    Ok(Shelf)
}
