//! Every text the macros can say. A test in `ui-tests` checks that each occurs in a snapshot.

use proc_macro2::Ident;

use super::{Text, nearest};
use crate::model::MessageKind;
use crate::parse::{Key, Place};

fn did_you_mean(text: Text, nearest: Option<&str>) -> Text {
    match nearest {
        Some(word) => text.help(format!("did you mean `{word}`?")),
        None => text,
    }
}

// Arguments

pub(crate) fn not_an_argument(place: Place) -> Text {
    Text::new(format!("this is not an argument of `{}`", place.form()))
        .help("arguments are `key`, `key = value` or `key(..)`, separated by commas")
        .note(format!("accepted keys: {}", place.accepted()))
}

pub(crate) fn unknown_argument(key: &Ident, place: Place) -> Text {
    let word = key.to_string();
    let text = Text::new(format!("`{word}` is not an argument of `{}`", place.form()));
    did_you_mean(text, nearest(&word, place.keys().map(|key| key.word)))
        .note(format!("accepted keys: {}", place.accepted()))
}

pub(crate) fn repeated_argument(key: &Ident) -> Text {
    Text::new(format!("`{key}` is given twice")).help("remove one of the two")
}

pub(crate) fn malformed_value(key: &Key) -> Text {
    Text::new(format!("`{}` takes {}", key.word, key.takes)).help(format!("write `{}`", key.form))
}

pub(crate) fn missing_value(key: &Key) -> Text {
    Text::new(format!("`{}` needs a value", key.word)).help(format!("write `{}`", key.form))
}

pub(crate) fn empty_text(key: &str) -> Text {
    Text::new(format!("`{key}` cannot be empty")).help("leave the argument out for its default")
}

pub(crate) fn out_of_range(key: &str, least: i128, most: i128) -> Text {
    Text::new(format!("`{key}` is out of range")).note(format!("it is at least {least} and at most {most}"))
}

pub(crate) fn factor_below_one() -> Text {
    Text::new("`factor` is below 1").note("each pause is the one before times `factor`, so pauses would shrink")
}

pub(crate) fn ceiling_below_first() -> Text {
    Text::new("`ceiling` is below `first`").note("`first` is the first pause, `ceiling` the longest one")
}

pub(crate) fn not_a_duration(found: &str) -> Text {
    Text::new(format!("`{found}` is not a duration"))
        .help("write a whole number and a unit: \"250ms\", \"10s\", \"5m\", \"1h\" or \"7d\"")
}

pub(crate) fn not_a_rate(found: &str, most: u32) -> Text {
    Text::new(format!("`{found}` is not a rate"))
        .help("write a whole number and a time: \"100/s\", \"30/m\" or \"500/h\"")
        .note(format!("the number is at least 1 and at most {most}"))
}

pub(crate) fn duration_too_long(found: &str) -> Text {
    Text::new(format!("`{found}` is too long a duration")).note("the longest is 36500 days")
}

pub(crate) fn relative_crate_path(path: &str) -> Text {
    Text::new("`crate` takes an absolute path")
        .help(format!("write `crate = ::{path}`"))
        .note("the path is used from wherever the macro stands; one that starts with `crate` is fine too")
}

pub(crate) fn unknown_word(found: &str, key: &str, accepted: &[&str]) -> Text {
    let list = accepted.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    let text = Text::new(format!("`{found}` is not a value of `{key}`"));
    did_you_mean(text, nearest(found, accepted.iter().copied())).note(format!("accepted values: {list}"))
}

pub(crate) fn repeated_word(found: &str, key: &str) -> Text {
    Text::new(format!("`{found}` stands in `{key}` twice")).help("remove one of the two")
}

pub(crate) fn empty_kinds() -> Text {
    Text::new("`kinds` is empty, so this middleware would never run")
        .help("leave `kinds` out for every kind of call")
        .note("accepted values: `command`, `query`, `stream`, `event`, `step`")
}

// Arguments of event handlers

pub(crate) fn contradictory_modes(first: &str, second: &str) -> Text {
    Text::new(format!("`{first}` and `{second}` exclude each other"))
        .note("an event handler is plain (no word), `inline`, `durable`, or has a `group`")
}

pub(crate) fn needs_group(key: &Key) -> Text {
    Text::new(format!("`{}` is for handlers of consumed events", key.word))
        .help(format!("write `#[event_handler(group = \"..\", {})]`", key.form))
        .note("only a handler with a `group` consumes its event from a topic")
}

// What surrounds a handler's attempts

pub(crate) fn zero_duration(key: &str) -> Text {
    Text::new(format!("`{key}` is no time at all")).help("write how long, such as \"250ms\", or leave the argument out")
}

