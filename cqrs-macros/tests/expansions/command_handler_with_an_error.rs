#[allow(clippy::needless_pass_by_value, clippy::unused_async)]
fn place_order(cmd: PlaceOrder) {}
::core::compile_error! {
    "command handler `place_order` must be `async`\n\nhelp: write `async fn place_order(..)`"
}
