//! Sagas that no source could spell, and runs of every kind: each is drawn as Mermaid that reads as what it says.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::{Run, SagaDiagram};
use crate::diagram::real;
use crate::message::{Message, SourceLocation};
use crate::registry::{HandlerItem, HandlerKind, Need, RetryOptions, Thunk};
use crate::saga::LimitsItem;
use crate::saga::PlannedSaga;
use crate::saga::item::{AwaitsItem, CompensationItem, NamedStep, PlaceItem, SagaItem, StepItem, WayBack};
use crate::saga::step::{StepEnd, StepFuture, StepThunk};
use crate::store::{SagaAsked, SagaLog, SagaPhase, SagaProgress, SagaRow, SagaStep, SagaWait};
use crate::unit::Cx;

#[derive(crate::DomainEvent, serde::Serialize, serde::Deserialize)]
#[event(crate = crate, name = "order")]
struct Order;

#[derive(crate::DomainEvent, serde::Serialize, serde::Deserialize)]
#[event(crate = crate, name = "; end\n")]
struct Paid;

fn leaked<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

fn never(_: Arc<[u8]>, cx: Cx<'_>, _: u32) -> StepFuture<'_> {
    Box::pin(async move { (Ok(StepEnd::default()), cx) })
}

fn function(kind: HandlerKind, name: &str, needs: &[Need]) -> HandlerItem {
    let location = SourceLocation { module: "shop", file: "shop.rs", line: 1 };
    HandlerItem::part(kind, String::leak(name.to_owned()), location, Order::SPEC, needs.to_vec().leak(), Thunk::Part)
}

fn step(name: &str) -> StepItem {
    let handler = function(HandlerKind::Step, name, &[]);
    StepItem {
        name: handler.name,
        handler,
        thunk: StepThunk(never),
        apply: None,
        retry: RetryOptions::NONE,
        back: WayBack::Nothing,
        is_pivot: false,
        awaits: None,
        error: std::any::type_name::<std::convert::Infallible>,
        keep: None,
        patch: None,
    }
}

fn back(name: &str) -> WayBack {
    let handler = function(HandlerKind::Compensation, name, &[]);
    let error = std::any::type_name::<crate::BoxError>;
    WayBack::By(leaked(CompensationItem { handler, thunk: StepThunk(never), retry: RetryOptions::NONE, error }))
}

fn named(item: &StepItem) -> NamedStep {
    NamedStep { name: item.name, item: leaked(*item), keeper: None }
}

fn one(item: &StepItem) -> PlaceItem {
    PlaceItem::One(named(item))
}

fn group(items: impl IntoIterator<Item = StepItem>) -> PlaceItem {
    PlaceItem::Group(items.into_iter().map(|item| named(&item)).collect::<Vec<_>>().leak())
}

fn item(places: Vec<PlaceItem>) -> &'static SagaItem {
    leaked(SagaItem { context: Order::SPEC, places: places.leak(), limits: LimitsItem::default() })
}

fn saga(places: Vec<PlaceItem>) -> SagaDiagram {
    SagaDiagram::new(item(places), Arc::new(BTreeMap::new()))
}

fn read(saga: &SagaDiagram) -> [Value; 2] {
    real::read(&[saga.sequence(), saga.class()]).try_into().unwrap()
}

fn texts(read: &Value) -> Vec<&str> {
    read["events"].as_array().unwrap().iter().filter_map(|event| event["text"].as_str()).collect()
}

#[test]
fn a_saga_of_no_step_is_completed_at_once() {
    let [sequence, class] = read(&saga(Vec::new()));
    let texts = texts(&sequence);
    assert_eq!((texts[0], texts[2], texts.len()), ("Order", "completed, Order", 3), "{texts:?}");
    assert_eq!(class["classes"].as_array().unwrap().len(), 2);
}

#[test]
fn without_a_compensation_a_failure_is_the_end() {
    let [sequence, _] = read(&saga(vec![one(&step("only"))]));
    assert_eq!(
        texts(&sequence)[2..],
        [
            "each step ends well",
            "&mut Order",
            "done",
            "completed, Order",
            "one fails, or somebody cancels",
            "SagaError::Compensated",
            "",
        ]
    );
}

