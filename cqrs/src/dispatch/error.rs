//! What a call can fail with.

use std::convert::Infallible;
use std::fmt;
use std::time::Duration;

use crate::BoxError;
use crate::message::MessageError;
use crate::registry::HandlerItem;
use crate::store::StoreError;

/// The kinds of [`DispatchError`], without their contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DispatchErrorKind {
    /// The handler answered with its own error.
    Handler,
    /// No handler is linked for the message.
    NoHandler,
    /// Every link of the chain passed.
    ChainExhausted,
    /// The call took too long.
    Timeout,
    /// The circuit breaker is open.
    BreakerOpen,
    /// The handler panicked.
    Panicked,
    /// A middleware rejected the call.
    Rejected,
    /// A dependency could not be made.
    Dependency,
    /// The call would wait for the transaction its own caller holds.
    WouldDeadlock,
    /// The idempotency key is none: empty, too long, or with control characters.
    InvalidKey,
    /// The idempotency key was used with another payload.
    KeyReused,
    /// A call with the same idempotency key is running.
    InProgress,
    /// The call needs a store, and the app has none.
    NoStore,
    /// The store failed; nothing was committed, of a stream nothing since its last item.
    Store,
    /// The answer to the commit was lost: it may have happened.
    CommitUnknown,
    /// A streaming handler with `Tx` delivered an item without a commit.
    UncommittedItem,
    /// An event handler failed, and the call fails with it.
    EventFailed,
    /// Follow-up events went too deep.
    EventDepth,
    /// A message to be stored shares its name and version with another.
    AmbiguousName,
    /// The app is shutting down.
    ShuttingDown,
    /// A message to be stored is too large.
    TooLarge,
}

