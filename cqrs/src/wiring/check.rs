//! The one pass: every rule, every problem.

use std::any::TypeId;
use std::collections::{BTreeMap, HashMap, HashSet};

use super::draft::Draft;
use super::identity::{ByType, Types};
use super::parts::check_links;
use super::problem::{Problem, ProblemKind, WiringError};
use super::sagas::check_sagas;
use super::sources::{Asker, Sources, Who};
use crate::breaker::{self, Declared};
use crate::message::{MessageKind, MessageSpec};
use crate::registry::{EventMode, HandlerItem, HandlerKind, Need};

/// A draft without problems, and what was found out about it on the way.
#[derive(Debug)]
pub(crate) struct Wired {
    pub(crate) draft: Draft,
    pub(crate) sources: Sources,
}

/// Judges a draft.
pub(crate) fn wire(mut draft: Draft) -> Result<Wired, WiringError> {
    let mut problems = std::mem::take(&mut draft.problems);
    let sources = Sources::find(&draft, &mut problems);
    sources.check(askers(&draft), &mut problems);
    sources.check_middlewares(&draft, &mut problems);
    check_calls(&draft, &mut problems);
    for item in draft.items() {
        check_handler(&draft, item, &mut problems);
    }
    check_links(&draft, &mut problems);
    check_sagas(&draft, &mut problems);
    problems.extend(breaker::problems(&breakers(draft.items()), draft.breaker));
    check_paths(&draft, &mut problems);
    check_stored_events(&draft, &mut problems);
    if problems.is_empty() { Ok(Wired { draft, sources }) } else { Err(WiringError::new(problems)) }
}

pub(super) fn describe(item: &HandlerItem) -> String {
    let kind = match item.kind {
        HandlerKind::Command => "command handler",
        HandlerKind::Query => "query handler",
        HandlerKind::Event(EventMode::Plain) => "event handler",
        HandlerKind::Event(EventMode::Inline) => "inline event handler",
        HandlerKind::Event(EventMode::Durable(_)) => "durable event handler",
        HandlerKind::Event(EventMode::Group(_)) => "consumed event handler",
        HandlerKind::Chain => "chain for",
        HandlerKind::Link => "link",
        HandlerKind::Fallback => "fallback",
        HandlerKind::Step => "saga step",
        HandlerKind::Compensation => "compensation",
    };
    format!("{kind} `{}`", item.name)
}

/// The circuit breakers that handlers, links and fallbacks declare.
pub(crate) fn breakers<'i>(items: impl IntoIterator<Item = &'i &'static HandlerItem>) -> Vec<Declared> {
    let declared = items.into_iter().filter_map(|item| {
        let options = item.policy?.breaker?;
        Some(Declared { path: item.path(), what: describe(item), location: item.location, options })
    });
    declared.collect()
}

fn askers(draft: &Draft) -> impl Iterator<Item = Asker<'_>> {
    let handlers =
        draft.items().map(|item| Asker { what: Who::Handler(item), location: item.location, needs: item.needs });
    let providers = draft.providers.iter().map(|item| Asker {
        what: Who::Provider(item.name),
        location: item.location,
        needs: item.needs,
    });
    let middlewares = draft.middlewares.iter().map(|item| Asker {
        what: Who::Middleware(item.name),
        location: item.location,
        needs: item.needs,
    });
    handlers.chain(providers).chain(middlewares)
}

