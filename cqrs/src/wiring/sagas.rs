//! What sagas ask of the app, and of each other.

use std::collections::BTreeMap;

use super::draft::Draft;
use super::problem::{Problem, ProblemKind};
use crate::saga::item::SagaItem;

/// Every saga has a store, and a name and version of its own, by which it is found again.
pub(super) fn check_sagas(draft: &Draft, problems: &mut Vec<Problem>) {
    let mut named: BTreeMap<(&str, u32), Vec<&SagaItem>> = BTreeMap::new();
    for saga in draft.sagas.iter().copied() {
        if !draft.has_store {
            let what = format!("the saga `{}` needs a store: it is stored between its steps", saga.context.name);
            let mend = "give the builder one: `.store(Store::url(\"sqlite://app.db\"))`";
            problems.push(Problem::new(ProblemKind::NoStore, what, mend).at("here", saga.location()));
        }
        named.entry((saga.context.name, saga.context.version)).or_default().push(saga);
    }
    for ((name, version), sagas) in named.into_iter().filter(|(_, sagas)| sagas.len() > 1) {
        let what = format!(
            "{} sagas are called `{name}`, version {version}: taken up again, they could not be told apart",
            sagas.len()
        );
        let mend = "give one of them another: `#[saga(name = \"..\")]` or `#[saga(version = ..)]`";
        let mut problem = Problem::new(ProblemKind::NameTaken, what, mend);
        for saga in sagas {
            problem = problem.at(format!("`{}`", saga.context.type_name()), saga.location());
        }
        problems.push(problem);
    }
}