pub(crate) fn on_judges_nothing() -> Text {
    Text::new("`on` says which errors count, and nothing asks")
        .help("add `fallback = ..`, `retry(..)` or `breaker(..)`, or leave `on` out")
}

pub(crate) fn on_without_an_error(name: &Ident) -> Text {
    Text::new(format!("`on` judges errors, and `{name}` returns none"))
        .help("return a `Result`, or leave `on` out: `timeout` and an open breaker need no error")
}

pub(crate) fn empty_on() -> Text {
    Text::new("`on` is empty, so no error would count")
        .help("leave `on` out, and every error counts; or list patterns: `on = [QuoteError::Unavailable(_)]`")
}

// Messages

pub(crate) fn response_beside_item(place: Place) -> Text {
    Text::new("`response` and `item` exclude each other")
        .help(format!("a streaming message answers with its items: `#[{}(item = ..)]`", place.word()))
}

pub(crate) fn borrowed_answer(key: &str) -> Text {
    Text::new(format!("`{key}` cannot borrow"))
        .help("name an owned type, such as `String` for `&str`; `&'static str` is one, too")
        .note("it outlives the call of the handler")
}

pub(crate) fn opaque_answer(key: &str) -> Text {
    Text::new(format!("`{key}` cannot be `impl Trait`")).help("name the type")
}

pub(crate) fn topic_of_domain_event() -> Text {
    Text::new("a domain event has no `topic`")
        .help("use `#[derive(NotificationEvent)]` for an event that leaves the service")
}

pub(crate) fn codec_of_domain_event() -> Text {
    Text::new("a domain event has no `codec`: it stays in the service, and is stored as JSON")
        .help("use `#[derive(NotificationEvent)]` for an event that leaves the service")
}

pub(crate) fn wrong_helper(found: &str, kind: MessageKind) -> Text {
    let own = kind.place().word();
    Text::new(format!("`#[{found}(..)]` does not belong to a {}", kind.noun())).help(format!("write `#[{own}(..)]`"))
}

pub(crate) fn union_message(kind: MessageKind) -> Text {
    Text::new(format!("a union cannot be a {}", kind.noun())).help("use a struct or an enum")
}

pub(crate) fn borrowing_message(kind: MessageKind) -> Text {
    Text::new(format!("a {} cannot borrow", kind.noun()))
        .help("use owned fields, such as `String` for `&str`")
        .note("messages outlive the function that makes them: they are queued and stored")
}

pub(crate) fn generic_notification_event(ident: &Ident) -> Text {
    Text::new(format!("notification event `{ident}` cannot be generic"))
        .help(format!("give each instance a newtype: `struct Order{ident}({ident}<Order>);`"))
        .note("a notification event is stored under one name and decoded by it")
}

pub(crate) fn unknown_key_field(field: &str, ident: &Ident, fields: &[String]) -> Text {
    let text = Text::new(format!("`{ident}` has no field `{field}`"));
    let text = did_you_mean(text, nearest(field, fields.iter().map(String::as_str)));
    match fields {
        [] => text.note("`key` names a field of the event, and there is none"),
        _ => text.note(format!("`key` names a field: `{}`", fields.join("`, `"))),
    }
}

pub(crate) fn key_of_enum(ident: &Ident) -> Text {
    Text::new(format!("`{ident}` is an enum, so it has no field to be the `key`"))
        .help("put the enum into a struct, beside the field that keeps the order")
}

// Problems

pub(crate) fn union_problem() -> Text {
    Text::new("a union cannot be a problem").help("use a struct or an enum")
}

pub(crate) fn no_problem(ident: &Ident) -> Text {
    Text::new(format!("`{ident}` says nothing of how a client is told of it"))
        .help("write `#[problem(status = 409)]` on the type, or on the variants that a client may know of")
        .note("an error without it is a 500 without its text, with or without the derive")
}

pub(crate) fn problem_without_status() -> Text {
    Text::new("this problem has no `status`")
        .help("write `#[problem(status = 409, ..)]` here, or give the type a status for all its variants")
}

pub(crate) fn problem_of_field() -> Text {
    Text::new("`#[problem(..)]` does not belong to a field").help("put it on the type or on the variant")
}

pub(crate) fn transparent_and(key: &Ident) -> Text {
    Text::new(format!("`{key}` beside `transparent`, which leaves what a client is told to what the variant holds"))
        .help("write one of the two")
}

pub(crate) fn transparent_of_many(variant: &Ident) -> Text {
    Text::new(format!("`{variant}` is `transparent`, and does not hold one field alone"))
        .help("let it hold the error that a client is told of, and nothing else")
}

