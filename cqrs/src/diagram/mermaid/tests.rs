//! Hostile names: the real Mermaid reads each diagram as it was meant, whatever the names in it.

use serde_json::{Value, json};

use super::text::{LINE, NAME, line, name, shown};
use super::{Arrow, Block, ClassDiagram, Frame, Relation, SequenceDiagram};
use crate::diagram::real;

/// What has broken some diagram of somebody, or might.
const HOSTILE: &[&str] = &[
    "",
    " ",
    "\n",
    "\0\u{1b}[31m\u{7f}\u{85}",
    "end",
    "END",
    "End of the day",
    "the end",
    "end end end",
    "as",
    "a as b",
    "p1",
    "p1->>p2: hi",
    "c1 --> c2 : hi",
    "participant x",
    "actor",
    "activate p1",
    "alt",
    "else x",
    "loop",
    "opt",
    "break",
    "par and critical option",
    "box",
    "autonumber",
    "create participant p1",
    "destroy p1",
    "links p1: {\"a\": \"b\"}",
    "title x",
    "title: x",
    "accTitle: x",
    "accDescr {",
    "wrap: x",
    ":wrap:x",
    "nowrap:",
    "wrap",
    "sequenceDiagram",
    "classDiagram",
    "class",
    "class c1",
    "namespace x {",
    "note for c1 \"x\"",
    "note",
    "style c1 fill:#f9f;",
    "style: a;",
    "lifestyle:x#y;",
    "classDef x fill:#f9f;",
    "cssClass \"c1\" x",
    "click c1 call f()",
    "callback c1 \"f\"",
    "link c1 \"javascript:alert(1)\"",
    "direction TB",
    "direction  LR",
    "a direction RL b",
    "Direction TB",
    "direction",
    "redirection TB",
    "direction_TB",
    "directions LR",
    "<<interface>>",
    "a:::b",
    ";",
    "a; b",
    "#",
    "# comment",
    "#35;",
    "#quot;",
    "&lt;b&gt;",
    "&#35;",
    "%",
    "%%",
    "%% comment",
    "%%{init: {\"theme\": \"dark\"}}%%",
    "%%{wrap}%%",
    "---",
    "---\ntitle: x\n---",
    "a\nb",
    "a\r\nb",
    "a\u{2028}b",
    "\"",
    "'",
    "`",
    "```",
    "``` mermaid",
    "[\"x\"]",
    "{",
    "}",
    "{{closure}}",
    "(",
    ")",
    "f(x)",
    "f(x) String",
    "+f()*",
    "-private$",
    "#protected",
    "~T~",
    "List~List~int~~",
    "<",
    ">",
    "Vec<Option<Box<dyn Fn(&str) -> Result<(), String> + Send + 'static>>>",
    "<br/>",
    "<br>",
    "<script>alert(1)</script>",
    "<img src=\"x\" onerror='alert(1)'>",
    "a=\"b\"",
    "->>",
    "-->>",
    "--x",
    "-)",
    "<<->>",
    "<|--",
    "*",
    "**bold**",
    "_it_",
    "__init__",
    "a__b",
    "_",
    "~~gone~~",
    "1. one",
    "- one",
    "+ one",
    "> quoted",
    "    code",
    "www.example.com",
    "https://example.com/?a=b#c",
    "fa:fa-car",
    "$$x^2$$",
    "$",
    "\\",
    "\\n",
    "@{ shape: x }",
    "p1@{ \"type\": \"queue\" }",
    "ﬂ°°35¶ß",
    "ﬂ°quot¶ß",
    "ﬂ",
    "¶ß",
    "größe",
    "注文する",
    "заказ",
    "طلب",
    "e\u{301}",
    "\u{202e}reversed",
    "a\u{200b}b",
    "\u{feff}",
    "\u{ffff}\u{fdd0}\u{1fffe}",
    "🎉",
    "👩‍👩‍👧‍👦 family",
    "🇩🇪",
    "r#type",
    "shop::payments::by_card",
    "constructor",
    "__proto__",
    "toString",
];

