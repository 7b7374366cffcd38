//! Message types. A derive always gets a model, errors or not: a type without its impls would bring an error at every use.

use syn::spanned::Spanned;
use syn::{Data, Fields, GenericParam, Member, Type};

use super::args::Args;
use super::signature::opaque_type;
use crate::diag::{Sink, catalogue};
use crate::model::{Answer, Message, MessageKind, Wire, WireFormat};
use crate::parse::{MessageItem, Place, borrow, helper_arguments, made_static};

/// Checks a message type.
pub(crate) fn message(kind: MessageKind, item: &MessageItem, sink: &Sink) -> Message {
    let place = kind.place();
    wrong_helpers(kind, item, sink);
    let args = Args::new(place, helper_arguments(&item.attrs, place), sink);
    let answer = match place {
        Place::EventDerive => Answer::None,
        _ => answer(&args, place),
    };
    let name = args.text("name").map_or_else(|| unraw(&item.ident), |name| name.value());
    let topic = args.text("topic").map_or_else(|| name.clone(), |topic| topic.value());
    if kind == MessageKind::DomainEvent
        && let Some((_, arg)) = args.written("topic")
    {
        sink.at(&arg.key, catalogue::topic_of_domain_event());
    }
    let key = key(&args, item);
    // The version before the first of an event has a number, too.
    let least = i128::from(place != Place::EventDerive);
    let version = args.integer("version", least).unwrap_or(1);
    let upgrades = owned(&args, "upgrades");
    let wire = wire(kind, &args);
    let krate = args.krate();
    target(kind, item, sink);
    Message {
        kind,
        ident: item.ident.clone(),
        generics: item.generics.clone(),
        name,
        version,
        topic,
        key,
        upgrades,
        wire,
        answer,
        krate,
    }
}

pub(super) fn unraw(ident: &syn::Ident) -> String {
    syn::ext::IdentExt::unraw(ident).to_string()
}

/// `#[event(..)]` on a command and the like.
fn wrong_helpers(kind: MessageKind, item: &MessageItem, sink: &Sink) {
    let own = kind.place().word();
    for attr in &item.attrs {
        let foreign = ["query", "event"].into_iter().find(|word| *word != own && attr.path().is_ident(word));
        if let Some(word) = foreign {
            sink.at(attr.path(), catalogue::wrong_helper(word, kind));
        }
    }
}

fn answer(args: &Args<'_>, place: Place) -> Answer {
    let (response, error, item) = (owned(args, "response"), owned(args, "error"), owned(args, "item"));
    if let (Some(_), Some((_, written))) = (args.written("response"), args.written("item")) {
        args.sink().at(&written.key, catalogue::response_beside_item(place));
    }
    match item {
        Some(item) if response.is_none() => Answer::Stream { item, error },
        _ => Answer::Once { response, error },
    }
}

/// A type that borrows nothing; what does is reported, and passes as `'static` from there on.
pub(super) fn owned(args: &Args<'_>, word: &str) -> Option<Type> {
    let ty: Type = args.value(word)?;
    if let Some(opaque) = opaque_type(&ty) {
        args.sink().at(opaque, catalogue::opaque_answer(word));
        return None;
    }
    if let Some(borrow) = borrow(&ty) {
        args.sink().at(borrow, catalogue::borrowed_answer(word));
    }
    Some(made_static(&ty))
}

/// How a notification event is written.
fn wire(kind: MessageKind, args: &Args<'_>) -> Option<Wire> {
    let format = args.word("codec", WireFormat::WORDS)?;
    let (_, written) = args.written("codec")?;
    if kind == MessageKind::DomainEvent {
        args.sink().at(&written.key, catalogue::codec_of_domain_event());
        return None;
    }
    Some(Wire { at: args.value_tokens("codec").span(), format })
}

/// The field by which order is kept.
fn key(args: &Args<'_>, item: &MessageItem) -> Option<Member> {
    let key: Member = args.value("key")?;
    let fields = match &item.data {
        Data::Struct(data) => &data.fields,
        Data::Enum(_) => {
            args.sink().at(&key, catalogue::key_of_enum(&item.ident));
            return None;
        }
        // A union is an error of its own.
        Data::Union(_) => return None,
    };
    let names = field_names(fields);
    let written = match &key {
        Member::Named(ident) => ident.to_string(),
        Member::Unnamed(index) => index.index.to_string(),
    };
    if !names.contains(&written) {
        args.sink().at(&key, catalogue::unknown_key_field(&written, &item.ident, &names));
        return None;
    }
    Some(key)
}

fn field_names(fields: &Fields) -> Vec<String> {
    let name = |(index, field): (usize, &syn::Field)| {
        field.ident.as_ref().map_or_else(|| index.to_string(), ToString::to_string)
    };
    fields.iter().enumerate().map(name).collect()
}

/// What `#[saga]` stands on.
pub(super) fn context_target(item: &MessageItem, sink: &Sink) {
    target(MessageKind::Saga, item, sink);
    if let Some(param) = item.generics.params.iter().find(|param| !matches!(param, GenericParam::Lifetime(_))) {
        sink.at(param, catalogue::generic_context(&item.ident));
    }
}

/// What the derive stands on.
fn target(kind: MessageKind, item: &MessageItem, sink: &Sink) {
    if let Data::Union(data) = &item.data {
        sink.at(data.union_token, catalogue::union_message(kind));
    }
    let generic = |param: &&GenericParam| !matches!(param, GenericParam::Lifetime(_));
    if let Some(lifetime) = item.generics.lifetimes().next() {
        sink.at(&lifetime.lifetime, catalogue::borrowing_message(kind));
    }
    if kind == MessageKind::NotificationEvent
        && let Some(param) = item.generics.params.iter().find(generic)
    {
        sink.at(param, catalogue::generic_notification_event(&item.ident));
    }
}
