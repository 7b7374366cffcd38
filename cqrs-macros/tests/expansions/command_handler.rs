#[allow(clippy::needless_pass_by_value, clippy::unused_async)]
async fn place_order(
    cmd: PlaceOrder,
    prices: Inject<dyn PriceList>,
    tx: &mut Tx<Sqlite>,
) -> Result<OrderId, PlaceOrderError> {
    prices.total(&cmd, tx).await
}
#[allow(deprecated)]
const _: () = {
    use ::cqrs::__private as __cqrs;
    const __ITEM: __cqrs::HandlerItem = __cqrs::command_handler::<
        PlaceOrder,
        _,
        _,
    >(
        "place_order",
        __cqrs::SourceLocation {
            module: ::core::module_path!(),
            file: ::core::file!(),
            line: ::core::line!(),
        },
        __cqrs::needs::<
            PlaceOrder,
        >(
            &[
                <Inject<
                    dyn PriceList,
                > as __cqrs::Param<
                    'static,
                    __cqrs::role::CommandHandler<PlaceOrder>,
                >>::NEED,
                <&mut Tx<
                    Sqlite,
                > as __cqrs::Param<
                    'static,
                    __cqrs::role::CommandHandler<PlaceOrder>,
                >>::NEED,
            ],
        ),
        &__cqrs::TypedThunk(|message, mut cx, handler| ::std::boxed::Box::pin(async move {
            let output = {
                let mut parts = cx.parts(handler);
                __cqrs::handler_future_must_be_send(
                    place_order(
                        message,
                        __cqrs::parameter::<
                            Inject<dyn PriceList>,
                            __cqrs::role::CommandHandler<PlaceOrder>,
                        >(&mut parts),
                        __cqrs::parameter::<
                            &mut Tx<Sqlite>,
                            __cqrs::role::CommandHandler<PlaceOrder>,
                        >(&mut parts),
                    ),
                )
            }
                .await;
            (
                __cqrs::answer::<
                    PlaceOrder,
                    Result<OrderId, PlaceOrderError>,
                    _,
                    _,
                    _,
                >(output),
                cx,
            )
        })),
    );
    __cqrs::inventory::submit! {
        __ITEM
    }
};