/// Numbers that look like chance and are the same every time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % most
    }

    /// Some of the hostile names, cut and put together.
    fn name(&mut self) -> String {
        let pieces = 1 + self.below(4);
        let mut name = String::new();
        for _ in 0..pieces {
            let piece: Vec<char> = HOSTILE[self.below(HOSTILE.len())].chars().collect();
            let (from, to) = (self.below(piece.len() + 1), self.below(piece.len() + 1));
            name.extend(&piece[from.min(to)..from.max(to)]);
            name.push_str(["", "", " ", "\n", ";", ":", "#"][self.below(7)]);
        }
        name
    }

    /// A string of any characters at all.
    fn noise(&mut self) -> String {
        let length = self.below(20);
        let any = |chance: &mut Self| match chance.below(3) {
            0 => char::from(u8::try_from(chance.below(128)).unwrap()),
            1 => char::from_u32(u32::try_from(chance.below(0x3000)).unwrap()).unwrap(),
            _ => char::from_u32(u32::try_from(chance.below(0x11_0000)).unwrap()).unwrap_or('\u{FFFD}'),
        };
        (0..length).map(|_| any(self)).collect()
    }
}

/// The hostile names by themselves, among others, and mixed.
fn names() -> Vec<String> {
    let mut names: Vec<String> = HOSTILE.iter().map(|&name| name.to_owned()).collect();
    names.extend(HOSTILE.iter().map(|name| format!("a {name} b")));
    names.push("x;#".repeat(40));
    let mut chance = Chance(4);
    names.extend((0..60).map(|_| chance.name()));
    names.extend((0..60).map(|_| chance.noise()));
    names
}

/// A sequence diagram with a name in every place there is, and what has to be read in it.
fn sequence(name: &str) -> (String, Value) {
    let mut diagram = SequenceDiagram::new();
    let a = diagram.actor(name);
    let b = diagram.participant(name);
    diagram.message(a, Arrow::Call, b, name);
    diagram.note(a, b, &[name, name]);
    diagram.note(b, b, &[name]);
    diagram.block(Block::Loop, name, |diagram| {
        diagram.block(Block::Opt, name, |diagram| diagram.message(b, Arrow::Reply, a, name));
        diagram.block(Block::Break, name, |diagram| diagram.message(b, Arrow::Failure, b, name));
    });
    for frame in [Frame::Alt, Frame::Par] {
        diagram.frame(frame, &[name, name], |diagram, _| diagram.message(a, Arrow::Call, b, name));
    }
    let (called, text) = (shown(name, NAME), shown(name, LINE));
    let event =
        |what: &str, from: &str, to: &str, text: &str| json!({"what": what, "from": from, "to": to, "text": text});
    let meant = json!({
        "type": "sequence",
        "participants": [
            {"id": "p1", "label": called, "kind": "actor"},
            {"id": "p2", "label": called, "kind": "participant"},
        ],
        "events": [
            event("SOLID", "p1", "p2", &text),
            event("NOTE", "p1", "p2", &format!("{text}<br/>{text}")),
            event("NOTE", "p2", "p2", &text),
            event("LOOP_START", "", "", &text),
            event("OPT_START", "", "", &text),
            event("DOTTED", "p2", "p1", &text),
            event("OPT_END", "", "", ""),
            event("BREAK_START", "", "", &text),
            event("DOTTED_CROSS", "p2", "p2", &text),
            event("BREAK_END", "", "", ""),
            event("LOOP_END", "", "", ""),
            event("ALT_START", "", "", &text),
            event("SOLID", "p1", "p2", &text),
            event("ALT_ELSE", "", "", &text),
            event("SOLID", "p1", "p2", &text),
            event("ALT_END", "", "", ""),
            event("PAR_START", "", "", &text),
            event("SOLID", "p1", "p2", &text),
            event("PAR_AND", "", "", &text),
            event("SOLID", "p1", "p2", &text),
            event("PAR_END", "", "", ""),
        ],
    });
    (diagram.into_text(), meant)
}

/// A class diagram with a name in every place there is, and what has to be read in it.
fn class(name: &str) -> (String, Value) {
    let mut diagram = ClassDiagram::new();
    let class = diagram.class(name, name, &[name]);
    diagram.relation(class, Relation::Needs, class, name);
    let (called, text) = (shown(name, NAME), shown(name, LINE));
    let meant = json!({
        "type": "classDiagram",
        "classes": [{"id": "c1", "label": called, "stereotypes": [text], "members": [text]}],
        "relations": [{"from": "c1", "to": "c1", "text": text}],
        "direction": "TB",
    });
    (diagram.into_text(), meant)
}

