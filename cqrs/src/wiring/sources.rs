//! Where dependencies come from: values of the builder, the store's gifts, providers in the order they can run.

use std::collections::{BTreeMap, BTreeSet};

use super::check::describe;
use super::draft::{Draft, SupplyKind};
use super::identity::ByType;
use super::problem::{Place, Problem, ProblemKind};
use crate::inject::Resolved;
use crate::message::SourceLocation;
use crate::registry::{HandlerItem, Need, ProviderItem, ProviderScope};

/// Where a dependency comes from.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// The builder was given it.
    Value(Resolved),
    /// The builder expects it; only checks get this far without it.
    Expected,
    /// The store gives it out.
    Store,
    /// A provider makes it: the provider's number.
    Provider(usize),
}

#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) origin: Origin,
    pub(crate) name: &'static str,
    place: Place,
}

/// All sources, and the order in which providers run.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    pub(crate) by_type: ByType<Source>,
    /// Numbers of providers, each after those it needs.
    pub(crate) order: Vec<usize>,
}

/// Who asks for dependencies; put into words only where there is something to say of it.
#[derive(Clone, Copy)]
pub(super) enum Who<'a> {
    Handler(&'a HandlerItem),
    Provider(&'static str),
    Middleware(&'static str),
}

impl Who<'_> {
    fn describe(self) -> String {
        match self {
            Self::Handler(item) => describe(item),
            Self::Provider(name) => format!("provider `{name}`"),
            Self::Middleware(name) => format!("middleware `{name}`"),
        }
    }
}

/// Asks for dependencies: a handler, a provider, a middleware.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    /// What it is in words: put together only where there is something to say of it.
    pub(super) what: Who<'a>,
    pub(super) location: SourceLocation,
    pub(super) needs: &'a [Need],
}

impl Sources {
    pub(super) fn find(draft: &Draft, problems: &mut Vec<Problem>) -> Self {
        let mut sources = Self::default();
        sources.add_supplies(draft, problems);
        sources.add_providers(draft, problems);
        sources.order_providers(&draft.providers, problems);
        sources
    }

    fn add_supplies(&mut self, draft: &Draft, problems: &mut Vec<Problem>) {
        let mut expected = BTreeMap::new();
        for supply in &draft.supplies {
            let (origin, what) = match &supply.kind {
                SupplyKind::Value(value) => (Origin::Value(value.clone()), "provided to the builder"),
                SupplyKind::Store => (Origin::Store, "given out by the store"),
                SupplyKind::Expected => {
                    expected.entry(supply.name).or_insert(supply);
                    continue;
                }
                SupplyKind::Override(_) => continue,
            };
            let place = Place { what: what.to_owned(), location: supply.location };
            self.add(supply.type_id, Source { origin, name: supply.name, place }, problems);
        }
        for supply in &draft.supplies {
            if let SupplyKind::Override(value) = &supply.kind {
                let place = Place { what: "overridden in the builder".to_owned(), location: supply.location };
                let source = Source { origin: Origin::Value(value.clone()), name: supply.name, place };
                self.by_type.insert(supply.type_id, source);
            }
        }
        for (name, supply) in expected {
            if self.by_type.contains_key(&supply.type_id) {
                continue;
            }
            let place = Place { what: "expected by the builder".to_owned(), location: supply.location };
            if !draft.expected_counts && !draft.providers.iter().any(|item| (item.provides)().0 == supply.type_id) {
                let what = format!("`{name}` is expected, but was not supplied");
                let mend = format!("supply it before the builder is awaited: `.provide_arc::<{name}>(..)`");
                problems.push(Problem::new(ProblemKind::NotSupplied, what, mend).at("expected here", supply.location));
            }
            self.by_type.insert(supply.type_id, Source { origin: Origin::Expected, name, place });
        }
    }

    fn add_providers(&mut self, draft: &Draft, problems: &mut Vec<Problem>) {
        let overridden: BTreeSet<_> = draft
            .supplies
            .iter()
            .filter(|supply| matches!(supply.kind, SupplyKind::Override(_)))
            .map(|supply| supply.type_id)
            .collect();
        for (number, item) in draft.providers.iter().enumerate() {
            let (type_id, name) = (item.provides)();
            if overridden.contains(&type_id) {
                continue;
            }
            let place = Place { what: format!("provider `{}`", item.name), location: item.location };
            self.add(type_id, Source { origin: Origin::Provider(number), name, place }, problems);
        }
    }

    fn add(&mut self, type_id: std::any::TypeId, source: Source, problems: &mut Vec<Problem>) {
        let Some(first) = self.by_type.get(&type_id) else {
            self.by_type.insert(type_id, source);
            return;
        };
        if matches!(first.origin, Origin::Expected) {
            self.by_type.insert(type_id, source);
            return;
        }
        let mut problem = Problem::new(
            ProblemKind::SeveralProviders,
            format!("`{}` is provided twice", source.name),
            "keep one of them; two values of one type need a newtype each; in tests, `.override_arc` takes the place of whatever is there",
        );
        problem.places = vec![first.place.clone(), source.place];
        problems.push(problem);
    }