/// What a call can fail with; `E` is the handler's own error.
#[non_exhaustive]
pub enum DispatchError<E> {
    /// The handler answered with its own error; nothing was committed.
    Handler(E),
    /// No handler is linked for the message.
    NoHandler {
        /// The message's type.
        message: &'static str,
    },
    /// Every link of the chain passed.
    ChainExhausted {
        /// The message's type.
        message: &'static str,
    },
    /// The call took too long; nothing was committed.
    Timeout {
        /// The handler.
        handler: &'static str,
        /// How long it was given.
        after: Duration,
    },
    /// The circuit breaker is open: the handler was not called.
    BreakerOpen {
        /// The handler.
        handler: &'static str,
        /// When a call may be let in again.
        retry_after: Duration,
    },
    /// The handler panicked; nothing was committed, the app goes on.
    Panicked {
        /// The handler.
        handler: &'static str,
        /// The panic's message.
        message: String,
    },
    /// A middleware rejected the call.
    Rejected {
        /// The message's name.
        message: &'static str,
        /// The middleware's reason.
        source: BoxError,
    },
    /// A message-scoped dependency could not be made: the handler was not called.
    Dependency {
        /// The dependency's type.
        dependency: &'static str,
        /// The provider.
        provider: &'static str,
        /// The provider's error.
        source: BoxError,
    },
    /// The call needs a transaction of its own while its caller holds one: it would wait for its own caller.
    WouldDeadlock {
        /// The message's name.
        message: &'static str,
    },
    /// The idempotency key is none: the call was not begun.
    InvalidKey {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The idempotency key was used with another payload.
    KeyReused {
        /// The key.
        key: String,
    },
    /// A call with the same idempotency key is running.
    InProgress {
        /// The key.
        key: String,
    },
    /// Something must be stored or a transaction is needed, and the app has no store.
    NoStore {
        /// What needs it.
        what: String,
    },
    /// The store failed; nothing was committed, of a stream nothing since its last item: what was delivered before stays.
    Store {
        /// What the store said.
        source: StoreError,
    },
    /// The answer to the commit was lost: it may have happened.
    CommitUnknown {
        /// What the store said.
        source: StoreError,
    },
    /// A streaming handler with `Tx` delivered an item without a commit.
    UncommittedItem {
        /// The handler.
        handler: &'static str,
    },
    /// An event handler failed, and the call fails with it: an inline one, or any under `EventErrors::Fail`.
    EventFailed {
        /// The event's name.
        event: &'static str,
        /// The event handler.
        handler: &'static str,
        /// Its error.
        source: BoxError,
    },
    /// Follow-up events went too deep: they raise one another in a circle.
    EventDepth {
        /// The limit.
        limit: u32,
        /// The names of the last events, each raised by a handler of the one before.
        cycle: String,
    },
    /// A message to be stored shares its name and version with another: it could not be told apart when read back.
    AmbiguousName {
        /// The shared name.
        name: &'static str,
        /// The types that share it.
        types: Vec<&'static str>,
    },
    /// The app is shutting down: the call was not begun.
    ShuttingDown,
    /// The fallback was asked, and failed as well. What is asked of this error, [`kind`](Self::kind) and the like, is
    /// answered by the fallback's; [`primary_cause`](Self::primary_cause) says why it was asked.
    FallbackFailed {
        /// What came of the handler before it.
        primary: String,
        /// What the fallback failed with.
        source: Box<Self>,
    },
    /// A message to be stored is larger than the limit; nothing was committed.
    TooLarge {
        /// The message's name; the type of a response that an idempotency key was to store.
        message: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
}

/// An error that the handler's `on` does not list.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct InVain(BoxError);

/// A failure that is not the handler's own error.
pub(crate) type Failure = DispatchError<Infallible>;

impl<E> DispatchError<E> {
    /// What kind of failure it is.
    pub fn kind(&self) -> DispatchErrorKind {
        use DispatchErrorKind as Kind;
        match self {
            Self::Handler(_) => Kind::Handler,
            Self::NoHandler { .. } => Kind::NoHandler,
            Self::ChainExhausted { .. } => Kind::ChainExhausted,
            Self::Timeout { .. } => Kind::Timeout,
            Self::BreakerOpen { .. } => Kind::BreakerOpen,
            Self::Panicked { .. } => Kind::Panicked,
            Self::Rejected { .. } => Kind::Rejected,
            Self::Dependency { .. } => Kind::Dependency,
            Self::WouldDeadlock { .. } => Kind::WouldDeadlock,
            Self::InvalidKey { .. } => Kind::InvalidKey,
            Self::KeyReused { .. } => Kind::KeyReused,
            Self::InProgress { .. } => Kind::InProgress,
            Self::NoStore { .. } => Kind::NoStore,
            Self::Store { .. } => Kind::Store,
            Self::CommitUnknown { .. } => Kind::CommitUnknown,
            Self::UncommittedItem { .. } => Kind::UncommittedItem,
            Self::EventFailed { .. } => Kind::EventFailed,
            Self::EventDepth { .. } => Kind::EventDepth,
            Self::AmbiguousName { .. } => Kind::AmbiguousName,
            Self::FallbackFailed { source, .. } => source.kind(),
            Self::ShuttingDown => Kind::ShuttingDown,
            Self::TooLarge { .. } => Kind::TooLarge,
        }
    }

    /// The handler's own error, if that is what it is; of a failed fallback the fallback's.
    pub fn handler(&self) -> Option<&E> {
        match self {
            Self::Handler(error) => Some(error),
            Self::FallbackFailed { source, .. } => source.handler(),
            _ => None,
        }
    }

    /// The handler's own error, by value, if that is what it is.
    pub fn into_handler(self) -> Option<E> {
        match self {
            Self::Handler(error) => Some(error),
            Self::FallbackFailed { source, .. } => source.into_handler(),
            _ => None,
        }
    }

    /// What came of the handler whose fallback failed as well, in words; `None` where no fallback was asked.
    pub fn primary_cause(&self) -> Option<&str> {
        match self {
            Self::FallbackFailed { primary, .. } => Some(primary),
            _ => None,
        }
    }

    /// The name of the handler that failed, where it is known: of a handler that took too long, panicked or was not asked
    /// because its breaker is open, of an event handler, a link or a fallback.
    ///
    /// `None` where no handler had begun, where the store failed rather than a handler, and for
    /// [`Handler`](Self::Handler), which holds the handler's own error and nothing beside it: whose it is, the one who sent
    /// the message knows.
    pub fn name(&self) -> Option<&'static str> {
        match self {
            Self::Timeout { handler, .. }
            | Self::BreakerOpen { handler, .. }
            | Self::Panicked { handler, .. }
            | Self::UncommittedItem { handler }
            | Self::EventFailed { handler, .. } => Some(handler),
            Self::FallbackFailed { source, .. } => source.name(),
            _ => None,
        }
    }

    /// When the same call may be worth another try, where the failure knows: that of an open circuit breaker does.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::BreakerOpen { retry_after, .. } => Some(*retry_after),
            Self::FallbackFailed { source, .. } => source.retry_after(),
            _ => None,
        }
    }

    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Timeout { .. } | Self::BreakerOpen { .. } | Self::InProgress { .. } | Self::ShuttingDown => true,
            Self::Store { source } => source.is_retryable(),
            Self::FallbackFailed { source, .. } => source.is_retryable(),
            #[cfg(feature = "tower")]
            Self::Rejected { source, .. } => crate::tower::Temporary::of(source.as_ref()).is_some(),
            _ => false,
        }
    }
}

impl Failure {
    /// What a call that nobody waits for failed with, its handler's own error in words. `in_vain`: another attempt would
    /// fail in the same way.
    pub(crate) fn of_call<E: MessageError>(error: DispatchError<E>, item: &HandlerItem, in_vain: bool) -> Self {
        let own = |error: E| BoxError::from(error.to_string());
        Self::of_event(error.map(&|error| DispatchError::Handler(own(error))), item, in_vain)
    }

