// Every macro, every argument, every parameter, by absolute paths only. Included by `bare` and `shadowed`, each of which
// has a `Left`, a `Later` and a `Placed` of its own: their stored names are theirs in the whole program.

/// What handlers did, in order.
#[derive(::core::fmt::Debug)]
pub struct Log(::std::sync::Mutex<::std::vec::Vec<::std::string::String>>);

impl Log {
    /// Notes something.
    pub fn note(&self, what: &str) {
        let mut lines = self.0.lock().unwrap_or_else(::std::sync::PoisonError::into_inner);
        lines.push(::std::string::ToString::to_string(what));
    }

    /// What was noted.
    pub fn lines(&self) -> ::std::vec::Vec<::std::string::String> {
        let lines = self.0.lock().unwrap_or_else(::std::sync::PoisonError::into_inner);
        ::core::clone::Clone::clone(&*lines)
    }
}

/// A dependency behind a trait.
pub trait Prices: ::core::marker::Send + ::core::marker::Sync {
    /// The price.
    fn price(&self) -> u64;
}

impl Prices for Base {
    fn price(&self) -> u64 {
        self.0
    }
}

/// A dependency, provided as it is.
#[derive(::core::fmt::Debug)]
pub struct Base(u64);

/// A dependency of one call.
#[derive(::core::fmt::Debug)]
pub struct Caller(u32);

#[::bus::provider(crate = ::bus)]
fn base() -> Base {
    Base(::core::convert::From::from(20_u32))
}

#[::bus::provider(scope = "app", crate = ::bus)]
async fn log() -> ::std::sync::Arc<Log> {
    ::core::future::ready(::std::sync::Arc::new(Log(::std::sync::Mutex::new(::std::vec::Vec::new())))).await
}

#[::bus::provider(crate = ::bus)]
fn prices(
    base: ::bus::Inject<Base>,
) -> ::core::result::Result<::std::sync::Arc<dyn Prices>, ::core::num::TryFromIntError> {
    let price: u32 = ::core::convert::TryFrom::try_from(base.0 + 1)?;
    ::core::result::Result::Ok(::std::sync::Arc::new(Base(::core::convert::From::from(price))))
}

#[::bus::provider(scope = "message", crate = ::bus)]
fn caller(meta: &::bus::Meta) -> ::core::result::Result<Caller, ::bus::BoxError> {
    if meta.attempt() > 9 {
        return ::core::result::Result::Err(::core::convert::From::from("too often"));
    }
    ::core::result::Result::Ok(Caller(meta.attempt()))
}

#[::bus::middleware(order = -7, kinds = [command, query, stream, event], crate = ::bus)]
async fn around(call: ::bus::Call<'_>, next: ::bus::Next<'_>, log: ::bus::Inject<Log>) -> ::bus::Outcome {
    if call.message::<Order>().is_some() {
        log.note("around");
    }
    next.run().await
}

#[::bus::middleware(crate = ::bus)]
async fn close<'a>(_call: ::bus::Call<'a>, next: ::bus::Next<'a>) -> ::bus::Outcome {
    next.run().await
}

/// The error of [`Order`].
#[derive(::core::fmt::Debug, ::bus::Problem)]
#[problem(status = 409, title = "Refused", type = "/problems/refused", crate = ::bus)]
pub struct Refused;

impl ::core::fmt::Display for Refused {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        f.write_str("refused")
    }
}

impl ::core::convert::From<::bus::sqlx::Error> for Refused {
    fn from(_: ::bus::sqlx::Error) -> Self {
        Self
    }
}

/// An error that tells some of what it is.
#[derive(::core::fmt::Debug, ::bus::Problem)]
#[problem(type = "/problems/trouble", crate = ::bus)]
pub enum Trouble {
    /// A client is told.
    #[problem(status = 410, title = "Gone")]
    Gone(u64),
    /// It is told of this too.
    #[problem(status = 503)]
    Busy {
        /// For how long.
        seconds: u64,
    },
    /// It is not told.
    Inside,
}

impl ::core::fmt::Display for Trouble {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        f.write_str("trouble")
    }
}

impl ::core::error::Error for Trouble {}

/// A command with an answer and an error.
#[derive(::core::fmt::Debug, ::core::clone::Clone, ::bus::Command)]
#[command(response = u64, error = Refused, crate = ::bus)]
pub struct Order {
    /// Whom for.
    pub to: ::std::string::String,
    /// Whether the handler refuses.
    pub refused: bool,
}

#[::bus::command_handler(crate = ::bus)]
async fn order(
    cmd: Order,
    prices: ::bus::Inject<dyn Prices>,
    tx: &mut ::bus::Tx<::bus::sqlx::Sqlite>,
    events: &mut ::bus::Events,
) -> ::core::result::Result<u64, Refused> {
    let _ = ::bus::sqlx::query("SELECT 1").execute(&mut **tx).await?;
    events.raise(Placed::At(1));
    events.raise(Made(7_u8));
    events.raise(Left { to: cmd.to });
    events.send(Later(3));
    if cmd.refused { ::core::result::Result::Err(Refused) } else { ::core::result::Result::Ok(prices.price()) }
}

#[::bus::command_handler(crate = ::bus)]
async fn later(cmd: &Later, log: ::bus::Inject<Log>, _meta: &::bus::Meta, caller: ::bus::Inject<Caller>) {
    log.note(&::std::format!("later {} {}", cmd.0, caller.0));
}