pub(crate) fn not_a_uri(found: &str) -> Text {
    Text::new(format!("`{found}` is not a URI reference"))
        .help("write an address or a path of visible ASCII characters: \"https://example.com/problems/sold-out\"")
}

// Sagas

pub(crate) fn not_a_context(word: &str) -> Text {
    Text::new(format!("`#[saga]` belongs on the type that is the saga's context, not on `{word}`"))
        .help("write `#[saga(steps = [reserve, ship])]` on a struct; its steps are functions under `#[saga_step]`")
}

pub(crate) fn generic_context(ident: &Ident) -> Text {
    Text::new(format!("`{ident}` is the context of a saga, which cannot be generic"))
        .help("name the concrete types")
        .note("a saga is stored under one name, and its context is read by it")
}

pub(crate) fn no_steps(ident: &Ident) -> Text {
    Text::new(format!("saga `{ident}` has no steps"))
        .help("list functions under `#[saga_step]` in their order: `steps = [reserve, (notify, print), ship]`")
}

pub(crate) fn limits_of_a_retired_saga(key: &Key, ident: &Ident) -> Text {
    Text::new(format!("saga `{ident}` is retired, and `{}` limits what runs", key.word))
        .help(format!("write `{}` at the version that takes it over: it holds for all versions", key.form))
}

pub(crate) fn steps_of_a_retired_saga(ident: &Ident) -> Text {
    Text::new(format!("saga `{ident}` is retired, and has steps"))
        .help("remove `steps = [..]`, or `retired` where sagas of this version still run by themselves")
        .note("a retired version is what a later one takes over: `migrates = ..`")
}

pub(crate) fn not_a_step() -> Text {
    Text::new("this is not a step")
        .help("name a function under `#[saga_step]`: `reserve`, `stock::reserve` or `reserve as reserve_again`")
        .note("steps in parentheses stand side by side: `(notify, print)`")
}

pub(crate) fn group_in_a_group() -> Text {
    Text::new("a group of steps holds no other group").help("list its steps beside the others: `(notify, print)`")
}

pub(crate) fn empty_group() -> Text {
    Text::new("a group without steps does nothing").help("list the steps that stand side by side: `(notify, print)`")
}

pub(crate) fn group_of_one() -> Text {
    Text::new("a group of one step is a step").help("remove the parentheses, or list a second step in them")
}

pub(crate) fn slash_in_a_step() -> Text {
    Text::new("the name of a step cannot contain a slash")
        .note("a step's key is made of the saga's id, a slash and the step's name")
}

pub(crate) fn missing_context(place: Place, name: &Ident) -> Text {
    Text::new(format!("{} `{name}` takes no context", place.noun()))
        .help(format!("the saga's context comes first: `{}`", place.signature()))
}

pub(crate) fn context_by_value(place: Place, name: &Ident) -> Text {
    Text::new(format!("{} `{name}` takes its context by reference", place.noun())).help(match place {
        Place::SagaStep => "take `&mut C` to change the context, or `&C` and return what is to change",
        _ => "take `&mut C` to change the context, or `&C` to look at it",
    })
}

pub(crate) fn awaits_without_by() -> Text {
    Text::new("`awaits` does not say which event is the one")
        .help("name a field that context and event both have, `by = order`, or one of each, `by = (order, order_id)`")
}

pub(crate) fn needs_awaits(key: &Key) -> Text {
    Text::new(format!("`{}` is for steps that wait for an event", key.word))
        .help(format!("write `#[saga_step(awaits = PaymentReceived, {})]`", key.form))
}

pub(crate) fn missing_event(name: &Ident) -> Text {
    Text::new(format!("saga step `{name}` does not take the event that it awaits"))
        .help(format!("the event comes second: `async fn {name}(cx: &mut Checkout, e: &PaymentReceived, ..)`"))
}

pub(crate) fn event_by_value(name: &Ident) -> Text {
    Text::new(format!("saga step `{name}` takes the event that it awaits second, and by reference"))
        .help(format!("write `async fn {name}(cx: &mut Checkout, e: &PaymentReceived, ..)`"))
        .note("the event may be what others wait for, too")
}

// Functions

pub(crate) fn second_attribute(place: Place, second: &str) -> Text {
    let what = if place == Place::Saga { "type" } else { "function" };
    Text::new(format!("`#[{second}]` stands on a {what} that is a {} already", place.noun())).help(match place {
        Place::Saga => "remove one of the two; a second saga has a context of its own",
        _ => "remove one of the two; where both are meant, write a second function that calls the first",
    })
}

