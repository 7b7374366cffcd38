// By value, and not `Clone`: a link passes the message on, a consumed event is for one handler alone.
use cqrs::prelude::*;

#[derive(Command)]
struct Pay(String);

#[chain_link(breaker)]
async fn by_card(cmd: Pay) -> Link<Pay> {
    Link::Pass(cmd)
}

#[chain_link(timeout = "1s")]
async fn by_invoice(cmd: Pay) -> Link<Pay> {
    drop(cmd.0);
    Link::Answer(())
}

cqrs::chain!(Pay => [by_card, by_invoice]);

#[derive(NotificationEvent, serde::Serialize, serde::Deserialize)]
struct PaidV1(String);

#[event_handler(group = "books", breaker)]
async fn book(_e: PaidV1) {}