/// What stands behind the pivot is never undone, though it has a compensation.
#[test]
fn the_way_back_begins_at_the_pivot_and_in_reverse_order() {
    let pivot = StepItem { is_pivot: true, back: WayBack::Unsaid, ..step("ship") };
    let begin = Need::Begin { type_id: TypeId::of::<()>(), name: || "sqlx::Sqlite" };
    let charge = function(HandlerKind::Step, "charge", &[begin]);
    let saga = saga(vec![
        one(&StepItem { back: back("release"), ..step("reserve") }),
        group([StepItem { back: back("unsay"), ..step("notify") }, StepItem { back: back("recall"), ..step("print") }]),
        one(&StepItem { back: back("refund"), handler: charge, ..step("charge") }),
        one(&pivot),
        one(&StepItem { back: back("open"), ..step("close") }),
    ]);
    let [sequence, class] = read(&saga);
    let texts = texts(&sequence);
    let turn = texts.iter().position(|text| *text == "one fails up to ship, or somebody cancels").unwrap();
    let opts: Vec<&str> = texts[turn..].iter().filter(|text| text.contains(" is done")).copied().collect();
    let expected =
        ["charge is done", "print is done, or may be", "notify is done, or may be", "reserve is done, or may be"];
    assert_eq!(opts, expected, "of what has a transaction there is no doubt");
    assert!(!texts.contains(&"open"), "{texts:?}");
    let undone: Vec<&Value> =
        class["relations"].as_array().unwrap().iter().filter(|it| it["text"] == "undone by").collect();
    assert_eq!(undone.len(), 4, "{undone:?}");
}

#[test]
fn names_that_only_a_macro_could_make_are_read_as_they_are() {
    let awaits = AwaitsItem {
        event: Paid::SPEC,
        of_event: |_| None,
        of_context: |_| None,
        timeout: Some(Duration::MAX),
        group: None,
    };
    let fallback = leaked(function(HandlerKind::Fallback, "direction TB", &[]));
    let mut guarded = step("<script>\n%%{init}%%");
    guarded.handler = guarded.handler.guarded(leaked(crate::policy::Policy::default()), Some(fallback));
    guarded.error = || "shop::Odd<\"; end\">";
    guarded.retry = RetryOptions::new(Some(u32::MAX), Some(Duration::ZERO), Some(f64::NAN), Some(Duration::MAX));
    let waiting = StepItem { awaits: Some(awaits), back: back("\"; end\n"), name: "else x", ..step("and option") };
    let member = StepItem { patch: Some(|| "shop::Change<#>"), ..step("end") };
    let [sequence, class] =
        read(&saga(vec![one(&guarded), one(&waiting), group([member, step("par and critical option")])]));
    let labels: Vec<&str> =
        sequence["participants"].as_array().unwrap().iter().map(|one| one["label"].as_str().unwrap()).collect();
    let expected = [
        "caller",
        "saga order, version 1",
        "<script> %%{init}%%",
        "direction TB, a fallback",
        "else x, by and option",
        "end",
        "par and critical option",
        "Paid, an event",
    ];
    assert_eq!(labels, expected);
    let texts = texts(&sequence);
    assert!(texts.contains(&"\"; end") && texts.contains(&"Change<#>"), "{texts:?}");
    let members = class["classes"][2]["members"].as_array().unwrap();
    assert!(members.contains(&Value::from("fails with Odd<\"; end\">")), "{members:?}");
    let event = class["classes"].as_array().unwrap().iter().find(|class| class["label"] == "Paid").unwrap();
    assert_eq!(event["members"][0], "stored as ; end");
}

/// Mermaid draws texts of 50,000 characters.
#[test]
fn a_hundred_steps_can_be_drawn() {
    let places = (0..100).map(|number| {
        one(&StepItem {
            back: back(&format!("undo_step_number_{number}")),
            ..step(&format!("do_step_number_{number}"))
        })
    });
    let saga = saga(places.collect());
    for text in [saga.sequence(), saga.class()] {
        assert!(text.chars().count() < 50_000, "{}", text.chars().count());
    }
}

// Timelines.

fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

fn after(millis: u64) -> SystemTime {
    start() + Duration::from_millis(millis)
}

fn row(phase: SagaPhase, changed: u64) -> SagaRow {
    SagaRow {
        id: "order-42".to_owned(),
        name: "order".to_owned(),
        version: 1,
        phase,
        why: String::new(),
        context: b"null".to_vec(),
        headers: BTreeMap::new(),
        is_cancelled: false,
        cuts: 0,
        asked: None,
        error: None,
        logged: 0,
        started_at: start(),
        changed_at: after(changed),
        due_at: None,
        is_held: false,
    }
}

