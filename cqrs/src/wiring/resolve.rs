//! From a checked draft to the plan: providers run, dependencies go into their slots.

use std::any::TypeId;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::check::{Wired, breakers as declared};
use super::draft::Draft;
use super::identity::ByType;
use super::parts::{Key, is_part, key};
use super::plan::{CallEntry, EventPlan, GroupPlan, Plan, Planned};
use super::sources::{Origin, Sources};
use crate::BoxError;
use crate::breaker::{Breakers, Panel};
use crate::clock::Clock;
use crate::dispatch::Caught;
use crate::inject::{Resolved, Resolver, ScopedProvider, Slot};
use crate::middleware::{CallKind, Chain, Link};
use crate::policy::PlannedPolicy;
use crate::registry::{
    EventMode, GroupOptions, HandlerItem, HandlerKind, MiddlewareKinds, Need, ProviderItem, ProviderScope,
};
use crate::retry::RetryPolicy;
use crate::saga::{PlannedSaga, PlannedSagas};
use crate::store::driver::Gift;

/// A provider failed while the app started.
#[derive(Debug, thiserror::Error)]
#[error("the provider `{provider}` ({location}) could not make `{dependency}`")]
pub(crate) struct ProviderFailed {
    provider: &'static str,
    location: crate::message::SourceLocation,
    dependency: &'static str,
    source: BoxError,
}

/// Dependencies made so far.
struct Made {
    gifts: BTreeMap<TypeId, Resolved>,
    /// By the provider's number: made, or message-scoped with its number among those.
    providers: Vec<Option<Slot>>,
}

impl Made {
    fn slots(&self, sources: &Sources, needs: &[Need]) -> Vec<Slot> {
        let most = needs.iter().filter(|need| matches!(need, Need::Inject { .. })).count();
        let mut slots = Vec::with_capacity(most);
        slots.extend(needs.iter().filter_map(|need| self.slot(sources, need)));
        slots
    }

    fn slot(&self, sources: &Sources, need: &Need) -> Option<Slot> {
        let Need::Inject { type_id, .. } = need else { return None };
        match &sources.by_type.get(type_id)?.origin {
            Origin::Value(value) => Some(Slot::App(value.clone())),
            Origin::Store => self.gifts.get(type_id).cloned().map(Slot::App),
            Origin::Provider(number) => self.providers.get(*number).cloned().flatten(),
            Origin::Expected => None,
        }
    }
}

fn fixed(slots: Vec<Slot>) -> Box<[Resolved]> {
    slots
        .into_iter()
        .filter_map(|slot| match slot {
            Slot::App(resolved) => Some(resolved),
            Slot::Scoped(_) => None,
        })
        .collect()
}

fn is_scoped(slots: &[Slot]) -> bool {
    slots.iter().any(|slot| matches!(slot, Slot::Scoped(_)))
}

impl Wired {
    /// Runs the app-wide providers and makes the plan.
    pub(crate) async fn resolve(
        self,
        gifts: Vec<Gift>,
        clock: &Arc<Clock>,
        breakers: &Breakers,
    ) -> Result<Plan, ProviderFailed> {
        let mut made = Made {
            gifts: gifts.into_iter().map(|gift| (gift.type_id, gift.value)).collect(),
            providers: vec![None; self.draft.providers.len()],
        };
        let mut scoped = Vec::new();
        for number in &self.sources.order {
            let item = self.draft.providers[*number];
            let slots = made.slots(&self.sources, item.needs);
            made.providers[*number] = Some(match item.scope {
                ProviderScope::App => Slot::App(provide(&item, &fixed(slots)).await?),
                ProviderScope::Message => {
                    scoped.push(scoped_provider(item, slots, &scoped));
                    Slot::Scoped(scoped.len() - 1)
                }
            });
        }
        let panel = Panel::new(breakers, clock, self.draft.breaker, &declared(self.draft.items()));
        Ok(self.plan(&made, scoped, panel))
    }

