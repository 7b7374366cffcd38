// Every macro where the names of the prelude mean something else.
#![allow(dead_code, unused_imports)]
#[rustfmt::skip]
mod shadows { pub struct Result; pub struct Option; pub struct Some; pub struct None; pub struct Ok; pub struct Err; pub struct Box; pub struct Send; pub struct Sync; pub struct String; pub struct Default; pub struct Vec; }
use shadows::*;
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