fn stands(step: &str, progress: SagaProgress, attempt: u32) -> SagaStep {
    SagaStep {
        step: step.to_owned(),
        progress,
        attempt,
        in_doubt: false,
        due_at: None,
        wait: None,
        event: None,
        returned: None,
        error: None,
    }
}

fn waits(step: &str, progress: SagaProgress) -> SagaStep {
    let wait = SagaWait { saga: "order".to_owned(), event: "Paid".to_owned(), key: String::new() };
    SagaStep { wait: Some(wait), ..stands(step, progress, 1) }
}

/// The log of a saga, a line for each attempt.
#[derive(Default)]
struct Log(Vec<SagaLog>);

impl Log {
    fn add(
        mut self,
        step: &str,
        attempt: u32,
        from: u64,
        to: u64,
        progress: SagaProgress,
        error: Option<&str>,
    ) -> Self {
        use SagaProgress::{Kept, UndoPausing, Undone};
        let number = u32::try_from(self.0.len()).unwrap() + 1;
        self.0.push(SagaLog {
            number,
            step: step.to_owned(),
            is_undo: matches!(progress, UndoPausing | Undone | Kept),
            attempt,
            began_at: after(from),
            ended_at: after(to),
            progress,
            error: error.map(str::to_owned),
        });
        self
    }

    fn done(self, step: &str, from: u64, to: u64) -> Self {
        self.add(step, 1, from, to, SagaProgress::Done, None)
    }
}

fn plan() -> PlannedSaga {
    let pivot = StepItem { is_pivot: true, ..step("ship") };
    let places = vec![
        one(&StepItem { back: back("release"), ..step("reserve") }),
        one(&StepItem { back: back("refund"), ..step("charge") }),
        group([step("notify"), step("print")]),
        one(&step("confirm")),
        one(&pivot),
        one(&step("close")),
    ];
    PlannedSaga::new(item(places), |_| Some(0))
}

fn timeline(row: &SagaRow, steps: &[SagaStep], log: &Log) -> String {
    Run { row, steps, log: &log.0, plan: Some(&plan()) }.draw()
}

/// A whole way forward: an attempt that fails, a pause, steps side by side of which the later one ends first, an event.
fn completed() -> String {
    let log = Log::default()
        .done("reserve", 3, 20)
        .add("charge", 1, 21, 121, SagaProgress::Pausing, Some("\n  the bank is down\nat shop.rs:7"))
        .add("charge", 2, 1_121, 1_400, SagaProgress::Done, None)
        .done("print", 1_402, 1_500)
        .done("notify", 1_401, 9_000)
        .done("confirm", 600_000, 600_001)
        .done("ship", 600_002, 61_000_000)
        .done("close", 61_000_100, 61_000_200);
    let mut steps: Vec<SagaStep> = ["close", "ship", "print", "notify", "charge", "reserve"]
        .map(|step| stands(step, SagaProgress::Done, 0))
        .into();
    steps.push(waits("confirm", SagaProgress::Done));
    timeline(&row(SagaPhase::Completed, 61_000_201), &steps, &log)
}

/// A way back, on which a compensation is tried again.
fn compensated() -> String {
    let log = Log::default()
        .done("reserve", 0, 5)
        .done("charge", 6, 10)
        .add("notify", 1, 11, 30, SagaProgress::Failed, Some("no such address; #1 <end>"))
        .done("print", 11, 40)
        .add("charge", 1, 41, 50, SagaProgress::UndoPausing, Some("busy"))
        .add("charge", 2, 1_050, 1_060, SagaProgress::Undone, None)
        .add("reserve", 1, 1_061, 1_070, SagaProgress::Undone, None);
    let steps = [
        stands("notify", SagaProgress::Failed, 0),
        stands("print", SagaProgress::Done, 0),
        stands("charge", SagaProgress::Undone, 0),
        stands("reserve", SagaProgress::Undone, 0),
    ];
    timeline(&row(SagaPhase::Compensated, 1_070), &steps, &log)
}

/// Stuck behind the pivot, resumed twice, and stuck again.
fn stuck() -> String {
    let log = Log::default()
        .done("ship", 0, 5)
        .add("close", 10, 10, 20, SagaProgress::Failed, Some("no paper"))
        .add("close", 1, 60_020, 60_030, SagaProgress::Pausing, Some("no paper"))
        .add("close", 2, 61_030, 61_031, SagaProgress::Failed, Some("no paper"))
        .add("close", 1, 70_000, 70_001, SagaProgress::Failed, Some("no ink"));
    let steps = [stands("ship", SagaProgress::Done, 0), stands("close", SagaProgress::Failed, 0)];
    let row = SagaRow {
        why: "forward".to_owned(),
        error: Some("no ink\nat all".to_owned()),
        asked: Some(SagaAsked::Resume),
        ..row(SagaPhase::Stuck, 70_001)
    };
    timeline(&row, &steps, &log)
}