    /// Orders providers so that each runs after those it needs; reports cycles and app-wide ones that need a
    /// message-scoped one.
    fn order_providers(&mut self, providers: &[ProviderItem], problems: &mut Vec<Problem>) {
        let mut state = vec![Visit::New; providers.len()];
        let mut path = Vec::new();
        for number in 0..providers.len() {
            self.visit(number, providers, &mut state, &mut path, problems);
        }
    }

    fn visit(
        &mut self,
        number: usize,
        providers: &[ProviderItem],
        state: &mut [Visit],
        path: &mut Vec<usize>,
        problems: &mut Vec<Problem>,
    ) {
        match state[number] {
            Visit::Done => return,
            Visit::Open => return problems.push(cycle(&path[..], number, providers)),
            Visit::New => {}
        }
        state[number] = Visit::Open;
        path.push(number);
        let item = &providers[number];
        let needed: Vec<usize> = item.needs.iter().filter_map(|need| self.provider_of(need)).collect();
        for needed in needed {
            let other = &providers[needed];
            if item.scope == ProviderScope::App && other.scope == ProviderScope::Message {
                problems.push(scope_mismatch(item, other));
            }
            self.visit(needed, providers, state, path, problems);
        }
        path.pop();
        state[number] = Visit::Done;
        self.order.push(number);
    }

    fn provider_of(&self, need: &Need) -> Option<usize> {
        let Need::Inject { type_id, .. } = need else { return None };
        match self.by_type.get(type_id)?.origin {
            Origin::Provider(number) => Some(number),
            _ => None,
        }
    }

    /// Reports middlewares that need a message-scoped dependency: it is made inside of what they are around.
    pub(super) fn check_middlewares(&self, draft: &Draft, problems: &mut Vec<Problem>) {
        for item in &draft.middlewares {
            for number in item.needs.iter().filter_map(|need| self.provider_of(need)) {
                let other = &draft.providers[number];
                if other.scope != ProviderScope::Message {
                    continue;
                }
                let name = (other.provides)().1;
                let what = format!(
                    "the middleware `{}` needs `{name}`, which is made for the unit of work that the middleware is around",
                    item.name
                );
                let mend = "let it take what the provider takes, and read `call.meta()`; or let the handlers take it";
                problems.push(
                    Problem::new(ProblemKind::ScopeMismatch, what, mend)
                        .at(format!("middleware `{}`", item.name), item.location)
                        .at(format!("message-scoped provider `{}`", other.name), other.location),
                );
            }
        }
    }

    /// Reports dependencies nobody provides: one problem per dependency, with everybody who asks for it.
    pub(super) fn check<'a>(&self, askers: impl Iterator<Item = Asker<'a>>, problems: &mut Vec<Problem>) {
        let mut missing: BTreeMap<&'static str, Vec<Asker<'a>>> = BTreeMap::new();
        for asker in askers {
            let mut asked = BTreeSet::new();
            for need in asker.needs {
                if let Need::Inject { type_id, name } = need
                    && !self.by_type.contains_key(type_id)
                    && asked.insert(*type_id)
                {
                    missing.entry(name()).or_default().push(asker);
                }
            }
        }
        for (name, askers) in missing {
            let mut problem = Problem::new(
                ProblemKind::MissingDependency,
                format!("nobody provides `{name}`"),
                format!("{}, or say `.expects::<{name}>()` where it is supplied later", provide_mend(name)),
            );
            for asker in askers {
                problem = problem.at(asker.what.describe(), asker.location);
            }
            problems.push(problem);
        }
    }
}

fn provide_mend(name: &str) -> String {
    if name.starts_with("dyn ") {
        format!(
            "give the builder one: `.provide_arc::<{name}>(..)`, or write a `#[provider]` that returns `Arc<{name}>`"
        )
    } else {
        format!("give the builder one: `.provide(..)`, or write a `#[provider]` that returns `{name}`")
    }
}

#[derive(Debug, Clone, Copy)]
enum Visit {
    New,
    Open,
    Done,
}

fn cycle(path: &[usize], number: usize, providers: &[ProviderItem]) -> Problem {
    let start = path.iter().position(|on_path| *on_path == number).unwrap_or(0);
    let around: Vec<&ProviderItem> = path[start..].iter().map(|on_path| &providers[*on_path]).collect();
    let names: Vec<String> = around.iter().map(|item| format!("`{}`", item.name)).collect();
    let first = names.first().cloned().unwrap_or_default();
    let what = if names.len() == 1 {
        format!("the provider {first} needs what it provides itself")
    } else {
        format!("providers need one another in a circle: {} -> {first}", names.join(" -> "))
    };
    let mend = "break the circle: let one of them take a value, or a third provider that both use";
    let mut problem = Problem::new(ProblemKind::DependencyCycle, what, mend);
    for item in around {
        problem = problem.at(format!("provider `{}`", item.name), item.location);
    }
    problem
}

fn scope_mismatch(item: &ProviderItem, other: &ProviderItem) -> Problem {
    let what = format!(
        "the app-wide provider `{}` needs `{}`, which lives for one message only",
        item.name,
        (other.provides)().1
    );
    let mend = format!(
        "give `{}` the scope too: `#[provider(scope = \"message\")]`, or let it take what does not change from message to message",
        item.name
    );
    Problem::new(ProblemKind::ScopeMismatch, what, mend)
        .at(format!("app-wide provider `{}`", item.name), item.location)
        .at(format!("message-scoped provider `{}`", other.name), other.location)
}