pub(crate) fn not_a_function(place: Place, keyword: &str) -> Text {
    Text::new(format!("`#[{}]` belongs on a function, not on `{keyword}`", place.word())).help(place.usage())
}

pub(crate) fn method(place: Place, name: &Ident) -> Text {
    let noun = place.noun();
    Text::new(format!("{noun} `{name}` cannot be a method"))
        .help("write a free function and ask for the service as a dependency: `service: Inject<Service>`")
}

pub(crate) fn not_async(place: Place, name: &Ident) -> Text {
    Text::new(format!("{} `{name}` must be `async`", place.noun())).help(format!("write `async fn {name}(..)`"))
}

pub(crate) fn forbidden_qualifier(place: Place, name: &Ident, qualifier: &str) -> Text {
    Text::new(format!("{} `{name}` cannot be `{qualifier}`", place.noun())).help(place.usage())
}

pub(crate) fn generic_function(place: Place, name: &Ident) -> Text {
    Text::new(format!("{} `{name}` cannot be generic", place.noun()))
        .help("name the concrete types; `Inject<dyn Trait>` takes any implementation")
        .note("lifetimes are fine")
}

pub(crate) fn variadic_function(place: Place, name: &Ident) -> Text {
    Text::new(format!("{} `{name}` cannot take a variable number of arguments", place.noun())).help(place.usage())
}

pub(crate) fn opaque_parameter(place: Place, name: &Ident) -> Text {
    Text::new(format!("{} `{name}` cannot take `impl Trait`", place.noun()))
        .help("name the type; `Inject<dyn Trait>` takes any implementation")
}

pub(crate) fn opaque_output(place: Place, name: &Ident) -> Text {
    Text::new(format!("{} `{name}` cannot return `impl Trait`", place.noun())).help(match place {
        Place::Provider => "name the type: `Arc<dyn Trait>` hides the implementation as well",
        _ => "name the type",
    })
}

pub(crate) fn borrowed_object(place: Place, name: &Ident) -> Text {
    Text::new(format!("{} `{name}` cannot return a trait object that borrows", place.noun()))
        .help("write `cqrs::BoxError` for `Box<dyn Error + '_>`")
        .note("what it returns is passed on after the call")
}

pub(crate) fn borrowed_output(place: Place, name: &Ident) -> Text {
    Text::new(format!("{} `{name}` cannot return what borrows", place.noun()))
        .help("return owned values, such as `String` for `&str`, or `cqrs::BoxError` as the error")
}

pub(crate) fn borrowed_value(name: &Ident) -> Text {
    Text::new(format!("provider `{name}` cannot return a reference"))
        .help("return what it provides: `T`, `Arc<T>`, or a `Result` of one of them")
}

pub(crate) fn conditional_parameter(place: Place, name: &Ident) -> Text {
    Text::new(format!("{} `{name}` cannot take a parameter under `cfg`", place.noun()))
        .help("write two functions and put the `cfg` on them")
}

pub(crate) fn missing_message(place: Place, name: &Ident) -> Text {
    Text::new(format!("{} `{name}` takes no message", place.noun()))
        .help(format!("the message comes first: `{}`", place.signature()))
}

pub(crate) fn mutable_message(place: Place, name: &Ident) -> Text {
    Text::new(format!("{} `{name}` cannot take its message as `&mut`", place.noun()))
        .help("take `M` to own the message, or `&M` to look at it")
}

pub(crate) fn static_message(place: Place, name: &Ident) -> Text {
    let (what, help) = match place {
        Place::SagaStep | Place::Compensation => {
            ("context", "take `&mut C` or `&C`: it is there for the time of the call")
        }
        _ => ("message", "take `&M`: the message is there for the time of the call, or `M` to own it"),
    };
    Text::new(format!("{} `{name}` cannot borrow its {what} for `'static`", place.noun())).help(help)
}

pub(crate) fn repeated_parameter(place: Place, name: &Ident, ty: &str) -> Text {
    Text::new(format!("{} `{name}` takes `{ty}` twice", place.noun()))
        .help("take it once; it can be passed on by reborrowing")
}

pub(crate) fn missing_call_or_next(name: &Ident) -> Text {
    Text::new(format!("middleware `{name}` takes the call and the rest of the way first"))
        .help(format!("write `{}`", Place::Middleware.signature()))
}

pub(crate) fn provider_without_output(name: &Ident) -> Text {
    Text::new(format!("provider `{name}` returns nothing"))
        .help("return what it provides: `T`, `Arc<T>`, or a `Result` of one of them")
}
