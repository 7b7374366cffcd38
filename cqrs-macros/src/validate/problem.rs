//! Errors that a client is told of. A derive always gets a model, errors or not.

use syn::{Attribute, Data, Field, Fields, Index, LitStr, Member, Variant};

use super::args::Args;
use crate::diag::{Sink, catalogue};
use crate::model::{Case, Problem, Says, Told};
use crate::parse::{MessageItem, Place, helper_arguments};

/// A status that is an error.
const STATUS: (u16, u16) = (400, 599);

/// What one `#[problem(..)]` says.
struct Said {
    status: Option<u16>,
    title: Option<String>,
    type_uri: Option<String>,
    /// Whether the status is missing altogether, not only wrong.
    lacks_status: bool,
}

impl Said {
    fn read(args: &Args<'_>) -> Self {
        Self {
            status: args.between("status", STATUS.0, STATUS.1),
            title: args.text("title").map(|title| title.value()),
            type_uri: args.text("type").and_then(|uri| uri_reference(&uri, args.sink())),
            lacks_status: args.written("status").is_none(),
        }
    }

    /// Whether it says something that needs one.
    fn needs_status(&self) -> bool {
        self.title.is_some() || self.type_uri.is_some()
    }

    /// What is told: what is said here, else what is said of the type.
    fn told(self, of_type: Option<&Self>) -> Option<Told> {
        Some(Told {
            status: self.status.or_else(|| of_type?.status)?,
            title: self.title.or_else(|| of_type?.title.clone()),
            type_uri: self.type_uri.or_else(|| of_type?.type_uri.clone()),
        })
    }
}

/// Checks an error type.
pub(crate) fn problem(item: &MessageItem, sink: &Sink) -> Problem {
    let args = Args::new(Place::ProblemDerive, helper_arguments(&item.attrs, Place::ProblemDerive), sink);
    let of_type = helper(&item.attrs).map(|_| Said::read(&args));
    let krate = args.krate();
    let cases = match &item.data {
        Data::Struct(data) => {
            on_no_field(&data.fields, sink);
            Vec::new()
        }
        Data::Enum(data) => data.variants.iter().filter_map(|variant| case(variant, of_type.as_ref(), sink)).collect(),
        Data::Union(data) => {
            sink.at(data.union_token, catalogue::union_problem());
            Vec::new()
        }
    };
    // Where something is wrong already, that may be the status.
    if cases.is_empty() && of_type.as_ref().is_none_or(|said| said.lacks_status) && sink.is_clean() {
        match helper(&item.attrs).filter(|_| of_type.as_ref().is_some_and(Said::needs_status)) {
            Some(attr) => sink.at(attr.path(), catalogue::problem_without_status()),
            None => sink.at(&item.ident, catalogue::no_problem(&item.ident)),
        }
    }
    let told = of_type.and_then(|said| said.told(None));
    let covered = matches!(&item.data, Data::Enum(data) if data.variants.len() == cases.len());
    Problem { ident: item.ident.clone(), generics: item.generics.clone(), told, cases, covered, krate }
}

/// A variant that says something of its own.
fn case(variant: &Variant, of_type: Option<&Said>, sink: &Sink) -> Option<Case> {
    on_no_field(&variant.fields, sink);
    let attr = helper(&variant.attrs)?;
    let place = Place::ProblemVariant;
    let args = Args::new(place, helper_arguments(&variant.attrs, place), sink);
    if args.flag("transparent") {
        return transparent(variant, &args);
    }
    let said = Said::read(&args);
    if said.lacks_status && of_type.is_none_or(|of_type| of_type.lacks_status) && sink.is_clean() {
        sink.at(attr.path(), catalogue::problem_without_status());
    }
    said.told(of_type).map(|told| Case { variant: variant.ident.clone(), says: Says::Own(told) })
}

/// A variant of which a client is told what it holds.
fn transparent(variant: &Variant, args: &Args<'_>) -> Option<Case> {
    if let Some(key) = args.keys().find(|key| *key != "transparent") {
        args.sink().at(key, catalogue::transparent_and(key));
        return None;
    }
    let mut fields = variant.fields.iter();
    let (Some(Field { ident, ty, .. }), None) = (fields.next(), fields.next()) else {
        args.sink().at(&variant.ident, catalogue::transparent_of_many(&variant.ident));
        return None;
    };
    let member = ident.clone().map_or_else(|| Member::Unnamed(Index::from(0)), Member::Named);
    Some(Case { variant: variant.ident.clone(), says: Says::Field(member, Box::new(ty.clone())) })
}

fn helper(attrs: &[Attribute]) -> Option<&Attribute> {
    attrs.iter().find(|attr| attr.path().is_ident(Place::ProblemDerive.word()))
}

fn on_no_field(fields: &Fields, sink: &Sink) {
    for attr in fields.iter().filter_map(|field| helper(&field.attrs)) {
        sink.at(attr.path(), catalogue::problem_of_field());
    }
}

/// The `type`: its characters are those of a URI reference.
fn uri_reference(text: &LitStr, sink: &Sink) -> Option<String> {
    let uri = text.value();
    let fits = |char: char| char.is_ascii_graphic() && !"\"<>\\^`{|}".contains(char);
    if uri.chars().all(fits) {
        return Some(uri);
    }
    sink.at(text, catalogue::not_a_uri(&uri));
    None
}
