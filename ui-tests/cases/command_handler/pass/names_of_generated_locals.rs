// Functions named like the locals of the generated code.
use cqrs::prelude::*;

#[derive(Command)]
struct PlaceOrder;

#[derive(Command)]
struct Other;

#[derive(Command)]
struct Third;

#[command_handler]
async fn message(_cmd: PlaceOrder, _e: &mut Events) {}

#[command_handler]
async fn parts(_cmd: Other, _e: &mut Events) {}

#[command_handler]
async fn cx(_cmd: Third, _e: &mut Events) {}

fn main() {}