/// Every command and query has exactly one handler.
fn check_calls(draft: &Draft, problems: &mut Vec<Problem>) {
    let is_call = |spec: &MessageSpec| matches!(spec.kind, MessageKind::Command | MessageKind::Query);
    let mut handled = Types::default();
    handled.reserve(draft.handlers.len());
    let mut wrong = BTreeMap::new();
    for spec in draft.handlers.iter().map(|item| item.message).filter(|spec| is_call(spec)) {
        if !handled.insert(spec.type_id) {
            wrong.insert(said_of(spec), spec);
        }
    }
    for spec in draft.messages.iter().copied().filter(|spec| is_call(spec)) {
        if !handled.contains(&spec.type_id) && !draft.elsewhere.contains(&spec.type_id) {
            wrong.insert(said_of(spec), spec);
        }
    }
    if wrong.is_empty() {
        return;
    }
    let mut handlers: ByType<Vec<&HandlerItem>> = wrong.values().map(|spec| (spec.type_id, Vec::new())).collect();
    for item in &draft.handlers {
        handlers.entry(item.message.type_id).and_modify(|handlers| handlers.push(item));
    }
    for spec in wrong.into_values() {
        problems.push(match handlers.get(&spec.type_id).map_or(&[][..], Vec::as_slice) {
            [] => no_handler(spec),
            several => several_handlers(spec, several),
        });
    }
}

/// The order in which messages are spoken of: asked only of those of which there is something to say.
fn said_of(spec: &MessageSpec) -> (&'static str, u32, &'static str) {
    (spec.location.module, spec.location.line, spec.type_name())
}

fn no_handler(spec: &MessageSpec) -> Problem {
    let (kind, name) = (spec.kind, spec.type_name());
    let attribute = if spec.kind == MessageKind::Query { "query_handler" } else { "command_handler" };
    let short = name.rsplit("::").next().unwrap_or(name);
    let mend = format!(
        "write a `#[{attribute}]` for it, name the crate that has one (`bootstrap!(crates = [..])`), or say that another service handles it: `.elsewhere::<{short}>()`"
    );
    Problem::new(ProblemKind::NoHandler, format!("no handler for the {kind} `{name}`"), mend)
        .at(format!("the {kind}"), spec.location)
}

fn several_handlers(spec: &MessageSpec, handlers: &[&HandlerItem]) -> Problem {
    let what = format!("{} handlers for the {} `{}`", handlers.len(), spec.kind, spec.type_name());
    let mend = "keep one; what should happen besides is an event handler's work";
    let mut problem = Problem::new(ProblemKind::SeveralHandlers, what, mend);
    for item in handlers {
        problem = problem.at(describe(item), item.location);
    }
    problem
}

/// What one handler asks of the store, the broker and its event.
fn check_handler(draft: &Draft, item: &HandlerItem, problems: &mut Vec<Problem>) {
    for need in item.needs {
        if let Need::Tx { type_id, name } | Need::Begin { type_id, name } = need {
            check_transaction(draft, item, *type_id, name(), problems);
        }
    }
    let needs_store = match item.kind {
        HandlerKind::Event(EventMode::Durable(_)) => Some("what it has to do is stored"),
        HandlerKind::Event(EventMode::Group(_)) => Some("what it has handled is stored"),
        _ => None,
    };
    if let Some(why) = needs_store
        && !draft.has_store
    {
        problems.push(no_store(item, &format!("{} needs a store: {why}", describe(item))));
    }
    if matches!(item.kind, HandlerKind::Event(EventMode::Group(_))) && !draft.has_broker {
        let what = format!("{} consumes from a broker, and the app has none", describe(item));
        let mend = "give the builder one: `.broker(Broker::url(\"memory:\"))`";
        problems.push(Problem::new(ProblemKind::NoBroker, what, mend).at("here", item.location));
    }
}

fn no_store(item: &HandlerItem, what: &str) -> Problem {
    let mend = "give the builder one: `.store(Store::url(\"sqlite://app.db\"))`";
    Problem::new(ProblemKind::NoStore, what, mend).at("here", item.location)
}

fn check_transaction(
    draft: &Draft,
    item: &HandlerItem,
    type_id: TypeId,
    name: &'static str,
    problems: &mut Vec<Problem>,
) {
    if !draft.has_store {
        let what = format!("{} takes a transaction, and the app has no store", describe(item));
        problems.push(no_store(item, &what));
        return;
    }
    let gives = match draft.handle {
        Some(handle) if handle.type_id == type_id => return,
        #[cfg(feature = "any")]
        Some(handle) if crate::unit::any::is_made_of(type_id, handle.type_id) => return,
        Some(handle) => format!("the app's store gives `Tx<{}>`", handle.name),
        None => "the app's store gives none".to_owned(),
    };
    let what = format!("{} takes a transaction of `{name}`, but {gives}", describe(item));
    let mend = "take the store's own `Tx<Db>`, or give the builder a store of that database";
    problems.push(Problem::new(ProblemKind::WrongTransaction, what, mend).at("here", item.location));
}

