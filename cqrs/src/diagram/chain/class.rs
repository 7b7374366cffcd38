//! A chain as a class diagram.

use std::any::TypeId;

use super::ChainDiagram;
use crate::diagram::is_same;
use crate::diagram::mermaid::{Class, ClassDiagram, Relation};
use crate::diagram::words::{parameters, short};
use crate::registry::{HandlerItem, HandlerKind, Need};

/// What was drawn so far: functions and dependencies once each.
struct Drawn<'c> {
    chain: &'c ChainDiagram,
    diagram: ClassDiagram,
    functions: Vec<(&'static HandlerItem, Class)>,
    dependencies: Vec<(TypeId, Class)>,
}

pub(super) fn draw(chain: &ChainDiagram) -> String {
    let mut drawn = Drawn { chain, diagram: ClassDiagram::new(), functions: Vec::new(), dependencies: Vec::new() };
    let spec = chain.chain.item.message;
    let results = [format!("answers {}", chain.response()), format!("fails with {}", chain.error())];
    let message = drawn.diagram.class(spec.kind.as_str(), &chain.message_name(), &results);
    let mut promises = chain.promises();
    promises.push("ChainExhausted when every link passes".to_owned());
    let whole = drawn.diagram.class("chain", &format!("chain of {}", chain.message_name()), &promises);
    drawn.diagram.relation(whole, Relation::Needs, message, "handles");
    let mut before = None;
    for (link, number) in chain.links.iter().copied().zip(1..) {
        let class = drawn.function(link);
        drawn.diagram.relation(whole, Relation::Has, class, &format!("link {number}"));
        if let Some(before) = before.replace(class) {
            drawn.diagram.relation(before, Relation::LeadsTo, class, "passes to");
        }
    }
    drawn.diagram.into_text()
}

impl Drawn<'_> {
    /// A link or a fallback, with everything it leads to.
    fn function(&mut self, item: &'static HandlerItem) -> Class {
        if let Some((_, class)) = self.functions.iter().find(|(known, _)| is_same(known, item)) {
            return *class;
        }
        let kind = if matches!(item.kind, HandlerKind::Fallback) { "fallback" } else { "link" };
        let mut members = self.chain.surroundings(item).lines;
        members.extend(parameters(item).into_iter().map(|parameter| format!("takes {parameter}")));
        let class = self.diagram.class(kind, item.name, &members);
        self.functions.push((item, class));
        for need in item.needs {
            self.dependency(class, need);
        }
        if let Some(fallback) = item.fallback {
            let fallback = self.function(fallback);
            self.diagram.relation(class, Relation::LeadsTo, fallback, "falls back to");
        }
        class
    }

    fn dependency(&mut self, function: Class, need: &Need) {
        let Need::Inject { type_id, name } = need else { return };
        let known = self.dependencies.iter().find(|(known, _)| known == type_id);
        let class = if let Some((_, class)) = known {
            *class
        } else {
            let class = self.diagram.class::<&str>("dependency", &short(name()), &[]);
            self.dependencies.push((*type_id, class));
            class
        };
        self.diagram.relation(function, Relation::Needs, class, "Inject");
    }
}