    fn plan(mut self, made: &Made, scoped: Vec<ScopedProvider>, panel: Panel) -> Plan {
        let handlers = Vec::with_capacity(self.draft.handlers.len());
        let mut plan = Plan { handlers, scoped, ..Plan::default() };
        for item in &self.draft.handlers {
            let number = u32::try_from(plan.handlers.len()).unwrap_or(u32::MAX);
            index(&mut plan, item, number);
            plan.handlers.push(planned(item, made.slots(&self.sources, item.needs)));
        }
        plan.handlers.extend(self.draft.parts.iter().map(|item| planned(item, made.slots(&self.sources, item.needs))));
        connect(&mut plan.handlers, &self.draft, &panel);
        plan.sagas = sagas(&plan.handlers, &self.draft);
        plan.panel = panel;
        plan.middleware = self.chains(made);
        plan.calls = calls(&plan);
        plan.messages = self.draft.messages;
        plan.chains = self.draft.chains;
        plan
    }
}

impl Wired {
    /// The middlewares of each kind of call, by order; layers outside of functions where it is the same.
    fn chains(&mut self, made: &Made) -> [Chain; CallKind::ALL.len()] {
        let mut links: Vec<(i32, MiddlewareKinds, Arc<Link>)> = Vec::new();
        #[cfg(feature = "tower")]
        links.extend(self.draft.layers.drain(..).map(|layer| {
            let (order, kinds) = (layer.order, layer.kinds);
            (order, kinds, Arc::new(Link::Layer(layer.stand())))
        }));
        links.extend(self.draft.middlewares.iter().map(|item| {
            let slots = fixed(made.slots(&self.sources, item.needs));
            (item.order, item.kinds, Arc::new(Link::Function { item: *item, slots }))
        }));
        links.sort_by_key(|(order, ..)| *order);
        CallKind::ALL.map(|kind| {
            let around = links.iter().filter(|(_, kinds, _)| applies(*kinds, kind));
            Chain::new(around.map(|(.., link)| Arc::clone(link)).collect())
        })
    }
}

fn applies(kinds: MiddlewareKinds, kind: CallKind) -> bool {
    match kind {
        CallKind::Command => kinds.command,
        CallKind::Query => kinds.query,
        CallKind::Stream => kinds.stream,
        CallKind::Event => kinds.event,
        CallKind::Step => kinds.step,
    }
}

fn planned(item: &'static HandlerItem, slots: Vec<Slot>) -> Planned {
    let asks = |is: fn(&Need) -> bool| item.needs.iter().any(is);
    let scoped = is_scoped(&slots);
    let needs_tx = asks(|need| matches!(need, Need::Tx { .. } | Need::Sagas));
    let beyond = asks(|need| !matches!(need, Need::Inject { .. } | Need::Events));
    let (slots, fixed) = if scoped { (slots.into(), Box::default()) } else { (Box::default(), fixed(slots)) };
    // An event handler's policy is part of a unit of work anyway: only commands and queries have a slim way with one.
    let guarded = item.policy.is_some() && matches!(item.kind, HandlerKind::Event(_));
    let needs_unit = scoped || beyond || guarded;
    Planned { item, slots, fixed, scoped, needs_tx, needs_unit, policy: None, links: Arc::default() }
}

/// Puts together what belongs together: handlers and their fallbacks, chains and their links.
fn connect(handlers: &mut [Planned], draft: &Draft, panel: &Panel) {
    let parts = handlers.iter().zip(0_u32..).filter(|(planned, _)| is_part(planned.item.kind));
    let numbers: HashMap<Key, u32> = parts.map(|(planned, number)| (key(planned.item), number)).collect();
    if numbers.is_empty() && draft.handlers.iter().all(|item| item.policy.is_none()) {
        return;
    }
    let number_of = |item: &HandlerItem| numbers.get(&key(item)).copied();
    for at in 0..handlers.len() {
        let item = handlers[at].item;
        let Some(policy) = item.policy else { continue };
        let fallback = item.fallback.and_then(number_of);
        let breaker = policy.breaker.and_then(|options| panel.of(&item.path(), options));
        let retry = policy.retry.map(|retry| RetryPolicy::CALL.overlaid(retry));
        handlers[at].policy = Some(Arc::new(PlannedPolicy { timeout: policy.timeout, retry, breaker, fallback }));
        handlers[at].needs_unit |= fallback.is_some_and(|number| handlers[number as usize].needs_unit);
    }
    // After the fallbacks: what a link needs, its chain needs.
    for chain in &draft.chains {
        let links: Arc<[u32]> = (chain.links)().into_iter().filter_map(number_of).collect();
        let needs_unit = links.iter().any(|link| handlers[*link as usize].needs_unit);
        if let Some(planned) = handlers.iter_mut().find(|planned| std::ptr::eq(planned.item, &raw const chain.item)) {
            planned.links = links;
            planned.needs_unit |= needs_unit;
        }
    }
}