fn is_read_as_meant(draw: impl Fn(&str) -> (String, Value)) {
    let names = names();
    let (diagrams, meant): (Vec<String>, Vec<Value>) = names.iter().map(|name| draw(name)).unzip();
    let read = real::read(&diagrams);
    for (((name, diagram), meant), read) in names.iter().zip(diagrams).zip(meant).zip(read) {
        assert_eq!(read, meant, "{name:?} is read as something else in\n{diagram}");
    }
}

#[test]
fn hostile_names_in_sequence_diagrams_are_read_as_they_are() {
    is_read_as_meant(sequence);
}

#[test]
fn hostile_names_in_class_diagrams_are_read_as_they_are() {
    is_read_as_meant(class);
}

#[test]
fn every_relation_and_an_empty_class_are_read_as_they_are() {
    let mut diagram = ClassDiagram::new();
    let a = diagram.class("kind", "a", &["one", "two"]);
    let b = diagram.class::<&str>("kind", "b", &[]);
    diagram.relation(a, Relation::Has, b, "has");
    diagram.relation(b, Relation::LeadsTo, a, "leads to");
    diagram.relation(a, Relation::Needs, a, "needs");
    let nobody = SequenceDiagram::new();
    let read = real::read(&[diagram.into_text(), nobody.into_text()]);
    let classes = json!([
        {"id": "c1", "label": "a", "stereotypes": ["kind"], "members": ["one", "two"]},
        {"id": "c2", "label": "b", "stereotypes": ["kind"], "members": []},
    ]);
    assert_eq!(read[0]["classes"], classes);
    let relations = json!([
        {"from": "c1", "to": "c2", "text": "has"},
        {"from": "c2", "to": "c1", "text": "leads to"},
        {"from": "c1", "to": "c1", "text": "needs"},
    ]);
    assert_eq!(read[0]["relations"], relations);
    assert_eq!(read[1]["events"], json!([]));
}

#[test]
#[should_panic(expected = "no valid Mermaid")]
fn what_is_no_diagram_is_told() {
    real::read(&["sequenceDiagram\n    p1->>: x\n".to_owned()]);
}

/// What a page around a diagram, or Markdown, would read in it, cannot be there.
#[test]
fn a_label_holds_letters_digits_and_entities_only() {
    for raw in names() {
        let label = line(&raw);
        let mut rest = label.as_str();
        while let Some(at) = rest.find(|c: char| !c.is_alphanumeric() && !matches!(c, ' ' | ',' | '_')) {
            let (code, behind) = rest[at..].split_once(';').unwrap_or_else(|| panic!("{raw:?} is {label}"));
            assert!(code.strip_prefix('#').is_some_and(|code| code.parse::<u32>().is_ok()), "{raw:?} is {label}");
            rest = behind;
        }
    }
}

#[test]
fn labels_are_one_line_of_a_length_that_can_be_read() {
    assert_eq!(shown("  two\n\twords \u{0} here ", LINE), "two words here");
    assert_eq!(shown("\u{202e}evil", LINE), "\u{FFFD}evil", "nobody turns the text around it");
    assert_eq!(shown("ﬂ°quot¶ß", LINE), "\u{FFFD}°quot\u{FFFD}ß", "drawn, it would be a quotation mark");
    assert_eq!(shown("", LINE), "(no name)");
    for (longest, label) in [(NAME, name as fn(&str) -> String), (LINE, line)] {
        assert_eq!(label(&"x".repeat(longest)), "x".repeat(longest));
        assert_eq!(label(&"x".repeat(longest + 1)), format!("{}#8230;", "x".repeat(longest - 1)));
        assert_eq!(shown(&"語".repeat(longest + 1), longest).chars().count(), longest, "characters, not bytes");
    }
}

#[test]
fn ordinary_names_stay_readable() {
    assert_eq!(line("by_card"), "by_card");
    assert_eq!(line("at most 3 attempts, größer"), "at most 3 attempts, größer");
    assert_eq!(line("Vec<u8>"), "Vec#60;u8#62;");
    assert_eq!(line("the end"), "the en#100;");
    assert_eq!(line("__init__"), "#95;#95;init#95;#95;");
}