    /// What an event handler failed with. `in_vain`: another attempt would fail in the same way.
    pub(crate) fn of_event(error: DispatchError<BoxError>, item: &HandlerItem, in_vain: bool) -> Self {
        error.map(&|source| {
            let source = if in_vain { InVain(source).into() } else { source };
            Self::EventFailed { event: item.message.name, handler: item.name, source }
        })
    }

    /// Whether another attempt would fail in the same way: the handler says which errors to try again.
    pub(crate) fn is_in_vain(&self) -> bool {
        matches!(self, Self::EventFailed { source, .. } if source.is::<InVain>())
    }

    /// For how long the handler's breaker turns calls away, if that is why it failed: nothing was tried.
    pub(crate) fn turned_away(&self) -> Option<Duration> {
        match self {
            Self::BreakerOpen { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }

    /// The same failure for a message with the error `E`.
    pub(crate) fn widen<E>(self) -> DispatchError<E> {
        self.map(&|never| match never {})
    }
}

impl<E> DispatchError<E> {
    /// The same failure, but for the handler's own error, of which `own` makes one.
    fn map<F>(self, own: &dyn Fn(E) -> DispatchError<F>) -> DispatchError<F> {
        match self {
            Self::Handler(error) => own(error),
            Self::NoHandler { message } => DispatchError::NoHandler { message },
            Self::ChainExhausted { message } => DispatchError::ChainExhausted { message },
            Self::Timeout { handler, after } => DispatchError::Timeout { handler, after },
            Self::BreakerOpen { handler, retry_after } => DispatchError::BreakerOpen { handler, retry_after },
            Self::Panicked { handler, message } => DispatchError::Panicked { handler, message },
            Self::Rejected { message, source } => DispatchError::Rejected { message, source },
            Self::Dependency { dependency, provider, source } => {
                DispatchError::Dependency { dependency, provider, source }
            }
            Self::WouldDeadlock { message } => DispatchError::WouldDeadlock { message },
            Self::InvalidKey { reason } => DispatchError::InvalidKey { reason },
            Self::KeyReused { key } => DispatchError::KeyReused { key },
            Self::InProgress { key } => DispatchError::InProgress { key },
            Self::NoStore { what } => DispatchError::NoStore { what },
            Self::Store { source } => DispatchError::Store { source },
            Self::CommitUnknown { source } => DispatchError::CommitUnknown { source },
            Self::UncommittedItem { handler } => DispatchError::UncommittedItem { handler },
            Self::EventFailed { event, handler, source } => DispatchError::EventFailed { event, handler, source },
            Self::EventDepth { limit, cycle } => DispatchError::EventDepth { limit, cycle },
            Self::AmbiguousName { name, types } => DispatchError::AmbiguousName { name, types },
            Self::FallbackFailed { primary, source } => {
                DispatchError::FallbackFailed { primary, source: Box::new(source.map(own)) }
            }
            Self::ShuttingDown => DispatchError::ShuttingDown,
            Self::TooLarge { message, size, limit } => DispatchError::TooLarge { message, size, limit },
        }
    }
}

impl From<StoreError> for Failure {
    fn from(source: StoreError) -> Self {
        use crate::store::StoreErrorKind as Kind;
        match source.kind() {
            Kind::CommitUnknown => Self::CommitUnknown { source },
            _ => Self::Store { source },
        }
    }
}

impl<E: fmt::Display> fmt::Display for DispatchError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handler(error) => error.fmt(f),
            Self::NoHandler { message } => write!(
                f,
                "no handler for `{message}` is linked into this program\n  help: write a handler for it, or name the crate that has one: `cqrs::bootstrap!(crates = [..])`"
            ),
            Self::ChainExhausted { message } => write!(f, "every link of the chain for `{message}` passed"),
            Self::Timeout { handler, after } => write!(f, "`{handler}` took longer than {after:?}"),
            Self::BreakerOpen { handler, .. } => write!(f, "the circuit breaker of `{handler}` is open"),
            Self::Panicked { handler, message } => write!(f, "`{handler}` panicked: {message}"),
            Self::Rejected { message, .. } => write!(f, "a middleware rejected `{message}`"),
            Self::Dependency { dependency, provider, .. } => {
                write!(f, "the provider `{provider}` could not make `{dependency}`")
            }
            Self::WouldDeadlock { message } => write!(
                f,
                "`{message}` needs a transaction of its own while the handler that sends it holds one: it would wait for its own caller\n  help: `app.send(..).within(tx)` runs it in the caller's transaction; `events.send(..)` runs it after the commit"
            ),
            Self::InvalidKey { reason } => write!(
                f,
                "the idempotency key {reason}\n  help: a key has 1 to 255 bytes and no control characters; a UUID is a good one"
            ),
            Self::KeyReused { key } => write!(f, "the idempotency key `{key}` was used with another payload"),
            Self::InProgress { key } => write!(f, "a call with the idempotency key `{key}` is running"),
            Self::NoStore { what } => write!(
                f,
                "{what} needs a store, and this app has none\n  help: give the builder one: `.store(Store::url(\"sqlite://app.db\"))`"
            ),
            Self::Store { source } => write!(f, "the store failed: {source}"),
            Self::CommitUnknown { .. } => f.write_str("the answer to the commit was lost: it may have happened"),
            Self::UncommittedItem { handler } => write!(
                f,
                "`{handler}` delivered an item while its transaction was open\n  help: a streaming handler with `tx` delivers with `items.commit(tx, item).await?`"
            ),
            Self::EventFailed { event, handler, .. } => write!(f, "`{handler}`, a handler of `{event}`, failed"),
            Self::EventDepth { limit, cycle } => {
                write!(f, "events went {limit} levels deep, raising one another in a circle: {cycle}")
            }
            Self::AmbiguousName { name, types } => write!(
                f,
                "`{name}` is the stored name of {}: read back, they could not be told apart\n  help: give one of them another: `#[command(name = \"..\")]` or `#[event(name = \"..\")]`",
                types.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" and of ")
            ),
            Self::FallbackFailed { source, .. } => source.fmt(f),
            Self::ShuttingDown => f.write_str("the app is shutting down"),
            Self::TooLarge { message, size, limit } => write!(
                f,
                "`{message}` is {size} bytes when stored, over the limit of {limit}\n  help: store the bulk elsewhere and send its name, or raise the setting `payload_limit`"
            ),
        }
    }
}