/// Handlers that stored rows name by path have a path of their own.
fn check_paths(draft: &Draft, problems: &mut Vec<Problem>) {
    let stored = || draft.handlers.iter().copied().filter(|item| item.is_stored());
    let mut taken = HashSet::new();
    let mut twice = BTreeMap::new();
    for item in stored() {
        if !taken.insert(item.path_parts()) {
            twice.insert(item.path(), item.path_parts());
        }
    }
    for (path, parts) in twice {
        let items: Vec<&HandlerItem> = stored().filter(|item| item.path_parts() == parts).collect();
        let what = format!("{} stored handlers share the path `{path}`, by which stored rows name them", items.len());
        let mut problem = Problem::new(ProblemKind::HandlerTwice, what, "rename one, or move it to another module");
        for item in items {
            problem = problem.at(describe(item), item.location);
        }
        problems.push(problem);
    }
}

/// Events that are stored can be read back, and have a name of their own.
fn check_stored_events(draft: &Draft, problems: &mut Vec<Problem>) {
    let mut uses: ByType<(&'static MessageSpec, Option<&HandlerItem>)> = ByType::default();
    for spec in draft.messages.iter().copied().filter(|spec| spec.kind == MessageKind::NotificationEvent) {
        uses.insert(spec.type_id, (spec, None));
    }
    for item in draft.handlers.iter().copied().filter(|item| item.is_stored()) {
        uses.insert(item.message.type_id, (item.message, Some(item)));
    }
    let mut names: HashMap<(&str, u32), &'static MessageSpec> = HashMap::with_capacity(uses.len());
    let mut unreadable = BTreeMap::new();
    let mut taken: BTreeMap<_, BTreeMap<_, &'static MessageSpec>> = BTreeMap::new();
    for (spec, item) in uses.into_values() {
        // What is only published here as well: a dead letter of it is read and told of here.
        if !spec.codec.is_stored() {
            unreadable.insert(said_of(spec), (spec, item));
        }
        let name = (spec.name, spec.version);
        if let Some(other) = names.insert(name, spec) {
            taken.entry(name).or_default().extend([(said_of(other), other), (said_of(spec), spec)]);
        }
    }
    problems.extend(unreadable.into_values().map(|(spec, item)| not_stored(spec, item)));
    problems.extend(taken.into_iter().map(|((name, version), specs)| {
        let specs: Vec<&MessageSpec> = specs.into_values().collect();
        name_taken(name, version, &specs)
    }));
}

fn not_stored(spec: &MessageSpec, item: Option<&HandlerItem>) -> Problem {
    let name = spec.type_name();
    let what = format!("the {} `{name}` is stored, but cannot be written and read back", spec.kind);
    let mend = "derive `Serialize` and `Deserialize` for it; a generic event needs a newtype for each instance";
    let mut problem = Problem::new(ProblemKind::NotStored, what, mend).at("the event", spec.location);
    if let Some(item) = item {
        problem = problem.at(describe(item), item.location);
    }
    problem
}

fn name_taken(name: &str, version: u32, specs: &[&MessageSpec]) -> Problem {
    let what = format!(
        "{} stored events are called `{name}`, version {version}: read back, they could not be told apart",
        specs.len()
    );
    let mend = "give one of them another: `#[event(name = \"..\")]` or `#[event(version = ..)]`";
    let mut problem = Problem::new(ProblemKind::NameTaken, what, mend);
    for spec in specs {
        problem = problem.at(format!("`{}`", spec.type_name()), spec.location);
    }
    problem
}