/// The sagas, with the numbers of their functions.
fn sagas(handlers: &[Planned], draft: &Draft) -> PlannedSagas {
    let parts = handlers.iter().zip(0_u32..).filter(|(planned, _)| is_part(planned.item.kind));
    let numbers: HashMap<Key, u32> = parts.map(|(planned, number)| (key(planned.item), number)).collect();
    let number_of = |item: &HandlerItem| numbers.get(&key(item)).copied();
    PlannedSagas::new(draft.sagas.iter().map(|item| PlannedSaga::new(item, number_of)))
}

fn index(plan: &mut Plan, item: &'static HandlerItem, number: u32) {
    let type_id = item.message.type_id;
    match item.kind {
        HandlerKind::Command
        | HandlerKind::Query
        | HandlerKind::Chain
        | HandlerKind::Link
        | HandlerKind::Fallback
        | HandlerKind::Step
        | HandlerKind::Compensation => {}
        HandlerKind::Event(EventMode::Plain) => event(plan, type_id).plain.push(number),
        HandlerKind::Event(EventMode::Inline) => event(plan, type_id).inline.push(number),
        HandlerKind::Event(EventMode::Durable(_)) => event(plan, type_id).durable.push(number),
        HandlerKind::Event(EventMode::Group(options)) => {
            let group: &mut GroupPlan = plan.groups.entry(options.group).or_default();
            let topic = options.topic.unwrap_or(item.message.topic);
            if !group.topics.contains(topic) {
                group.topics.insert(topic.to_owned());
            }
            let options = GroupOptions { topic: Some(topic), ..options };
            group.handlers.entry(item.message.name).or_default().push((number, options));
        }
    }
}

/// Commands and queries by type; made last, since middleware decides how slim a call is.
fn calls(plan: &Plan) -> ByType<CallEntry> {
    let entries = plan.handlers.iter().zip(0..).filter_map(|(planned, number)| {
        let spec = planned.item.message;
        let has_middleware = !plan.middleware(CallKind::of(spec)).is_empty();
        Some((spec.type_id, CallEntry::of(planned, number, has_middleware)?))
    });
    let mut calls = ByType::default();
    calls.reserve(plan.handlers.len());
    calls.extend(entries);
    calls
}

fn event(plan: &mut Plan, type_id: TypeId) -> &mut EventPlan {
    plan.events.entry(type_id).or_default()
}

fn scoped_provider(item: ProviderItem, slots: Vec<Slot>, known: &[ScopedProvider]) -> ScopedProvider {
    let mut before: Vec<usize> = Vec::new();
    for slot in &slots {
        if let Slot::Scoped(number) = slot {
            for needed in known[*number].before.iter().chain([number]) {
                if !before.contains(needed) {
                    before.push(*needed);
                }
            }
        }
    }
    ScopedProvider { item, name: (item.provides)().1, slots, before }
}

async fn provide(item: &ProviderItem, slots: &[Resolved]) -> Result<Resolved, ProviderFailed> {
    let failed = |source| ProviderFailed {
        provider: item.name,
        location: item.location,
        dependency: (item.provides)().1,
        source,
    };
    match Caught((item.thunk)(Resolver::new(slots, None))).await {
        Ok(Ok(resolved)) => Ok(resolved),
        Ok(Err(source)) => Err(failed(source)),
        Err(panic) => Err(failed(format!("it panicked: {panic}").into())),
    }
}