impl<E: fmt::Debug> fmt::Debug for DispatchError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handler(error) => return f.debug_tuple("Handler").field(error).finish(),
            Self::FallbackFailed { primary, source } => {
                return f.debug_struct("FallbackFailed").field("primary", primary).field("source", source).finish();
            }
            _ => {}
        }
        write!(f, "{:?}", self.kind())?;
        f.write_str(" { ")?;
        fmt::Display::fmt(&DisplayFailure(self), f)?;
        if let Some(source) = self.failure_source() {
            write!(f, ": {source}")?;
        }
        f.write_str(" }")
    }
}

/// Shows a failure whose handler error, if any, has only `Debug`.
struct DisplayFailure<'a, E>(&'a DispatchError<E>);

impl<E: fmt::Debug> fmt::Display for DisplayFailure<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            DispatchError::Handler(error) => write!(f, "{error:?}"),
            DispatchError::Timeout { handler, after } => write!(f, "{handler}, {after:?}"),
            DispatchError::BreakerOpen { handler, retry_after } => write!(f, "{handler}, for {retry_after:?}"),
            DispatchError::UncommittedItem { handler } => f.write_str(handler),
            DispatchError::Panicked { handler, message } => write!(f, "{handler}: {message}"),
            DispatchError::NoHandler { message }
            | DispatchError::ChainExhausted { message }
            | DispatchError::Rejected { message, .. }
            | DispatchError::WouldDeadlock { message } => f.write_str(message),
            DispatchError::Dependency { dependency, provider, .. } => write!(f, "{dependency} by {provider}"),
            DispatchError::InvalidKey { reason } => f.write_str(reason),
            DispatchError::KeyReused { key } | DispatchError::InProgress { key } => f.write_str(key),
            DispatchError::NoStore { what } => f.write_str(what),
            DispatchError::Store { .. } => f.write_str("not committed"),
            DispatchError::CommitUnknown { .. } => f.write_str("it may have happened"),
            DispatchError::EventFailed { event, handler, .. } => write!(f, "{handler} of {event}"),
            DispatchError::EventDepth { limit, cycle } => write!(f, "{limit} levels: {cycle}"),
            DispatchError::AmbiguousName { name, types } => write!(f, "{name}: {types:?}"),
            DispatchError::FallbackFailed { source, .. } => DisplayFailure(source).fmt(f),
            DispatchError::ShuttingDown => Ok(()),
            DispatchError::TooLarge { message, size, limit } => write!(f, "{message}: {size} of {limit} bytes"),
        }
    }
}

impl<E> DispatchError<E> {
    fn failure_source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Rejected { source, .. } | Self::Dependency { source, .. } | Self::EventFailed { source, .. } => {
                Some(source.as_ref())
            }
            Self::CommitUnknown { source } => Some(source),
            // The store's text is part of ours: its source comes next.
            Self::Store { source } => std::error::Error::source(source),
            Self::FallbackFailed { source, .. } => source.failure_source(),
            _ => None,
        }
    }
}

impl<E: MessageError> std::error::Error for DispatchError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.failure_source()
    }
}