/// A command that begins late and sends another.
#[derive(::core::fmt::Debug, ::bus::Command)]
#[command(crate = ::bus)]
pub enum Outer {
    /// By a savepoint of its own transaction.
    Within,
}

#[::bus::command_handler(crate = ::bus)]
async fn outer(
    cmd: Outer,
    app: &::bus::App,
    begin: &mut ::bus::Begin<::bus::sqlx::Sqlite>,
) -> ::core::result::Result<(), ::bus::BoxError> {
    let Outer::Within = cmd;
    let tx = begin.begin().await?;
    app.send(Inner).within(tx).await?;
    ::core::result::Result::Ok(())
}

/// A command that answers nothing.
#[derive(::core::fmt::Debug, ::bus::Command)]
#[command(crate = ::bus)]
pub struct Inner;

#[::bus::command_handler(crate = ::bus)]
async fn inner(_: &Inner, log: ::bus::Inject<Log>) {
    log.note("inner");
}

/// A streaming command.
#[derive(::core::fmt::Debug, ::bus::Command)]
#[command(item = u64, error = ::bus::BoxError, crate = ::bus)]
pub struct Import(pub u64);

#[::bus::command_handler(crate = ::bus)]
async fn import(
    cmd: Import,
    tx: &mut ::bus::Tx<::bus::sqlx::Sqlite>,
    items: &mut ::bus::Items<u64>,
) -> ::core::result::Result<(), ::bus::BoxError> {
    for row in 0..cmd.0 {
        items.commit(tx, row).await?;
    }
    ::core::result::Result::Ok(())
}

/// A query.
#[derive(::core::fmt::Debug, ::bus::Query)]
#[query(response = ::core::option::Option<u64>, error = ::bus::BoxError, crate = ::bus)]
pub struct Find(pub u64);

#[::bus::query_handler(crate = ::bus)]
async fn find(
    Find(id): &Find,
    pool: ::bus::Inject<::bus::sqlx::SqlitePool>,
) -> ::core::result::Result<::core::option::Option<u64>, ::bus::sqlx::Error> {
    let _ = ::bus::sqlx::query("SELECT 1").execute(&*pool).await?;
    ::core::result::Result::Ok(::core::option::Option::Some(*id))
}

/// A streaming query.
#[derive(::core::fmt::Debug, ::bus::Query)]
#[query(item = u64, crate = ::bus)]
pub struct Scan;

#[::bus::query_handler(crate = ::bus)]
async fn scan(_: Scan, items: &mut ::bus::Items<u64>, _meta: &::bus::Meta) {
    items.send(1).await;
}

/// What the log holds.
#[derive(::core::fmt::Debug, ::bus::Query)]
#[query(response = ::std::vec::Vec<::std::string::String>, error = ::core::convert::Infallible, crate = ::bus)]
pub struct Lines;

#[::bus::query_handler(crate = ::bus)]
async fn lines(_: Lines, log: ::bus::Inject<Log>) -> ::std::vec::Vec<::std::string::String> {
    log.lines()
}

/// A generic domain event; its instances have handlers of their own.
#[derive(::core::fmt::Debug, ::bus::DomainEvent)]
#[event(crate = ::bus)]
pub struct Made<T: ::core::fmt::Debug>(pub T);

#[::bus::event_handler(crate = ::bus, order = -1)]
async fn on_made(e: &Made<u8>, log: ::bus::Inject<Log>) {
    log.note(&::std::format!("made {}", e.0));
}

#[::bus::event_handler(crate = ::bus, order = 2)]
async fn on_placed(
    e: Placed,
    _app: &::bus::App,
    _events: &mut ::bus::Events,
    _meta: &::bus::Meta,
    log: ::bus::Inject<Log>,
) -> ::core::result::Result<(), ::bus::BoxError> {
    let Placed::At(place) = e;
    log.note(&::std::format!("placed {place}"));
    ::core::result::Result::Ok(())
}

#[::bus::event_handler(inline, order = 5, crate = ::bus)]
async fn on_placed_inline<'u>(
    _e: &'u Placed,
    _tx: &'u mut ::bus::Tx<::bus::sqlx::Sqlite>,
    _events: &'u mut ::bus::Events,
    log: ::bus::Inject<Log>,
) -> ::core::result::Result<(), ::bus::sqlx::Error> {
    log.note("placed, inline");
    ::core::result::Result::Ok(())
}

#[::bus::event_handler(durable, retry(max = 3, first = "1s", factor = 1.5, ceiling = "2s"), order = 1, crate = ::bus)]
async fn on_placed_durable(
    _e: Placed,
    _begin: &mut ::bus::Begin<::bus::sqlx::Sqlite>,
    log: ::bus::Inject<Log>,
) -> ::core::result::Result<(), ::bus::BoxError> {
    log.note("placed, durable");
    ::core::result::Result::Ok(())
}

#[::bus::event_handler(
    group = "strict",
    concurrency = 2,
    retry(max = 2),
    on_dead = "skip",
    unknown = "dead",
    order = 1,
    crate = ::bus
)]
async fn on_left(
    e: Left,
    meta: &::bus::Meta,
    _tx: &mut ::bus::Tx<::bus::sqlx::Sqlite>,
    log: ::bus::Inject<Log>,
) -> ::core::result::Result<(), ::bus::sqlx::Error> {
    log.note(&::std::format!("{} left, attempt {}", e.to, meta.attempt()));
    ::core::result::Result::Ok(())
}
