//! Attributes and derives of the `cqrs` framework.
//!
//! Use them through `cqrs`, where their reference is. Every macro takes the same road (`entry`): parse, validate,
//! expand. Parsing never judges, validation makes no tokens, expansion cannot fail.

mod diag;
mod entry;
mod expand;
mod model;
mod parse;
#[cfg(test)]
mod tests;
mod validate;

use proc_macro::TokenStream;

use crate::model::MessageKind;
use crate::parse::Place;

/// Makes a struct or enum a command.
#[proc_macro_derive(Command, attributes(command, query, event))]
pub fn derive_command(item: TokenStream) -> TokenStream {
    entry::derive(MessageKind::Command, item.into()).into()
}

/// Makes a struct or enum a query.
#[proc_macro_derive(Query, attributes(query, event))]
pub fn derive_query(item: TokenStream) -> TokenStream {
    entry::derive(MessageKind::Query, item.into()).into()
}

/// Makes a struct or enum a domain event.
#[proc_macro_derive(DomainEvent, attributes(event, query))]
pub fn derive_domain_event(item: TokenStream) -> TokenStream {
    entry::derive(MessageKind::DomainEvent, item.into()).into()
}

/// Makes a struct or enum a notification event.
#[proc_macro_derive(NotificationEvent, attributes(event, query))]
pub fn derive_notification_event(item: TokenStream) -> TokenStream {
    entry::derive(MessageKind::NotificationEvent, item.into()).into()
}

/// Says how a client is told of an error.
#[proc_macro_derive(Problem, attributes(problem))]
pub fn derive_problem(item: TokenStream) -> TokenStream {
    entry::problem(item.into()).into()
}

/// Registers an async function as the handler of a command.
#[proc_macro_attribute]
pub fn command_handler(args: TokenStream, item: TokenStream) -> TokenStream {
    entry::attribute(Place::CommandHandler, args.into(), item.into()).into()
}

/// Registers an async function as the handler of a query.
#[proc_macro_attribute]
pub fn query_handler(args: TokenStream, item: TokenStream) -> TokenStream {
    entry::attribute(Place::QueryHandler, args.into(), item.into()).into()
}

/// Registers an async function as a handler of an event.
#[proc_macro_attribute]
pub fn event_handler(args: TokenStream, item: TokenStream) -> TokenStream {
    entry::attribute(Place::EventHandler, args.into(), item.into()).into()
}

/// Makes an async function a link of a chain.
#[proc_macro_attribute]
pub fn chain_link(args: TokenStream, item: TokenStream) -> TokenStream {
    entry::attribute(Place::ChainLink, args.into(), item.into()).into()
}

/// Makes an async function a fallback.
#[proc_macro_attribute]
pub fn fallback(args: TokenStream, item: TokenStream) -> TokenStream {
    entry::attribute(Place::Fallback, args.into(), item.into()).into()
}

/// Makes a struct the context of a saga.
#[proc_macro_attribute]
pub fn saga(args: TokenStream, item: TokenStream) -> TokenStream {
    entry::saga(args.into(), item.into()).into()
}

/// Makes an async function a step of sagas.
#[proc_macro_attribute]
pub fn saga_step(args: TokenStream, item: TokenStream) -> TokenStream {
    entry::attribute(Place::SagaStep, args.into(), item.into()).into()
}

/// Makes an async function the way back of a step.
#[proc_macro_attribute]
pub fn compensation(args: TokenStream, item: TokenStream) -> TokenStream {
    entry::attribute(Place::Compensation, args.into(), item.into()).into()
}

/// Registers a function as the provider of a dependency.
#[proc_macro_attribute]
pub fn provider(args: TokenStream, item: TokenStream) -> TokenStream {
    entry::attribute(Place::Provider, args.into(), item.into()).into()
}

/// Registers an async function as a middleware.
#[proc_macro_attribute]
pub fn middleware(args: TokenStream, item: TokenStream) -> TokenStream {
    entry::attribute(Place::Middleware, args.into(), item.into()).into()
}
