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
    use __cqrs::ProbeFallback as _;
    use __cqrs::AskedFallback as _;
    struct __Handler;
    impl __cqrs::Handle for __Handler {
        type Message = PlaceOrder;
        type Output = Result<OrderId, PlaceOrderError>;
        #[inline]
        fn call<'c>(
            message: Self::Message,
            context: &'c mut __cqrs::Cx<'_>,
            handler: u32,
        ) -> impl ::core::future::Future<Output = Self::Output> {
            let _ = __cqrs::Probe::<PlaceOrder>::CHECKED;
            let (p0, p1) = __cqrs::parameters2(
                context,
                handler,
                __cqrs::parameter::<
                    Inject<dyn PriceList>,
                    __cqrs::role::CommandHandler<PlaceOrder>,
                >(),
                __cqrs::parameter::<
                    &mut Tx<Sqlite>,
                    __cqrs::role::CommandHandler<PlaceOrder>,
                >(),
            );
            place_order(message, p0, p1)
        }
    }
    const __ITEM: __cqrs::HandlerItem = __cqrs::command_handler::<
        __Handler,
        PlaceOrder,
        Result<OrderId, PlaceOrderError>,
        _,
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
                __cqrs::Asked::<Inject<dyn PriceList>>::NEED,
                __cqrs::Asked::<&mut Tx<Sqlite>>::NEED,
            ],
        ),
    );
    __cqrs::inventory::submit! {
        __ITEM
    }
};
