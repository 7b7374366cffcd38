#[allow(clippy::needless_pass_by_value, clippy::unused_async)]
async fn bill(e: OrderPlacedV1, meta: &Meta) -> Result<(), BillError> {
    Ok(())
}
#[allow(deprecated)]
const _: () = {
    use ::cqrs::__private as __cqrs;
    use __cqrs::ProbeFallback as _;
    use __cqrs::AskedFallback as _;
    struct __Handler;
    impl __cqrs::Handle for __Handler {
        type Message = OrderPlacedV1;
        type Output = Result<(), BillError>;
        #[inline]
        fn call<'c>(
            message: Self::Message,
            context: &'c mut __cqrs::Cx<'_>,
            handler: u32,
        ) -> impl ::core::future::Future<Output = Self::Output> {
            let _ = __cqrs::Probe::<OrderPlacedV1>::CHECKED;
            let (p0,) = __cqrs::parameters1(
                context,
                handler,
                __cqrs::parameter::<
                    &Meta,
                    __cqrs::role::GroupEventHandler<OrderPlacedV1>,
                >(),
            );
            bill(message, p0)
        }
    }
    const __ITEM: __cqrs::HandlerItem = __cqrs::group_handler::<
        __Handler,
        OrderPlacedV1,
        Result<(), BillError>,
    >(
        __cqrs::GroupOptions {
            group: "billing",
            topic: ::core::option::Option::Some("orders"),
            concurrency: ::core::option::Option::Some(8u32),
            batch: ::core::option::Option::Some(50u32),
            retry: __cqrs::RetryOptions::new(
                ::core::option::Option::Some(3u32),
                ::core::option::Option::None,
                ::core::option::Option::None,
                ::core::option::Option::None,
            ),
            on_dead: ::core::option::Option::Some(__cqrs::OnDead::Park),
            unknown: ::core::option::Option::Some(__cqrs::OnUnknown::Dead),
        },
        "bill",
        __cqrs::SourceLocation {
            module: ::core::module_path!(),
            file: ::core::file!(),
            line: ::core::line!(),
        },
        0i32,
        __cqrs::needs::<OrderPlacedV1>(&[__cqrs::Asked::<&Meta>::NEED]),
    );
    __cqrs::inventory::submit! {
        __ITEM
    }
};