/// Somebody wanted it back while it waited, and it is on its way back.
fn cancelled() -> String {
    let log = Log::default().done("reserve", 0, 5).done("charge", 6, 10);
    let steps = [
        stands("reserve", SagaProgress::Done, 0),
        SagaStep { due_at: Some(after(9_000)), ..stands("charge", SagaProgress::UndoPausing, 2) },
        SagaStep { error: None, ..waits("confirm", SagaProgress::Failed) },
    ];
    let log = log.add("charge", 1, 7_000, 7_500, SagaProgress::UndoPausing, Some("busy"));
    let row = SagaRow { is_cancelled: true, due_at: Some(after(9_000)), ..row(SagaPhase::Compensating, 7_500) };
    timeline(&row, &steps, &log)
}

/// It goes forward: one step is under way, one pauses, and an owner was lost.
fn under_way() -> String {
    let log = Log::default().done("reserve", 0, 5).add("notify", 1, 6, 10, SagaProgress::Pausing, Some("busy"));
    let steps = [
        stands("reserve", SagaProgress::Done, 0),
        SagaStep { due_at: Some(after(1_010)), ..stands("notify", SagaProgress::Pausing, 2) },
        stands("print", SagaProgress::Running, 1),
        SagaStep { due_at: Some(after(900_000)), ..waits("confirm", SagaProgress::Awaiting) },
    ];
    let row = SagaRow { cuts: 2, asked: Some(SagaAsked::Cancel), is_held: true, ..row(SagaPhase::Forward, 10) };
    timeline(&row, &steps, &log)
}

#[test]
fn timelines_say_what_happened() {
    let texts = [completed(), compensated(), stuck(), cancelled(), under_way()];
    real::read(&texts);
    let [completed, compensated, stuck, cancelled, under_way] = texts;
    for (text, golden) in [
        (&completed, include_str!("golden/completed.mmd")),
        (&compensated, include_str!("golden/compensated.mmd")),
        (&stuck, include_str!("golden/stuck.mmd")),
        (&cancelled, include_str!("golden/cancelled.mmd")),
        (&under_way, include_str!("golden/under_way.mmd")),
    ] {
        assert_eq!(text, golden, "{text}");
    }
}

/// What did not come in time has left no entry in the log.
#[test]
fn an_event_that_did_not_come_is_why_it_goes_back() {
    let log = Log::default().done("reserve", 0, 5).add("reserve", 1, 900_006, 900_010, SagaProgress::Undone, None);
    let late = SagaStep {
        error: Some("the event `Paid` did not come in time".to_owned()),
        ..waits("confirm", SagaProgress::Failed)
    };
    let steps = [stands("reserve", SagaProgress::Undone, 0), late];
    let read = real::read(&[timeline(&row(SagaPhase::Compensated, 900_010), &steps, &log)]).remove(0);
    assert_eq!(
        texts(&read)[3..],
        [
            "the event `Paid` did not come in time",
            "from here on it undoes what was done, the last first<br/>since confirm failed",
            "undo, attempt 1 at +15m",
            "undone at +15m after 4ms",
            "compensated at +15m",
        ]
    );
}

