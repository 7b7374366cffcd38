// One value per message, from its metadata.
use cqrs::prelude::*;

struct Tenant(String);

#[provider(scope = "message")]
fn tenant(meta: &Meta) -> Result<Tenant, &'static str> {
    meta.header("tenant").map(|name| Tenant(name.to_owned())).ok_or("no tenant")
}

#[provider(scope = "app")]
fn limit() -> u8 {
    8
}

fn main() {}
