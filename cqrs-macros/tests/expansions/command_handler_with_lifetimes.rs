#[allow(clippy::needless_pass_by_value, clippy::unused_async)]
#[cfg(feature = "orders")]
#[tracing::instrument]
async fn r#move<'a>(
    PlaceOrder { id }: &'a PlaceOrder,
    meta: &'a Meta,
) -> Result<OrderId, BoxError> {
    Ok(*id)
}
#[cfg(feature = "orders")]
#[allow(deprecated)]
const _: () = {
    use ::cqrs::__private as __cqrs;
    const __ITEM: __cqrs::HandlerItem = __cqrs::command_handler::<
        PlaceOrder,
        _,
        _,
    >(
        "move",
        __cqrs::SourceLocation {
            module: ::core::module_path!(),
            file: ::core::file!(),
            line: ::core::line!(),
        },
        __cqrs::needs::<
            PlaceOrder,
        >(
            &[
                <&'_ Meta as __cqrs::Param<
                    'static,
                    __cqrs::role::CommandHandler<PlaceOrder>,
                >>::NEED,
            ],
        ),
        &__cqrs::TypedThunk(|message, mut cx, handler| ::std::boxed::Box::pin(async move {
            let output = {
                let mut parts = cx.parts(handler);
                __cqrs::handler_future_must_be_send(
                    r#move(
                        &message,
                        __cqrs::parameter::<
                            &'_ Meta,
                            __cqrs::role::CommandHandler<PlaceOrder>,
                        >(&mut parts),
                    ),
                )
            }
                .await;
            (
                __cqrs::answer::<PlaceOrder, Result<OrderId, BoxError>, _, _, _>(output),
                cx,
            )
        })),
    );
    __cqrs::inventory::submit! {
        __ITEM
    }
};
