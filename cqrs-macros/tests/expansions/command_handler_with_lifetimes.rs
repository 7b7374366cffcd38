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
    use __cqrs::ProbeFallback as _;
    use __cqrs::AskedFallback as _;
    struct __Handler;
    impl __cqrs::HandleRef for __Handler {
        type Message = PlaceOrder;
        type Output = Result<OrderId, BoxError>;
        #[inline]
        fn call<'c>(
            message: &'c Self::Message,
            context: &'c mut __cqrs::Cx<'_>,
            handler: u32,
        ) -> impl ::core::future::Future<Output = Self::Output> {
            let _ = __cqrs::Probe::<PlaceOrder>::CHECKED;
            let (p0,) = __cqrs::parameters1(
                context,
                handler,
                __cqrs::parameter::<&'_ Meta, __cqrs::role::CommandHandler<PlaceOrder>>(),
            );
            r#move(message, p0)
        }
    }
    const __ITEM: __cqrs::HandlerItem = __cqrs::command_handler_ref::<
        __Handler,
        PlaceOrder,
        Result<OrderId, BoxError>,
        _,
        _,
        _,
    >(
        "move",
        __cqrs::SourceLocation {
            module: ::core::module_path!(),
            file: ::core::file!(),
            line: ::core::line!(),
        },
        __cqrs::needs::<PlaceOrder>(&[__cqrs::Asked::<&'_ Meta>::NEED]),
    );
    __cqrs::inventory::submit! {
        __ITEM
    }
};
