#[allow(clippy::needless_pass_by_value, clippy::unused_async)]
async fn reserve_number(e: OrderPlaced, tx: &mut Tx<Sqlite>) -> Result<(), sqlx::Error> {
    Ok(())
}
#[allow(deprecated)]
const _: () = {
    use ::cqrs::__private as __cqrs;
    const __ITEM: __cqrs::HandlerItem = __cqrs::domain_event_handler::<
        OrderPlaced,
    >(
        __cqrs::EventMode::Inline,
        "reserve_number",
        __cqrs::SourceLocation {
            module: ::core::module_path!(),
            file: ::core::file!(),
            line: ::core::line!(),
        },
        -10i32,
        __cqrs::needs::<
            OrderPlaced,
        >(
            &[
                <&mut Tx<
                    Sqlite,
                > as __cqrs::Param<
                    'static,
                    __cqrs::role::InlineEventHandler<OrderPlaced>,
                >>::NEED,
            ],
        ),
        |message, mut cx, handler| ::std::boxed::Box::pin(async move {
            let output = {
                let mut parts = cx.parts(handler);
                __cqrs::handler_future_must_be_send(
                    reserve_number(
                        __cqrs::event_by_value::<OrderPlaced>(message),
                        __cqrs::parameter::<
                            &mut Tx<Sqlite>,
                            __cqrs::role::InlineEventHandler<OrderPlaced>,
                        >(&mut parts),
                    ),
                )
            }
                .await;
            (__cqrs::event_answer::<Result<(), sqlx::Error>>(output), cx)
        }),
    );
    __cqrs::inventory::submit! {
        __ITEM
    }
};