#[test]
fn a_saga_that_this_program_does_not_have_is_drawn_all_the_same() {
    let log = Log::default().done("b", 5, 9).done("a", 1, 10).add("c", 1, 11, 12, SagaProgress::Failed, Some(""));
    let steps = ["a", "b", "c", "d"].map(|step| stands(step, SagaProgress::Done, 0));
    let row = row(SagaPhase::Compensated, 12);
    let read = real::read(&[Run { row: &row, steps: &steps, log: &log.0, plan: None }.draw()]).remove(0);
    let labels: Vec<&str> =
        read["participants"].as_array().unwrap().iter().map(|one| one["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["caller", "saga order-42", "a", "b", "c", "d"], "in the order in which they began");
    let texts = texts(&read);
    assert_eq!(texts[1], "this program has no version 1 of order");
    assert_eq!(texts[2..4], ["attempt 1 at +1ms", "attempt 1 at +5ms"], "times say what may have overlapped");
    assert!(texts.contains(&"failed for good at +12ms after 1ms, without a word"), "{texts:?}");
}

/// Clocks of processes differ: what was stored first has happened first.
#[test]
fn clocks_that_differ_change_no_order() {
    let log = Log::default().done("reserve", 0, 9_000).done("charge", 5, 6);
    let mut row = row(SagaPhase::Forward, 6);
    (row.started_at, row.is_held) = (after(3), true);
    let read = real::read(&[timeline(&row, &[], &log)]).remove(0);
    assert_eq!(
        texts(&read)[1..5],
        ["attempt 1 at +0s", "done at +8s 997ms after 9s", "attempt 1 at +2ms", "done at +3ms after 1ms",]
    );
}

/// Whatever people name and errors say is read as it is: in a saga's name, its id, a step's, an event's, and an error.
#[test]
fn hostile_names_and_errors_in_timelines_are_read_as_they_are() {
    let hostile = [
        "end",
        "alt",
        "else x",
        "and y",
        "par",
        "; #59; %%",
        "<br/>\n<script>",
        "\"",
        "p1->>p2: hi",
        "Note over p1: x",
        "",
        "\0\u{202e}",
        "direction TB",
        "ﬂ°°35¶ß",
        "注文する",
        "activate p1",
        "--x",
        "+1s",
        "critical",
        "%%{init: {}}%%",
    ];
    let draw = |name: &&str| -> String {
        let error = Some(*name);
        let log = Log::default()
            .add(name, 1, 0, 5, SagaProgress::Pausing, error)
            .add(name, 2, 6, 7, SagaProgress::Done, None)
            .add(name, 1, 8, 9, SagaProgress::Kept, error);
        let mut waiting = waits(&format!("{name}2"), SagaProgress::Awaiting);
        waiting.wait.as_mut().unwrap().event = (*name).to_owned();
        let late = SagaStep { error: error.map(str::to_owned), ..waits(&format!("{name}3"), SagaProgress::Failed) };
        let row = SagaRow {
            id: (*name).to_owned(),
            name: (*name).to_owned(),
            error: error.map(str::to_owned),
            ..row(SagaPhase::Stuck, 9)
        };
        Run { row: &row, steps: &[waiting, late], log: &log.0, plan: None }.draw()
    };
    let drawn: Vec<String> = std::iter::once(&"plain").chain(&hostile).map(draw).collect();
    let read = real::read(&drawn);
    let plain = &read[0];
    let kinds = |read: &Value| -> Vec<String> {
        let events = read["events"].as_array().unwrap().iter();
        events.map(|event| format!("{} {} {}", event["what"], event["from"], event["to"])).collect()
    };
    for (name, read) in hostile.iter().zip(&read[1..]) {
        assert_eq!(read["participants"].as_array().unwrap().len(), 5, "{name:?}");
        assert_eq!(kinds(read), kinds(plain), "{name:?} is read as something else");
    }
}

#[test]
fn times_that_no_calendar_has_are_drawn() {
    let year_10000 = UNIX_EPOCH + Duration::from_hours(70_389_528);
    let second = Duration::from_secs(1);
    let times = [UNIX_EPOCH - second, UNIX_EPOCH, year_10000 - second, year_10000];
    let texts =
        times.map(|started_at| timeline(&SagaRow { started_at, ..row(SagaPhase::Completed, 0) }, &[], &Log::default()));
    let read: Vec<String> = real::read(&texts).iter().map(|read| self::texts(read)[0].to_owned()).collect();
    assert_eq!(
        read,
        [
            "order, version 1, at a time of no calendar",
            "order, version 1, at 1970-01-01T00:00:00Z",
            "order, version 1, at 9999-12-31T23:59:59Z",
            "order, version 1, at a time of no calendar",
        ]
    );
}

#[test]
fn of_very_many_attempts_those_in_the_middle_are_left_out() {
    let error = "; #".repeat(60);
    let log = (1..=2_000).fold(Log::default(), |log, attempt| {
        let at = u64::from(attempt) * 10;
        log.add("close", attempt, at, at + 5, SagaProgress::Pausing, Some(&error))
    });
    let text = timeline(&row(SagaPhase::Forward, 20_005), &[stands("close", SagaProgress::Running, 2_001)], &log);
    assert!(text.len() <= super::timeline::LONGEST, "{}", text.len());
    let read = real::read(&[text]).remove(0);
    let texts = texts(&read);
    assert!(texts.contains(&"attempt 1 at +10ms") && texts.contains(&"attempt 2000 at +20s"), "{texts:?}");
    assert!(texts.iter().any(|text| text.ends_with("attempts are left out here")), "{texts:?}");
}
