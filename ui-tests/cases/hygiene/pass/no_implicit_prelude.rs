// Every macro where no name is there by itself.
#![no_implicit_prelude]

use ::cqrs;
#[derive(cqrs::Command)]
#[command(response = u64, error = ::std::io::Error)]
struct A;
#[cqrs::command_handler]
async fn a(_: A, _: &mut cqrs::Events) -> u64 { 1 }
#[derive(cqrs::DomainEvent, ::core::clone::Clone)]
#[event(key = 0)]
struct E(u64);
#[cqrs::event_handler(durable, retry(max = 2, first = "1s"))]
async fn e(_: E) {}
#[derive(cqrs::NotificationEvent)]
struct N;
#[cqrs::event_handler(group = "g", concurrency = 2)]
async fn n(_: &N) {}
#[cqrs::provider]
fn p() -> u8 { 1 }
#[cqrs::middleware(kinds = [query])]
async fn m(_: cqrs::Call<'_>, next: cqrs::Next<'_>) -> cqrs::Outcome { next.run().await }

fn main() {}
