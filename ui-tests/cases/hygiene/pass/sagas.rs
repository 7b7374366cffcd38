// Sagas where no name is there by itself, with another name for the crate.
#![no_implicit_prelude]
#![deny(warnings, unused_qualifications, unreachable_pub, single_use_lifetimes)]
use ::cqrs as renamed;

#[renamed::saga(crate = crate::renamed, steps = [a, (b, b as again)])]
#[derive(::serde::Serialize, ::serde::Deserialize)]
pub(crate) struct C(u8);
#[renamed::saga_step(crate = crate::renamed, compensate = back, awaits = E, by = 0, timeout = "1s", fallback = f)]
async fn a(_: &mut C, _: &E, _: renamed::StepKey) {}
#[renamed::saga_step(crate = crate::renamed, compensate = none, retry(max = 2))]
async fn b(_: &C) -> ::core::result::Result<(), renamed::BoxError> { ::core::result::Result::Ok(()) }
#[renamed::compensation(crate = crate::renamed, retry(max = 2))]
async fn back(_: &C) {}
#[renamed::fallback(crate = crate::renamed)]
async fn f(_: &mut C) {}
#[derive(renamed::DomainEvent, ::serde::Serialize, ::serde::Deserialize)]
#[event(crate = crate::renamed)]
struct E(u8);

fn main() {}
