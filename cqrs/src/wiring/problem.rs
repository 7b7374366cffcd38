//! What can be wrong with the wiring: each problem says what, where, and how to mend it.

use std::fmt;

use crate::message::SourceLocation;

/// The kinds of wiring problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ProblemKind {
    /// A command or query without a handler.
    NoHandler,
    /// A command or query with more than one handler.
    SeveralHandlers,
    /// A dependency nobody provides.
    MissingDependency,
    /// A dependency that was expected and never supplied.
    NotSupplied,
    /// A dependency provided twice.
    SeveralProviders,
    /// Providers that need one another.
    DependencyCycle,
    /// An app-wide provider that needs a message-scoped one.
    ScopeMismatch,
    /// A transaction the app's store cannot give.
    WrongTransaction,
    /// Something that needs a store, without one.
    NoStore,
    /// A consumer without a broker.
    NoBroker,
    /// A stored message without a decoder.
    NotStored,
    /// A stored message whose name and version are taken.
    NameTaken,
    /// A handler that must be told apart from another by its path, and cannot.
    HandlerTwice,
    /// A circuit breaker whose numbers make none, or are at odds.
    Breaker,
    /// A link that no chain lists.
    LinkNotListed,
    /// A link that is listed twice.
    LinkTwice,
    /// A setting, store URL or broker URL that is wrong.
    Setting,
}

impl ProblemKind {
    /// Whether it is a lack that a builder, or another crate that it links, may make up for: the handlers themselves are
    /// sound.
    pub(crate) fn is_lack(self) -> bool {
        match self {
            Self::NoHandler
            | Self::MissingDependency
            | Self::NotSupplied
            | Self::NoStore
            | Self::NoBroker
            | Self::LinkNotListed => true,
            Self::SeveralHandlers
            | Self::SeveralProviders
            | Self::DependencyCycle
            | Self::ScopeMismatch
            | Self::WrongTransaction
            | Self::NotStored
            | Self::NameTaken
            | Self::HandlerTwice
            | Self::Breaker
            | Self::LinkTwice
            | Self::Setting => false,
        }
    }
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// Its kind.
    pub kind: ProblemKind,
    /// What is wrong, naming the thing.
    pub what: String,
    /// Where: every place that takes part.
    pub places: Vec<Place>,
    /// How to mend it.
    pub mend: String,
}

/// A place in the user's source, and what stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// What stands there: `command handler place_order`.
    pub what: String,
    /// The place.
    pub location: SourceLocation,
}

impl Problem {
    pub(crate) fn new(kind: ProblemKind, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { kind, what: what.into(), places: Vec::new(), mend: mend.into() }
    }

    pub(crate) fn at(mut self, what: impl Into<String>, location: SourceLocation) -> Self {
        self.places.push(Place { what: what.into(), location });
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        for place in &self.places {
            write!(f, "\n     --> {} ({})", place.location, place.what)?;
        }
        write!(f, "\n     help: {}", self.mend)
    }
}

/// The wiring is wrong: all problems at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WiringError {
    problems: Vec<Problem>,
}

impl WiringError {
    pub(crate) fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    /// What is merely lacking, and what is wrong whatever a builder says.
    pub(crate) fn lacking_and_wrong(self) -> (Option<Self>, Option<Self>) {
        let (lacking, wrong): (Vec<_>, Vec<_>) = self.problems.into_iter().partition(|problem| problem.kind.is_lack());
        let some = |problems: Vec<_>| (!problems.is_empty()).then(|| Self::new(problems));
        (some(lacking), some(wrong))
    }

    pub(crate) fn and(mut self, problem: Problem) -> Self {
        self.problems.push(problem);
        self
    }

    /// The problems, in a deterministic order.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for WiringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        let noun = if count == 1 { "problem" } else { "problems" };
        write!(f, "the wiring has {count} {noun}:")?;
        for (number, problem) in self.problems.iter().enumerate() {
            write!(f, "\n\n{:>3}. {problem}", number + 1)?;
        }
        f.write_str("\n")
    }
}

impl std::error::Error for WiringError {}
