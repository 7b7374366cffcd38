//! Prints the diagrams of the payment chain of `examples/chain`, as Markdown.
//!
//! `cargo run -p chain_diagram`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::path::Path;

use chain::Pay;

fn main() -> Result<(), cqrs::Error> {
    // Neither a store nor a bank: a builder that is not awaited draws what is registered.
    let diagrams = chain::app(Path::new("payments.db")).diagram();

    let pay = diagrams.chain::<Pay>()?; // or by its name, as a command line would: `chain_named("Pay")`
    println!("```mermaid\n{}```\n", pay.sequence());
    println!("```mermaid\n{}```\n", pay.class());

    // Diagrams of what is no chain say what it is, and how it would become one.
    if let Err(error) = diagrams.chain_named("Pya") {
        println!("{error}");
    }
    Ok(())
}
